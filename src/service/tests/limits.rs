//! Limits that a configuration has, and those that Envoy brings.

use super::*;
use crate::policy::descriptor_tree::support::node;

const MINUTE: i32 = 2;

#[test]
fn what_has_no_limit_is_ok_with_a_code_alone() {
    let served = served([node("k", "v").with([node("l", "").per_minute(1)]), node("free", "")]);
    let descriptors = [
        descriptor(&[["x", "1"]]),
        descriptor(&[["k", "v"]]),
        descriptor(&[["free", "1"]]),
        descriptor(&[]),
        descriptor(&[["", ""]]),
    ];
    let expected = vec!["OK".to_owned(); descriptors.len()];
    assert_eq!(served.ask(descriptors), ("OK", expected));
    let descriptor = descriptor(&[["k", "v"]]).with_limit(0, MINUTE);
    let response = served.request(&request("unknown", [descriptor], 0));
    assert_eq!((code(response.overall_code), told(&response.statuses[0])), ("OK", "OK".into()));
}

#[test]
fn what_is_unlimited_has_all_remaining_and_no_limit() {
    let served = served([node("k", "").unlimited()]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]]).hits(7)), "OK 4294967295");
}

#[test]
fn a_status_has_the_configured_name_or_none() {
    let served = served([node("k", "").per_minute(3).named("burst"), node("l", "").per_minute(3)]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OK 2/3 minute 60s burst");
    assert_eq!(served.ask_one(descriptor(&[["l", "v"]])), "OK 2/3 minute 60s");
}

#[test]
fn values_that_share_a_threshold_share_one_count() {
    let served = served([
        node("file", "a*").shared().with([node("user", "").per_minute(3)]),
        node("file", "ab").with([node("user", "").per_minute(3)]),
    ]);
    let ask = |file, user| served.ask_one(descriptor(&[["file", file], ["user", user]]));
    assert_eq!(ask("a1", "u"), "OK 2/3 minute 60s");
    assert_eq!(ask("a2", "u"), "OK 1/3 minute 60s");
    assert_eq!(ask("a2", "v"), "OK 2/3 minute 60s");
    assert_eq!(ask("ab", "u"), "OK 2/3 minute 60s");
}

#[test]
fn a_limit_that_envoy_brings_replaces_whatever_the_tree_says() {
    let served = served([
        node("k", "").per_minute(3).named("burst").in_shadow(),
        node("free", "").unlimited(),
    ]);
    let brought =
        |key, requests| served.ask_one(descriptor(&[[key, "v"]]).with_limit(requests, MINUTE));
    assert_eq!(brought("k", 2), "OK 1/2 minute 60s");
    assert_eq!(brought("free", 1), "OK 0/1 minute 60s");
    assert_eq!(brought("free", 1), "OVER 0/1 minute 60s");
    assert_eq!(brought("unmatched", 1), "OK 0/1 minute 60s");
    assert_eq!(brought("nothing", 0), "OVER 0/0 minute 60s");
    assert_eq!(served.ask_one(descriptor(&[]).with_limit(2, MINUTE)), "OK 1/2 minute 60s");
    let week = served.ask_one(descriptor(&[["k", "v"]]).with_limit(5, 7));
    assert_eq!(week, format!("OK 4/5 week {}s", 4 * 86_400));
}

#[test]
fn a_limit_that_envoy_brings_shares_the_count_of_one_with_the_same_window() {
    let served = served([node("k", "").per_minute(5), node("file", "a*").shared().per_minute(5)]);
    served.ask_one(descriptor(&[["k", "v"]]));
    let brought = served.ask_one(descriptor(&[["k", "v"]]).with_limit(3, MINUTE));
    assert_eq!(brought, "OK 1/3 minute 60s");
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OK 2/5 minute 60s");
    // It never uses a pattern.
    served.ask_one(descriptor(&[["file", "ab"]]));
    let brought = served.ask_one(descriptor(&[["file", "ab"]]).with_limit(3, MINUTE));
    assert_eq!(brought, "OK 2/3 minute 60s");
}

/// The reference ends.
#[test]
fn a_limit_of_an_unknown_unit_is_an_invalid_request() {
    let served = served([]);
    let request = request("d", [descriptor(&[["k", "v"]]).with_limit(1, 0)], 0);
    let Response::Ready((answer, _)) = served.service.handle(&support::encode(&request), None)
    else {
        panic!("it is not decided in memory");
    };
    let Err(status) = answer else { panic!("it is taken") };
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

/// The reference joins key and value.
#[test]
fn descriptors_that_join_alike_have_counts_of_their_own() {
    let served = served([
        node("a", "").with([node("b", "").per_minute(5)]),
        node("a_b", "").with([node("b", "").per_minute(5)]),
    ]);
    assert_eq!(served.ask_one(descriptor(&[["a", "b_c"], ["b", "1"]])), "OK 4/5 minute 60s");
    assert_eq!(served.ask_one(descriptor(&[["a_b", "c"], ["b", "1"]])), "OK 4/5 minute 60s");
}
