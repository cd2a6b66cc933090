//! What a valid policy file is warned of, to the letter.
//!
//! Each `tests/config/warned/NAME.yaml`, or folder `NAME`, stands beside `NAME.txt`: all its warnings. To write the
//! texts anew:
//!
//! ```console
//! UPDATE_EXPECTED=1 cargo test --test suites config_warnings && git diff tests/config
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is a panic")]

use std::path::{Path, PathBuf};

use tollgate::config::{self, Compiled, Source};
use tollgate::policy::fingerprint::FingerprintKey;

const WARNED: &str = "tests/config/warned";

fn warnings(sources: &[Source]) -> Vec<String> {
    let compiled = config::compile_with_warnings(sources, FingerprintKey::fixed(0));
    let Compiled { warnings, .. } = compiled.unwrap_or_else(|problems| panic!("{problems}"));
    warnings.lines()
}

fn warnings_of(path: &Path) -> Vec<String> {
    warnings(&config::read(path).unwrap())
}

/// What a folder holds, in the order of the names.
fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

fn is(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end)
}

#[test]
fn every_warning_is_told_to_the_letter() {
    let (texts, warned): (Vec<_>, Vec<_>) =
        entries(WARNED).into_iter().partition(|path| is(path, "txt"));
    for path in &warned {
        let told: String = warnings_of(path).iter().map(|line| format!("{line}\n")).collect();
        assert!(!told.is_empty(), "{}: no warning", path.display());
        let beside = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&beside, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(told, expected, "{}", beside.display());
    }
    let expected: Vec<_> = warned.iter().map(|path| path.with_extension("txt")).collect();
    assert_eq!(texts, expected);
}

#[test]
fn no_shipped_policy_and_no_sample_is_warned_of_anything() {
    let none = Vec::<String>::new();
    let mut paths = entries("config");
    paths.retain(|path| is(path, "yaml"));
    paths.extend(["envoy/leases-policy.yaml", "deploy/kubernetes/policy.yaml"].map(PathBuf::from));
    paths.extend(entries("tests/config/good"));
    for path in paths {
        assert_eq!(warnings_of(&path), none, "{}", path.display());
    }
    let mut policies = 0;
    let mut pages = entries("docs");
    pages.extend(["README.md", "envoy/README.md"].map(PathBuf::from));
    for page in pages.iter().filter(|path| is(path, "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks {
            let has = |key: &str| block.lines().any(|line| line.starts_with(key));
            let text = match (has("domain:"), has("tables:")) {
                (true, _) => block.to_owned(),
                (false, true) => format!("domain: d\n{block}"),
                (false, false) => continue,
            };
            let source = Source { name: page.display().to_string(), text };
            assert_eq!(warnings(&[source]), none);
            policies += 1;
        }
    }
    assert!(policies > 1);
}

/// Its warnings may follow from its errors.
#[test]
fn a_policy_with_an_error_has_no_warnings() {
    let text = "domain: d\ntables:\n  - { name: t, select: k, key: [tenant], rows: { one: [{ per_second: 0 }] } }\n";
    let sources = [Source { name: "test.yaml".into(), text: text.into() }];
    let problems = config::compile_with_warnings(&sources, FingerprintKey::fixed(0)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(!problems.to_string().contains("warning"), "{problems}");
}

#[test]
fn omitted_warnings_are_counted() {
    let sources = config::read(Path::new(WARNED).join("too_many_warnings.yaml").as_ref()).unwrap();
    let compiled = config::compile_with_warnings(&sources, FingerprintKey::fixed(0)).unwrap();
    assert_eq!((compiled.warnings.len(), compiled.warnings.lines().len()), (103, 101));
}

/// Each key is compared with a bounded number of others.
#[test]
fn many_keys_are_compared_in_bounded_time() {
    let keys: String = (0..20_000)
        .map(|at| {
            format!(
                "  - {{ name: t{at}, key: [entry_{at}_of_many], rows: {{ all: unlimited }} }}\n"
            )
        })
        .collect();
    let text = format!("domain: d\ntables:\n{keys}");
    let sources = [Source { name: "test.yaml".into(), text }];
    assert_eq!(warnings(&sources), Vec::<String>::new());
}
