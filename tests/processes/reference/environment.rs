//! What the environment changes: headers, dynamic metadata, options of counting, merged domains.

use serde_json::json;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::compare::{headers, line, metadata};
use super::script::{self, Case, Script};
use super::sides::{Deployment, Sides};
use super::support::{descriptor, hits, limit, request};
use super::windows;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;

const HEADERS_ON: (&str, &str) = ("LIMIT_RESPONSE_HEADERS_ENABLED", "true");
const METADATA_ON: (&str, &str) = ("RESPONSE_DYNAMIC_METADATA", "true");

const TREE: &str = "descriptors:
  - { key: three, rate_limit: { unit: day, requests_per_unit: 3 } }
  - { key: five, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: also five, rate_limit: { unit: year, requests_per_unit: 5 } }
  - { key: nothing, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: zero, rate_limit: { unit: year, requests_per_unit: 0 } }
  - { key: most, rate_limit: { unit: day, requests_per_unit: 4294967295 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: free, rate_limit: { unlimited: true } }
";

fn of(keys: &[&str]) -> Vec<RateLimitDescriptor> {
    keys.iter().map(|key| descriptor(&[(key, "v")])).collect()
}

/// The headers for these descriptors, without the reset, which is that of the unit.
fn told(
    script: &mut Script<'_>,
    descriptors: &[RateLimitDescriptor],
    unit: Unit,
) -> Result<Vec<String>, script::Moved> {
    let answer = script.answer(descriptors)?;
    let mut headers = headers(&answer);
    if let Some(reset) = headers.pop() {
        let (name, seconds) = reset.rsplit_once(' ').unwrap();
        let due = windows::length(unit) - windows::now() % windows::length(unit);
        let late = seconds.parse::<u64>().unwrap().abs_diff(due);
        assert!(late <= 1, "{reset}, not {due}: {}", line(&answer));
        headers.push(name.to_owned());
    }
    Ok(headers)
}

const HEADERS: &[Case] = &[
    Case::new("the first of those with least left", TREE, |script| {
        let three = |limit, left| {
            [format!("x-Limit: {limit}"), format!("X-LEFT: {left}"), "x-reset:".to_owned()]
        };
        assert_eq!(told(script, &of(&["three"]), Unit::Day)?, three(3, 2));
        assert_eq!(told(script, &of(&["five", "three"]), Unit::Day)?, three(3, 1));
        assert_eq!(told(script, &of(&["also five", "five"]), Unit::Day)?, three(5, 3));
        assert_eq!(told(script, &of(&["also five", "five"]), Unit::Day)?, three(5, 2));
        let equal = [hits(1, &[("also five", "v")]), hits(0, &[("five", "v")])];
        assert_eq!(told(script, &equal, Unit::Year)?, three(5, 2), "the first of equals");
        assert_eq!(told(script, &of(&["free", "unmatched", "three"]), Unit::Day)?, three(3, 0));
        let brought = [limit(9, 6, None, &[("other", "v")])];
        assert_eq!(told(script, &brought, Unit::Year)?, three(9, 8));
        Ok(())
    }),
    Case::new("the last of those that deny, not of those in shadow", TREE, |script| {
        let three = |limit, left| {
            [format!("x-Limit: {limit}"), format!("X-LEFT: {left}"), "x-reset:".to_owned()]
        };
        assert_eq!(told(script, &of(&["nothing", "three", "zero"]), Unit::Year)?, three(0, 0));
        assert_eq!(told(script, &of(&["zero", "nothing", "three"]), Unit::Day)?, three(0, 0));
        assert_eq!(told(script, &of(&["zero", "tried"]), Unit::Year)?, three(0, 0));
        assert_eq!(told(script, &of(&["five", "tried"]), Unit::Day)?, three(0, 0));
        Ok(())
    }),
    Case::new("none where nothing is limited, nor where all that can be is left", TREE, |script| {
        for keys in [["free", "unmatched"].as_slice(), &["free"], &["unmatched"]] {
            assert_eq!(headers(&script.answer(&of(keys))?), Vec::<String>::new(), "{keys:?}");
        }
        let look = [hits(0, &[("most", "v")])];
        assert_eq!(headers(&script.answer(&look)?), Vec::<String>::new());
        Ok(())
    }),
];

const METADATA: &[Case] = &[
    Case::new("the request as it was understood", TREE, |script| {
        let mut asked = script.request(&[
            descriptor(&[("three", "v"), ("two", ""), ("", "a=b")]),
            hits(0, &[]),
            RateLimitDescriptor { hits_addend: Some(7), ..limit(5, 2, None, &[("k", "v")]) },
            limit(0, 7, None, &[("zero", "v")]),
        ]);
        asked.hits_addend = 4;
        let answer = script.send(&asked)?.unwrap();
        let expected = json!({
            "domain": script.domain(),
            "hitsAddend": 4.0,
            "descriptors": [
                { "entries": ["three=v", "two=", "=a=b"] },
                { "entries": [], "hitsAddend": 0.0 },
                { "entries": ["k=v"], "hitsAddend": 7.0, "limit": "requests_per_unit:5 unit:MINUTE" },
                { "entries": ["zero=v"], "limit": "unit:7" },
            ],
        });
        assert_eq!(metadata(&answer), expected);
        let names = headers(&answer);
        assert_eq!(names[0], "RateLimit-Limit: 0");
        assert_eq!(names[1], "RateLimit-Remaining: 0");
        assert!(names[2].starts_with("RateLimit-Reset: "), "{names:?}");
        Ok(())
    }),
    Case::new("also of a denial, and of nothing known", TREE, |script| {
        for key in ["nothing", "free", "unmatched"] {
            let answer = script.answer(&of(&[key]))?;
            let expected = json!({
                "domain": script.domain(),
                "descriptors": [{ "entries": [format!("{key}=v")] }],
            });
            assert_eq!(metadata(&answer), expected);
        }
        let unknown = script.send(&request("nobody's", &of(&["k"])))?.unwrap();
        let expected = json!({ "domain": "nobody's", "descriptors": [{ "entries": ["k=v"] }] });
        assert_eq!(metadata(&unknown), expected);
        Ok(())
    }),
];

const WITH_METADATA: &str = "descriptors:
  - { key: a, metadata: { plan: gold, size: 3, list: [1, x, { z: yes }], none: ~ }, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: b, metadata: { plan: silver, more: { deep: 1.5 } }, rate_limit: { unit: day, requests_per_unit: 9, name: b } }
  - { key: denied, metadata: { denied: true }, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: tried, shadow_mode: true, metadata: { tried: true }, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: free, metadata: { free: true }, rate_limit: { unlimited: true, replaces: [{ name: b }] } }
  - { key: parent, metadata: { parent: true }, descriptors: [{ key: child, rate_limit: { unit: day, requests_per_unit: 9 } }] }
  - { key: words, metadata: { y: y, 010: 010, ~: ~, off: 0x10, 1.50: 1_000.5, in: { y: n, 010: 1e3, ~: 2020-01-01, off: 0.5, 1.50: 12345678901234567890 } }, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: empty, metadata: {}, rate_limit: { unit: day, requests_per_unit: 9 } }
";

const LIMITS_METADATA: &[Case] = &[Case::new(
    "metadata of the limits whose status is OK, merged",
    WITH_METADATA,
    |script| {
        let gold =
            json!({ "plan": "gold", "size": 3.0, "list": [1.0, "x", { "z": true }], "none": null });
        let merged = json!({ "plan": "gold", "size": 3.0, "list": [1.0, "x", { "z": true }], "none": null,
            "more": { "deep": 1.5 } });
        let silver = json!({ "plan": "silver", "size": 3.0, "list": [1.0, "x", { "z": true }], "none": null,
            "more": { "deep": 1.5 } });
        // At the top a name is as it is written, and below it what YAML 1.1 and Go make of it.
        let words = json!({
            "y": true, "010": 8.0, "": null, "off": 16.0, "1.50": 1000.5,
            "in": { "true": false, "8": 1000.0, "<nil>": "2020-01-01", "false": 0.5, "1.5": 12345678901234567890.0 },
        });
        let cases = [
            (of(&["a"]), gold.clone()),
            (of(&["a", "b"]), merged),
            (of(&["b", "a"]), silver),
            (of(&["denied"]), json!(null)),
            (of(&["denied", "a"]), gold),
            (of(&["tried"]), json!({ "tried": true })),
            (of(&["free"]), json!(null)),
            (of(&["free", "b"]), json!(null)),
            (of(&["words"]), words),
            (of(&["empty"]), json!(null)),
            (vec![descriptor(&[("parent", "v"), ("child", "v")])], json!(null)),
            (vec![limit(9, 6, None, &[("a", "v")])], json!(null)),
        ];
        for (asked, expected) in cases {
            let told = metadata(&script.answer(&asked)?);
            assert_eq!(told.get("metadata").unwrap_or(&json!(null)), &expected, "{asked:?}");
        }
        Ok(())
    },
)];

const SPARING: &[Case] = &[
    Case::new(
        "only those that would go over are charged",
        "descriptors:
  - { key: one, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: two, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: five, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 0 } }
",
        |script| {
            let all = of(&["one", "two", "five"]);
            let line = "OK: OK 0 of 1 a DAY, OK 1 of 2 a DAY, OK 4 of 5 a DAY";
            assert_eq!(script.ask(&all)?, line);
            let line = "OVER_LIMIT: OVER_LIMIT 0 of 1 a DAY, OK 1 of 2 a DAY, OK 4 of 5 a DAY";
            assert_eq!(script.ask(&all)?, line);
            assert_eq!(script.ask(&of(&["two"]))?, "OK: OK 0 of 2 a DAY");
            let line = "OVER_LIMIT: OVER_LIMIT 0 of 2 a DAY, OK 4 of 5 a DAY";
            assert_eq!(script.ask(&of(&["two", "five"]))?, line);
            // One in shadow would go over as well.
            let line = "OK: OK 0 of 0 a DAY, OK 4 of 5 a DAY";
            assert_eq!(script.ask(&of(&["tried", "five"]))?, line);
            // Each looks at what was before the request.
            let twice = [hits(3, &[("five", "v")]), hits(3, &[("five", "v")])];
            assert_eq!(script.ask(&twice)?, "OVER_LIMIT: OK 1 of 5 a DAY, OVER_LIMIT 0 of 5 a DAY");
            // Of several hits of one counter, those that fit are spared, and told of what stands in front of them.
            let few_and_many = [hits(1, &[("five", "x")]), hits(6, &[("five", "x")])];
            let line = "OVER_LIMIT: OK 5 of 5 a DAY, OVER_LIMIT 0 of 5 a DAY";
            assert_eq!(script.ask(&few_and_many)?, line);
            let many_and_few = [hits(6, &[("five", "y")]), hits(1, &[("five", "y")])];
            let line = "OVER_LIMIT: OVER_LIMIT 0 of 5 a DAY, OVER_LIMIT 0 of 5 a DAY";
            assert_eq!(script.ask(&many_and_few)?, line);
            // And is told as it stands, if another would go over.
            let mut spared = of(&["two", "five", "five"]);
            spared.iter_mut().skip(1).for_each(|asked| asked.entries[0].value = "w".into());
            let line = "OVER_LIMIT: OVER_LIMIT 0 of 2 a DAY, OK 5 of 5 a DAY, OK 5 of 5 a DAY";
            assert_eq!(script.ask(&spared)?, line);
            Ok(())
        },
    ),
    Case::new(
        "what would go over is charged all the same",
        "descriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 3 } }]\n",
        |script| {
            let over = "OVER_LIMIT: OVER_LIMIT 0 of 3 a DAY";
            assert_eq!(script.ask(&[hits(9, &[("k", "v")])])?, over);
            assert_eq!(script.ask(&[hits(0, &[("k", "v")])])?, over);
            assert_eq!(script.ask(&[hits(1, &[("k", "v")])])?, over);
            Ok(())
        },
    ),
];

