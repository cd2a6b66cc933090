//! What is said of a policy file that is wrong, to the letter, and that nothing wrong is let through.
//!
//! Each `tests/config/bad/NAME.yaml`, or folder `NAME`, stands beside `NAME.txt`: all that is told of it. After
//! a change of words write the texts anew, and read the difference before you keep it:
//!
//! ```console
//! UPDATE_EXPECTED=1 cargo test --test suites config_errors && git diff tests/config
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

#[path = "../config/bounds.rs"]
mod bounds;
#[path = "../config/levels.rs"]
mod levels;

use std::path::{Path, PathBuf};

use tollgate::config::{self, Problems, Source};
use tollgate::policy::Policies;
use tollgate::policy::fingerprint::FingerprintKey;

const BAD: &str = "tests/config/bad";
const GOOD: &str = "tests/config/good";

fn load(path: &Path) -> Result<Policies, Problems> {
    config::load(path, FingerprintKey::fixed(0))
}

fn compile(text: &str) -> Result<Policies, Problems> {
    let sources = [Source { name: "test.yaml".into(), text: text.into() }];
    config::compile(&sources, FingerprintKey::fixed(0))
}

/// What is told of a text that is wrong.
fn told(text: &str) -> String {
    compile(text).expect_err(text).to_string()
}

/// What a folder holds, in the order of the names.
pub(crate) fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

pub(crate) fn is(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end)
}

/// Every bad file or folder, with the path of what is expected of it.
fn bad() -> Vec<(PathBuf, PathBuf)> {
    let paths = entries(BAD).into_iter().filter(|path| !is(path, "txt"));
    paths.map(|path| (path.clone(), path.with_extension("txt"))).collect()
}

/// Every policy that is shipped, and one with everything that the language has.
fn shipped() -> Vec<PathBuf> {
    let mut paths = entries("config");
    paths.extend(
        entries("envoy").into_iter().filter(|path| path.to_string_lossy().contains("policy")),
    );
    paths.retain(|path| is(path, "yaml"));
    assert!(paths.len() > 1, "{paths:?}");
    paths.push(PathBuf::from(GOOD).join("everything.yaml"));
    paths
}

/// The lines of one text that are not in the other, and the other way round.
pub(crate) fn difference(expected: &str, told: &str) -> String {
    let only = |sign: &str, these: &str, those: &str| -> String {
        let lines = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        lines.map(|line| format!("  {sign} {line}\n")).collect()
    };
    match only("-", expected, told) + &only("+", told, expected) {
        same if same.is_empty() => format!("  the order is another:\n{told}"),
        different => different,
    }
}

