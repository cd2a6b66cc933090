//! What comments say of tables that differ, and of what is left out.

use super::super::yaml::scalar;
use super::{Met, converted, met, policies, tree};

/// The comments of a converted configuration, without the preface, and how much is left out.
fn comments(descriptors: &str) -> (Vec<String>, usize) {
    let converted = converted(descriptors);
    policies(&converted);
    let tables = converted.text.split_once("tables:\n").unwrap().1;
    let lines = tables.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("# "));
    (lines.map(str::to_owned).collect(), converted.left_out)
}

const LIMIT: &str = "rate_limit: { unit: minute, requests_per_unit: 5 }";

#[test]
fn a_limit_that_tables_cannot_say_is_left_out() {
    for (node, limit, why) in [
        (
            "key: k, value: 'a*b'",
            LIMIT,
            "`k_a*b`, 5 each minute: a condition takes `*` at the end of a value only",
        ),
        ("key: 'k[1]'", LIMIT, "`k[1]`, 5 each minute: a policy cannot name the key `k[1]`"),
        (
            "key: k",
            "rate_limit: { unit: second, requests_per_unit: 1000001 }",
            "`k`, 1000001 each second: a bucket gains at most a million tokens per second",
        ),
        (
            "key: remote_address, value: 10.0.0.0/8",
            LIMIT,
            "`remote_address_10.0.0.0/8`, 5 each minute: an address never equals the network `10.0.0.0/8`",
        ),
    ] {
        let (found, left_out) = comments(&format!("- {{ {node}, {limit} }}"));
        let none = "no table is left, and a policy has at least one".to_owned();
        assert_eq!(found, [format!("left out: the limit of {why}"), none]);
        assert_eq!(left_out, 1);
    }
    let below = format!(
        "- {{ key: k, value: '*b', {LIMIT}, descriptors: [{{ key: j, {LIMIT} }}, {{ key: i }}] }}"
    );
    assert_eq!(comments(&below).1, 2, "its own limit and that of a descriptor below");
    let address =
        format!("- {{ key: remote_address, descriptors: [{{ key: remote_address, {LIMIT} }}] }}");
    let (found, _) = comments(&address);
    assert!(
        found[0].ends_with("a policy cannot name entry 2 of the key `remote_address`"),
        "{found:?}"
    );
}

#[test]
fn a_row_for_a_limit_that_is_left_out_is_unlimited() {
    let huge = "rate_limit: { unit: second, requests_per_unit: 1000001 }";
    let text = format!(
        "- {{ key: k, value: a, {huge} }}\n- {{ key: k, value: b, {LIMIT} }}\n- {{ key: k, {LIMIT} }}"
    );
    let (found, left_out) = comments(&text);
    let what = "left out: the limit of `k_a`, 1000001 each second: a bucket gains at most a million tokens per second";
    assert_eq!((found.as_slice(), left_out), ([what.to_owned()].as_slice(), 1));
    assert_eq!(met(&policies(&converted(&text)), &[("k", "a")]).0, []);
}

