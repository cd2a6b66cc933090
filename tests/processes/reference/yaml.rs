//! YAML as the reference's parser reads it, version 1.1 and its own ways: what is refused, and what a scalar means.

use super::refusals::{Case, descriptors, judge, later, limit, refused, taken};
use super::script::{self, Case as Script};
use super::sides::Sides;
use super::support::{descriptor, hits};

const SHAPES: &[Case] = &[
    // Documents.
    taken("a second document that is no YAML", &["domain: d\n---\n[\n"]),
    taken("an end, and what comes after it", &["domain: d\n...\nx: y\n"]),
    refused("an empty document first", &["---\n---\ndomain: d\n"]),
    taken("the version 1.1", &["%YAML 1.1\n---\ndomain: d\n"]),
    refused("another version", &["# in\n%YAML 1.2\n---\ndomain: d\n"]),
    refused("an older version", &["%YAML 1.0\n---\ndomain: d\n"]),
    taken("another version behind the end", &["domain: d\n...\n%YAML 1.2\n---\n"]),
    taken("a name for tags", &["%TAG !y! tag:yaml.org,2002:\n---\ndomain: !y!str 1.5\n"]),
    refused("a directive that is none", &["%MINE\n---\ndomain: d\n"]),
    taken("lines as Windows ends them", &["domain: d\r\ndescriptors:\r\n  - key: k\r\n"]),
    taken("a byte order mark", &["\u{feff}domain: d\n"]),
    refused("a control character", &[descriptors!("{ key: k\u{1} }")]),
    taken("an escaped control character", &["domain: d\ndescriptors: [{ key: \"k\\x01\" }]\n"]),
    refused("half a character", &["domain: \"\\ud800\"\n"]),
    taken("a tab after a colon", &["domain:\td\n"]),
    // Maps.
    taken("an explicit key", &["? domain\n: d\n"]),
    refused("a list as a key", &["domain: d\n? [a]\n: b\n"]),
    taken("tags", &["!x { !!str domain: !y d }\n"]),
    refused("a tag for a boolean as a key", &["domain: d\n!!str yes: 1\n"]),
    refused("a domain twice, at last of nothing", &["domain: d\ndomain: ~\n"]),
    refused("an anchor under a key of its own", &["x: &x 1\ndomain: d\n"]),
    refused(
        "an alias within itself",
        &["domain: d\ndescriptors: &x [{ key: k, descriptors: *x }]\n"],
    ),
    refused("a merge key in quotes", &[descriptors!("&k { key: k }, { '<<': *k, key: l }")]),
    taken("a merge key by its tag", &[descriptors!("&k { key: k }, { !!merge <<: *k, value: v }")]),
    refused("a merge of a number", &[descriptors!("{ <<: 3, key: l }")]),
    // Scalars for texts.
    refused("infinity for a value", &[descriptors!("{ key: k, value: .inf }")]),
    refused(
        "a value that 63 bits do not hold",
        &[descriptors!("{ key: k, value: 9223372036854775808 }")],
    ),
    taken("a value that 63 bits hold", &[descriptors!("{ key: k, value: 9223372036854775807 }")]),
    refused("a value tagged as a fraction", &[descriptors!("{ key: k, value: !!float 1 }")]),
    taken("a value in base64", &[descriptors!("{ key: k, value: !!binary aGVsbG9= }")]),
    refused("base64 without its padding", &[descriptors!("{ key: k, value: !!binary aGVsbG8 }")]),
    refused("base64 with a space", &[descriptors!("{ key: k, value: !!binary 'aGVs bG8=' }")]),
    taken("a date", &[descriptors!("{ key: k, value: !!timestamp 2020-1-2 }")]),
    taken(
        "a time with a zone",
        &[descriptors!("{ key: k, value: !!timestamp '2001-12-14t1:59:43.10-05:00' }")],
    ),
    taken("a time without", &[descriptors!("{ key: k, value: !!timestamp 2001-12-14 21:59:43 }")]),
    refused("no time", &[descriptors!("{ key: k, value: !!timestamp abc }")]),
    refused("no date", &[descriptors!("{ key: k, value: !!timestamp 2021-02-29 }")]),
    refused(
        "a time of no zone",
        &[descriptors!("{ key: k, value: !!timestamp 2020-01-01T1:2:3 }")],
    ),
    taken("a key in base64", &["!!binary ZG9tYWlu: d\n"]),
    taken("a value tagged as a text", &[descriptors!("{ key: k, value: !!str 1.5 }")]),
    // For numbers and booleans.
    refused("digits beyond octal", &[limit!("unit: day, requests_per_unit: 08")]),
    refused("a number in base64", &[limit!("unit: day, requests_per_unit: !!binary MQ==")]),
    refused("a boolean in base64", &[descriptors!("{ key: k, shadow_mode: !!binary dHJ1ZQ== }")]),
    refused("an empty number", &[limit!("unit: day, requests_per_unit: ''")]),
    refused("a number by minutes", &[limit!("unit: day, requests_per_unit: 1:30")]),
    refused("a boolean in mixed case", &[descriptors!("{ key: k, shadow_mode: tRue }")]),
    taken(
        "every boolean",
        &[descriptors!(
            "{ key: a, shadow_mode: y }, { key: b, shadow_mode: Y }, { key: c, shadow_mode: N }, { key: e, shadow_mode: Off }"
        )],
    ),
    // For lists and maps.
    refused("an empty text for descriptors", &["domain: d\ndescriptors: ''\n"]),
    refused("an empty map for descriptors", &["domain: d\ndescriptors: {}\n"]),
    refused("an empty text for a limit", &[descriptors!("{ key: k, rate_limit: '' }")]),
    refused("an empty text for replaces", &[limit!("unit: day, replaces: ''")]),
    // Known keys where they mean nothing.
    later(taken(
        "anything there",
        &[
            "domain: d\nvalue: [{ key: z }]\nunit: { key: x }\nname: 3\nmetadata: [1.5]\ndescriptors: [{ key: k, requests_per_unit: x }]\n",
        ],
    )),
    refused("a fraction there", &["domain: d\nvalue: 1.5\n"]),
    refused("texts there", &["domain: d\nvalue: [a]\n"]),
    refused("an unknown key there", &["domain: d\nunit: { foo: x }\n"]),
];

