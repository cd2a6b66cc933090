//! What is said of a mapping that is wrong, to the letter, and that those which are shipped are right.
//!
//! Each `tests/mapping/bad/NAME.yaml` stands beside `NAME.txt`: all that is told of it. After a change of words write the
//! texts anew, and read the difference before you keep it:
//!
//! ```console
//! UPDATE_EXPECTED=1 cargo test --test suites mapping_errors && git diff tests/mapping
//! ```

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tollgate::config::{self, Problems, Source, mapping};
use tollgate::mapping::{MAX_FIELDS, MAX_PATTERNS, Mapping};
use tollgate::policy::fingerprint::FingerprintKey;

use crate::config_errors::{difference, entries, is, literals};
use crate::docs::blocks;

const BAD: &str = "tests/mapping/bad";

fn bad() -> Vec<PathBuf> {
    entries(BAD).into_iter().filter(|path| is(path, "yaml")).collect()
}

fn compile(text: &str) -> Result<Mapping, Problems> {
    let source = Source { name: "map.yaml".into(), text: text.into() };
    mapping::compile(&source, &[], Path::new(""), &read)
}

/// Every table is there, with one row.
fn read(table: &Path) -> io::Result<String> {
    match table.extension() {
        Some(_) => Ok("a,b\n".to_owned()),
        None => Err(ErrorKind::NotFound.into()),
    }
}

fn told(text: &str) -> String {
    compile(text).unwrap_err().to_string()
}

