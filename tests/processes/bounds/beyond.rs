//! What Envoy can send at most is answered, and what is larger is refused by itself: the connection, and
//! the calls on it, go on.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::frames::{self, CALM, Connection, DATA, GOAWAY, HEADERS, REFUSED, RST_STREAM};
use super::support::{call, descriptor, eventually, request, server, server_with_connections};

const POLICY: &str = "tables: [{ name: t, key: [k], rows: { all: [{ per_day: 1000000 }] } }]";

#[test]
fn what_envoy_can_send_at_most_is_answered() {
    let (_server, mut client) = server(POLICY);
    // A path as long as Envoy lets it in, in each of as many descriptors as fit into a message.
    let path = "x".repeat(60 << 10);
    let long: Vec<_> = (0..17).map(|_| descriptor(&[("k", "1"), ("path", &path)])).collect();
    assert!(client.ask(request("d", &long)).is_ok());
    // And one of which Envoy is told to let in longer ones.
    let path = "x".repeat(900 << 10);
    assert!(client.ask(call(&[("k", "1"), ("path", &path)])).is_ok());
    let many: Vec<_> = (0..256).map(|_| descriptor(&[("k", "1"); 64])).collect();
    assert!(client.ask(request("d", &many)).is_ok());
}

#[test]
fn more_than_that_is_an_invalid_argument_that_says_what_is_too_much() {
    let (server, mut client) = server(POLICY);
    let long = "x".repeat(1025);
    for (too_much, told) in [
        (call(&[("k", "1"); 65]), "descriptor 0: 65 entries; send at most 64"),
        (call(&[(&long, "1")]), "descriptor 0, entry 0: key has 1025 bytes; send at most 1024"),
        (
            request("d", &vec![descriptor(&[("k", "1")]); 257]),
            "257 descriptors; at most 256 are decided together",
        ),
    ] {
        let status = client.try_ask(too_much).unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, told));
    }
    assert!(client.ask(call(&[("k", "1")])).is_ok());
    assert!(server.get("/metrics").contains("tollgate_invalid_requests_total 3\n"));
}

#[test]
fn a_message_of_4_mib_is_denied_as_often_as_it_comes() {
    let (server, mut client) = server(POLICY);
    let large = call(&[("k", &"x".repeat(4 << 20))]);
    for _ in 0..100 {
        let denied = client.ask(large.clone());
        assert!(!denied.is_ok() && denied.0.statuses.is_empty(), "{:?}", denied.0);
    }
    assert!(client.ask(call(&[("k", "1")])).is_ok());
    assert!(server.get("/metrics").contains("tollgate_invalid_requests_total 100\n"));
}

/// More often than a connection may make errors, since this is none.
#[test]
fn a_thousand_messages_that_are_too_large_do_not_cost_the_connection() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let streams = (1..).step_by(2);
    for stream in streams.take(2000) {
        connection.send(&frames::begun_message(stream, 4 << 20));
        assert!(connection.wait_for(HEADERS, stream).is_some());
    }
    connection.send(&frames::call(4001, &call(&[("k", "1")])));
    connection.wait_for_answer(4001);
}

#[test]
fn messages_that_never_end_are_not_kept_without_bound() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let begin = |connection: &mut Connection, stream| {
        connection.send(&frames::begun_message(stream, 1 << 20));
        (0..3).for_each(|_| connection.send(&frames::more_of_a_message(stream)));
    };
    // 56 KiB of each: 292 of them are under 16 MiB, and the next is not.
    let streams: Vec<_> = (1..).step_by(2).take(292).collect();
    for stream in &streams {
        begin(&mut connection, *stream);
        connection.settle();
    }
    begin(&mut connection, 601);
    // One message of two bytes: `overall_code: OVER_LIMIT`. Envoy would let through what has another status.
    assert_eq!(connection.wait_for(DATA, 601), Some(vec![0, 0, 0, 0, 2, 0x08, 2]));
    connection.wait_for_answer(601);
    connection.send(&frames::call(603, &call(&[("k", "1")])));
    connection.wait_for_answer(603);
    // Those that are given up are forgotten.
    streams.iter().for_each(|stream| connection.send(&frames::reset(*stream, 8)));
    connection.settle();
    let path = "x".repeat(60 << 10);
    connection.send(&frames::call(605, &call(&[("k", "1"), ("path", &path)])));
    connection.wait_for_answer(605);
}

