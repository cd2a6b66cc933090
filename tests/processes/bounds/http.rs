//! Whoever does harm over HTTP keeps neither probes nor gRPC waiting.

#![allow(
    clippy::print_stderr,
    reason = "how long it took, and how many came first, can be read with --nocapture"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tollgate::server::open_files::raise_limit;

use super::frames::{self, Connection};
use super::own_time::own_time;
use super::process::Process;
use super::support::call;

/// What a kubelet waits for, if it is told nothing else.
const PROBED: Duration = Duration::from_secs(1);

/// What it and Prometheus ask.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A machine that others use, too, may be slow once.
const ATTEMPTS: usize = 3;

fn get(http: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// So many connections that each send this as far as it is taken, and do nothing more.
fn harmful(http: SocketAddr, count: usize, says: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(http).unwrap();
        stream.set_nonblocking(true).unwrap();
        // Fails where nothing more is taken, or the server has closed it.
        let _ = stream.write_all(says);
        stream
    };
    (0..count).map(open).collect()
}

/// Every probe is answered, each in time.
fn assert_is_alive(server: &Process, beside: &str) {
    let thread = server.thread("http");
    for path in PROBES {
        let mut told = String::new();
        let in_time = (0..ATTEMPTS).any(|_| {
            let took = own_time(&thread, || {
                let answer = get(server.http, path);
                assert!(answer.starts_with("HTTP/1.1 200 "), "{path} beside {beside}: {answer}");
            });
            told += &format!(" {took:?}");
            took < PROBED
        });
        eprintln!("{path} beside {beside}:{told}");
        assert!(in_time, "{path} beside {beside}:{told}");
    }
}

