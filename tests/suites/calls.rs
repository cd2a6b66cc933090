//! How a call comes in and its answer goes out, where not all is there at once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::frames;
use crate::support;

use frames::{Connection, DATA};
use prost::Message;
use support::{TestServer, call, eventually, server};
use tollgate::wire::RateLimitResponse;

const POLICY: &str = "
tables:
  - { name: calls, key: [k], rows: { all: [{ per_day: 1000000 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [k], rows: { all: [{ concurrent: 2, ttl: 1h }] } }
";

fn connected() -> (TestServer, Connection) {
    let (server, _) = server(POLICY);
    let connection = Connection::open(server.grpc);
    (server, connection)
}

/// What is left of the bucket, by an answer in gRPC's frame.
fn left(frame: &[u8]) -> u32 {
    RateLimitResponse::decode(&frame[5..]).unwrap().statuses[0].limit_remaining
}

#[test]
fn a_body_in_pieces_is_one_message_however_they_are_cut() {
    let (_server, mut connection) = connected();
    for (at, bytes) in [1, 2, 5, 6, 1000].into_iter().enumerate() {
        let stream = 2 * u32::try_from(at).unwrap() + 1;
        connection.send(&frames::in_pieces(stream, &call(&[("k", "1")]), bytes));
        let answer = connection.wait_for(DATA, stream).unwrap();
        assert_eq!(left(&answer), 1_000_000 - u32::try_from(at).unwrap() - 1);
    }
}

#[test]
fn an_answer_goes_out_as_its_reader_makes_room() {
    let (_server, mut connection) = connected();
    connection.send(&frames::room_of_answers(7));
    connection.settle();
    connection.send(&frames::call(1, &call(&[("k", "1")])));
    let mut answer = connection.wait_for(DATA, 1).unwrap();
    assert_eq!(answer.len(), 7);
    for bytes in [1, 2, 1000] {
        connection.send(&frames::more_room(1, bytes));
        answer.extend(connection.wait_for(DATA, 1).unwrap());
    }
    connection.wait_for_answer(1);
    assert_eq!(left(&answer), 999_999);
}

#[test]
fn a_lease_whose_answer_found_no_room_is_given_back() {
    let (server, mut connection) = connected();
    connection.send(&frames::room_of_answers(3));
    connection.settle();
    connection.send(&frames::call(1, &call(&[("k", "1"), ("job", "1")])));
    assert_eq!(connection.wait_for(DATA, 1).unwrap().len(), 3);
    assert_eq!(server.parts.store.lease_count(), 1);
    connection.send(&frames::reset(1, 8));
    eventually("it is given back", || server.parts.store.lease_count() == 0);
    let metrics = server.parts.telemetry.encode().unwrap();
    assert!(metrics.contains("tollgate_leases_abandoned_total 1\n"), "{metrics}");
}

#[test]
fn a_call_that_waits_for_its_body_does_not_hold_up_the_next() {
    let (_server, mut connection) = connected();
    let [begun, rest] = frames::halves(1, &call(&[("k", "1")]));
    connection.send(&begun);
    connection.send(&frames::call(3, &call(&[("k", "1")])));
    assert_eq!(left(&connection.wait_for(DATA, 3).unwrap()), 999_999);
    connection.send(&rest);
    assert_eq!(left(&connection.wait_for(DATA, 1).unwrap()), 999_998);
}

/// More than are answered at a time.
#[test]
fn calls_that_come_together_are_all_answered_in_their_order() {
    let (_server, mut connection) = connected();
    let streams: Vec<_> = (1..).step_by(2).take(500).collect();
    let calls = streams.iter().flat_map(|stream| frames::call(*stream, &call(&[("k", "1")])));
    connection.widen();
    connection.send(&calls.collect::<Vec<_>>());
    for (at, stream) in streams.into_iter().enumerate() {
        let expected = 1_000_000 - u32::try_from(at).unwrap() - 1;
        assert_eq!(left(&connection.wait_for(DATA, stream).unwrap()), expected);
    }
}
