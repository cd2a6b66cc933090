//! That the comparison finds what differs: the reference on both sides, with different files.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::script::Script;
use super::sides::{Deployment, Service, Sides};
use super::support::descriptor;

/// What a descriptor has on one side, and on the other.
const CHANGES: &[[&str; 2]] = &[
    [
        "rate_limit: { unit: day, requests_per_unit: 5 }",
        "rate_limit: { unit: day, requests_per_unit: 6 }",
    ],
    [
        "rate_limit: { unit: day, requests_per_unit: 5 }",
        "rate_limit: { unit: week, requests_per_unit: 5 }",
    ],
    ["rate_limit: { unit: day, requests_per_unit: 5 }", "rate_limit: { unlimited: true }"],
    ["rate_limit: { unit: day, requests_per_unit: 5 }", "rate_limit: ~"],
    ["rate_limit: { unlimited: true }", "rate_limit: ~"],
    ["rate_limit: { unit: day, name: n }", "rate_limit: { unit: day, name: m }"],
    ["rate_limit: { unit: day }", "shadow_mode: true, rate_limit: { unit: day }"],
    ["value: v*, rate_limit: { unit: day }", "value: w*, rate_limit: { unit: day }"],
    [
        "value: v*, rate_limit: { unit: day, requests_per_unit: 5 }",
        "value: v*, share_threshold: true, rate_limit: { unit: day, requests_per_unit: 5 }",
    ],
];

fn deployment(side: usize, environment: &[(&'static str, &str)]) -> Deployment {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for (at, change) in CHANGES.iter().enumerate() {
        _ = writeln!(text, "  - {{ key: k{at}, {} }}", change[side]);
    }
    Deployment::of(&[("a.yaml", &text)], environment)
}

/// Whether one request finds a difference.
fn differ(sides: &Sides, key: &str) -> bool {
    // For the second the clock may be between two windows; a year hardly is.
    let mut script = Script::begin(sides, "d".into(), Unit::Year);
    let asked = ["v1", "v2"].map(|value| descriptor(&[(key, value)]));
    let asking = catch_unwind(AssertUnwindSafe(|| script.ask(&asked)));
    asking.is_err_and(|told| {
        told.downcast_ref::<String>().is_some_and(|told| told.starts_with("they differ"))
    })
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn every_change_of_one_side_is_found() {
    let services = [0, 1].map(|side| Service::reference(&deployment(side, &[])));
    let sides = Sides::of(services);
    for (at, change) in CHANGES.iter().enumerate() {
        assert!(differ(&sides, &format!("k{at}")), "not found: {change:?}");
    }
    let services = [(); 2].map(|()| Service::reference(&deployment(0, &[])));
    let sides = Sides::of(services);
    for (at, change) in CHANGES.iter().enumerate() {
        assert!(!differ(&sides, &format!("k{at}")), "found: {}", change[0]);
    }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn headers_and_metadata_of_one_side_are_found() {
    for on in ["LIMIT_RESPONSE_HEADERS_ENABLED", "RESPONSE_DYNAMIC_METADATA", "SHADOW_MODE"] {
        let services = ["true", "false"].map(|is| Service::reference(&deployment(0, &[(on, is)])));
        let sides = Sides::of(services);
        // That of the limit of nothing.
        assert!(differ(&sides, "k6"), "not found: {on}");
    }
}
