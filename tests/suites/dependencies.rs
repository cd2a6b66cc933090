//! `deny.toml` without cargo-deny, which takes longer to build than all of the program: licences and duplicates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The lines of a list of `deny.toml`.
fn list(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string("deny.toml").unwrap();
    let (_, list) = text.split_once(&format!("\n{name} = [\n")).unwrap();
    let (list, _) = list.split_once("\n]\n").unwrap();
    list.lines().map(str::to_owned).collect()
}

/// The first text in quotes.
fn quoted(line: &str) -> String {
    line.split('"').nth(1).unwrap_or_else(|| panic!("nothing in quotes: {line}")).to_owned()
}

/// Name, version and licence of everything that this program, its build or its tests are made of.
fn packages() -> BTreeSet<(String, String, String)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--all-features", "--edges", "normal,build,dev"]);
    cargo.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--no-dedupe"]);
    let told = cargo.args(["--format", "{p}|{l}"]).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout).unwrap();
    let packages = told.lines().filter(|line| !line.is_empty()).map(|line| {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let [name, version] = [(); 2].map(|()| words.next().unwrap());
        (name.to_owned(), version.trim_start_matches('v').to_owned(), licence.to_owned())
    });
    packages.collect()
}

/// Whether an SPDX expression can be met with these licences. `AND` binds tighter than `OR`; `/` is an old `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let is_met = any(&mut rest, allowed);
    assert_eq!(rest, [""; 0], "{expression}");
    is_met
}

fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_met = all(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        is_met |= all(words, allowed);
    }
    is_met
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_met = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        is_met &= one(words, allowed);
    }
    is_met
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let is_met = any(words, allowed);
            assert_eq!(words.first(), Some(&")"));
            *words = &words[1..];
            is_met
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        [name, rest @ ..] => {
            *words = rest;
            allowed.iter().any(|allowed| allowed == name)
        }
        [] => panic!("it ends too early"),
    }
}

#[test]
fn an_expression_of_licences_is_read_as_spdx_reads_it() {
    let allowed = ["MIT", "ISC"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND MIT", true),
        ("MIT OR GPL-3.0 AND GPL-2.0", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("MIT WITH some-exception", false),
    ] {
        assert_eq!(is_met(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed: Vec<_> = list("allow").iter().map(|line| quoted(line)).collect();
    let mut used = String::new();
    for (name, _, licence) in packages() {
        assert!(!licence.is_empty(), "{name} has no licence");
        assert!(is_met(&licence, &allowed), "{name}: {licence}");
        used += &licence;
    }
    for allowed in allowed {
        assert!(used.contains(&allowed), "{allowed} is the licence of no dependency");
    }
}

#[test]
fn no_crate_is_there_in_two_versions_without_a_reason() {
    let skipped: Vec<_> = list("skip").iter().map(|line| quoted(line)).collect();
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for (name, version, _) in packages() {
        versions.entry(name).or_default().push(version);
    }
    let is_skipped = |name: &str, version: &str| {
        skipped.iter().any(|skip| format!("{name}@{version}.").starts_with(&format!("{skip}.")))
    };
    for (name, versions) in &versions {
        let counted: Vec<_> =
            versions.iter().filter(|version| !is_skipped(name, version)).collect();
        assert!(
            counted.len() <= 1,
            "{name} in versions {versions:?}: none of them is in deny.toml"
        );
    }
    for skip in &skipped {
        let name = skip.split('@').next().unwrap();
        let there = versions.get(name).map_or(0, Vec::len);
        assert!(there > 1, "deny.toml: {skip} is no longer a duplicate");
    }
}
