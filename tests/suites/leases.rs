//! Leases: taken once, released once, never left behind by a call that nobody waited for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::frames;
use crate::support;

use frames::Connection;
use support::{Answer, Client, Parts, TestServer, descriptor, eventually, request, source};
use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;

const POLICY: &str = "
domain: d
tables:
  - { name: jobs, key: [tenant], rows: { all: [{ concurrent: 2, ttl: 1m }] } }
  - { name: calls, when: { counted: { present: true } }, key: [tenant], rows: { all: [{ per_day: 1 }] } }
";

fn acquire(tenant: &str) -> RateLimitRequest {
    request("d", &[descriptor(&[("tenant", tenant)])])
}

fn release(lease: &str) -> RateLimitRequest {
    let mut descriptor = descriptor(&[("lease", lease)]);
    descriptor.is_negative_hits = true;
    request("d", &[descriptor])
}

fn lease(answer: &Answer) -> String {
    answer.metadata("lease").unwrap_or_else(|| panic!("no lease: {answer:?}")).to_owned()
}

fn abandoned(server: &TestServer) -> u64 {
    let metrics = server.parts.telemetry.encode().unwrap();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("tollgate_leases_abandoned_total "));
    line.unwrap().parse().unwrap()
}

fn server() -> (TestServer, Client) {
    let server = TestServer::with_policy(POLICY);
    let client = server.client();
    (server, client)
}

#[test]
fn a_release_that_comes_with_the_end_of_its_connection_is_carried_out() {
    let (server, mut client) = server();
    for _ in 0..20 {
        let lease = lease(&client.ask(acquire("acme")));
        let mut connection = Connection::open(server.grpc);
        connection.send(&frames::call(1, &release(&lease)));
        connection.end();
        eventually("it is released", || server.parts.store.lease_count() == 0);
    }
}

#[test]
fn an_ok_brings_one_lease_as_metadata_and_as_request_header() {
    let (_server, mut client) = server();
    let first = client.ask(acquire("acme"));
    let second = client.ask(acquire("acme"));
    assert_eq!(first.request_header("x-tollgate-lease"), first.metadata("lease"));
    assert_ne!(lease(&first), lease(&second));
    assert!(lease(&first).len() == 32 && lease(&first).bytes().all(|b| b.is_ascii_hexdigit()));
    let denial = client.ask(acquire("acme"));
    assert!(!denial.is_ok());
    assert_eq!((denial.metadata("lease"), denial.request_header("x-tollgate-lease")), (None, None));
    assert!(client.ask(acquire("another")).is_ok());
}

#[test]
fn a_release_frees_the_slot_once() {
    let (_server, mut client) = server();
    let first = lease(&client.ask(acquire("acme")));
    client.ask(acquire("acme"));
    assert_eq!(client.ask(release(&first)).released(), Some(1));
    assert_eq!(client.ask(release(&first)).released(), Some(0));
    assert_eq!(client.ask(release("00000000000000000000000000000000")).released(), Some(0));
    assert_eq!(client.drain(&acquire("acme"), 5).0, 1);
}

#[test]
fn an_expired_lease_frees_its_slot_and_releases_nothing() {
    let (server, mut client) = server();
    let old = lease(&client.ask(acquire("acme")));
    server.advance(Nanos::from_secs(30));
    client.ask(acquire("acme"));
    // A release may come at any time: nobody is told to wait for the lease's end, unless it is near.
    assert_eq!(client.ask(acquire("acme")).number("retry-after"), 5);
    server.advance(Nanos::from_secs(27));
    assert_eq!(client.ask(acquire("acme")).number("retry-after"), 3);
    server.advance(Nanos::from_secs(3));
    assert_eq!(client.drain(&acquire("acme"), 5).0, 1);
    assert_eq!(client.ask(release(&old)).released(), Some(0));
    assert_eq!(client.drain(&acquire("acme"), 5).0, 0);
}

#[test]
fn a_request_denied_anywhere_takes_no_lease() {
    let (server, mut client) = server();
    let counted = request("d", &[descriptor(&[("tenant", "acme"), ("counted", "")])]);
    let first = client.ask(counted.clone());
    assert!(first.is_ok());
    client.ask(release(&lease(&first)));
    for _ in 0..3 {
        assert_eq!(client.ask(counted.clone()).denied_by().0, "calls");
    }
    assert_eq!(server.parts.store.lease_count(), 0);
    assert_eq!(client.drain(&acquire("acme"), 5).0, 2);
}

#[test]
fn a_slot_can_be_handed_over_within_one_request() {
    let (_server, mut client) = server();
    let first = lease(&client.ask(acquire("acme")));
    client.ask(acquire("acme"));
    let hand_over = request(
        "d",
        &[acquire("acme").descriptors[0].clone(), release(&first).descriptors[0].clone()],
    );
    let answer = client.ask(hand_over);
    assert_eq!((answer.is_ok(), answer.released()), (true, Some(1)));
    assert_ne!(lease(&answer), first);
    assert!(!client.ask(acquire("acme")).is_ok());
}

#[test]
fn a_look_and_hits_given_back_without_a_lease_take_and_free_nothing() {
    let (_server, mut client) = server();
    let mut look = acquire("acme");
    look.descriptors[0].hits_addend = Some(0);
    assert_eq!(client.ask(look.clone()).metadata("lease"), None);
    assert_eq!(client.drain(&acquire("acme"), 5).0, 2);
    assert!(!client.ask(look).is_ok());
    let mut give_back = acquire("acme");
    give_back.descriptors[0].is_negative_hits = true;
    assert!(client.ask(give_back).is_ok());
    assert!(!client.ask(acquire("acme")).is_ok());
}

