//! Which limit a descriptor meets, and which values share a counter.

use super::script::{self, Case};
use super::sides::Sides;
use super::support::{descriptor, hits};

/// The number of the limit that some entries meet, by a look.
macro_rules! meets {
    ($script:ident, $( [$(($key:expr, $value:expr)),*] => $number:expr ),* $(,)?) => {$(
        let entries: &[(&str, &str)] = &[$(($key, $value)),*];
        let expected: Option<u32> = $number.into();
        let expected = match expected {
            Some(number) => format!("OK: OK {number} of {number} a DAY"),
            None => "OK: OK".to_owned(),
        };
        assert_eq!($script.ask(&[hits(0, entries)])?, expected, "{entries:?}");
    )*};
}

const CASES: &[Case] = &[
    Case::new(
        "a limit is met at the node of the last entry",
        "descriptors:
  - key: a
    rate_limit: { unit: day, requests_per_unit: 1 }
    descriptors:
      - key: b
        descriptors: [{ key: c, value: v, rate_limit: { unit: day, requests_per_unit: 3 } }]
  - { key: leaf, rate_limit: { unit: day, requests_per_unit: 4 } }
  - key: only
    value: v
    descriptors: [{ key: b, rate_limit: { unit: day, requests_per_unit: 5 } }]
",
        |script| {
            meets!(script,
                [("a", "x")] => 1,
                [("a", "x"), ("b", "y")] => None,
                [("a", "x"), ("b", "y"), ("c", "v")] => 3,
                [("a", "x"), ("b", "y"), ("c", "w")] => None,
                [("a", "x"), ("b", "y"), ("c", "v"), ("d", "z")] => None,
                [("b", "y"), ("a", "x")] => None,
                [("leaf", "x")] => 4,
                [("leaf", "x"), ("b", "y")] => None,
                [("only", "v"), ("b", "y")] => 5,
                [("only", "v")] => None,
                [("only", "w"), ("b", "y")] => None,
            );
            Ok(())
        },
    ),
    Case::new(
        "a value goes before a key alone, and there is no going back",
        "descriptors:
  - { key: k, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: k, value: a, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: k, value: bare }
  - key: deep
    descriptors: [{ key: l, rate_limit: { unit: day, requests_per_unit: 3 } }]
  - key: deep
    value: a
    descriptors: [{ key: m, rate_limit: { unit: day, requests_per_unit: 4 } }]
  - { key: deep, value: none }
",
        |script| {
            meets!(script,
                [("k", "a")] => 2,
                [("k", "b")] => 1,
                [("k", "A")] => 1,
                [("k", "")] => 1,
                [("K", "a")] => None,
                [("k", "bare")] => None,
                [("deep", "x"), ("l", "y")] => 3,
                [("deep", "a"), ("m", "y")] => 4,
                [("deep", "a"), ("l", "y")] => None,
                [("deep", "none"), ("l", "y")] => None,
            );
            Ok(())
        },
    ),
    Case::new(
        "an empty value meets a wildcard or the key alone",
        "descriptors:
  - { key: any, value: '*', rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: alone, value: '', rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: tilde, value: ~, rate_limit: { unit: day, requests_per_unit: 3 } }
  - { key: some, value: a*, rate_limit: { unit: day, requests_per_unit: 4 } }
",
        |script| {
            meets!(script,
                [("any", "")] => 1,
                [("any", "/x/y")] => 1,
                [("alone", "")] => 2,
                [("alone", "x")] => 2,
                [("tilde", "")] => 3,
                [("tilde", "x")] => 3,
                [("some", "")] => None,
                [("some", "a")] => 4,
            );
            Ok(())
        },
    ),
    Case::new(
        "the first wildcard as they are written, after the exact value and before the key alone",
        "descriptors:
  - { key: k, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: k, value: a*, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: k, value: abc*, rate_limit: { unit: day, requests_per_unit: 3 } }
  - { key: k, value: abcd, rate_limit: { unit: day, requests_per_unit: 4 } }
  - key: n
    value: x*
    descriptors: [{ key: l, rate_limit: { unit: day, requests_per_unit: 5 } }]
  - key: n
    value: '*'
    descriptors: [{ key: m, rate_limit: { unit: day, requests_per_unit: 6 } }]
",
        |script| {
            meets!(script,
                [("k", "abcd")] => 4,
                [("k", "abcx")] => 2,
                [("k", "a")] => 2,
                [("k", "b")] => 1,
                [("n", "xy"), ("l", "1")] => 5,
                [("n", "xy"), ("m", "1")] => None,
                [("n", "y"), ("m", "1")] => 6,
                [("n", "y"), ("l", "1")] => None,
            );
            Ok(())
        },
    ),
    Case::new(
        "a value with a literal asterisk matches itself first",
        "descriptors:
  - { key: k, value: '*', rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: k, value: a*, rate_limit: { unit: day, requests_per_unit: 2 } }
",
        |script| {
            meets!(script, [("k", "a*")] => 2, [("k", "ab")] => 1, [("k", "*")] => 1, [("k", "**")] => 1);
            Ok(())
        },
    ),
    Case::new(
        "each value that meets a wildcard or a key alone has a counter of its own",
        "descriptors:
  - { key: k, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: w, value: a*, rate_limit: { unit: day, requests_per_unit: 2 } }
  - key: p
    value: a*
    descriptors: [{ key: q, rate_limit: { unit: day, requests_per_unit: 2 } }]
",
        |script| {
            for entries in [
                [("k", "x")].as_slice(),
                &[("k", "y")],
                &[("w", "ax")],
                &[("w", "ay")],
                &[("w", "a")],
                &[("p", "ax"), ("q", "1")],
                &[("p", "ay"), ("q", "1")],
                &[("p", "ay"), ("q", "2")],
            ] {
                assert_eq!(script.ask(&[descriptor(entries)])?, "OK: OK 1 of 2 a DAY", "{entries:?}");
            }
            Ok(())
        },
    ),
    Case::new(
        "a shared threshold puts the pattern in the place of the value, at whatever level",
        "descriptors:
  - { key: k, value: a*, share_threshold: true, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: k, value: ax, rate_limit: { unit: day, requests_per_unit: 8 } }
  - key: p
    value: a*
    share_threshold: true
    descriptors:
      - { key: q, rate_limit: { unit: day, requests_per_unit: 9 } }
      - { key: r, value: b*, share_threshold: true, rate_limit: { unit: day, requests_per_unit: 9 } }
",
        |script| {
            let mut left = |entries: &[(&str, &str)]| script.ask(&[descriptor(entries)]);
            assert_eq!(left(&[("k", "a1")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("k", "a2")])?, "OK: OK 7 of 9 a DAY");
            assert_eq!(left(&[("k", "ax")])?, "OK: OK 7 of 8 a DAY", "a sibling is no part of it");
            assert_eq!(left(&[("k", "a")])?, "OK: OK 6 of 9 a DAY");
            assert_eq!(left(&[("k", "a*")])?, "OK: OK 5 of 9 a DAY", "the pattern itself");
            assert_eq!(left(&[("p", "a1"), ("q", "1")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("p", "a2"), ("q", "1")])?, "OK: OK 7 of 9 a DAY");
            assert_eq!(left(&[("p", "a2"), ("q", "2")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("p", "a2"), ("r", "b1")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("p", "a3"), ("r", "b2")])?, "OK: OK 7 of 9 a DAY");
            Ok(())
        },
    ),
];

