//! What the reference takes for a configuration and what it refuses, tollgate does as well.

use super::sides::{self, Version, takes, tollgate_takes};

/// A file, or several.
#[derive(Clone, Copy)]
pub(super) struct Case {
    what: &'static str,
    files: &'static [&'static str],
    is_taken: bool,
    version: Version,
}

pub(super) const fn taken(what: &'static str, files: &'static [&'static str]) -> Case {
    Case { what, files, is_taken: true, version: Version::Pinned }
}

pub(super) const fn refused(what: &'static str, files: &'static [&'static str]) -> Case {
    Case { what, files, is_taken: false, version: Version::Pinned }
}

/// As only a later reference judges.
pub(super) const fn later(case: Case) -> Case {
    Case { version: Version::Later, ..case }
}

/// The file of a domain with these descriptors.
macro_rules! descriptors {
    ($descriptors:expr) => {
        concat!("domain: d\ndescriptors: [", $descriptors, "]\n")
    };
}

/// The file of a domain with one descriptor that has this limit.
macro_rules! limit {
    ($limit:expr) => {
        concat!("domain: d\ndescriptors: [{ key: k, rate_limit: { ", $limit, " } }]\n")
    };
}

pub(super) use {descriptors, limit};

const CASES: &[Case] = &[
    // Domains.
    refused("an empty domain", &["domain: ''\n"]),
    refused("a domain of nothing", &["domain: ~\n"]),
    refused("no domain", &["descriptors: []\n"]),
    refused("a domain in two files", &["domain: d\n", "domain: d\n"]),
    taken("two domains in two files", &["domain: d\n", "domain: e\n"]),
    taken("a domain that reads as a number", &["domain: 010\n"]),
    taken("a domain that reads as a boolean", &["domain: yes\n"]),
    refused("a domain that is a list", &["domain: [d]\n"]),
    refused("a domain that is a fraction", &["domain: 1.5\n"]),
    // Keys and values.
    refused("an empty key", &[descriptors!("{ key: '' }")]),
    refused("no key", &[descriptors!("{ value: v }")]),
    refused("an empty child", &[descriptors!("{ key: k, descriptors: [{}] }")]),
    refused("a child twice", &[descriptors!("{ key: k }, { key: k }")]),
    refused("a pair twice", &[descriptors!("{ key: k, value: v }, { key: k, value: v }")]),
    refused(
        "a joined pair twice",
        &[descriptors!("{ key: k, value: l_v }, { key: k_l, value: v }")],
    ),
    refused(
        "a pair and a key that join alike",
        &[descriptors!("{ key: k, value: v }, { key: k_v }")],
    ),
    refused("an empty value and none", &[descriptors!("{ key: k, value: '' }, { key: k }")]),
    refused("a tilde and no value", &[descriptors!("{ key: k, value: ~ }, { key: k }")]),
    taken(
        "a child twice of two parents",
        &[descriptors!(
            "{ key: k, descriptors: [{ key: l }] }, { key: m, descriptors: [{ key: l }] }"
        )],
    ),
    taken("a value and none", &[descriptors!("{ key: k, value: v }, { key: k }")]),
    taken(
        "values as YAML writes other things",
        &[descriptors!(
            "{ key: a, value: yes }, { key: a, value: true }, { key: a, value: 010 }, { key: a, value: 8 }, { key: a, value: 0x1F }"
        )],
    ),
    taken("a date for a value", &[descriptors!("{ key: k, value: 2020-01-01 }")]),
    refused("a fraction for a value", &[descriptors!("{ key: k, value: 1.5 }")]),
    refused("an exponent for a value", &[descriptors!("{ key: k, value: 1e3 }")]),
    taken("a fraction in quotes", &[descriptors!("{ key: k, value: '1.5' }")]),
    refused("a list for a value", &[descriptors!("{ key: k, value: [v] }")]),
    refused("a map for a value", &[descriptors!("{ key: k, value: { key: v } }")]),
    // Limits.
    refused("no unit", &[limit!("requests_per_unit: 1")]),
    refused("an unknown unit", &[limit!("unit: fortnight, requests_per_unit: 1")]),
    refused("the unit UNKNOWN", &[limit!("unit: unknown, requests_per_unit: 1")]),
    refused("a unit with a space", &[limit!("unit: 'day ', requests_per_unit: 1")]),
    refused("a unit in the plural", &[limit!("unit: days, requests_per_unit: 1")]),
    refused("a unit as a number", &[limit!("unit: 1, requests_per_unit: 1")]),
    refused("an empty limit", &[descriptors!("{ key: k, rate_limit: {} }")]),
    taken("a limit of nothing", &[descriptors!("{ key: k, rate_limit: }")]),
    taken("units in any case", &[limit!("unit: sEcOnD")]),
    taken("no number", &[limit!("unit: day")]),
    taken("a number of nothing", &[limit!("unit: day, requests_per_unit: ~")]),
    taken("the largest number", &[limit!("unit: day, requests_per_unit: 4294967295")]),
    refused("a larger number", &[limit!("unit: day, requests_per_unit: 4294967296")]),
    refused(
        "a number beyond 64 bits",
        &[limit!("unit: day, requests_per_unit: 99999999999999999999")],
    ),
    refused("a negative number", &[limit!("unit: day, requests_per_unit: -1")]),
    refused("a fraction of a request", &[limit!("unit: day, requests_per_unit: 1.5")]),
    refused("a fraction without a fraction", &[limit!("unit: day, requests_per_unit: 1.0")]),
    refused("a number as a text", &[limit!("unit: day, requests_per_unit: '1'")]),
    refused("a boolean for a number", &[limit!("unit: day, requests_per_unit: yes")]),
    taken(
        "numbers as YAML 1.1 has them",
        &[descriptors!(
            "{ key: k, rate_limit: { unit: day, requests_per_unit: 010 } }, { key: l, rate_limit: { unit: day, requests_per_unit: 0x10 } }, { key: m, rate_limit: { unit: day, requests_per_unit: 1_000 } }, { key: n, rate_limit: { unit: day, requests_per_unit: 0b11 } }, { key: o, rate_limit: { unit: day, requests_per_unit: +5 } }"
        )],
    ),
    refused("unlimited and a unit", &[limit!("unlimited: true, unit: day")]),
    taken(
        "unlimited and no real unit",
        &[limit!("unlimited: true, unit: eon, requests_per_unit: 3")],
    ),
    taken("unlimited and the unit UNKNOWN", &[limit!("unlimited: true, unit: UNKNOWN")]),
    refused("not unlimited and no unit", &[limit!("unlimited: false")]),
    refused("a limit that is a list", &[descriptors!("{ key: k, rate_limit: [{ unit: day }] }")]),
    refused("a limit that is a text", &[descriptors!("{ key: k, rate_limit: day }")]),
    refused("a multiplier", &[limit!("unit: day, unit_multiplier: 2")]),
    // Replaces.
    taken(
        "replaces of others",
        &[descriptors!(
            "{ key: k, rate_limit: { unit: day, name: a, replaces: [{ name: b }, { name: b }] } }"
        )],
    ),
    refused(
        "an empty name in replaces",
        &[descriptors!("{ key: k, rate_limit: { unit: day, name: a, replaces: [{ name: '' }] } }")],
    ),
    refused(
        "no name in replaces",
        &[descriptors!("{ key: k, rate_limit: { unit: day, name: a, replaces: [{}] } }")],
    ),
    refused(
        "its own name in replaces",
        &[descriptors!(
            "{ key: k, rate_limit: { unit: day, name: a, replaces: [{ name: b }, { name: a }] } }"
        )],
    ),
    refused("replaces that are texts", &[limit!("unit: day, replaces: [a]")]),
    refused(
        "replaces that are a map",
        &[descriptors!("{ key: k, rate_limit: { unit: day, replaces: { name: a } } }")],
    ),
    taken("replaces of nothing", &[limit!("unit: day, replaces: ~")]),
    taken(
        "one name for two limits",
        &[descriptors!(
            "{ key: k, rate_limit: { unit: day, name: a } }, { key: l, rate_limit: { unit: day, name: a } }"
        )],
    ),
    // Flags.
    refused(
        "a shared threshold without a wildcard",
        &[descriptors!("{ key: k, value: v, share_threshold: true, rate_limit: { unit: day } }")],
    ),
    refused(
        "a shared threshold without a value",
        &[descriptors!("{ key: k, share_threshold: true }")],
    ),
    taken(
        "no shared threshold without a wildcard",
        &[descriptors!("{ key: k, value: v, share_threshold: false }")],
    ),
    taken(
        "a shared threshold with a wildcard",
        &[descriptors!("{ key: k, value: v*, share_threshold: true }")],
    ),
    later(taken(
        "a shared threshold with a wildcard elsewhere",
        &[descriptors!(
            "{ key: k, value: v*w, share_threshold: true }, { key: k*, share_threshold: true }"
        )],
    )),
    later(taken(
        "a shared threshold with a wildcard in its key",
        &[descriptors!("{ key: 'k*l', value: v, share_threshold: true }")],
    )),
    refused("a number for a boolean", &[descriptors!("{ key: k, shadow_mode: 1 }")]),
    refused("a text for a boolean", &[descriptors!("{ key: k, shadow_mode: 'true' }")]),
    taken(
        "booleans as YAML 1.1 has them",
        &[descriptors!(
            "{ key: k, shadow_mode: yes, quota_mode: off, detailed_metric: ON, value_to_metric: n }"
        )],
    ),
    taken("booleans of nothing", &[descriptors!("{ key: k, shadow_mode: ~, quota_mode: }")]),
    // Metadata.
    later(taken(
        "metadata of anything",
        &[descriptors!(
            "{ key: k, metadata: { unknown: [1, [2.5, ~]], 3: { yes: no }, when: 1e3 } }"
        )],
    )),
    later(taken("metadata of nothing", &[descriptors!("{ key: k, metadata: ~ }")])),
    later(refused("metadata that is a list", &[descriptors!("{ key: k, metadata: [a] }")])),
    later(refused("metadata that is a text", &[descriptors!("{ key: k, metadata: a }")])),
    // Shapes.
    refused("an empty file", &[""]),
    refused("only a comment", &["# nothing\n"]),
    refused("a text", &["domain\n"]),
    refused("a list", &["- domain: d\n"]),
    refused("no YAML", &["domain: [d\n"]),
    refused("a tab", &["domain: d\ndescriptors:\n\t- key: k\n"]),
    refused("no UTF-8", &["domain: d\u{0}\n"]),
    refused("an unknown key at the top", &["domain: d\nlimits: []\n"]),
    refused("an unknown key of a descriptor", &[descriptors!("{ key: k, limit: 1 }")]),
    refused("an unknown key of a limit", &[limit!("unit: day, burst: 1")]),
    refused("an unknown key in another case", &["Domain: d\n"]),
    taken(
        "known keys where they mean nothing",
        &[
            "domain: d\nunit: day\nkey: k\nname: n\nshadow_mode: true\ndescriptors: [{ key: k, unit: day, name: n, domain: d, requests_per_unit: 1 }]\n",
        ],
    ),
    refused("a key that is a number", &["domain: d\n1: a\n"]),
    refused("a key that is a boolean", &["domain: d\nyes: a\n"]),
    refused("a key that is nothing", &["domain: d\n~: a\n"]),
    refused("descriptors that are a map", &["domain: d\ndescriptors: { key: k }\n"]),
    refused("descriptors that are texts", &[descriptors!("k")]),
    refused("a descriptor that is a list", &[descriptors!("[{ key: k }]")]),
    refused("a descriptor that is nothing", &[descriptors!("~")]),
    refused("descriptors that are a text", &["domain: d\ndescriptors: k\n"]),
    taken("no descriptors", &["domain: d\n"]),
    taken("descriptors of nothing", &["domain: d\ndescriptors: ~\n"]),
    taken("empty descriptors", &[descriptors!("")]),
    taken("no file", &[]),
    taken("a second document", &["domain: d\n---\nnonsense: true\n"]),
    taken("a marked document", &["---\ndomain: d\n"]),
    taken("a key twice in a map", &["domain: d\ndomain: e\n"]),
    taken(
        "anchors",
        &[descriptors!("{ key: k, rate_limit: &l { unit: day } }, { key: l, rate_limit: *l }")],
    ),
    taken(
        "a merge key",
        &[descriptors!(
            "{ key: k, rate_limit: &l { unit: day } }, { key: l, rate_limit: { <<: *l, requests_per_unit: 2 } }"
        )],
    ),
    refused("an unknown alias", &["domain: d\ndescriptors: *nothing\n"]),
    refused("a good file beside a bad one", &["domain: d\n", "domain: [\n"]),
    refused("a good file beside one that is no configuration", &["domain: d\n", "hello\n"]),
];

/// With `MERGE_DOMAIN_CONFIG`.
const MERGED: &[Case] = &[
    taken("a domain in two files", &[descriptors!("{ key: k }"), descriptors!("{ key: l }")]),
    refused("a child in two files", &[descriptors!("{ key: k }"), descriptors!("{ key: k }")]),
    refused(
        "a parent in two files",
        &[
            descriptors!("{ key: k, descriptors: [{ key: l }] }"),
            descriptors!("{ key: k, descriptors: [{ key: m }] }"),
        ],
    ),
];

pub(super) fn judge(cases: &[Case], merges_domains: bool) {
    let mut wrong = Vec::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        for (at, text) in case.files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{at}.yaml")), text).unwrap();
        }
        let is_judge = case.version == Version::Pinned || sides::version() == Version::Later;
        let reference = is_judge.then(|| takes(folder.path(), merges_domains));
        let ours = tollgate_takes(folder.path(), merges_domains);
        if (reference.unwrap_or(case.is_taken), ours) != (case.is_taken, case.is_taken) {
            let Case { what, files, is_taken, .. } = case;
            wrong.push(format!(
                "{what}: taken is {is_taken}, reference {reference:?}, tollgate {ours}: {files:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs the reference; bash tests/run.sh"]
fn what_is_refused_and_what_is_taken() {
    judge(CASES, false);
}

#[test]
#[ignore = "needs the reference; bash tests/run.sh"]
fn what_is_refused_of_merged_domains() {
    judge(MERGED, true);
}