fn metric(server: &Process, name: &str) -> u64 {
    let metrics = get(server.http, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    line.parse().unwrap()
}

/// A policy of many tables, of which an explanation tells one by one.
fn long_to_explain() -> (tempfile::TempDir, String, String) {
    let table = |at| {
        format!("  - {{ name: t{at}, key: [k], rows: {{ all: [{{ per_day: 1000000 }}] }} }}\n")
    };
    let tables: String = (0..20).map(table).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, format!("domain: d\ntables:\n{tables}")).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let descriptor = |at: usize| json!({ "entries": [{ "key": "k", "value": at.to_string() }] });
    let descriptors: Vec<_> = (0..32).map(descriptor).collect();
    let body = json!({ "domain": "d", "descriptors": descriptors }).to_string();
    let request = format!(
        "POST /explain HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    (folder, path, request)
}

/// Callers of `/explain`, as many as wait for each other at a time.
struct Explained {
    callers: Vec<TcpStream>,
    request: String,
}

impl Explained {
    const COUNT: usize = 16;

    fn of(http: SocketAddr, request: String) -> Self {
        let callers = (0..Self::COUNT).map(|_| TcpStream::connect(http).unwrap()).collect();
        Self { callers, request }
    }

    fn ask(&mut self) {
        for caller in &mut self.callers {
            caller.write_all(self.request.as_bytes()).unwrap();
        }
    }

    /// How many have been answered, or begun to be.
    fn answered(&self) -> usize {
        let is_answered = |caller: &&TcpStream| {
            caller.set_nonblocking(true).unwrap();
            let is_answered = caller.peek(&mut [0]).is_ok();
            caller.set_nonblocking(false).unwrap();
            is_answered
        };
        self.callers.iter().filter(is_answered).count()
    }

    /// Waits until all have their answers, which are good ones.
    fn finish(&mut self) {
        for caller in &mut self.callers {
            let mut answer = Vec::new();
            let mut part = vec![0; 1 << 16];
            let end = loop {
                let read = caller.read(&mut part).unwrap();
                assert_ne!(read, 0, "it was closed");
                answer.extend_from_slice(&part[..read]);
                let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
                let Some(head) = head else { continue };
                let text = String::from_utf8(answer[..head].to_ascii_lowercase()).unwrap();
                assert!(text.starts_with("http/1.1 200 "), "{text}");
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                break head + 4 + length.unwrap().parse::<usize>().unwrap();
            };
            let mut rest = vec![0; end - answer.len()];
            caller.read_exact(&mut rest).unwrap();
        }
    }
}

/// How many of sixteen explanations come before what is asked for later, in the middle of five rounds.
fn come_before(http: SocketAddr, request: String, mut ask: impl FnMut()) -> usize {
    let mut explained = Explained::of(http, request);
    let mut before: Vec<_> = (0..5)
        .map(|_| {
            explained.ask();
            ask();
            let answered = explained.answered();
            explained.finish();
            answered
        })
        .collect();
    before.sort_unstable();
    before[2]
}

/// Without a clock: sixteen explanations are asked for, and then a connection of gRPC is opened and a call made on
/// it, or a probe.
#[test]
fn neither_a_new_connection_of_grpc_nor_a_probe_waits_for_explanations() {
    let (_folder, path, request) = long_to_explain();
    let server = Process::start_with(100, &["--config", &path]);
    let calls = come_before(server.http, request.clone(), || {
        let mut connection = Connection::open(server.grpc);
        connection.send(&frames::call(1, &call(&[("k", "1")])));
        connection.wait_for_answer(1);
    });
    let probes = come_before(server.http, request, || {
        assert!(get(server.http, "/healthz").starts_with("HTTP/1.1 200 "));
    });
    let told = format!("of 16 explanations {calls} came before a call, {probes} before a probe");
    eprintln!("{told}");
    assert!(calls < 8 && probes < 8, "{told}");
}

/// For how long a thread had a core.
fn ran(thread: &Path) -> Duration {
    let told = std::fs::read_to_string(thread).unwrap();
    Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
}

/// The thread that accepts gRPC's connections, and the one that answers its calls.
#[test]
fn what_is_asked_over_http_is_no_work_of_the_threads_of_grpc() {
    let (_folder, path, request) = long_to_explain();
    let server = Process::start_with(100, &["--config", &path]);
    // All of them are there.
    get(server.http, "/healthz");
    let threads = ["tollgate", "grpc-0", "http"].map(|name| server.thread(name));
    let begun = threads.each_ref().map(|thread| ran(thread));
    for _ in 0..1000 {
        assert!(get(server.http, "/openapi.json").starts_with("HTTP/1.1 200 "));
    }
    for _ in 0..2 {
        let mut explained = Explained::of(server.http, request.clone());
        explained.ask();
        explained.finish();
    }
    let spent = |at: usize| ran(&threads[at]) - begun[at];
    let (accepting, answering, http) = (spent(0), spent(1), spent(2));
    let told = format!("accepting {accepting:?}, answering {answering:?}, HTTP {http:?}");
    eprintln!("{told}");
    assert!(4 * (accepting + answering) < http, "{told}");
}

#[test]
fn an_explanation_too_many_is_sent_away_and_told_to_come_again() {
    let (_folder, path, request) = long_to_explain();
    let server = Process::start_with(100, &["--config", &path]);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).unwrap();
            let closing = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            stream.write_all(closing.as_bytes()).unwrap();
            stream
        })
        .collect();
    let (mut explained, mut refused) = (0, 0);
    for mut caller in callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        match &answer[9..12] {
            "200" => explained += 1,
            "503" if answer.contains("\r\nretry-after: 1\r\n") => refused += 1,
            _ => panic!("{answer}"),
        }
    }
    assert!(explained >= 16 && refused > 0, "{explained} were explained, {refused} refused");
}

mod wall_clock {
    use super::*;

    /// All of one address, the probes' own.
    #[test]
    #[ignore = "measures time; bash tests/run.sh clock"]
    fn probes_are_answered_beside_any_number_of_connections_that_come_to_nothing() {
        raise_limit(10_000);
        let head = "HTTP/1.1\r\nhost: localhost\r\n";
        let asks = |path: &str| format!("GET {path} {head}\r\n").repeat(400);
        let harm = [
            ("nothing that is said", String::new()),
            ("heads without an end", format!("GET /healthz {head}")),
            (
                "bodies without an end",
                format!(
                    "POST /explain {head}content-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
                ),
            ),
            ("answers that are not read", asks("/openapi.json")),
            ("metrics that are not read", asks("/metrics")),
            ("policies that are not read", asks("/config")),
        ];
        let server = Process::start(100);
        for count in [256, 1000] {
            for (what, says) in &harm {
                let open = harmful(server.http, count, says.as_bytes());
                assert_is_alive(&server, &format!("{count} times {what}"));
                assert!(
                    metric(&server, "tollgate_http_connections") <= 128,
                    "they are of one peer"
                );
                drop(open);
            }
        }
        assert!(metric(&server, "tollgate_http_displaced_connections_total") > 5_000);
    }
}
