//! Limits that Envoy brings along, out of metadata that the client writes itself; and what a policy blocks.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::http::Message;
use super::lab::{Lab, Sample};

/// The header's value is the metadata `limit`, whatever the client sends.
const FILTER: &str = "                http_filters:
                  - name: envoy.filters.http.header_to_metadata
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
                      request_rules:
                        - header: x-limit
                          on_header_present: { metadata_namespace: plan, key: limit, type: PROTOBUF_VALUE, encode: BASE64 }
                  - name: envoy.filters.http.ratelimit
";
const LIMITED: &str = "                        - limit: { dynamic_metadata: { metadata_key: { key: plan, path: [{ key: limit }] } } }
                          actions:
";

fn lab() -> Lab {
    let filters =
        "                http_filters:\n                  - name: envoy.filters.http.ratelimit\n";
    let sample = Sample::front().policy("tests/processes/envoy/blocked.yaml").patient();
    Lab::start(sample.with(filters, FILTER).with("                        - actions:\n", LIMITED))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        let digit = |at: usize| char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
        text.extend((0..=three.len()).map(digit));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

/// A limit as a client may write it.
fn limit(requests: f64, unit: &str) -> String {
    let value = |kind| Value { kind: Some(kind) };
    let fields = [
        ("requests_per_unit", value(Kind::NumberValue(requests))),
        ("unit", value(Kind::StringValue(unit.to_owned()))),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    base64(&value(Kind::StructValue(Struct { fields })).encode_to_vec())
}

fn call(lab: &Lab, tenant: &str, kind: &str, limit: Option<&str>) -> Message {
    let mut headers = vec![("x-tenant", tenant), ("x-tenant-type", kind)];
    headers.extend(limit.map(|limit| ("x-limit", limit)));
    lab.client().call("GET /", &headers)
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn whatever_number_a_limit_has_it_is_kept() {
    let lab = lab();
    let statuses = |tenant: &str, limit: &str| {
        [(); 4].map(|()| call(&lab, tenant, "gold", Some(limit)).status())
    };
    let over = [429; 4];
    let two = [200, 200, 429, 429];
    let all = [200; 4];
    let cases = [
        (0.0, "HOUR", over),
        (2.0, "HOUR", two),
        (f64::from(u32::MAX), "SECOND", all),
        (f64::from(u32::MAX), "YEAR", all),
        // Envoy makes a number of 32 bits of it, and cuts off what does not fit.
        (2_f64.powi(32), "SECOND", over),
        (2_f64.powi(32) + 2.0, "HOUR", two),
        (1e300, "SECOND", over),
        (-1.0, "HOUR", all),
        (0.5, "HOUR", over),
        (2.5, "HOUR", two),
        (f64::NAN, "HOUR", over),
        // Envoy takes no such unit, and brings no limit along: three a day hold.
        (2.0, "WEEK", [200, 200, 200, 429]),
        (0.0, "hour", [200, 200, 200, 429]),
    ];
    for (at, (requests, unit, expected)) in cases.into_iter().enumerate() {
        let statuses = statuses(&at.to_string(), &limit(requests, unit));
        assert_eq!(statuses, expected, "{requests} {unit}");
    }
    assert_eq!(lab.stat("cluster.upstream.ratelimit.error"), 0);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn what_is_blocked_is_denied_and_a_limit_that_comes_along_lifts_it_not() {
    let lab = lab();
    for brought in [None, Some(limit(1000.0, "SECOND"))] {
        let denial = call(&lab, "acme", "banned", brought.as_deref());
        assert_eq!(denial.status(), 429, "{denial:?}");
        assert_eq!(denial.header("content-type"), Some("application/json"));
        assert_eq!(denial.json()["message"], "Requests like this are blocked");
        assert_eq!(
            (denial.number("x-ratelimit-limit"), denial.number("x-ratelimit-remaining")),
            (0, 0)
        );
        assert_eq!(
            (denial.header("x-ratelimit-reset"), denial.header("retry-after")),
            (None, None)
        );
    }
    let denial = call(&lab, "late", "gold", None);
    assert_eq!(denial.status(), 429);
    assert!(denial.number("retry-after") > 400 * 365 * 86_400, "{denial:?}");
    assert_eq!(call(&lab, "acme", "gold", None).status(), 200);
    assert_eq!(lab.stat("cluster.upstream.ratelimit.error"), 0);
}

/// docs/policy.md warns of it.
#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn where_envoy_is_to_write_retry_after_it_writes_one_of_its_own() {
    let sample = Sample::front().policy("tests/processes/envoy/blocked.yaml").patient();
    let own = "failure_mode_deny: false\n                      enable_retry_after_header: true";
    let lab = Lab::start(sample.with("failure_mode_deny: false", own));
    let denial = call(&lab, "acme", "banned", None);
    assert_eq!((denial.status(), denial.number("retry-after")), (429, 1));
}
