//! How a server ends, or one connection that has become old: what is in flight finishes, and nobody who is silent holds it up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::frames;
use crate::support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use frames::Connection;
use support::{TestServer, call, eventually, runtime, server, source};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const POLICY: &str = "tables: [{ name: t, key: [k], rows: { all: [{ per_day: 10 }] } }]";

/// A server with a call in flight: the rest of it is still to come.
fn busy() -> (TestServer, Connection, Vec<u8>) {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let [begun, rest] = frames::halves(1, &call(&[("k", "1")]));
    connection.send(&begun);
    connection.settle();
    (server, connection, rest)
}

#[test]
fn a_call_in_flight_finishes_while_readiness_says_that_there_is_no_more_to_come() {
    let (mut server, mut connection, rest) = busy();
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200 "));
    server.begin_stop();
    eventually("it is no longer ready", || server.get("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "), "it lives all the same");
    eventually("it takes nobody new", || TcpStream::connect(server.grpc).is_err());
    assert!(!server.has_ended());
    connection.send(&rest);
    connection.wait_for_answer(1);
    eventually("it has ended", || server.has_ended());
}

/// An hour of delay, so that nothing ends it but a hurry.
#[test]
fn in_the_delay_it_says_no_and_takes_calls_and_connections_all_the_same() {
    let policy = source(&format!("domain: d\n{POLICY}"));
    let mut server = TestServer::with(&policy, |options| {
        options.drain_delay = Duration::from_secs(3600);
    });
    let mut open = Connection::open(server.grpc);
    let mut early = server.client();
    assert_eq!(early.ask(call(&[("k", "1")])).remaining(), [9]);
    server.begin_stop();
    eventually("it is no longer ready", || server.get("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "), "it lives all the same");
    for service in ["", tollgate::wire::SERVICE] {
        assert_eq!(health(&server, service), Ok(ServingStatus::NotServing), "{service:?}");
    }
    assert_eq!(early.ask(call(&[("k", "1")])).remaining(), [8]);
    assert_eq!(server.client().ask(call(&[("k", "1")])).remaining(), [7]);
    let [begun, _rest] = frames::halves(1, &call(&[("k", "1")]));
    open.send(&begun);
    assert!(open.is_kept(), "nobody is sent away yet");
    assert!(!server.has_ended());
    server.hurry();
    eventually("a second signal ends the delay and the drain", || server.has_ended());
}

fn health(server: &TestServer, service: &str) -> Result<ServingStatus, tonic::Code> {
    let asked = HealthCheckRequest { service: service.to_owned() };
    let answer = runtime().block_on(async {
        let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        HealthClient::new(channel.connect().await.unwrap()).check(asked).await
    });
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

/// At once of age, so that nobody waits for it.
#[test]
fn a_connection_of_age_is_ended_alone_and_its_call_finishes() {
    let policy = source(&format!("domain: d\n{POLICY}"));
    let server = TestServer::with(&policy, |options| {
        options.max_connection_age = Some(Duration::from_nanos(1));
    });
    for _ in 0..2 {
        let [begun, rest] = frames::halves(1, &call(&[("k", "1")]));
        let mut connection = Connection::begin(server.grpc);
        connection.send(&begun);
        connection.leave_when_told();
        connection.send(&rest);
        connection.wait_for_answer(1);
        connection.wait_until_closed();
        assert!(server.get("/readyz").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_second_signal_gives_up_what_is_in_flight() {
    let (mut server, _connection, _rest) = busy();
    server.begin_stop();
    eventually("it is no longer ready", || server.get("/readyz").starts_with("HTTP/1.1 503 "));
    server.hurry();
    eventually("it has ended", || server.has_ended());
}

/// A snapshot that is written then must not hold it. There are many, so that to give them back takes a while.
#[test]
fn leases_whose_answers_never_left_are_given_back_before_the_server_has_ended() {
    const LEASES: usize = 900;
    let jobs = "tables: [{ name: t, key: [k], rows: { all: [{ concurrent: 900, ttl: 1h }] } }]";
    for _ in 0..10 {
        let (mut server, _) = server(jobs);
        let mut connection = Connection::open(server.grpc);
        connection.send(&frames::room_of_answers(3));
        connection.settle();
        for stream in (1..).step_by(2).take(LEASES) {
            connection.send(&frames::call(stream, &call(&[("k", "1")])));
        }
        eventually("they are taken", || server.parts.store.lease_count() == LEASES);
        server.begin_stop();
        server.hurry();
        while !server.has_ended() {
            std::thread::yield_now();
        }
        assert_eq!(server.parts.store.lease_count(), 0);
    }
}

#[test]
fn who_has_nothing_to_say_does_not_hold_it_up() {
    let (mut server, client) = server(POLICY);
    let _silent = TcpStream::connect(server.grpc).unwrap();
    let mut half = TcpStream::connect(server.grpc).unwrap();
    half.write_all(b"PRI * HTTP/2.0").unwrap();
    let _never_answers_a_ping = Connection::open(server.grpc);
    let mut http = TcpStream::connect(server.http).unwrap();
    http.write_all(b"GET /metrics HTTP/1.1").unwrap();
    server.begin_stop();
    eventually("it has ended", || server.has_ended());
    drop(client);
}

#[test]
fn every_http_answer_tells_a_browser_what_it_may_do_with_it() {
    let (server, _) = server(POLICY);
    for path in ["/healthz", "/metrics", "/config", "/nowhere"] {
        let answer = server.get(path);
        for header in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; \
             form-action 'self'",
        ] {
            assert_eq!(answer.matches(&format!("{header}\r\n")).count(), 1, "{path}: {answer}");
        }
    }
}

#[test]
fn half_sent_http_requests_leave_grpc_alone() {
    let (server, mut client) = server(POLICY);
    let half_sent: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).unwrap();
            stream.write_all(b"POST /json HTTP/1.1\r\ncontent-length: 9").unwrap();
            stream
        })
        .collect();
    assert_eq!(client.drain(&call(&[("k", "1")]), 20).0, 10);
    drop(half_sent);
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "));
}
