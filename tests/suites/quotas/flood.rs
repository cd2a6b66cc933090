//! A stream that reports more than an Envoy can.

use tollgate::clock::Nanos;
use tollgate::wire::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;

use super::support::{TestServer, eventually};
use super::{POLICY, Stream, Told, free, settled, usage};

/// Floods by a report of 70,000 bucket ids that are none, which are read as others are, and one. Returns once the stream
/// is not read for a while.
fn flood(server: &TestServer) -> Stream {
    let mut flood = Stream::open(server.grpc);
    let mut usages = vec![BucketQuotaUsage::default(); 70_000];
    usages.push(usage(&free("flood"), 0, [1, 0]));
    flood.report(usages);
    assert!(matches!(flood.one(), Told::Tokens(50.0, 49)));
    let delays = "tollgate_quota_delays_total 1\n";
    eventually("it is not read for a while", || server.get("/metrics").contains(delays));
    flood.report(vec![usage(&free("next"), 0, [1, 0])]);
    flood
}

#[test]
fn a_stream_that_floods_is_read_later_and_keeps_no_other_one_waiting() {
    let server = settled(POLICY);
    let mut flood = flood(&server);
    let mut other = Stream::open(server.grpc);
    for _ in 0..100 {
        flood.turn();
        other.report(vec![usage(&free("acme"), 0, [1, 0])]);
        assert!(matches!(other.one(), Told::Tokens(..)));
    }
    // One of the stream that was first, one of the flood, and those hundred.
    let metrics = server.get("/metrics");
    let series = "tollgate_quota_requests_total{domain=\"d\",table=\"tenants\",row=\"free\",outcome=\"allowed\"} 102\n";
    assert!(metrics.contains(series), "{metrics}");
    // 10,002 are to be paid for, 20,000 each second.
    server.parts.clock.advance(Nanos::from_secs(1));
    assert!(matches!(flood.one(), Told::Tokens(50.0, 49)));
    assert!(server.get("/metrics").contains("tollgate_quota_delays_total 1\n"));
}

#[test]
fn a_flood_whose_client_is_gone_is_waited_for_no_longer() {
    let server = settled(POLICY);
    let flood = flood(&server);
    (0..10).for_each(|_| flood.turn());
    drop(flood);
    // The clock stands still: what it reported is not paid for, and what came then is not taken.
    let has = |text: &str| server.get("/metrics").contains(text);
    eventually("it is closed", || has("tollgate_quota_streams 0\n"));
    assert!(has("outcome=\"allowed\"} 2\n"), "{}", server.get("/metrics"));
}
