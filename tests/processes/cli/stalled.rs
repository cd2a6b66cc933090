//! Where nobody reads what the server says, or it cannot be written: a pager that was stopped, a collector that
//! hangs, a disk that is full.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tollgate::wire::{self, RateLimitServiceClient};

use super::serve::QUIET;
use super::{eventually, run, tollgate, wait};

/// Linux's O_NONBLOCK.
const NONBLOCK: i32 = 0o4000;

/// Two a day.
const POLICY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 2 }] } }]\n";

/// A pipe in which there is no room for another byte, while nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    // Opened anew, since not to wait would concern everybody who has the same one.
    let end = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut end = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(end).unwrap();
    for size in [4096, 1] {
        while end.write(&vec![b'x'; size]).map_err(|error| error.kind())
            != Err(ErrorKind::WouldBlock)
        {}
    }
    (reader, writer)
}

/// A server on sockets of a folder of its own; it is killed when dropped.
struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    fn start(more: &[&str], out: Stdio, err: Stdio) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let sockets = ["grpc", "http"].map(|name| format!("unix:{}", path(name)));
        let [grpc, http] = &sockets;
        let args = ["serve", "--config", &path("policy.yaml"), "--grpc", grpc, "--http", http];
        let child = tollgate(&[&args, more].concat(), &[]).stdout(out).stderr(err).spawn();
        Self { child: child.unwrap(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit code of a question.
    fn ask(&self, value: &str) -> Option<i32> {
        let address = format!("unix:{}", self.path("grpc").display());
        run(&["query", "--addr", &address, "--domain", "d", &format!("k={value}")]).code
    }

    fn is_up(&self) -> bool {
        UnixStream::connect(self.path("grpc")).is_ok()
    }

    fn stop(&mut self) -> Option<i32> {
        terminate(&self.child);
        wait(&mut self.child).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn dropped_lines(mut stream: impl Read + Write) -> u64 {
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let name = "tollgate_log_lines_dropped_total ";
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

#[test]
fn a_server_whose_output_is_stalled_from_the_start_serves_and_stops() {
    let (_out_reader, out) = full_pipe();
    let (_err_reader, err) = full_pipe();
    let mut server = Server::start(&["--log-denied-per-second", "1000"], out.into(), err.into());
    eventually("it listens", || server.is_up());
    let codes = [(); 4].map(|()| server.ask("a"));
    assert_eq!(codes, [Some(0), Some(0), Some(1), Some(1)]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    for args in [
        &["serve", "--config", "nowhere.yaml"][..],
        &["serve", "--grpc", "wrong"],
        &["check"],
        &["explain", "--config", "nowhere.yaml", "k=a"],
    ] {
        let (_reader, full) = full_pipe();
        let mut child = tollgate(args, &[]).stderr(full).spawn().unwrap();
        assert_eq!(wait(&mut child).code(), Some(2), "{args:?}");
    }
}

#[test]
fn what_a_full_disk_does_not_take_is_lost_and_counted_and_nothing_else_is() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server =
        Server::start(&["--log-denied-per-second", "1000"], full().into(), full().into());
    eventually("it listens", || server.is_up());
    let codes = [(); 4].map(|()| server.ask("a"));
    assert_eq!(codes, [Some(0), Some(0), Some(1), Some(1)]);
    // That it started, and two calls that were denied.
    eventually("all are counted", || {
        dropped_lines(UnixStream::connect(server.path("http")).unwrap()) == 3
    });
    assert_eq!(server.stop(), Some(0));
}

/// The calls of one caller, one after another; how many were denied.
fn ask(address: SocketAddr, value: &str, calls: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client =
            RateLimitServiceClient::connect(format!("http://{address}")).await.unwrap();
        let mut denied = 0;
        for _ in 0..calls {
            let entries = [("k".to_owned(), value.to_owned())];
            let call = client.should_rate_limit(wire::request("d", entries.into_iter(), 1, false));
            let answer = tokio::time::timeout(Duration::from_secs(20), call).await;
            denied += usize::from(answer.unwrap().unwrap().into_inner().overall_code == 2);
        }
        denied
    })
}

/// More than a pipe holds, and what waits for it.
const CALLS: usize = 6_000;

#[test]
fn denied_calls_are_answered_while_the_log_stalls_and_every_line_is_written_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let more = [
        "--config",
        path.to_str().unwrap(),
        "--log-denied-per-second",
        "1000000",
        "--workers",
        "2",
    ];
    let mut child = tollgate(&[&QUIET[..], &more].concat(), &[]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let started: Value = serde_json::from_str(&line).expect(&line);
    let address = |name: &str| started["fields"][name].as_str().unwrap().parse().unwrap();
    let (grpc, http): (SocketAddr, SocketAddr) = (address("grpc"), address("http"));

    // Nobody reads from here on.
    assert_eq!(ask(grpc, "a", CALLS), CALLS - 2);
    assert_eq!(ask(grpc, "another", 3), 1);
    let dropped = dropped_lines(TcpStream::connect(http).unwrap());
    assert!(dropped > 0, "everything fits");

    // And now somebody does.
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let next = || {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("it is told");
        serde_json::from_str::<Value>(&line).expect(&line)
    };
    let message = |line: &Value| line["fields"]["message"].as_str().unwrap().to_owned();
    let mut denied = 0;
    let told = loop {
        let line = next();
        match &*message(&line) {
            "denied" => denied += 1,
            _ => break line,
        }
    };
    assert!(message(&told).starts_with("log lines were dropped: "), "{told}");
    assert_eq!(told["fields"]["lines"], dropped);
    assert_eq!(denied + dropped, u64::try_from(CALLS - 2 + 1).unwrap());

    terminate(&child);
    assert_eq!(wait(&mut child).code(), Some(0));
    let rest: Vec<_> = lines.iter().collect();
    let rest: Vec<Value> = rest.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rest: Vec<_> = rest.iter().map(message).collect();
    assert_eq!(rest, ["stopping: calls in flight finish", "stopped"]);
}
