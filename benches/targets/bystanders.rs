//! How long an honest caller waits for others, on one worker that is as busy as it can be.
//!
//! One caller asks, one call after another. Beside it others keep the worker busy all the time: first
//! neighbours that ask ordinary calls as fast as they are answered, which makes the usual wait, then as many
//! that do harm as fast as it is taken. In both a call waits for a turn of each of the others; so the
//! 99th percentiles are held against each other, and on a machine with other work they move together.
//!
//! The worker has one core and all callers the other, the honest one before the rest. For as long as its thread
//! or the worker's stood ready without a core it did not wait for other callers, and that is taken off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::oneshot;
use tollgate::server::open_files::raise_limit;
use tollgate::server::{Options, Server as Tollgate, Stop};
use tollgate::wire::RateLimitRequest;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::empty;
use crate::frames::{self, Connection, Resets};
use crate::own_time::{own_time, thread};
use crate::report::Report;
use crate::support::Parts;

/// One and a half times the usual is what harm may cost.
const LIMIT: f64 = 1.5;

/// A silent connection may take this many KB, as it did on the h2 crate.
const MAX_SILENT: f64 = 41.0;

/// How many do harm, in turn.
const COUNTS: [usize; 2] = [1, 4];

/// Rounds of each kind, in turn; the median counts.
const ROUNDS: usize = 7;
const CALLS: usize = 500;

/// What a connection is sent is of about this size, in bytes, and sent in pieces of this one; then again on
/// another connection.
const HARM: usize = 8 << 20;
const PIECE: usize = 64 << 10;

/// While the system takes no more of it: it keeps enough for the worker to be busy for as long.
const REST: Duration = Duration::from_micros(500);

/// Calls that a neighbour has open at a time.
const OPEN: usize = 256;

/// The cores of the worker and of all callers.
const SERVER: usize = 0;
const CALLERS: usize = 1;

/// What those who do harm are said to be nice by.
const BEHIND: i32 = 5;

type Shape = (&'static str, fn() -> Vec<u8>);

const SHAPES: [Shape; 10] = [
    ("calls that nobody waits for", || until_full(|stream| frames::call(stream, &ordinary()))),
    ("calls, and never reads", || until_full(|stream| frames::call(stream, &ordinary()))),
    ("calls begun and reset", || Resets::default().burst(HARM / 27)),
    ("1,000 calls begun, then reset", || {
        let thousands = (0..HARM / 27_000).map(|number| frames::begun_then_reset(number, 1000));
        thousands.flatten().collect()
    }),
    ("1,000 calls begun, and gone", || frames::begun_calls(1000)),
    ("pings", || frames::pings(HARM / 17)),
    ("settings", || frames::settings(HARM / 9)),
    ("settings for 1,000 open calls", || {
        [frames::begun_calls(1000), frames::windows(HARM / 15)].concat()
    }),
    ("messages of 4 MiB, begun", || until_full(|stream| frames::begun_message(stream, 4 << 20))),
    ("messages of 7,000 entries", || until_full(|stream| frames::call(stream, &large()))),
];

pub fn check(report: &mut Report, word: &str) {
    report.headline(
        "p99 of an honest call on a full worker: beside harm, over beside ordinary calls",
    );
    let mut honest = beside_shapes(report, word, server(), "grpc-0", Some(LIMIT));
    if "silent connections".contains(word) {
        silent(report, &mut honest);
    }
}

/// The same harm, done to the empty service on tonic's server: what is not ours. Nothing of it has a limit.
pub fn check_baseline(report: &mut Report, word: &str) {
    report.headline("the same beside an empty tonic service");
    beside_shapes(report, word, baseline(), BASELINE, None);
}

fn beside_shapes(
    report: &mut Report,
    word: &str,
    server: SocketAddr,
    worker: &str,
    limit: Option<f64>,
) -> Honest {
    pin(CALLERS);
    let connection = Connection::open(server);
    let mut honest = Honest { server, connection, worker: thread("self", worker), calls: 0 };
    honest.connection.widen();
    let idle = median((0..ROUNDS).map(|_| honest.p99()).collect());
    report.note("with nobody else", micros(idle), "us");
    let calls = Arc::new(until_full(|stream| frames::call(stream, &ordinary())));
    for (what, harm) in SHAPES.into_iter().filter(|(what, _)| what.contains(word)) {
        let harm = Arc::new(harm());
        for count in COUNTS {
            let rounds = (0..ROUNDS).map(|_| {
                let usual = beside(count, &mut honest, |stop| neighbour(server, &calls, stop));
                let reads = !what.contains("never reads");
                let harmed = beside(count, &mut honest, |stop| flood(server, &harm, reads, stop));
                (usual, harmed)
            });
            let (usual, harmed) = rounds.unzip();
            let [usual, harmed] = [usual, harmed].map(|rounds| micros(median(rounds)));
            report.note(&format!("{count} of ordinary calls"), usual, "us");
            report.note(&format!("{count} of {what}"), harmed, "us");
            match limit {
                Some(limit) => report.check("    over the usual", harmed / usual, limit, "times"),
                None => report.note("    over the usual", harmed / usual, "times"),
            }
        }
    }
    honest
}

/// Both ends of a connection are this process's, and files of it.
fn silent(report: &mut Report, honest: &mut Honest) {
    let count = raise_limit(20_000) / 2;
    let server = honest.server;
    let before = resident();
    let usual = median((0..ROUNDS).map(|_| honest.p99()).collect());
    let open = |_| {
        let mut connection = Connection::open(server);
        connection.widen();
        connection
    };
    let connections: Vec<_> = (0..count - 100).map(open).collect();
    let with = median((0..ROUNDS).map(|_| honest.p99()).collect());
    report.note("with nobody else", micros(usual), "us");
    report.note(&format!("{} silent connections", connections.len()), micros(with), "us");
    report.check("    over nobody", micros(with) / micros(usual), LIMIT, "times");
    // With the other end, which is a socket and little else.
    let each = (resident() - before) / connections.len() as f64;
    report.check("resident memory of each", each, MAX_SILENT, "KB");
}

/// The memory of this process, in KB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1.024
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// Keeps this thread, and those that it starts, on one core.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).unwrap();
}