/// With the options that change no answer.
const SAME: &[Case] = &[
    Case::new(
        "a count that is over is over until its window ends",
        "descriptors:
  - { key: k, rate_limit: { unit: day, requests_per_unit: 2 } }
  - { key: l, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }
",
        |script| {
            let all = of(&["k", "tried", "l"]);
            let lines = [
                "OK: OK 1 of 2 a DAY, OK 0 of 1 a DAY, OK 8 of 9 a DAY",
                "OK: OK 0 of 2 a DAY, OK 0 of 1 a DAY, OK 7 of 9 a DAY",
                "OVER_LIMIT: OVER_LIMIT 0 of 2 a DAY, OK 0 of 1 a DAY, OK 6 of 9 a DAY",
                "OVER_LIMIT: OVER_LIMIT 0 of 2 a DAY, OK 0 of 1 a DAY, OK 5 of 9 a DAY",
            ];
            for line in lines {
                assert_eq!(script.ask(&all)?, line);
            }
            assert_eq!(
                script.ask(&[hits(0, &[("k", "v")])])?,
                "OVER_LIMIT: OVER_LIMIT 0 of 2 a DAY"
            );
            Ok(())
        },
    ),
    Case::by_the_second(
        "and not in the next",
        "descriptors: [{ key: k, rate_limit: { unit: second, requests_per_unit: 1 } }]\n",
        |script| {
            for _ in 0..2 {
                assert_eq!(script.ask(&of(&["k"]))?, "OK: OK 0 of 1 a SECOND");
                assert_eq!(script.ask(&of(&["k"]))?, "OVER_LIMIT: OVER_LIMIT 0 of 1 a SECOND");
                script.next_window();
            }
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn headers_by_the_names_that_are_given() {
    let names = [
        HEADERS_ON,
        ("LIMIT_LIMIT_HEADER", "x-Limit"),
        ("LIMIT_REMAINING_HEADER", "X-LEFT"),
        ("LIMIT_RESET_HEADER", "x-reset"),
    ];
    script::run(&Sides::all(&script::deployment(HEADERS, &names)), HEADERS);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn dynamic_metadata_and_headers_by_their_default_names() {
    let deployment = script::deployment(METADATA, &[METADATA_ON, HEADERS_ON]);
    script::run(&Sides::all(&deployment), METADATA);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn metadata_of_limits() {
    let deployment = script::deployment(LIMITS_METADATA, &[METADATA_ON]);
    script::run(&Sides::later(&deployment), LIMITS_METADATA);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn counters_that_are_spared() {
    let on = [("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true")];
    script::run(&Sides::all(&script::deployment(SPARING, &on)), SPARING);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_local_cache_and_a_prefix_change_no_answer() {
    let on = [
        ("LOCAL_CACHE_SIZE_IN_BYTES", "1048576"),
        ("CACHE_KEY_PREFIX", "prefix:"),
        ("EXPIRATION_JITTER_MAX_SECONDS", "0"),
        ("NEAR_LIMIT_RATIO", "0.5"),
    ];
    script::run(&Sides::all(&script::deployment(SAME, &on)), SAME);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn files_of_one_domain_are_merged() {
    let files = [
        (
            "a.yaml",
            "domain: d\ndescriptors: [{ key: a, rate_limit: { unit: day, requests_per_unit: 2 } }]\n",
        ),
        (
            "b.yaml",
            "domain: d\ndescriptors: [{ key: a, value: x, rate_limit: { unit: day, requests_per_unit: 3 } }]\n",
        ),
        ("c.yaml", "domain: d\n"),
        (
            "e.yaml",
            "domain: e\ndescriptors: [{ key: a, rate_limit: { unit: day, requests_per_unit: 4 } }]\n",
        ),
    ];
    let sides = Sides::all(&Deployment::of(&files, &[("MERGE_DOMAIN_CONFIG", "true")]));
    script::attempt("merged domains", Unit::Minute, |attempt| {
        let value = format!("v{attempt}");
        let mut script = Script::begin(&sides, "d".into(), Unit::Minute);
        assert_eq!(script.ask(&[descriptor(&[("a", &value)])])?, "OK: OK 1 of 2 a DAY");
        assert_eq!(script.ask(&[hits(0, &[("a", "x")])])?, "OK: OK 3 of 3 a DAY");
        let mut script = Script::begin(&sides, "e".into(), Unit::Minute);
        assert_eq!(script.ask(&[descriptor(&[("a", &value)])])?, "OK: OK 3 of 4 a DAY");
        Ok(())
    });
}
