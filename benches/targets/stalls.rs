//! For how long one thread keeps another waiting.
//!
//! One thread decides for callers from all over the store, over and over, and notes its longest call, while
//! another sweeps, grows, evicts, reloads or writes a snapshot. Undisturbed is the same thread alone. Beside
//! that, on one thread alone, the longest single call of what disturbs: it holds no lock for longer than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollgate::clock::Nanos;
use tollgate::config::Source;
use tollgate::descriptor::Query;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::snapshot::SnapshotFile;

use crate::report::Report;
use crate::support::{NOW, Parts, Scattered, Shape, USUAL, leak, message, tenant};
use crate::watch::{Watch, of_a_core};

const KEYS: usize = 10_000_000;

/// The repetition that the machine disturbed least counts: a thread that loses its core while it holds a
/// lock keeps the others waiting for a time slice, and a repetition must be short to escape that.
const REPETITIONS: usize = 5;

const LIMIT_MS: f64 = 1.0;

/// A store with this limit keeps every key that is asked for here.
const AMPLE: usize = 40_000_000;

/// After this every bucket here is full.
const A_WHILE: Nanos = Nanos::from_secs(86_400);

pub fn check(report: &mut Report, word: &str) {
    report.headline("the longest call of one thread while another is at work, 10 million keys");
    let stalls = [
        ("undisturbed", None, undisturbed as fn() -> Vec<Stall>),
        ("sweep, no bucket full", Some(LIMIT_MS), sweep_of_nothing),
        ("sweep, every bucket full", Some(LIMIT_MS), sweep_of_everything),
        ("eviction storm at the limit", Some(LIMIT_MS), evictions),
        ("reload of 10,000 rows", Some(LIMIT_MS), reload),
        ("snapshot to a file", Some(LIMIT_MS), snapshot),
        ("growth from nothing", None, growth),
    ];
    for (what, limit, run) in stalls.into_iter().filter(|(what, ..)| what.contains(word)) {
        let runs = run();
        let [least, median, _] = ordered(&runs, |run| run.victim_own);
        match limit {
            Some(limit) => report.check(what, least, limit, "ms"),
            None => report.note(what, least, "ms"),
        }
        report.note("    the same in the median repetition", median, "ms");
        let [.., by_the_clock] = ordered(&runs, |run| run.victim);
        report.note("    by the clock, in the worst repetition", by_the_clock, "ms");
        // The other does the same in every repetition, so that what it holds for long it does in most of
        // them, and a hypervisor that takes the core away unseen does not. A reload compiles and a snapshot
        // is written, which holds no lock.
        let [_, on_a_core, at_worst] = ordered(&runs, |run| run.other);
        let other = "    the other's longest call in the median repetition, on a core";
        match limit {
            Some(limit) if !what.starts_with("reload") && !what.starts_with("snapshot") => {
                report.check(other, on_a_core, limit, "ms");
            }
            _ => report.note(other, on_a_core, "ms"),
        }
        report.note("    the same in the worst repetition", at_worst, "ms");
    }
}

/// The least, the median and the most, in milliseconds.
fn ordered(runs: &[Stall], of: fn(&Stall) -> Duration) -> [f64; 3] {
    let mut all: Vec<_> = runs.iter().map(of).collect();
    all.sort_unstable();
    [0, all.len() / 2, all.len() - 1].map(|at| millis(all[at]))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The longest calls of one repetition.
struct Stall {
    /// The victim's, by the clock.
    victim: Duration,
    /// The victim's, without the time for which it had no core.
    victim_own: Duration,
    /// The other's, by the time that it was on a core.
    other: Duration,
}

/// Lets the victim decide until the other has done its work, which is so many calls.
fn disturb(
    parts: &Parts,
    queries: &[Query<'_>],
    calls: usize,
    mut work: impl FnMut(usize) + Send,
) -> Stall {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let victim = scope.spawn(|| {
            let mut watch = Watch::start();
            for query in queries.iter().cycle() {
                watch.call(|| decide(parts, query));
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            watch
        });
        let other = scope.spawn(|| {
            let longest = (0..calls).map(|number| of_a_core(|| work(number)).0).max();
            is_over.store(true, Ordering::Relaxed);
            longest.unwrap_or_default()
        });
        let (victim, other) = (victim.join().unwrap(), other.join().unwrap());
        Stall { victim: victim.longest, victim_own: victim.longest_own, other }
    })
}

/// As a call does, with the policy in force.
fn decide(parts: &Parts, query: &Query<'_>) -> bool {
    let snapshot = parts.policies.load();
    let policy = &snapshot.get(query.domain()).unwrap().policy;
    let plan = policy.resolve(query, NOW);
    tollgate::decision::decide(&plan, &parts.store, NOW).unwrap().is_admitted
}

fn filled(max_keys: usize) -> (Parts, &'static [Query<'static>]) {
    let parts = Parts::new(&USUAL.sources(), max_keys);
    let callers = parts.fill(KEYS);
    (parts, scattered(callers))
}

