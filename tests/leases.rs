//! Leases: taken once, released once, never left behind by a call that nobody waited for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

#[path = "support/frames.rs"]
mod frames;
mod support;

use frames::Connection;
use support::{Answer, Client, TestServer, descriptor, eventually, request};
use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;

const POLICY: &str = "
domain: d
tables:
  - { name: jobs, key: [tenant], rows: { always: [{ concurrent: 2, hold: 1m }] } }
  - { name: calls, when: { counted: { present: true } }, key: [tenant], rows: { always: [{ per_day: 1 }] } }
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
    assert_eq!(client.ask(acquire("acme")).number("retry-after"), 30);
    server.advance(Nanos::from_secs(30));
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
tables: [{ name: jobs, key: [tenant], rows: { always: [{ concurrent: 300, hold: 1m }] } }]",
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