#[test]
fn every_bad_mapping_is_told_to_the_letter() {
    let is_update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = String::new();
    for path in bad() {
        let beside = path.with_extension("txt");
        let told = match mapping::load(&path, &[]) {
            Err(problems) => format!("{problems}\n"),
            Ok(_) => format!("{}: nothing is told of it\n", path.display()),
        };
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
        if is_update {
            std::fs::write(&beside, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if told != expected {
            wrong += &format!("{}:\n{}", beside.display(), difference(&expected, &told));
        }
    }
    assert!(wrong.is_empty(), "- is expected, + is told; see the top of this file\n{wrong}");
}

#[test]
fn every_complaint_about_a_mapping_has_a_bad_one() {
    let mut sources = vec![PathBuf::from("src/config/mapping.rs")];
    for folder in ["src/config/mapping", "src/config/mapping/schema"] {
        sources.extend(entries(folder).into_iter().filter(|path| is(path, "rs")));
    }
    sources.retain(|path| !path.ends_with("tests.rs"));
    let told = bad().into_iter().map(|path| std::fs::read_to_string(path.with_extension("txt")));
    let mut told: String = told.map(Result::unwrap).collect();
    told.extend(beyond_bounds().iter().map(|(_, told)| *told));
    // What is told of the command line, and of files that cannot be read, is told in its own tests.
    for path in ["src/config/mapping/tests/pairs.rs", "tests/suites/mapping_errors.rs"] {
        let code = std::fs::read_to_string(path).unwrap();
        told.extend(literals(&code.replace("#[cfg(test)]", "")));
    }
    let mut untold = Vec::new();
    for source in sources {
        for literal in literals(&std::fs::read_to_string(&source).unwrap()) {
            let piece = literal.split(['{', '}']).max_by_key(|piece| piece.len()).unwrap().trim();
            if piece.len() >= 12 && piece.contains(' ') && !told.contains(piece) {
                untold.push(format!("{}: {literal}", source.display()));
            }
        }
    }
    assert!(untold.is_empty(), "no bad mapping is told this:\n{}", untold.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str| mapping::load(&folder.path().join(name), &[]).unwrap_err().to_string();
    assert!(told("none.yaml").ends_with("; name the file of a mapping"));
    assert!(told("").ends_with("it is a folder, not a regular file; name the file of a mapping"));
    std::fs::write(folder.path().join("long.yaml"), vec![b'#'; (4 << 20) + 1]).unwrap();
    let long = told("long.yaml");
    assert!(long.ends_with("; put long tables into files of their own, for `lookup`"), "{long}");
    std::fs::write(folder.path().join("other.yaml"), [0xff]).unwrap();
    assert!(told("other.yaml").ends_with("it is not text in UTF-8; save it as UTF-8"));
    let device = mapping::load(Path::new("/dev/zero"), &[]).unwrap_err().to_string();
    assert!(device.ends_with("; put a regular file there"), "{device}");
}

#[test]
fn look_up_tables_are_read_beside_the_mapping_and_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.yaml");
    std::fs::write(&path, "descriptor: { a: { from: $a, lookup: t.csv } }").unwrap();
    let table = std::fs::File::create(folder.path().join("t.csv")).unwrap();
    table.set_len(mapping::MAX_TABLE_BYTES + 1).unwrap();
    let told = mapping::load(&path, &[]).unwrap_err().to_string();
    assert!(told.ends_with("it is larger than 67108864 bytes, the maximum; shorten it"), "{told}");
    table.set_len(0).unwrap();
    std::fs::write(folder.path().join("t.csv"), "a,b").unwrap();
    mapping::load(&path, &[]).unwrap();
}

/// Mappings that are as large as can be with one thing more, and what is told of them.
fn beyond_bounds() -> Vec<(String, &'static str)> {
    let entries = |count: usize, entry: &dyn Fn(usize) -> String| {
        (0..count).map(entry).collect::<Vec<_>>().join(", ")
    };
    let descriptor = |count, entry: &dyn Fn(usize) -> String| {
        format!("descriptor: {{ {} }}", entries(count, entry))
    };
    let several = |count, of: &str| {
        format!("descriptors: [{}]", entries(count, &|_| format!("{{ entries: {{ {of} }} }}")))
    };
    let fields = |at: usize| {
        let fields = (0..16).map(|field| format!("$f{at}_{field}")).collect::<Vec<_>>();
        format!("e{at}: {{ from: [{}] }}", fields.join(", "))
    };
    vec![
        (several(257, "a: b"), "a request has at most 256 descriptors; shorten the list"),
        (
            descriptor(65, &|at| format!("e{at}: x")),
            "a descriptor has at most 64 entries; leave some out",
        ),
        (
            format!("{}\nhits: $one", descriptor(MAX_FIELDS / 16, &fields)),
            "a mapping has at most 256 fields; leave some out",
        ),
        (
            several(MAX_PATTERNS + 1, "a: { from: $a, match: x }"),
            "a mapping has at most 64 regular expressions; leave some out",
        ),
        (
            descriptor(17, &|at| format!("e{at}: {{ from: $a, lookup: {at}.csv }}")),
            "a mapping has at most 16 look-up tables; leave some out",
        ),
        (
            format!("descriptor: {{ a: {{ from: $a, match: {} }} }}", "x".repeat(4097)),
            "a regular expression has at most 4096 bytes; shorten it",
        ),
        (
            format!("descriptor: {{ a: ${} }}", "x".repeat(1025)),
            "the name of a field has at most 1024 bytes; shorten it",
        ),
        (
            format!("descriptor:\n  ? {}\n  : b\n", "x".repeat(1025)),
            "a key has at most 1024 bytes; shorten it",
        ),
        (
            format!("descriptor: {{ a: {{ from: [{}] }} }}", vec!["$a"; 17].join(", ")),
            "list from 1 to 16 fields",
        ),
        (
            format!("descriptor: {{ a: {{ from: $a, jwt: [{}] }} }}", vec!["b"; 17].join(", ")),
            "list from 1 to 16 names, which lead to the claim",
        ),
    ]
}

#[test]
fn a_mapping_beyond_a_bound_is_refused_once_and_one_within_is_not() {
    for (text, expected) in beyond_bounds() {
        let told = told(&text);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.ends_with(expected), "{told}");
    }
    let entries: Vec<_> = (0..64)
        .map(|at| format!("e{at}: {{ from: [$f{at}, $g], lookup: {}.csv, match: x }}", at % 16))
        .collect();
    compile(&format!("descriptor: {{ {} }}", entries.join(", "))).unwrap();
}

#[test]
fn a_table_of_too_many_values_is_refused() {
    let source = Source {
        name: "map.yaml".into(),
        text: "descriptor: { a: { from: $a, lookup: t.csv } }".into(),
    };
    let rows = |count: usize| (0..count).map(|at| format!("{at},x\n")).collect::<String>();
    let compile =
        |count| mapping::compile(&source, &[], Path::new(""), &|_| Ok(rows(count))).map(drop);
    compile(1_000_000).unwrap();
    let told = compile(1_000_001).unwrap_err().to_string();
    let expected = "t.csv:1000001:1: a look-up table has at most 1000000 values; shorten it";
    assert!(told.lines().any(|line| line == expected), "{told}");
}

#[test]
fn every_shipped_mapping_compiles() {
    let shipped = entries("config/replay");
    assert!(shipped.len() > 1);
    for path in shipped {
        mapping::load(&path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn every_mapping_in_the_docs_compiles() {
    let page = std::fs::read_to_string("docs/replay.md").unwrap();
    let mappings = blocks(&page, "yaml").into_iter().filter(|text| text.contains("descriptor"));
    let mappings: Vec<_> = mappings.collect();
    assert!(mappings.len() > 5);
    for mapping in mappings {
        compile(mapping).unwrap_or_else(|problems| panic!("{mapping}\n{problems}"));
    }
}

/// A misspelled key of an entry would limit nothing.
#[test]
fn the_mapping_of_the_shipped_policy_has_the_entries_that_the_policy_uses() {
    let key = FingerprintKey::fixed(0);
    let policies = config::load(Path::new("config/management-api.yaml"), key).unwrap();
    let policy = policies.iter().next().unwrap();
    let mapping = mapping::load(Path::new("config/replay/management-api.yaml"), &[]).unwrap();
    let mut mapped: Vec<_> = mapping.entry_counts(mapping.scratch().counts());
    mapped.retain(|entry| policy.keys().is_used(entry.key.as_bytes()));
    let mapped: Vec<_> = mapped.iter().map(|entry| entry.key).collect();
    let all = ["tenant", "tenant_type", "method", "path", "remote_address", "user", "scope"];
    assert_eq!(mapped, all);
    // tollgate finds the group by method and path.
    let missing = policy.keys().sent().filter(|key| !mapped.contains(key));
    assert_eq!(missing.collect::<Vec<_>>(), ["endpoint_group"]);
}
