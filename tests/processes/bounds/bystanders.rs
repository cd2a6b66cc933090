//! Who is honest does not wait for who is not, by the clock.
//!
//! One honest caller asks, one call after another, on a connection of its own, and shares the server's only
//! worker with whoever does harm. Right before each of its calls the harm is done, by the same thread: what
//! would have to wait for it does. The next call comes when the server has dealt with it.
//!
//! Harm is work, and who does work takes the processor from others, on a machine of two cores from the test
//! itself. So the usual is the same call with the same harm done to another server: rounds of either kind take
//! turns, and of each kind's 99th percentiles the median counts. The other shapes, without a clock, are those
//! of the server's own tests of a connection; optimised and on a full worker, `benches/targets/bystanders.rs`.

#![allow(
    clippy::print_stderr,
    reason = "latency is real time, and what it is can be read with --nocapture"
)]

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use tollgate::server::open_files::raise_limit;
use tollgate::wire::RateLimitResponse;

use super::frames::{self, Connection};
use super::harm::{Flood, Harm, Nobody, SlowReaders, calls, silent};
use super::own_time::{delay, own_time};
use super::process::Process;
use super::support::{call, server, shipped};

const ROUNDS: usize = 3;
const CALLS_OF_A_ROUND: usize = 100;

/// Twice the usual is what harm may cost. The usual is less than a tenth of a millisecond, less than a turn
/// of either scheduler, the machine's or the server's, and this binary is hardly optimised. Envoy waits four
/// times as long as this; what is done here takes several times as long to deal with.
const UNNOTICED: Duration = Duration::from_millis(5);

/// A machine that others use, too, may be slow just in one kind of round, but not three times in a row.
const ATTEMPTS: usize = 3;

/// What the server keeps for who does not read: the answers of a turn or two, and what a connection takes.
const MAX_FOR_A_SLOW_READER: u64 = 1 << 20;

/// And for who says nothing.
const MAX_FOR_A_SILENT_CALLER: u64 = 64 << 10;

/// Tests that measure do it one after another.
static MEASURING: Mutex<()> = Mutex::new(());

/// A caller whose tenants are its own, so that each call is admitted.
struct Honest {
    connection: Connection,
    /// Where the kernel tells of the thread that answers.
    worker: PathBuf,
    calls: u32,
}

impl Honest {
    fn connect(server: &Process) -> Self {
        let mut connection = Connection::open(server.grpc);
        connection.widen();
        Self { connection, worker: server.worker(), calls: 0 }
    }

    fn call(&mut self) -> Duration {
        let stream = 2 * self.calls + 1;
        let tenant = format!("tenant-{}", self.calls);
        let frames =
            frames::call(stream, &shipped(&[("tenant_type", "free"), ("tenant", &tenant)]));
        self.calls += 1;
        own_time(&self.worker, || {
            self.connection.send(&frames);
            self.connection.wait_for_answer(stream);
        })
    }