#[test]
fn what_a_limit_says_beyond_its_number_is_left_out() {
    let (found, left_out) = comments(
        "- { key: k, quota_mode: true, detailed_metric: true, value_to_metric: true, metadata: { a: b },
    rate_limit: { unit: minute, requests_per_unit: 5, name: n, replaces: [{ name: m }, { name: \"\\n\" }] } }
- { key: j, rate_limit: { unlimited: true, name: m } }",
    );
    let expected = [
        "differs: the name `n` is in no answer: statuses have the names of the table and the row",
        "left out: `replaces`: `m`, `\\n` apply as well",
        "left out: `quota_mode`: it denies by itself, not only together with all other quotas",
        "left out: `metadata`: answers name the table and the row that deny",
        "left out: `detailed_metric`: statistics have the table and the row, and no values",
        "left out: `value_to_metric`: statistics have the table and the row, and no values",
        "`j` is unlimited: no table",
        "differs: the name `m` is in no answer: statuses have the names of the table and the row",
        "differs: it applies as well where the limit does that replaces it in the tree",
    ];
    assert_eq!(found, expected);
    assert_eq!(left_out, 5);
}

#[test]
fn tables_do_not_see_the_order_of_entries() {
    let both = format!(
        "- {{ key: a, descriptors: [{{ key: b, {LIMIT} }}] }}\n- {{ key: b, descriptors: [{{ key: a }}] }}"
    );
    let (found, left_out) = comments(&both);
    let what = "differs: descriptors with the same entries in another order are limited, too, which the tree tells \
                apart";
    assert_eq!((found.as_slice(), left_out), ([what.to_owned()].as_slice(), 0));
    let entries = [("b", "1"), ("a", "1")];
    assert_eq!(met(&tree(&both), &entries).0, []);
    assert_eq!(met(&policies(&converted(&both)), &entries).0.len(), 1);
}

#[test]
fn a_pattern_that_no_value_reaches_has_no_table() {
    let hidden = format!(
        "- {{ key: k, value: 'a*', {LIMIT} }}\n- {{ key: k, value: 'ab*', {LIMIT}, descriptors: [{{ key: j, {LIMIT} }}] }}"
    );
    let (found, left_out) = comments(&hidden);
    assert_eq!(found, ["`k_ab*` and what is below it has no table: `a*` takes all of its values"]);
    assert_eq!(left_out, 0);
}

#[test]
fn values_of_a_pattern_that_tables_cannot_say_are_told_of() {
    let text = format!(
        "- {{ key: k, value: 'a*b' }}\n- {{ key: k, {LIMIT} }}\n- {{ key: k, value: 'c*', {LIMIT} }}"
    );
    let (found, left_out) = comments(&text);
    assert_eq!(found, ["differs: values of `k` that `a*b` takes in the tree meet this limit"]);
    assert_eq!(left_out, 0, "the tree has no limit there");
}

/// An entry has one condition under each of its names, and the second with its key has one name.
#[test]
fn a_pattern_of_a_second_entry_takes_the_values_of_others() {
    let text = format!(
        "- {{ key: k, descriptors: [{{ key: k, value: 'ab*', {LIMIT} }}, {{ key: k, value: 'a*', {LIMIT} }}] }}"
    );
    let (found, _) = comments(&text);
    assert_eq!(
        found,
        ["differs: values of `k[1]` that `ab*` takes in the tree meet this limit, too"]
    );
    let met = met(&policies(&converted(&text)), &[("k", "x"), ("k", "abc")]).0;
    let limit = || Met { requests: 5, seconds: 60, is_shadow: false };
    assert_eq!(met, [limit(), limit()]);
}

/// Any text may be a key or a value: what is written is valid, and means the same.
#[test]
fn keys_and_values_may_have_any_text() {
    let texts = [
        "yes",
        "1",
        "a: b",
        "'#'",
        "\"",
        "\\",
        "é",
        "日本",
        "\u{7f}",
        "\n",
        "all",
        "default",
        "otherwise",
        "{x}",
        " ",
        "limit override",
        "a[x]",
        "x]",
        "endpoint_group",
        "method",
        "PATH",
        "lease",
    ];
    for text in texts {
        let quoted = scalar(text);
        let of_key = format!("- {{ key: {quoted}, {LIMIT} }}");
        let of_value = format!("- {{ key: k, value: {quoted}, {LIMIT} }}");
        let values =
            format!("{of_value}\n- {{ key: k, value: 'v', {LIMIT} }}\n- {{ key: k, {LIMIT} }}");
        let below = format!("- {{ key: k, {LIMIT}, descriptors: [{{ key: {quoted}, {LIMIT} }}] }}");
        let of_k = [vec![("k", text)], vec![("k", "v")], vec![("k", "w")]];
        for (descriptors, requests) in [
            (of_key, &[vec![(text, "v")]][..]),
            (of_value, &of_k[..]),
            (values, &of_k[..]),
            (below, &[vec![("k", "v"), (text, "v")], vec![("k", "v")]][..]),
        ] {
            let converted = converted(&descriptors);
            assert_eq!(converted.left_out, 0, "{}", converted.text);
            let (tree, tables) = (tree(&descriptors), policies(&converted));
            for entries in requests {
                assert_eq!(
                    met(&tables, entries).0,
                    met(&tree, entries).0,
                    "{entries:?} {}",
                    converted.text
                );
            }
        }
    }
}

#[test]
fn tables_have_names_of_their_own() {
    let long = "x".repeat(200);
    let text = format!(
        "- {{ key: a, value: 'é*', {LIMIT} }}\n- {{ key: a, value: 'ü*', {LIMIT} }}
- {{ key: {long}1, {LIMIT} }}\n- {{ key: {long}2, {LIMIT} }}\n- {{ key: limit override, {LIMIT} }}"
    );
    let policies = policies(&converted(&text));
    let names: Vec<_> = policies
        .iter()
        .next()
        .unwrap()
        .tables()
        .iter()
        .map(|table| table.name().to_owned())
        .collect();
    let long = "x".repeat(80);
    assert_eq!(names, ["a__*", "a__* 2", &long, &format!("{long} 2"), "limit override 2"]);
}