/// Wildcards that the pinned reference takes for plain text.
const ANYWHERE: &[Case] = &[
    Case::new(
        "a wildcard anywhere, and several",
        "descriptors:
  - { key: k, value: '*z', rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: k, value: /a/*/b, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: k, value: x*y*x, rate_limit: { unit: day, requests_per_unit: 3 } }
  - { key: k, value: aa*aa, rate_limit: { unit: day, requests_per_unit: 4 } }
  - { key: k, value: m**n, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: k, value: '*mid*', rate_limit: { unit: day, requests_per_unit: 6 } }
",
        |script| {
            meets!(script,
                [("k", "z")] => 1,
                [("k", "az")] => 1,
                [("k", "zz/z")] => 1,
                [("k", "za")] => None,
                [("k", "/a/b")] => None,
                [("k", "/a//b")] => 2,
                [("k", "/a/c/d/b")] => 2,
                [("k", "/a/c/b/")] => None,
                [("k", "xyx")] => 3,
                [("k", "x1y2x")] => 3,
                [("k", "xy")] => None,
                [("k", "xx")] => None,
                [("k", "xyxyx")] => 3,
                [("k", "aaa")] => None,
                [("k", "aaaa")] => 4,
                [("k", "mn")] => 5,
                [("k", "m1n")] => 5,
                [("k", "amidb")] => 6,
                [("k", "mid")] => 6,
                [("k", "mi")] => None,
                [("k", "é*mid")] => 6,
            );
            Ok(())
        },
    ),
    Case::new(
        "shared thresholds with a wildcard anywhere",
        "descriptors:
  - { key: k, value: /a/*/b, share_threshold: true, rate_limit: { unit: day, requests_per_unit: 9 } }
  - key: p
    value: '*x'
    share_threshold: true
    descriptors: [{ key: q, rate_limit: { unit: day, requests_per_unit: 9 } }]
",
        |script| {
            let mut left = |entries: &[(&str, &str)]| script.ask(&[descriptor(entries)]);
            assert_eq!(left(&[("k", "/a/1/b")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("k", "/a/2/b")])?, "OK: OK 7 of 9 a DAY");
            assert_eq!(left(&[("p", "1x"), ("q", "v")])?, "OK: OK 8 of 9 a DAY");
            assert_eq!(left(&[("p", "2x"), ("q", "v")])?, "OK: OK 7 of 9 a DAY");
            assert_eq!(left(&[("p", "2x"), ("q", "w")])?, "OK: OK 8 of 9 a DAY");
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn matching() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn wildcards_anywhere() {
    script::run(&Sides::later(&script::deployment(ANYWHERE, &[])), ANYWHERE);
}
