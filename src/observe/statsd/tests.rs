//! What a real socket receives. `flush` is called where an interval would end.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;
use crate::clock::Nanos;
use crate::store::MemoryStore;

const ANY: (&str, u16) = ("127.0.0.1", 0);

fn telemetry() -> Arc<Telemetry> {
    let telemetry = Telemetry::new(Arc::new(MemoryStore::new(64)));
    Arc::new(telemetry.with_ratelimit_stats(Default::default()))
}

fn sender(telemetry: &Arc<Telemetry>, sink: Sink, tags: &[(&str, &str)]) -> Sender {
    let statistics = Statistics {
        near_limit_ratio: 0.8,
        sink,
        flush_interval: Duration::from_secs(10),
        extra_tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    };
    Sender::new(Arc::clone(telemetry), &statistics).unwrap()
}

fn statsd(port: u16, is_udp: bool) -> Sink {
    Sink::Statsd { host: "127.0.0.1".to_owned(), port, is_udp }
}

fn miss(telemetry: &Telemetry, domain: &str, descriptors: usize) {
    telemetry.ratelimit().count_unknown_domain(domain.into(), descriptors);
}

/// The next datagram; `None` if there is none.
fn datagram(socket: &UdpSocket) -> Option<String> {
    let mut bytes = [0; 2048];
    match socket.recv(&mut bytes) {
        Ok(length) => Some(String::from_utf8(bytes[..length].to_vec()).unwrap()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// All that has arrived by now, on a connection that does not wait.
fn arrived(stream: &mut TcpStream) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn increases_are_sent_by_udp_and_what_has_not_risen_is_not() {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let telemetry = telemetry();
    let port = socket.local_addr().unwrap().port();
    let mut sender = sender(&telemetry, statsd(port, true), &[("cell", "a.1")]);
    sender.flush().await;
    assert_eq!(datagram(&socket), None, "nothing has risen");
    miss(&telemetry, "shop", 3);
    telemetry.ratelimit().count_store_error(Nanos::new(1_500_000));
    sender.flush().await;
    let expected = "ratelimit.service.call.should_rate_limit.redis_error.__cell=a_1:1|c\n\
                    ratelimit.service.rate_limit.shop.domain_not_found.__cell=a_1:3|c\n\
                    ratelimit_server.ShouldRateLimit.total_requests.__cell=a_1:2|c\n\
                    ratelimit_server.ShouldRateLimit.response_time.__cell=a_1:0|ms\n\
                    ratelimit_server.ShouldRateLimit.response_time.__cell=a_1:1.5|ms\n";
    assert_eq!(datagram(&socket).as_deref(), Some(expected));
    miss(&telemetry, "shop", 2);
    sender.flush().await;
    let expected = "ratelimit.service.rate_limit.shop.domain_not_found.__cell=a_1:2|c\n\
                    ratelimit_server.ShouldRateLimit.total_requests.__cell=a_1:1|c\n\
                    ratelimit_server.ShouldRateLimit.response_time.__cell=a_1:0|ms\n";
    assert_eq!(datagram(&socket).as_deref(), Some(expected));
    sender.flush().await;
    assert_eq!(datagram(&socket), None);
}

#[tokio::test]
async fn many_lines_are_sent_in_datagrams_of_whole_lines() {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let telemetry = telemetry();
    (0..100).for_each(|number| miss(&telemetry, &format!("domain_{number}"), 1));
    let port = socket.local_addr().unwrap().port();
    sender(&telemetry, statsd(port, true), &[]).flush().await;
    let datagrams: Vec<_> = std::iter::from_fn(|| datagram(&socket)).collect();
    assert!(datagrams.len() > 2);
    let is_whole = |text: &String| text.ends_with("|c\n") || text.ends_with("|ms\n");
    assert!(datagrams.iter().all(|text| text.len() <= 1432 && is_whole(text)));
    assert_eq!(datagrams.concat().lines().count(), 101 + 100);
}

#[tokio::test]
async fn dogstatsd_has_tags_of_its_own_and_each_time_is_sent_once() {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let telemetry = telemetry();
    let (host, port) = ("127.0.0.1".to_owned(), socket.local_addr().unwrap().port());
    let mut sender = sender(&telemetry, Sink::DogStatsd { host, port }, &[("cell", "a")]);
    telemetry.ratelimit().observe(Nanos::new(2_250_000));
    miss(&telemetry, "shop", 1);
    sender.flush().await;
    let expected = "ratelimit.service.rate_limit.shop.domain_not_found:1|c|#cell:a\n\
                    ratelimit_server.ShouldRateLimit.total_requests:1|c|#cell:a\n\
                    ratelimit_server.ShouldRateLimit.response_time:2.25|ms|#cell:a\n\
                    ratelimit_server.ShouldRateLimit.response_time:0|ms|#cell:a\n";
    assert_eq!(datagram(&socket).as_deref(), Some(expected));
    sender.flush().await;
    assert_eq!(datagram(&socket), None);
}

#[tokio::test]
async fn of_many_times_the_latest_stand_for_all_requests() {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let telemetry = telemetry();
    (0..1024).for_each(|_| telemetry.ratelimit().observe(Nanos::new(1_000_000)));
    let port = socket.local_addr().unwrap().port();
    sender(&telemetry, statsd(port, true), &[]).flush().await;
    let text: String = std::iter::from_fn(|| datagram(&socket)).collect();
    let line = "ratelimit_server.ShouldRateLimit.response_time:1|ms|@0.25\n";
    // A rate of a quarter has each count as four.
    assert_eq!(text, line.repeat(256));
}

#[tokio::test]
async fn increases_of_the_time_without_statsd_are_sent_by_tcp_when_it_is_back() {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    let telemetry = telemetry();
    let mut sender = sender(&telemetry, statsd(address.port(), false), &[]);
    let flush = async |sender: &mut Sender| {
        miss(&telemetry, "shop", 1);
        sender.flush().await;
    };
    flush(&mut sender).await;
    let (mut first, _) = listener.accept().unwrap();
    let one = "ratelimit.service.rate_limit.shop.domain_not_found:1|c\n\
               ratelimit_server.ShouldRateLimit.total_requests:1|c\n\
               ratelimit_server.ShouldRateLimit.response_time:0|ms\n";
    assert_eq!(arrived(&mut first), one);
    flush(&mut sender).await;
    assert_eq!(arrived(&mut first), one, "on the same connection");
    drop((first, listener));
    for _ in 0..2 {
        flush(&mut sender).await;
        assert!(sender.is_failure_told);
    }
    let listener = TcpListener::bind(address).unwrap();
    flush(&mut sender).await;
    assert!(!sender.is_failure_told);
    let (mut second, _) = listener.accept().unwrap();
    assert_eq!(arrived(&mut second), one.replace(":1|", ":3|"));
}

#[tokio::test]
async fn the_last_increases_are_sent_at_the_end() {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let telemetry = telemetry();
    let port = socket.local_addr().unwrap().port();
    miss(&telemetry, "shop", 1);
    sender(&telemetry, statsd(port, true), &[]).run(async {}).await;
    assert_eq!(datagram(&socket).unwrap().lines().count(), 3);
}

#[test]
fn nothing_is_sent_where_statistics_go_elsewhere() {
    let prometheus = Sink::Prometheus { is_in_milliseconds: false };
    for sink in [Sink::Nowhere, Sink::Log, prometheus] {
        let (near_limit_ratio, flush_interval) = (0.8, Duration::from_secs(1));
        let statistics = Statistics { near_limit_ratio, sink, flush_interval, extra_tags: vec![] };
        assert!(Sender::new(telemetry(), &statistics).is_none());
    }
}
