//! What is too much for a policy file, where such a file is too large to be kept: it is made.

use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};
use tollgate::config::{self, Source};
use tollgate::policy::fingerprint::FingerprintKey;

use super::{compile, load, told};

/// A policy of one domain.
fn policy(domain: &str) -> String {
    format!("domain: {domain}\ntables: [{{ name: t, key: [], rows: {{ always: unlimited }} }}]\n")
}

/// What is told of a path, the folder's own name left out.
fn told_of(folder: &Path, name: &str) -> String {
    let told = load(&folder.join(name)).expect_err(name).to_string();
    told.replace(&*folder.to_string_lossy(), "")
}

fn too_long_a_word() -> String {
    told(&format!("{}key: {}\n", policy("d"), "x".repeat(65_537)))
}

/// A policy and so much of a comment that it has so many bytes.
fn padded(domain: &str, length: usize) -> String {
    let policy = policy(domain);
    let comment = "#".repeat(length - policy.len() - 1);
    format!("{policy}{comment}\n")
}

const MAX_BYTES: usize = 4 << 20;

fn too_large_a_file() -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), padded("d", MAX_BYTES + 1)).unwrap();
    told_of(folder.path(), "policy.yaml")
}

fn too_large_a_folder() -> String {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..4 {
        let text = padded(&format!("d{at}"), MAX_BYTES);
        std::fs::write(folder.path().join(format!("{at}.yaml")), text).unwrap();
    }
    assert_eq!(load(folder.path()).unwrap().iter().count(), 4);
    std::fs::write(folder.path().join("4.yaml"), policy("d4")).unwrap();
    told_of(folder.path(), "")
}

fn too_many_files() -> String {
    let folder = tempfile::tempdir().unwrap();
    let add = |at: usize| {
        std::fs::write(folder.path().join(format!("{at}.yaml")), policy(&format!("d{at}")))
            .unwrap();
    };
    (0..1000).for_each(add);
    assert_eq!(load(folder.path()).unwrap().iter().count(), 1000);
    add(1000);
    told_of(folder.path(), "")
}

fn fifo() -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), policy("a")).unwrap();
    std::fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    load(folder.path()).unwrap();
    mkfifoat(CWD, folder.path().join("b.yaml"), Mode::RUSR).unwrap();
    told_of(folder.path(), "")
}

/// Everything that is told of what is made here.
pub(crate) fn all_told() -> String {
    let made = [too_long_a_word, too_large_a_file, too_large_a_folder, too_many_files, fifo];
    made.map(|made| made()).join("\n") + BUDGET
}

#[test]
fn what_is_too_large_is_told_with_where_and_what_to_do() {
    assert_eq!(
        too_long_a_word(),
        "test.yaml:3:6: key: one text has at most 65536 bytes; shorten it"
    );
    assert_eq!(
        too_large_a_file(),
        "/policy.yaml: cannot be read: it is larger than 4194304 bytes, the maximum; split the \
         policy into several domains"
    );
    assert_eq!(
        too_large_a_folder(),
        "/4.yaml: the files up to this one hold more than 16777216 bytes, the maximum for a \
         folder; serve some domains from another tollgate"
    );
    assert_eq!(
        too_many_files(),
        "/: cannot be read: it contains more than 1000 .yaml files; keep only policies there"
    );
}

#[test]
fn what_is_no_file_in_a_folder_is_told_and_folders_are_passed_over() {
    assert_eq!(
        fifo(),
        "/b.yaml: cannot be read: it is a FIFO, not a regular file; put a regular file there"
    );
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("gone", folder.path().join("link.yaml")).unwrap();
    let told = told_of(folder.path(), "");
    assert!(told.starts_with("/link.yaml: cannot be read: No such file"), "{told}");
}

