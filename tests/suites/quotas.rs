//! The quota service over the wire: what a stream is told.

mod flood;
mod series;

use crate::{quota_stream, support};

use quota_stream::{Stream, Told, usage};
use support::{TestServer, call, eventually, runtime, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::descriptor::Entry;
use tollgate::service::Inspected;
use tollgate::wire::quota::SERVICE;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A table for every kind of row.
const POLICY: &str = "domain: d
bypass: [{ tenant: staff }]
tables:
  - name: tenants
    select: plan
    key: [tenant]
    rows:
      free: [{ per_second: 50 }]
      none: blocked
      open: unlimited
      tried: { shadow: true, buckets: [{ per_second: 5 }] }
      jobs: [{ concurrent: 2, ttl: 1h }]
";

/// A server that knows who has shares: it has run for long enough.
fn settled(policy: &str) -> TestServer {
    settled_by(policy, 50.0)
}

/// The same of a policy by which a bucket id alone gets so many a second at least.
fn settled_by(policy: &str, alone: f64) -> TestServer {
    let server = TestServer::of(&source(policy));
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("first"), 0, [1, 0])]);
    // The server has looked at the clock once it answers. The share is small, and grows when the time is over.
    assert!(matches!(stream.one(), Told::Tokens(rate, _) if rate < alone));
    server.parts.clock.advance(Nanos::from_secs(7));
    assert!(matches!(stream.one(), Told::Tokens(rate, _) if rate >= alone));
    server
}

fn free(tenant: &str) -> [(&str, &str); 2] {
    [("plan", "free"), ("tenant", tenant)]
}

#[test]
fn a_stream_is_told_the_whole_bucket_and_two_share_it() {
    let server = settled(POLICY);
    let (mut first, mut second) = (Stream::open(server.grpc), Stream::open(server.grpc));
    first.report(vec![usage(&free("acme"), 0, [1, 0])]);
    let Told::Tokens(rate, size) = first.one() else { panic!("a token bucket") };
    assert_eq!((rate, size), (50.0, 49));
    second.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(second.one(), Told::Tokens(25.0, 24)));
    // The first one is told without having reported.
    assert!(matches!(first.one(), Told::Tokens(25.0, 24 | 25)));
    // A report renews the assignment, also if nothing changes.
    server.parts.clock.advance(Nanos::from_secs(5));
    first.report(vec![usage(&free("acme"), 5, [125, 100])]);
    assert!(matches!(first.one(), Told::Tokens(25.0, _)));
}

#[test]
fn every_kind_of_row_has_its_assignment() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    let id = |plan, tenant| usage(&[("plan", plan), ("tenant", tenant)], 0, [1, 0]);
    for (plan, tenant, expected) in [
        ("none", "a", Told::Nothing),
        ("open", "b", Told::All),
        ("tried", "c", Told::All),
        ("jobs", "d", Told::All),
        ("unknown", "e", Told::All),
        ("free", "staff", Told::All),
    ] {
        stream.report(vec![id(plan, tenant)]);
        assert_eq!(stream.one(), expected, "{plan}");
    }
    let metrics = server.get("/metrics");
    for series in [
        "tollgate_quota_unlimited_requests_total{reason=\"bypassed\"} 1",
        "tollgate_quota_unlimited_requests_total{reason=\"unmatched\"} 1",
        "tollgate_quota_unlimited_requests_total{reason=\"unlimited\"} 3",
        "tollgate_quota_requests_total{domain=\"d\",table=\"tenants\",row=\"tried\",outcome=\"allowed\"} 1",
        "tollgate_quota_inexpressible_total{domain=\"d\",table=\"tenants\",row=\"jobs\",what=\"concurrent\"} 1",
        "tollgate_quota_actions_total{kind=\"deny_all\"} 1",
    ] {
        assert!(metrics.contains(series), "{series}\n{metrics}");
    }
    // A bucket in shadow is charged.
    let tried = server.get("/buckets?plan=tried&tenant=c");
    assert!(tried.contains("\"remaining\":4"), "{tried}");
}

#[test]
fn a_domain_without_a_policy_is_not_limited() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report_as("other", vec![usage(&free("acme"), 0, [1, 0])]);
    assert_eq!(stream.one(), Told::All);
}

