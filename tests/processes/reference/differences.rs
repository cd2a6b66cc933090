//! Each of [`Difference`], as both have it: one that is none any more is found here.

use serde_json::json;
use tollgate::wire::RateLimitRequest;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::Difference;
use super::compare;
use super::script::{self, Moved};
use super::sides::{Deployment, Said, Sides};
use super::support::{descriptor, give_back, hits, limit, request};
use super::windows;

/// What the reference says, and what tollgate says.
struct Both {
    sides: Sides,
    difference: Difference,
}

impl Both {
    fn of(difference: Difference, descriptors: &str) -> Self {
        let files = [("a.yaml", &*format!("domain: d\ndescriptors:\n{descriptors}"))];
        Self { sides: Sides::all(&Deployment::of(&files, &[])), difference }
    }

    fn say(&self, descriptors: &[RateLimitDescriptor], reference: &str, ours: &str) {
        self.say_to(&request("d", descriptors), reference, ours);
    }

    /// The reference says nothing.
    fn fail_or(&self, descriptors: &[RateLimitDescriptor], ours: &str) {
        for (name, said) in self.sides.ask(&request("d", descriptors)) {
            if name == "reference" {
                assert!(said.is_err(), "{said:?}");
            } else {
                assert_eq!(line(&said), ours, "{name}, {:?}: {descriptors:?}", self.difference);
            }
        }
    }

    fn say_to(&self, request: &RateLimitRequest, reference: &str, ours: &str) {
        for (name, said) in self.sides.ask(request) {
            let expected = if name == "reference" { reference } else { ours };
            assert_eq!(line(&said), expected, "{name}, {:?}: {request:?}", self.difference);
        }
    }
}

fn line(said: &Said) -> String {
    match said {
        Ok(answer) => compare::line(answer),
        Err(status) => format!("{:?}", status.code()),
    }
}

