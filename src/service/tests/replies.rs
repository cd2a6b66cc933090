//! What an answer has beside its statuses.

use serde_json::json;

use super::*;
use crate::policy::descriptor_tree::support::node;
use crate::policy::metadata::{Map, Value};
use crate::wire::support::metadata;

fn with_headers() -> TreeSettings {
    let headers = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"].map(Into::into);
    TreeSettings { headers: Some(headers), ..TreeSettings::default() }
}

fn headers(response: &RateLimitResponse) -> Vec<(&str, &str)> {
    let headers = &response.response_headers_to_add;
    headers.iter().map(|header| (&*header.key, &*header.value)).collect()
}

#[test]
fn an_answer_has_statuses_and_nothing_else() {
    let served = served([node("k", "").per_minute(0)]);
    let response = served.response([descriptor(&[["k", "v"]])]);
    let RateLimitResponse { overall_code, statuses, .. } = response.clone();
    assert_eq!(response, RateLimitResponse { overall_code, statuses, ..Default::default() });
    assert_eq!(code(overall_code), "OVER");
}

#[test]
fn the_headers_tell_of_the_first_limit_with_the_least_remaining() {
    let nodes = [
        node("a", "").per_minute(5),
        node("b", "").limited(3, Unit::Hour),
        node("c", "").limited(3, Unit::Day),
        node("free", "").unlimited(),
    ];
    let served = served_with(nodes, &with_headers());
    let response = served.response(["free", "a", "b", "c"].map(|key| descriptor(&[[key, "v"]])));
    let expected =
        [("RateLimit-Limit", "3"), ("RateLimit-Remaining", "2"), ("RateLimit-Reset", "3600")];
    assert_eq!(headers(&response), expected);
    let response = served.response([descriptor(&[["free", "v"]]), descriptor(&[["x", "v"]])]);
    assert_eq!(headers(&response), []);
}

#[test]
fn the_headers_of_a_denial_tell_of_the_last_limit_that_is_over_and_no_quota() {
    let nodes = [
        node("a", "").per_minute(0),
        node("b", "").limited(0, Unit::Hour),
        node("q", "").limited(0, Unit::Day).into_quota(),
        node("s", "").limited(0, Unit::Second).in_shadow(),
    ];
    let served = served_with(nodes, &with_headers());
    let reset = |keys: &[&str]| {
        let response = served.response(keys.iter().map(|key| descriptor(&[[key, "v"]])));
        headers(&response).last().map(|(_, reset)| (*reset).to_owned()).unwrap()
    };
    assert_eq!(reset(&["a", "b"]), "3600");
    assert_eq!(reset(&["b", "a"]), "60");
    assert_eq!(reset(&["s", "a", "q"]), "60");
    assert_eq!(reset(&["q", "s"]), "86400", "the first of those with the least");
}

/// As in the reference.
#[test]
fn a_limit_of_which_the_most_remains_has_no_headers() {
    let served = served_with([node("k", "").per_minute(u32::MAX)], &with_headers());
    assert_eq!(headers(&served.response([descriptor(&[["k", "v"]]).hits(0)])), []);
    assert_eq!(headers(&served.response([descriptor(&[["k", "v"]])])).len(), 3);
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Map {
    fields.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

fn with_metadata() -> TreeSettings {
    TreeSettings { has_metadata: true, ..TreeSettings::default() }
}

#[test]
fn metadata_tell_of_the_request() {
    let served = served_with([node("k", "").per_minute(9)], &with_metadata());
    let descriptors = [
        descriptor(&[["k", "v"], ["l", ""]]).hits(0).with_limit(5, 2),
        descriptor(&[["x", "ä=1"]]).with_limit(0, 7),
    ];
    let request = request("d", descriptors, 3);
    let expected = json!({
        "domain": "d",
        "hitsAddend": 3.0,
        "descriptors": [
            { "entries": ["k=v", "l="], "hitsAddend": 0.0, "limit": "requests_per_unit:5 unit:MINUTE" },
            { "entries": ["x=ä=1"], "limit": "unit:7" },
        ],
    });
    assert_eq!(metadata(&served.request(&request)), expected);
    let expected = json!({ "domain": "d", "descriptors": [{ "entries": ["k=v"] }] });
    assert_eq!(metadata(&served.response([descriptor(&[["k", "v"]])])), expected);
}

#[test]
fn metadata_of_limits_that_admit_are_merged_and_the_first_counts() {
    let tier = |name: &str| ("tier", Value::Text(name.into()));
    let nested = |name| ("of", Value::Map(map([tier(name)])));
    let nodes = [
        node("a", "").per_minute(9).with_metadata(map([tier("gold"), nested("gold")])),
        node("b", "").per_minute(9).with_metadata(map([tier("tin"), ("b", Value::Bool(true))])),
        node("spent", "").per_minute(0).with_metadata(map([("spent", Value::Null)])),
        node("s", "").per_minute(0).in_shadow().with_metadata(map([("s", Value::Number(0.0))])),
        node("free", "").unlimited().with_metadata(map([("free", Value::Null)])),
        node("r", "").per_minute(9).named("r").with_metadata(map([("r", Value::Null)])),
        node("by", "").per_minute(9).replacing(&["r"]),
    ];
    let served = served_with(nodes, &with_metadata());
    let told = |keys: &[&str]| {
        let response = served.response(keys.iter().map(|key| descriptor(&[[key, "v"]])));
        metadata(&response).get("metadata").cloned()
    };
    let all = ["a", "b", "spent", "s", "free", "r", "by"];
    let expected = json!({ "tier": "gold", "of": { "tier": "gold" }, "b": true, "s": 0.0 });
    assert_eq!(told(&all), Some(expected));
    // The reference keeps what one request merged.
    assert_eq!(told(&["b"]), Some(json!({ "tier": "tin", "b": true })));
    assert_eq!(told(&["a"]), Some(json!({ "tier": "gold", "of": { "tier": "gold" } })));
    assert_eq!(told(&["free", "spent"]), None);
}

/// Envoy takes values from headers, which may have any bytes.
#[test]
fn metadata_are_valid_utf8_whatever_the_client_sends() {
    let served = served_with([node("k", "").per_minute(9)], &with_metadata());
    let request = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x01\xff";
    let Response::Ready((answer, _)) = served.service.handle(request, None) else {
        panic!("it is not decided in memory");
    };
    let response = support::decode(answer.unwrap().message());
    assert_eq!(metadata(&response)["descriptors"][0]["entries"][0], "k=\\xff");
}