#[test]
fn what_a_call_is_admitted_and_what_envoys_use_is_charged_to_one_bucket() {
    let server = settled(POLICY);
    let mut client = server.client();
    assert!(client.ask(call(&free("acme"))).is_ok());
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [11, 0])]);
    // 50, without the call and without what was used.
    assert!(matches!(stream.one(), Told::Tokens(50.0, 38)));
    assert_eq!(client.ask(call(&free("acme"))).remaining(), [37]);
}

#[test]
fn too_much_that_is_used_is_owed_and_paid_back() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [100, 0])]);
    // 50 too many are paid back over five seconds, and nothing is there for a burst.
    assert!(matches!(stream.one(), Told::Tokens(40.0, 1)));
    assert!(!server.client().ask(call(&free("acme"))).is_ok());
    // Nobody can empty a bucket for longer than a minute.
    stream.report(vec![usage(&free("acme"), 0, [u64::MAX, u64::MAX])]);
    assert!(matches!(stream.one(), Told::Tokens(2.5, 1)));
    server.parts.clock.advance(Nanos::from_secs(63));
    assert!(server.client().ask(call(&free("acme"))).is_ok());
}

#[test]
fn an_idle_bucket_id_is_abandoned_and_begins_anew() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    for _ in 0..11 {
        server.parts.clock.advance(Nanos::from_secs(5));
        stream.report(vec![usage(&free("acme"), 5, [0, 0])]);
        assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    }
    server.parts.clock.advance(Nanos::from_secs(5));
    stream.report(vec![usage(&free("acme"), 5, [0, 0])]);
    assert_eq!(stream.one(), Told::Abandon);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, 49)));
}

#[test]
fn other_policies_are_told_without_a_report() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    server.parts.replace(&source(&POLICY.replace("per_second: 50", "per_second: 20")));
    let Told::Tokens(rate, size) = stream.one() else { panic!("a token bucket") };
    assert_eq!(rate, 20.0);
    assert!(size <= 20);
    server.parts.replace(&source(&POLICY.replace("free: [{ per_second: 50 }]", "free: unlimited")));
    assert_eq!(stream.one(), Told::All);
}

#[test]
fn a_message_that_a_reload_adds_is_counted_for_who_has_a_share_already() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    let has = |text: &str| server.get("/metrics").contains(text);
    let series = "tollgate_quota_inexpressible_total{domain=\"d\",table=\"tenants\",row=\"free\",what=\"message\"}";
    assert!(!has(series));
    let with_message = POLICY.replace("key: [tenant]\n", "key: [tenant]\n    message: no more\n");
    server.parts.replace(&source(&with_message));
    // That of the first stream has a share, too.
    eventually("it is counted", || has(&format!("{series} 2\n")));
}

#[test]
fn a_bucket_that_is_refilled_is_told_without_a_report() {
    let twice = "free: [{ per_second: 50 }, { per_minute: 60 }]";
    let server = settled_by(&POLICY.replace("free: [{ per_second: 50 }]", twice), 2.9);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [60, 0])]);
    // The minute is used up: one a second is left.
    assert_eq!(stream.one(), Told::Tokens(1.0, 1));
    let policies = server.parts.policies.load_full();
    let policy = &policies.get("d").unwrap().policy;
    let entries =
        free("acme").map(|(key, value)| Entry { key: key.into(), value: value.as_bytes() });
    let named = policy.buckets_for(&entries, server.parts.clock.now());
    let buckets: Vec<_> = named.iter().map(Inspected::from).collect();
    assert_eq!(buckets.len(), 2);
    runtime().block_on(server.parts.service.refill(&buckets)).unwrap();
    // It is looked at once a second.
    server.parts.clock.advance(Nanos::from_secs(1));
    let Told::Tokens(rate, size) = stream.one() else { panic!("a token bucket") };
    assert!(rate > 2.5 && size > 20, "{rate} {size}");
}