    /// The 99th percentile of a round's calls.
    fn round(&mut self, harm: &mut impl Harm) -> Duration {
        let one = |_| {
            harm.begin();
            let latency = self.call();
            harm.end();
            latency
        };
        let mut latencies: Vec<_> = (0..CALLS_OF_A_ROUND).map(one).collect();
        latencies.sort_unstable();
        latencies[CALLS_OF_A_ROUND * 99 / 100 - 1]
    }
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// How long a caller may stand without a core between two calls that it makes in a row.
const AT_ONCE: Duration = Duration::from_micros(100);

/// Without a clock: every call takes one token of one bucket, and what it is told is left says how
/// many were decided before it. A call is sent right behind 1,000 on another connection of the same worker.
#[test]
fn a_call_waits_for_some_of_those_before_it_on_other_connections_and_not_for_all() {
    let (server, _) =
        server("tables: [{ name: t, key: [], rows: { all: [{ per_day: 1000000000 }] } }]");
    // Connections are dealt to two workers in turn, and the client above was the first.
    let [_, honest, _, other] = [(); 4].map(|()| Connection::open(server.grpc));
    let [mut honest, mut other] = [honest, other];
    other.widen();
    honest.widen();
    let message = call(&[("k", "1")]);
    let mut burst = calls(1000, |stream| frames::call(stream, &message));
    let mut left = 1_000_000_000;
    let mut before: Vec<u32> = (0..1000)
        .filter_map(|number| {
            let stream = 2 * number + 1;
            // Ready to be sent, so that the worker has not answered all of the others by then.
            let (burst, one) = (burst(), frames::call(stream, &message));
            let delayed = delay();
            other.send(&burst);
            honest.send(&one);
            // A caller that stood without a core in between came late by itself.
            let was_delayed = delay().saturating_sub(delayed) > AT_ONCE;
            let answer = honest.wait_for(frames::DATA, stream).unwrap();
            let answer = RateLimitResponse::decode(&answer[5..]).unwrap();
            other.wait_for_answers(1000);
            let before = left - 1 - answer.statuses[0].limit_remaining;
            left -= 1001;
            (!was_delayed).then_some(before)
        })
        .take(51)
        .collect();
    assert_eq!(before.len(), 51, "the machine is too busy to send two calls in a row");
    before.sort_unstable();
    eprintln!("of 1,000 calls, {} were decided before one that came later", before[25]);
    assert!(before[25] < 500, "{before:?}");
}

#[test]
fn who_does_not_read_his_answers_has_them_kept_within_bounds() {
    const COUNT: usize = 20;
    let server = Process::start(10_000);
    Honest::connect(&server).call();
    let before = server.resident();
    let mut slow = SlowReaders::of(server.grpc, COUNT);
    let (mut taken, mut idle) = (0, 0);
    // Until nothing more is taken from any of them.
    for _ in 0..1000 {
        (0..COUNT).for_each(|_| slow.ask());
        Honest::connect(&server).call();
        let is_more = slow.taken() > std::mem::replace(&mut taken, slow.taken());
        idle = if is_more { 0 } else { idle + 1 };
        // Once may only mean that the server was busy.
        if idle == 20 {
            break;
        }
    }
    assert!(taken < slow.calls.len(), "all is taken: that is no bound");
    let each = server.resident().saturating_sub(before) / u64::try_from(COUNT).unwrap();
    eprintln!("{each} bytes for each of {COUNT} slow readers, after {taken} bytes of calls");
    assert!(each < MAX_FOR_A_SLOW_READER, "{each} bytes for each slow reader");
}

mod wall_clock {
    use super::*;

    /// Thousands at a time, which take many turns.
    #[test]
    #[ignore = "measures time; bash tests/run.sh clock"]
    fn of_calls_begun_and_reset() {
        let _measuring = MEASURING.lock();
        let (server, other) = (Process::start(10_000), Process::start(10_000));
        let mut honest = Honest::connect(&server);
        let usual = median((0..ROUNDS).map(|_| honest.round(&mut Nobody)).collect());
        let [mut here, mut elsewhere] =
            [&server, &other].map(|server| Flood::of(server.grpc, 5000));
        let mut told = format!("5,000 resets: p99 {usual:?} without");
        for _ in 0..ATTEMPTS {
            let rounds =
                (0..ROUNDS).map(|_| (honest.round(&mut elsewhere), honest.round(&mut here)));
            let (elsewhere, here) = rounds.unzip();
            let (elsewhere, here) = (median(elsewhere), median(here));
            told += &format!(", {here:?} with, {elsewhere:?} with them elsewhere");
            if here <= UNNOTICED.max(2 * elsewhere) {
                eprintln!("{told}");
                return;
            }
        }
        panic!("{told}");
    }

    #[test]
    #[ignore = "measures time; bash tests/run.sh clock"]
    fn of_ten_thousand_connections_that_are_silent() {
        let _measuring = MEASURING.lock();
        let room = raise_limit(10_000);
        let mut told = String::new();
        for _ in 0..ATTEMPTS {
            let server = Process::start(room);
            let mut honest = Honest::connect(&server);
            let mut rounds = || median((0..ROUNDS).map(|_| honest.round(&mut Nobody)).collect());
            let usual = rounds();
            let before = server.resident();
            let silent: Vec<_> = (1..room).map(|number| silent(server.grpc, number)).collect();
            let with = rounds();
            let each =
                server.resident().saturating_sub(before) / u64::try_from(silent.len()).unwrap();
            let count = silent.len();
            told += &format!(
                "{count} silent connections of {each} bytes: p99 {with:?}, {usual:?} without; "
            );
            if with <= UNNOTICED.max(2 * usual) && each < MAX_FOR_A_SILENT_CALLER {
                eprintln!("{told}");
                return;
            }
        }
        panic!("{told}");
    }
}