#[test]
fn an_acquire_whose_call_was_reset_before_the_answer_is_undone() {
    let (server, mut client) = server();
    let mut connection = Connection::open(server.grpc);
    let mut frames = Vec::new();
    for (stream, reason) in [1, 3, 5].into_iter().zip(frames::REASONS) {
        frames.extend(frames::call(stream, &acquire(&format!("tenant {reason}"))));
        frames.extend(frames::reset(stream, reason));
    }
    connection.send(&frames);
    connection.settle();
    eventually("all leases are undone", || abandoned(&server) == 3);
    assert_eq!(server.parts.store.lease_count(), 0);
    for reason in frames::REASONS {
        assert_eq!(client.drain(&acquire(&format!("tenant {reason}")), 5).0, 2);
    }
}

#[test]
fn a_lease_whose_answer_went_out_outlives_its_connection() {
    let (server, mut client) = server();
    let mut connection = Connection::open(server.grpc);
    connection.send(&frames::call(1, &acquire("acme")));
    eventually("a lease is taken", || server.parts.store.lease_count() == 1);
    connection.settle();
    drop(connection);
    assert_eq!(client.drain(&acquire("acme"), 5).0, 1);
    assert_eq!(abandoned(&server), 0);
}

#[test]
fn a_stall_of_many_calls_that_time_out_costs_no_release_and_no_bystander() {
    let server = TestServer::with_policy(
        "domain: d
tables: [{ name: jobs, key: [tenant], rows: { all: [{ concurrent: 300, ttl: 1m }] } }]",
    );
    let mut client = server.client();
    let leases: Vec<_> = (0..300).map(|_| lease(&client.ask(acquire("acme")))).collect();
    let mut connection = Connection::open(server.grpc);
    let mut frames = Vec::new();
    for (stream, lease) in (1..).step_by(2).zip(&leases) {
        frames.extend(frames::call(stream, &release(lease)));
        frames.extend(frames::reset(stream, 8));
    }
    connection.send(&frames);
    connection.settle();
    connection.send(&frames::call(601, &acquire("bystander")));
    connection.settle();
    eventually("all are released but the bystander's", || server.parts.store.lease_count() == 1);
}

#[test]
fn a_release_is_carried_out_even_if_its_call_is_reset() {
    let (server, mut client) = server();
    for call in [frames::call, frames::unended_call] {
        for reason in frames::REASONS {
            let held = lease(&client.ask(acquire("acme")));
            let mut connection = Connection::open(server.grpc);
            let mut frames = call(1, &release(&held));
            frames.extend(frames::reset(1, reason));
            connection.send(&frames);
            connection.settle();
            eventually("the lease is released", || server.parts.store.lease_count() == 0);
        }
    }
    assert_eq!(client.drain(&acquire("acme"), 5).0, 2);
}

#[test]
fn a_bucket_of_many_slots_reaches_its_limit_however_few_keys_there_may_be() {
    let policy = "domain: d
tables: [{ name: jobs, key: [tenant], rows: { all: [{ concurrent: 6000, ttl: 1h }] } }]";
    for max_keys in [64, 10_000_000] {
        let parts = Parts::new(&source(policy), max_keys);
        let admitted = (0..9_000).filter(|_| parts.ask(&acquire("acme")).is_ok()).count();
        assert_eq!((admitted, parts.store.lease_count()), (6_000, 6_000), "of {max_keys}");
    }
}

#[test]
fn leases_without_a_place_are_denied_counted_and_told_and_so_are_buckets_that_are_forgotten() {
    let policy = "domain: d
tables:
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 6000, ttl: 1h }] } }
  - { name: calls, key: [user], rows: { all: [{ per_day: 1 }] } }";
    let server = TestServer::running(Parts::new(&source(policy), 64), |_| {});
    let job = |tenant| request("d", &[descriptor(&[("tenant", tenant), ("job", "")])]);
    let ready = || server.get("/readyz").rsplit("\r\n").next().unwrap().to_owned();
    for tenant in ["acme", "other"] {
        for _ in 0..5_000 {
            assert!(server.parts.ask(&job(tenant)).is_ok());
        }
    }
    assert_eq!(ready(), "ready\n");
    let denial = server.parts.ask(&job("acme"));
    assert_eq!(denial.denied_by(), ("jobs", "all", "6000 concurrent"));
    assert_eq!(denial.number("retry-after"), 1);
    let leases = "the maximum number of leases is held, so calls that take more are denied";
    assert_eq!(ready(), format!("ready, degraded: {leases}\n"));
    for user in 0..200 {
        let user = descriptor(&[("user", &user.to_string())]);
        assert!(server.parts.ask(&request("d", &[user])).is_ok());
    }
    let buckets = "--max-keys is reached, so buckets that are not full are evicted";
    assert_eq!(ready(), format!("ready, degraded: {buckets}; {leases}\n"));
    let metrics = server.parts.telemetry.encode().unwrap();
    for line in
        ["tollgate_refused_leases_total 1", "tollgate_evictions_total 136", "tollgate_leases 10000"]
    {
        assert!(metrics.lines().any(|other| other == line), "{line}: {metrics}");
    }
    server.advance(Nanos::from_secs(60));
    assert_eq!(ready(), "ready\n");
}