const MEANINGS: &[Script] = &[
    Script::new(
        "a text is as it is written",
        "descriptors:
  - { key: k, value: yes, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: k, value: TRUE, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: k, value: 010, rate_limit: { unit: day, requests_per_unit: 3 } }
  - { key: k, value: 0x1F, rate_limit: { unit: day, requests_per_unit: 4 } }
  - { key: k, value: 1_000, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: k, value: 2020-01-01, rate_limit: { unit: day, requests_per_unit: 6 } }
  - { key: k, value: !!str 1.5, rate_limit: { unit: day, requests_per_unit: 7 } }
  - { key: k, value: hello, rate_limit: { unit: day, requests_per_unit: 8 } }
  - key: k
    value: |
      two
      lines
    rate_limit: { unit: day, requests_per_unit: 9 }
  - key: k
    value: >-
      two
      lines
    rate_limit: { unit: day, requests_per_unit: 10 }
  - { key: 010, rate_limit: { unit: day, requests_per_unit: 11, name: 010 } }
  - { key: off, value: =, rate_limit: { unit: day, requests_per_unit: 12 } }
  - { key: !!binary YmFzZTY0, value: !!binary aGVsbG8=, rate_limit: { unit: !!binary ZGF5, requests_per_unit: 13 } }
",
        |script| {
            let values = [
                "yes", "TRUE", "010", "0x1F", "1_000", "2020-01-01", "1.5", "hello", "two\nlines\n", "two lines",
            ];
            for (number, value) in (1..).zip(values) {
                let line = format!("OK: OK {number} of {number} a DAY");
                assert_eq!(script.ask(&[hits(0, &[("k", value)])])?, line, "{value:?}");
            }
            for other in ["true", "8", "31", "1000"] {
                assert_eq!(script.ask(&[hits(0, &[("k", other)])])?, "OK: OK", "{other:?}");
            }
            assert_eq!(script.ask(&[hits(0, &[("010", "v")])])?, "OK: OK 11 of 11 a DAY \"010\"");
            assert_eq!(script.ask(&[hits(0, &[("off", "=")])])?, "OK: OK 12 of 12 a DAY");
            assert_eq!(script.ask(&[hits(0, &[("base64", "hello")])])?, "OK: OK 13 of 13 a DAY");
            Ok(())
        },
    ),
    Script::new(
        "a number is as YAML 1.1 has it",
        "descriptors:
  - { key: octal, rate_limit: { unit: day, requests_per_unit: 010 } }
  - { key: octal too, rate_limit: { unit: day, requests_per_unit: 0o17 } }
  - { key: hex, rate_limit: { unit: day, requests_per_unit: 0x10 } }
  - { key: grouped, rate_limit: { unit: day, requests_per_unit: 1_000 } }
  - { key: binary, rate_limit: { unit: day, requests_per_unit: 0b11 } }
  - { key: signed, rate_limit: { unit: day, requests_per_unit: +5 } }
  - { key: nothing, rate_limit: { unit: day, requests_per_unit: ~ } }
  - { key: tagged, rate_limit: { unit: day, requests_per_unit: !!int '3' } }
",
        |script| {
            for (key, number) in [
                ("octal", 8),
                ("octal too", 15),
                ("hex", 16),
                ("grouped", 1_000),
                ("binary", 3),
                ("signed", 5),
                ("nothing", 0),
                ("tagged", 3),
            ] {
                let line = format!("OK: OK {number} of {number} a DAY");
                assert_eq!(script.ask(&[hits(0, &[(key, "v")])])?, line);
            }
            Ok(())
        },
    ),
    Script::new(
        "keys twice and merged maps",
        "descriptors:
  - { key: twice, key: last, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: again, rate_limit: &again { unit: day, requests_per_unit: 3 }, rate_limit: { unit: hour } }
  - { key: before, rate_limit: { <<: *again, requests_per_unit: 2 } }
  - { key: behind, rate_limit: { requests_per_unit: 2, <<: *again } }
  - { key: of two, rate_limit: { <<: [{ unit: year }, *again] } }
  - &base { key: base, value: v, rate_limit: { unit: day, requests_per_unit: 4 } }
  - { <<: *base, value: w }
",
        |script| {
            for (key, value, limit) in [
                ("last", "v", "1 of 1 a DAY"),
                ("again", "v", "3 of 3 a HOUR"),
                ("before", "v", "2 of 2 a DAY"),
                ("behind", "v", "3 of 3 a DAY"),
                ("of two", "v", "3 of 3 a YEAR"),
                ("base", "v", "4 of 4 a DAY"),
                ("base", "w", "4 of 4 a DAY"),
            ] {
                let line = format!("OK: OK {limit}");
                assert_eq!(script.ask(&[hits(0, &[(key, value)])])?, line, "{key}");
            }
            assert_eq!(script.ask(&[descriptor(&[("twice", "v")])])?, "OK: OK");
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference; bash tests/run.sh"]
fn what_the_parser_refuses_and_takes() {
    judge(SHAPES, false);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn what_scalars_and_maps_mean() {
    script::run(&Sides::all(&script::deployment(MEANINGS, &[])), MEANINGS);
}
