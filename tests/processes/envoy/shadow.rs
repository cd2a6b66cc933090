//! What Envoy's own `x-ratelimit-*` headers tell clients: enforced limits, and nothing about rows in shadow.

use super::http::Message;
use super::lab::{Lab, Sample};

const OFF: &str = "                      failure_mode_deny: false\n";
const ON: &str = "                      failure_mode_deny: false
                      enable_x_ratelimit_headers: DRAFT_VERSION_03\n";

fn told(answer: &Message) -> [Option<&str>; 2] {
    ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name))
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn envoys_own_headers_have_enforced_limits_and_none_in_shadow() {
    let sample = Sample::front().policy("tests/processes/envoy/shadow-policy.yaml").patient();
    let lab = Lab::start(sample.with(OFF, ON));
    let call =
        |kind: &str| lab.client().call("GET /", &[("x-tenant", "acme"), ("x-tenant-type", kind)]);
    // Only the row in shadow matches; the third call is over its limit.
    for _ in 0..3 {
        let answer = call("free");
        assert_eq!((answer.status(), told(&answer)), (200, [None; 2]), "{answer:?}");
        assert!(!format!("{answer:?}").contains("trial"), "{answer:?}");
    }
    let limit = Some("4, 4;w=86400;name=\"paid/all\"");
    for left in ["3", "2", "1", "0"] {
        let answer = call("paid");
        assert_eq!((answer.status(), told(&answer)), (200, [limit, Some(left)]), "{answer:?}");
    }
    let denial = call("paid");
    assert_eq!((denial.status(), told(&denial)), (429, [limit, Some("0")]), "{denial:?}");
    assert!(!format!("{denial:?}").contains("trial"), "{denial:?}");
}