/// Few enough to be kept, many enough to be in every shard.
fn scattered(callers: usize) -> &'static [Query<'static>] {
    let mut scattered = Scattered::new(callers, 0);
    leak((0..20_000).map(|_| message("type_0", &tenant(scattered.next()), None)))
}

fn undisturbed() -> Vec<Stall> {
    let (parts, queries) = filled(AMPLE);
    let rest = |_| disturb(&parts, queries, 1, |_| std::thread::sleep(Duration::from_millis(200)));
    (0..REPETITIONS).map(rest).collect()
}

fn sweep_of_nothing() -> Vec<Stall> {
    let (parts, queries) = filled(AMPLE);
    let sweep = |_| {
        disturb(&parts, queries, parts.store.shard_count(), |_| {
            parts.store.sweep(NOW);
        })
    };
    (0..REPETITIONS).map(sweep).collect()
}

fn sweep_of_everything() -> Vec<Stall> {
    let parts = Parts::of(USUAL);
    let sweep = |_| {
        let queries = scattered(parts.fill(KEYS));
        disturb(&parts, queries, parts.store.shard_count(), |_| {
            parts.store.sweep(NOW.after(A_WHILE));
        })
    };
    (0..REPETITIONS).map(sweep).collect()
}

fn evictions() -> Vec<Stall> {
    const CALLS: usize = 20_000;
    let (parts, queries) = filled(KEYS);
    let storm = |from| disturb(&parts, queries, CALLS, |caller| ask(&parts, from + caller));
    (0..10 * REPETITIONS).map(|at| storm(KEYS / USUAL.buckets + at * CALLS)).collect()
}

fn reload() -> Vec<Stall> {
    let sources: Vec<Source> = Shape { rows: 10_000, ..USUAL }.sources();
    let parts = Parts::new(&sources, AMPLE);
    let queries = scattered(parts.fill(100_000));
    let replace = |_| disturb(&parts, queries, 1, |_| parts.replace(&sources));
    (0..REPETITIONS).map(replace).collect()
}

/// As the server writes it: every key, to the disk and not only to the system. Called once here, it writes
/// the whole store, locking one shard at a time.
fn snapshot() -> Vec<Stall> {
    let (parts, queries) = filled(AMPLE);
    let folder = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(folder.path().join("state")).unwrap();
    let write = |_| {
        let write = || {
            file.write(&parts.store, FingerprintKey::fixed(7), parts.policies.load().limits(), NOW)
                .unwrap()
        };
        disturb(&parts, queries, 1, |_| assert!(write() >= KEYS))
    };
    (0..REPETITIONS).map(write).collect()
}

/// Told, and held to nothing: most of it is not ours. A table is copied within a tenth of a millisecond, but
/// into memory that the process touches for the first time: the system clears it, two megabytes at a time,
/// and under a hypervisor the host finds it first. See docs/performance.md.
fn growth() -> Vec<Stall> {
    let grow = |_| {
        let parts = Parts::of(USUAL);
        let callers = KEYS / USUAL.buckets;
        disturb(&parts, scattered(callers), callers, |caller| ask(&parts, caller))
    };
    (0..2).map(grow).collect()
}

fn ask(parts: &Parts, caller: usize) {
    let message = message("type_0", &tenant(caller), None);
    parts.decide(&tollgate::wire::decode(&message).unwrap());
}