#[test]
fn headers_as_long_as_envoy_takes_them_are_read_and_longer_ones_cost_their_call_only() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let [_, body] = frames::halves(1, &call(&[("k", "1")]));
    connection.send(&[frames::long_head(1, 60 << 10), body].concat());
    connection.wait_for_answer(1);
    connection.send(&frames::long_head(3, 66 << 10));
    // `:status: 431` with HPACK's index of `:status`, or the end of the stream.
    let told = connection.wait_for(HEADERS, 3).unwrap();
    assert!(told.windows(3).any(|text| text == b"431") || told.contains(&0x48), "{told:?}");
    connection.send(&frames::call(5, &call(&[("k", "1")])));
    connection.wait_for_answer(5);
}

/// Tonic would keep 4 MiB of each, for as long as its caller likes.
#[test]
fn messages_to_other_services_are_small() {
    let (server, _) = server(POLICY);
    super::support::runtime().block_on(async {
        let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.grpc));
        let channel = channel.unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let ask = |length| HealthCheckRequest { service: "x".repeat(length) };
        let fits = health.check(ask(60 << 10)).await.unwrap_err();
        assert_eq!(fits.code(), Code::NotFound, "{fits}");
        let too_large = health.check(ask(70 << 10)).await.unwrap_err();
        assert_eq!(too_large.code(), Code::OutOfRange, "{too_large}");
    });
}

#[test]
fn headers_without_an_end_cost_the_connection() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    connection.send(&frames::endless_head(1, 1000));
    assert_eq!(connection.wait_for_end(), Some(CALM));
    assert_eq!(connection.wait_for(GOAWAY, 0), None, "it is closed");
}

#[test]
fn a_call_too_many_is_refused_and_the_others_go_on() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let halves = |number: u32| frames::halves(2 * number + 1, &call(&[("k", "1")]));
    for number in 0..1024 {
        connection.send(&halves(number)[0]);
    }
    connection.settle();
    connection.send(&halves(1024)[0]);
    assert_eq!(connection.wait_for(RST_STREAM, 2049), Some(REFUSED.to_be_bytes().to_vec()));
    for number in [0, 500, 1023] {
        connection.send(&halves(number)[1]);
        connection.wait_for_answer(2 * number + 1);
    }
}

#[test]
fn a_connection_too_many_is_closed_at_once_and_the_others_go_on() {
    let server = server_with_connections(POLICY, 3);
    let metric = |line: &str| server.get("/metrics").contains(&format!("\ntollgate_{line}\n"));
    let mut open: Vec<_> = (0..3).map(|_| Connection::open(server.grpc)).collect();
    assert!(metric("connections 3") && metric("rejected_connections_total 0"));
    for _ in 0..10 {
        assert!(is_closed(TcpStream::connect(server.grpc).unwrap()));
    }
    assert!(metric("connections 3") && metric("rejected_connections_total 10"));
    for connection in &mut open {
        connection.send(&frames::call(1, &call(&[("k", "1")])));
        connection.wait_for_answer(1);
    }
    drop(open.pop());
    eventually("its place is free", || metric("connections 2"));
    assert!(server.client().ask(call(&[("k", "1")])).is_ok());
    assert!(metric("rejected_connections_total 10"));
}

fn is_closed(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Every call that begins as Envoy's do and is given up, as when all of them time out at once.
#[test]
fn no_number_of_resets_costs_a_connection_that_is_read() {
    let (server, _) = server(POLICY);
    let mut connection = Connection::open(server.grpc);
    let mut resets = frames::Resets::default();
    for _ in 0..50 {
        connection.send(&resets.burst(1000));
        connection.settle();
    }
    connection.send(&frames::call(100_001, &call(&[("k", "1")])));
    connection.wait_for_answer(100_001);
}