#[test]
fn rubbish_harms_nobody_else() {
    let server = settled(POLICY);
    let mut good = Stream::open(server.grpc);
    good.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(good.one(), Told::Tokens(50.0, _)));
    let mut nameless = Stream::open(server.grpc);
    nameless.report_as("", vec![usage(&free("acme"), 0, [1, 0])]);
    let status = nameless.next().unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    let mut large = Stream::open(server.grpc);
    let long = "x".repeat(17 << 20);
    large.report(vec![usage(&[("tenant", &long)], 0, [1, 0])]);
    assert!(large.next().is_err());
    let mut odd = Stream::open(server.grpc);
    let long = "x".repeat(2_000);
    let empty: &[(&str, &str)] = &[];
    odd.report(vec![
        usage(empty, 0, [1, 0]),
        usage(&[("", "acme")], 0, [1, 0]),
        usage(&[("tenant", &long)], 0, [1, 0]),
        // Twice in one report: together.
        usage(&free("globex"), 0, [1, 0]),
        usage(&free("globex"), 0, [1, 0]),
    ]);
    assert!(matches!(odd.one(), Told::Tokens(50.0, 48)));
    let metrics = server.get("/metrics");
    for series in ["reason=\"bucket_id\"} 3", "reason=\"no_domain\"} 1"] {
        let series = format!("tollgate_quota_ignored_total{{{series}");
        assert!(metrics.contains(&series), "{series}\n{metrics}");
    }
    server.parts.clock.advance(Nanos::from_secs(5));
    good.report(vec![usage(&free("acme"), 5, [100, 0])]);
    assert!(matches!(good.one(), Told::Tokens(50.0, _)));
}

#[test]
fn the_shares_are_listed_and_those_of_a_stream_that_ended_are_kept_for_a_while() {
    let server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    let has = |text: &str| server.get("/shares").contains(text);
    server.parts.clock.advance(Nanos::from_secs(2));
    eventually("it is listed", || {
        has(
            "\"id\":[[\"plan\",\"free\"],[\"tenant\",\"acme\"]],\"rows\":[{\"table\":\"tenants\",\"row\":\"free\"}]",
        )
    });
    stream.reports = None;
    assert!(stream.next().unwrap().is_none());
    server.parts.clock.advance(Nanos::from_secs(2));
    eventually("its stream is not", || has("\"stream\":null"));
    server.parts.clock.advance(Nanos::from_secs(7));
    eventually("it is gone", || !has("acme"));
}

#[test]
fn a_server_that_ends_ends_its_streams() {
    let mut server = settled(POLICY);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(stream.one(), Told::Tokens(50.0, _)));
    server.begin_stop();
    assert!(stream.next().unwrap().is_none());
}

#[test]
fn a_server_that_has_just_started_gives_little_until_it_knows_who_has_shares() {
    let server = TestServer::of(&source(POLICY));
    let mut new = Stream::open(server.grpc);
    new.report(vec![usage(&free("acme"), 0, [1, 0])]);
    assert!(matches!(new.one(), Told::Tokens(2.5, _)));
    // One that has a share keeps it, and is told after six seconds.
    let mut returns = Stream::open(server.grpc);
    returns.report(vec![usage(&free("acme"), 5, [200, 0])]);
    server.parts.clock.advance(Nanos::from_secs(7));
    let Told::Tokens(rate, _) = returns.one() else { panic!("a token bucket") };
    assert!(rate > 20.0, "{rate}");
}

#[test]
fn who_is_blocked_or_unlimited_need_not_wait_for_a_server_that_has_just_started() {
    let server = TestServer::of(&source(POLICY));
    for (plan, expected) in [("none", Told::Nothing), ("open", Told::All)] {
        let mut returns = Stream::open(server.grpc);
        returns.report(vec![usage(&[("plan", plan), ("tenant", "acme")], 5, [200, 0])]);
        assert_eq!(returns.one(), expected);
    }
    // A limit that is lowered to nothing is in force at once.
    let mut returns = Stream::open(server.grpc);
    returns.report(vec![usage(&free("acme"), 5, [200, 0])]);
    server.parts.replace(&source(&POLICY.replace("free: [{ per_second: 50 }]", "free: blocked")));
    assert_eq!(returns.one(), Told::Nothing);
}

#[test]
fn health_and_reflection_name_the_service() {
    let server = TestServer::of(&source(POLICY));
    let runtime = runtime();
    let channel = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let channel = runtime.block_on(channel.connect()).unwrap();
    let check = HealthCheckRequest { service: SERVICE.to_owned() };
    let health = runtime.block_on(HealthClient::new(channel.clone()).check(check)).unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let listed = runtime.block_on(async {
        let mut reflection = ServerReflectionClient::new(channel);
        let lists = tokio_stream::once(list);
        let mut answers = reflection.server_reflection_info(lists).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response
    });
    let Some(MessageResponse::ListServicesResponse(services)) = listed else {
        panic!("{listed:?}")
    };
    assert!(services.service.iter().any(|service| service.name == SERVICE), "{services:?}");
}