const K: &str = "  - { key: k, rate_limit: { unit: day, requests_per_unit: 5 } }\n";

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_request_that_is_wrong_is_an_invalid_argument() {
    let mut both = Both::of(Difference::BadRequest, K);
    let one = [descriptor(&[("k", "v")])];
    for wrong in [request("", &one), request("d", &[])] {
        both.say_to(&wrong, "Unknown", "InvalidArgument");
    }
    both.say(&one, "OK: OK 4 of 5 a DAY", "OK: OK 4 of 5 a DAY");
    // The last thing that the reference does; how the call ends is a matter of chance.
    both.fail_or(&[limit(1, 0, None, &[("k", "v")])], "InvalidArgument");
    both.sides.services().find(|service| service.name == "reference").unwrap().wait();
    both.fail_or(&[limit(1, 8, None, &[("k", "v")])], "InvalidArgument");
    both.fail_or(&one, "OK: OK 3 of 5 a DAY");
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn hits_that_are_given_back_are_given_back() {
    let both = Both::of(Difference::NegativeHits, K);
    both.say(&[hits(3, &[("k", "v")])], "OK: OK 2 of 5 a DAY", "OK: OK 2 of 5 a DAY");
    both.say(&[give_back(2, &[("k", "v")])], "OK: OK 0 of 5 a DAY", "OK: OK 4 of 5 a DAY");
    both.say(
        &[give_back(9, &[("k", "v")])],
        "OVER_LIMIT: OVER_LIMIT 0 of 5 a DAY",
        "OK: OK 5 of 5 a DAY",
    );
    both.say(
        &[descriptor(&[("k", "v")])],
        "OVER_LIMIT: OVER_LIMIT 0 of 5 a DAY",
        "OK: OK 4 of 5 a DAY",
    );
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn key_and_value_are_two_things() {
    let descriptors = "  - { key: a, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: a_b, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: c, value: d_e, rate_limit: { unit: day, requests_per_unit: 5 } }
  - { key: f*, rate_limit: { unit: day, requests_per_unit: 5 } }
";
    let both = Both::of(Difference::JoinedNames, descriptors);
    let (four, three) = ("OK: OK 4 of 5 a DAY", "OK: OK 3 of 5 a DAY");
    both.say(&[descriptor(&[("a", "b_c")])], four, four);
    both.say(&[descriptor(&[("a_b", "c")])], three, four);
    both.say(&[descriptor(&[("c", "d_e")])], four, four);
    both.say(&[descriptor(&[("c_d", "e")])], three, "OK: OK");
    both.say(&[descriptor(&[("f*", "x")])], four, four);
    both.say(&[descriptor(&[("fg", "x")])], four, "OK: OK");
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn counts_that_are_too_large_deny() {
    let both = Both::of(Difference::LargeCounts, K);
    let over = "OVER_LIMIT: OVER_LIMIT 0 of 5 a DAY";
    both.say(&[hits(i64::MAX.unsigned_abs(), &[("k", "v")])], over, over);
    both.say(&[descriptor(&[("k", "v")])], "Unknown", over);
    // The reference fails the call, and has taken them off: as a number with a sign they are -1.
    both.say(&[hits(u64::MAX, &[("k", "w")])], "Unknown", over);
    both.say(&[descriptor(&[("k", "w")])], "OK: OK 5 of 5 a DAY", over);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn windows_of_two_units_have_two_counts() {
    let both = Both::of(Difference::OneBegin, K);
    // Which of them began together depends on the time of day.
    let units = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];
    script::attempt("windows that begin together", Unit::Minute, |attempt| {
        let begun = windows::now() / windows::length(Unit::Minute);
        let mut lines = Vec::new();
        for pair in units.windows(2) {
            let value = format!("{pair:?} {attempt}");
            let of = |unit: Unit| limit(5, unit as i32, None, &[("k", &value)]);
            let first = both.sides.ask(&request("d", &[of(pair[0])]));
            lines.extend(first.iter().map(|(name, said)| (*name, line(said), pair[0], 4)));
            let is_one = windows::apart(pair).is_empty();
            for (name, said) in both.sides.ask(&request("d", &[of(pair[1])])) {
                let left = if is_one && name == "reference" { 3 } else { 4 };
                lines.push((name, line(&said), pair[1], left));
            }
        }
        if windows::now() / windows::length(Unit::Minute) != begun {
            return Err(Moved);
        }
        for (name, told, unit, left) in lines {
            let expected = format!("OK: OK {left} of 5 a {}", unit.as_str_name());
            assert_eq!(told, expected, "{name}, {:?}", both.difference);
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn metadata_of_a_limit_is_that_of_the_file() {
    let config = "domain: d
descriptors:
  - { key: a, metadata: { m: { x: 1 } }, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: b, metadata: { m: { z: 2 } }, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: detailed, detailed_metric: true, metadata: { m: 1 }, rate_limit: { unit: day, requests_per_unit: 9 } }
  - { key: value, value_to_metric: true, metadata: { m: 1 }, rate_limit: { unit: day, requests_per_unit: 9 } }
";
    let on = [("RESPONSE_DYNAMIC_METADATA", "true")];
    let sides = Sides::later(&Deployment::of(&[("a.yaml", config)], &on));
    let none = json!(null);
    let both = json!({ "m": { "x": 1.0, "z": 2.0 } });
    let (x, m) = (json!({ "m": { "x": 1.0 } }), json!({ "m": 1.0 }));
    for (keys, reference, ours) in [
        (["a"].as_slice(), &x, &x),
        (&["a", "b"], &both, &both),
        (&["a"], &both, &x),
        (&["detailed"], &none, &m),
        (&["value"], &none, &m),
    ] {
        let of = |key: &&str| descriptor(&[(key, "v")]);
        let asked = request("d", &keys.iter().map(of).collect::<Vec<_>>());
        for (name, said) in sides.ask(&asked) {
            let told = compare::metadata(&said.unwrap());
            let expected = if name == "reference" { reference } else { ours };
            let what = Difference::Metadata;
            assert_eq!(
                told.get("metadata").unwrap_or(&none),
                expected,
                "{name}, {what:?}: {keys:?}"
            );
        }
    }
}