#[test]
fn every_bad_file_is_told_to_the_letter() {
    let is_update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = String::new();
    for (path, beside) in bad() {
        let Err(problems) = load(&path) else {
            wrong += &format!("{}: nothing is told of it\n", path.display());
            continue;
        };
        let told = format!("{problems}\n");
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
fn every_expected_text_has_its_bad_file() {
    let expected = bad().into_iter().map(|(_, beside)| beside);
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    let texts = entries(BAD).into_iter().filter(|path| is(path, "txt"));
    assert_eq!(texts.collect::<Vec<_>>(), expected);
}

/// Line and column of one line of what is told, if it has them.
fn position(file: &Path, line: &str) -> Option<(usize, usize)> {
    let mut numbers = line.strip_prefix(&format!("{}:", file.display()))?.split(':');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[test]
fn every_problem_has_its_line_and_they_come_in_order() {
    // The file is no text at all.
    let without_line = ["not_utf8.yaml"];
    for (path, _) in bad() {
        if path.is_dir() || without_line.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let told = load(&path).expect_err("bad").to_string();
        // How many more there are stands nowhere.
        let lines = told.lines().filter(|line| !line.ends_with(" more; fix these first"));
        let found: Vec<_> = lines.map(|line| position(&path, line).expect(line)).collect();
        assert!(found.is_sorted(), "{told}");
    }
}

#[test]
fn nothing_that_a_file_says_reaches_a_terminal_raw() {
    for (path, _) in bad() {
        let told = load(&path).expect_err("bad").to_string();
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    }
}

/// The string literals of a Rust file, its comments and tests left out.
pub(crate) fn literals(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("b'\"'", "").replace("b'\\\\'", "");
    let mut found = Vec::new();
    let mut rest = code.chars();
    while rest.by_ref().any(|c| c == '"') {
        let mut literal = String::new();
        while let Some(c) = rest.next().filter(|c| *c != '"') {
            match c {
                '\\' => match rest.next().unwrap() {
                    '\n' => rest = rest.as_str().trim_start().chars(),
                    escaped => literal.push(escaped),
                },
                c => literal.push(c),
            }
        }
        found.push(literal);
    }
    found
}

#[test]
fn every_complaint_there_is_has_a_bad_file() {
    let folders = [
        "src/config",
        "src/config/compile",
        "src/config/ratelimit",
        "src/config/ratelimit/compile",
        "src/config/ratelimit/yaml",
        "src/config/schema",
        "src/config/tree",
        "src/config/warnings",
    ];
    let files = folders.iter().flat_map(|folder| entries(folder));
    // `mapping_errors` does so for mappings.
    let files = files.filter(|path| is(path, "rs") && !path.ends_with("mapping.rs"));
    let mut sources: Vec<_> = files.collect();
    sources.extend(
        ["src/config.rs", "src/limit/error.rs", "src/policy/endpoints.rs"].map(PathBuf::from),
    );
    let expected: String =
        bad().iter().map(|(_, beside)| std::fs::read_to_string(beside).unwrap()).collect();
    let warned = entries("tests/config/warned").into_iter().filter(|path| is(path, "txt"));
    let warned: String = warned.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    // What needs settings or a folder is told in its own tests.
    let of_settings: String =
        ["tests/suites/ratelimit_config.rs", "tests/suites/ratelimit_folder.rs"]
            .iter()
            .flat_map(|path| literals(&std::fs::read_to_string(path).unwrap()))
            .collect();
    let expected = expected + &warned + &bounds::all_told() + &of_settings;
    let mut untold = Vec::new();
    for source in sources {
        for literal in literals(&std::fs::read_to_string(&source).unwrap()) {
            // Whatever is filled in, or is written in braces itself, stands between these.
            let piece = literal.split(['{', '}']).max_by_key(|piece| piece.len()).unwrap().trim();
            let is_sentence = piece.len() >= 12 && piece.contains(' ');
            // Signs by which the parser's words are told apart, and the words of an error that is caught.
            let is_known =
                ["at position", "name a policy file, or a folder of them"].contains(&piece);
            if is_sentence && !is_known && !expected.contains(piece) {
                untold.push(format!("{}: {literal}", source.display()));
            }
        }
    }
    assert!(untold.is_empty(), "no bad file is told this:\n{}", untold.join("\n"));
}

#[test]
fn a_path_that_is_not_there_is_told_with_what_to_name() {
    let told = load("config/nowhere.yaml".as_ref()).expect_err("missing").to_string();
    assert!(told.starts_with("config/nowhere.yaml: cannot be read: "), "{told}");
    assert!(told.ends_with("; name a policy file, or a folder of them"), "{told}");
}

#[test]
fn of_a_thousand_mistakes_the_first_are_told_and_all_are_counted() {
    let rows: String =
        (0..1000).map(|at| format!("      row{at}: [{{ per_secnd: 1 }}]\n")).collect();
    let head = "domain: test\ntables:\n  - name: t\n    select: x\n    key: []\n    rows:\n";
    let problems = compile(&format!("{head}{rows}")).expect_err("bad");
    assert_eq!(problems.len(), 1000);
    let told = problems.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 101);
    for (at, line) in lines[..100].iter().enumerate() {
        let begins = format!("test.yaml:{}:", at + 7);
        let place =
            format!(": tables[0].rows.row{at}[0].per_secnd: unknown key `per_secnd`; did you");
        assert!(line.starts_with(&begins) && line.contains(&place), "{line}");
    }
    assert_eq!(lines[100], "test.yaml: and 900 more; fix these first");
}

#[test]
fn every_shipped_policy_loads() {
    for path in shipped() {
        let policies = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(policies.iter().count(), 1, "{}", path.display());
        assert!(policies.iter().all(|policy| !policy.tables().is_empty()), "{}", path.display());
    }
}

#[test]
fn every_good_file_loads() {
    for path in entries(GOOD) {
        load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    }
    assert_eq!(load(GOOD.as_ref()).unwrap().iter().count(), entries(GOOD).len());
}

#[test]
fn a_bogus_key_is_rejected_on_every_level_of_the_language() {
    let mut met = Vec::new();
    for path in shipped() {
        let tree = levels::read(&path);
        for place in levels::mappings(&tree) {
            let levels::Level::Language(name) = levels::level(&place) else { continue };
            met.push(name);
            let broken = levels::with_key(&tree, &place, "bogus", 1.into());
            let told = told(&broken);
            let expected = format!("{}: unknown key `bogus`", levels::told(&place, "bogus"));
            assert!(told.contains(&expected), "{}: {expected}\n{told}", path.display());
        }
    }
    for name in levels::LANGUAGE {
        assert!(met.contains(&name), "no shipped policy has a {name}");
    }
}

/// Where the keys are names of the policy's own, what stands under a name is checked instead, and the name
/// itself wherever there is something to check it by.
#[test]
fn a_bogus_name_is_rejected_wherever_names_can_be_known() {
    let mut met = Vec::new();
    for path in shipped() {
        let tree = levels::read(&path);
        for place in levels::mappings(&tree) {
            let levels::Level::Names(name) = levels::level(&place) else { continue };
            met.push(name);
            let with = |value: &str| levels::with_key(&tree, &place, "bogus", levels::yaml(value));
            let at = levels::told(&place, "bogus");
            match name {
                "endpoint groups" => {
                    assert!(
                        told(&with("5")).contains(&format!("{at}: expected a list of endpoints"))
                    );
                    compile(&with("[]")).unwrap();
                }
                "rows" => {
                    assert!(
                        told(&with("5")).contains(&format!("{at}: expected a list of buckets"))
                    );
                    match levels::select(&tree, &place).as_deref() {
                        None => assert!(
                            told(&with("unlimited"))
                                .contains(&format!("{at}: a table without `select` has one row"))
                        ),
                        Some("endpoint_group") => assert!(
                            told(&with("unlimited"))
                                .contains(&format!("{at}: there is no endpoint group `bogus`"))
                        ),
                        Some(_) => drop(compile(&with("unlimited")).unwrap()),
                    }
                }
                _ => {
                    let unknown = format!("{at}.bogus: unknown key `bogus`");
                    assert!(told(&with("{ bogus: 5 }")).contains(&unknown), "{unknown}");
                    compile(&with("any value")).unwrap();
                }
            }
        }
    }
    for name in levels::NAMES {
        assert!(met.contains(&name), "no shipped policy has {name}");
    }
}

#[test]
fn a_value_of_another_kind_is_told_or_taken_but_never_a_panic() {
    let others =
        ["~", "true", "5", "-1.5", "'text'", "''", "[]", "[5, [x], { x: 5 }]", "{}", "{ x: 5 }"];
    let mut rejected = 0;
    let tree = levels::read(&Path::new(GOOD).join("everything.yaml"));
    for place in levels::places(&tree) {
        for other in others {
            if let Err(problems) = compile(&levels::with_value(&tree, &place, levels::yaml(other)))
            {
                assert!(!problems.is_empty());
                rejected += 1;
            }
        }
    }
    assert!(rejected > 1000, "{rejected}");
}

#[test]
fn a_text_that_ends_too_early_is_told_or_taken_but_never_a_panic() {
    let text = std::fs::read_to_string(Path::new(GOOD).join("everything.yaml")).unwrap();
    for (end, _) in text.char_indices().step_by(3) {
        if let Err(problems) = compile(&text[..end]) {
            assert!(problems.to_string().starts_with("test.yaml:"), "{problems}");
        }
    }
}