/// A server with one worker, until the process ends.
fn server() -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let one = NonZeroUsize::MIN;
    let options =
        Options { grpc: any.into(), http: Some(any.into()), workers: one, ..Options::default() };
    let (bound, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        pin(SERVER);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let server = Tollgate::bind(options).await.unwrap();
            bound.send(server.grpc_address().tcp().unwrap()).unwrap();
            let (_never, stop) = oneshot::channel::<()>();
            let stop = async {
                stop.await.unwrap_or(());
                Stop::AfterDelay
            };
            server
                .run(Arc::clone(Parts::shipped().service.core()), stop, std::future::pending())
                .await
                .unwrap();
        });
    });
    address.recv().unwrap()
}

/// The name of the thread of the empty service.
const BASELINE: &str = "baseline";

/// The empty service with one thread, until the process ends.
fn baseline() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        pin(SERVER);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            empty::serving(Server::builder()).serve_with_incoming(incoming).await.unwrap();
        });
    };
    std::thread::Builder::new().name(BASELINE.to_owned()).spawn(serve).unwrap();
    address
}

/// What is asked as a rule.
fn ordinary() -> RateLimitRequest {
    asked(1, &[("tenant_type", "enterprise_production"), ("tenant", "neighbour")])
}

/// As many entries as may be sent ahead of being read.
fn large() -> RateLimitRequest {
    asked(110, &[("a", "b"); 64])
}

fn asked(descriptors: usize, entries: &[(&str, &str)]) -> RateLimitRequest {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut request = tollgate::wire::request("management-api", entries, 1, false);
    let one = request.descriptors.clone();
    request.descriptors = one.into_iter().cycle().take(descriptors).collect();
    request
}

fn until_full(one: impl FnMut(u32) -> Vec<u8>) -> Vec<u8> {
    let mut all = Vec::with_capacity(HARM);
    let mut ones = (1..).step_by(2).map(one);
    while all.len() < HARM {
        all.extend(ones.next().unwrap());
    }
    all
}

struct Honest {
    server: SocketAddr,
    connection: Connection,
    /// Where the kernel tells of the thread that answers.
    worker: PathBuf,
    calls: u32,
}

impl Honest {
    fn call(&mut self) -> Duration {
        let stream = 2 * self.calls + 1;
        let frames = frames::call(stream, &ordinary());
        self.calls += 1;
        own_time(&self.worker, || {
            self.connection.send(&frames);
            self.connection.wait_for_answer(stream);
        })
    }

    fn p99(&mut self) -> Duration {
        let mut latencies: Vec<_> = (0..CALLS).map(|_| self.call()).collect();
        latencies.sort_unstable();
        latencies[CALLS * 99 / 100 - 1]
    }
}

/// The 99th percentile while so many do this.
fn beside(count: usize, honest: &mut Honest, other: impl Fn(&AtomicBool) + Sync) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                rustix::process::nice(BEHIND).unwrap();
                other(&stop);
            });
        }
        // Until they are at it.
        for _ in 0..CALLS / 5 {
            honest.call();
        }
        let p99 = honest.p99();
        stop.store(true, Ordering::Relaxed);
        p99
    })
}

/// Makes ordinary calls, [`OPEN`] at a time: sends half of them when the other half is answered. The caller prepares their
/// bytes, since building them takes longer than answering them.
fn neighbour(server: SocketAddr, calls: &[u8], stop: &AtomicBool) {
    let half = OPEN / 2 * frames::call(1, &ordinary()).len();
    while !stop.load(Ordering::Relaxed) {
        let mut connection = Connection::open(server);
        connection.widen();
        let mut halves = calls.chunks_exact(half);
        connection.send(halves.next().unwrap());
        for next in halves.take_while(|_| !stop.load(Ordering::Relaxed)) {
            connection.send(next);
            connection.wait_for_answers(OPEN / 2);
        }
        connection.wait_for_answers(OPEN / 2);
    }
}

/// All of it as fast as it is taken, and then again on another connection once the server has closed this one:
/// never two at a time. At the end what was sent and is not read yet is taken back.
fn flood(server: SocketAddr, harm: &[u8], reads: bool, stop: &AtomicBool) {
    let begun = [frames::preface(), frames::wide()].concat();
    let mut answers = vec![0; PIECE];
    while !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(server).unwrap();
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        stream.write_all(&begun).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut left = harm;
        while !stop.load(Ordering::Relaxed) {
            let sent = stream.write(&left[..left.len().min(PIECE)]).unwrap_or(0);
            left = &left[sent..];
            if left.is_empty() {
                let _ = stream.shutdown(Shutdown::Write);
            }
            let read = if reads { stream.read(&mut answers).ok() } else { None };
            match read {
                Some(0) => break,
                None if sent == 0 => std::thread::sleep(REST),
                _ => {}
            }
        }
    }
}