/// As large as real ones become.
#[test]
fn large_policies_load() {
    let head = "domain: d\ntables:\n  - name: t\n    select: kind\n    key: [tenant]\n    rows:\n";
    let rows = |count| -> String {
        (0..count).map(|at| format!("      row{at}: [{{ per_second: 10 }}]\n")).collect()
    };
    let fifty_thousand_rows = format!("{head}{}", rows(50_000));
    let overrides: String = (0..10_000)
        .map(|at| {
            format!("  - {{ table: t, when: {{ tenant: tenant{at} }}, buckets: [{{ per_second: 7 }}] }}\n")
        })
        .collect();
    let ten_thousand_overrides = format!("{head}{}overrides:\n{overrides}", rows(3));
    let groups: String =
        (0..20_000).map(|at| format!("  group{at}: ['GET /a/{at}/{{x}}']\n")).collect();
    let twenty_thousand_endpoints = format!("{}endpoint_groups:\n{groups}", policy("d"));
    for text in [fifty_thousand_rows, ten_thousand_overrides, twenty_thousand_endpoints] {
        compile(&text).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// Each of these took seconds or gigabytes, or would: the test ends, and so in a moment.
#[test]
fn small_texts_that_come_to_much_are_refused_or_read_in_little_time() {
    let level = |at: usize, of: &str| format!("a{at}: &a{at} {of}\n");
    let tens = |at: usize| vec![format!("*a{}", at - 1); 10].join(", ");
    let laughs: String = (1..10).map(|at| level(at, &format!("[{}]", tens(at)))).collect();
    let merges: String =
        (1..10).map(|at| level(at, &format!("{{ <<: [{}], k{at}: v }}", tens(at)))).collect();
    let deep = |open: &str| open.repeat(100_000);
    for text in [
        format!("a0: &a0 [x, x]\n{laughs}"),
        format!("a0: &a0 {{ k: v }}\n{merges}"),
        format!("x: &x {{ a: 1 }}\ny:\n  <<: [{}*x]\n", "*x, ".repeat(300_000)),
        deep("["),
        deep("{a: "),
        deep("- "),
        deep("? "),
        deep("[") + &deep("]"),
        deep("[]\n"),
        deep("k: 1\n"),
        deep("- &a 1\n"),
        deep("---\na: 1\n"),
        deep("\""),
        format!("domain: d\ntables:\n{}", deep("  - { nme: x }\n")),
        format!(
            "{}{}",
            policy("d"),
            (0..100_000).map(|at| format!("k{at}: 1\n")).collect::<String>()
        ),
        format!("domain: d\ntables:\n  - {{ name: t, key: [{}] }}\n", deep("k, ")),
    ] {
        let problems = compile(&text).expect_err("refused");
        let told = problems.to_string();
        assert!(told.lines().count() <= 101, "{}", told.lines().count());
        assert!(told.len() < 100_000, "{}", told.len());
        assert!(problems.len() >= told.lines().count());
    }
}

/// A policy whose buckets, of which each has the message, take nearly half of the room.
fn many_buckets(domain: &str) -> Source {
    let bucket = "{ per_hour: 5 }, ".repeat(100);
    let rows: String = (1..300).map(|at| format!("      r{at}: *row\n")).collect();
    let message = "wait ".repeat(150);
    let text = format!(
        "domain: {domain}\ntables:\n  - name: t\n    select: k\n    key: []\n    message: {message}\n    \
         rows:\n      r0: &row [{bucket}]\n{rows}"
    );
    Source { name: domain.into(), text }
}

/// An override of each row, of which there are many: 400 times 500 that are kept.
fn many_overrides() -> String {
    let rows: String = (1..400).map(|at| format!("      r{at}: *row\n")).collect();
    let policy_override = |at| {
        format!("  - {{ table: t, when: {{ tenant: t{at} }}, buckets: [{{ per_hour: 7 }}] }}\n")
    };
    let overrides: String = (0..500).map(policy_override).collect();
    format!(
        "domain: d\ntables:\n  - name: t\n    select: k\n    key: [tenant]\n    rows:\n      \
         r0: &row [{{ per_hour: 5 }}]\n{rows}overrides:\n{overrides}"
    )
}

const BUDGET: &str = "the policies up to here take more than 67108864 bytes of memory; name a `row` in overrides, which \
                      otherwise count once for each row, and shorten messages, which count once for each bucket";

#[test]
fn what_is_compiled_has_so_much_room_in_all_files_together() {
    let compile = |sources: &[Source]| config::compile(sources, FingerprintKey::fixed(0));
    let files = ["one", "two", "three"].map(many_buckets);
    assert!(compile(&files[..2]).is_ok());
    let told = compile(&files).unwrap_err().to_string();
    let (begins, ends) = ("three:", format!(": {BUDGET}"));
    assert!(told.starts_with(begins) && told.ends_with(&ends), "{told}");
    assert_eq!(told.lines().count(), 1);
    let told = super::told(&many_overrides());
    assert!(told.starts_with("test.yaml:8") && told.ends_with(&ends), "{told}");
    assert!(told.contains(": overrides[") && told.contains("].table: "), "{told}");
}
