//! Exact budgets on real threads: nobody gets a token too many, no token is lost, and nobody is turned away
//! by a request that was itself denied.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a failure is a panic"
)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;

use crate::random::Random;
use crate::support::{Parts, descriptor, request, source};

/// Buckets that do not refill while a test runs, of sizes that run out at different moments.
const POLICY: &str = "
domain: race
tables:
  - { name: a, key: [a], rows: { all: [{ per_day: 3 }] } }
  - { name: b, key: [b], rows: { all: [{ per_day: 2 }] } }
  - { name: c, key: [c], rows: { all: [{ per_day: 4 }] } }
";
const SIZES: [u64; 3] = [3, 2, 4];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A call on some of a round's buckets.
#[derive(Debug, Clone, Copy)]
struct Call {
    round: usize,
    /// One bit for each bucket.
    buckets: u8,
    hits: u64,
}

impl Call {
    fn has(self, bucket: usize) -> bool {
        self.buckets >> bucket & 1 == 1
    }

    /// The entries in any order, as one descriptor or as one for each bucket.
    fn message(self, random: &mut Random) -> RateLimitRequest {
        let values = NAMES.map(|name| value(name, self.round));
        let mut entries: Vec<_> =
            (0..3).filter(|at| self.has(*at)).map(|at| (NAMES[at], &*values[at])).collect();
        if random.below(2) == 0 {
            entries.reverse();
        }
        let descriptors: Vec<_> = match random.below(2) {
            0 => vec![descriptor(&entries)],
            _ => entries.iter().map(|entry| descriptor(&[*entry])).collect(),
        };
        let mut message = request("race", &descriptors);
        message.hits_addend = u32::try_from(self.hits).unwrap();
        message
    }
}

/// Another one for each bucket: buckets of the same values share a shard, and these must not.
fn value(name: &str, round: usize) -> String {
    format!("{name} {round}")
}

/// Every thread asks three times in each round, all threads in the same round at the same moment.
fn race(parts: &Parts, threads: usize, rounds: usize) -> Vec<(Call, bool)> {
    let arrived = AtomicUsize::new(0);
    let start = Barrier::new(threads);
    let run = |thread: usize| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread as u64 + 3));
        let mut log = Vec::new();
        start.wait();
        for round in 0..rounds {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < (round + 1) * threads {
                std::thread::yield_now();
            }
            for _ in 0..3 {
                let buckets = [0b111, 0b101, 0b110][random.place(3)];
                let call = Call { round, buckets, hits: 1 + random.below(2) };
                log.push((call, parts.ask(&call.message(&mut random)).is_ok()));
            }
        }
        log
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|at| scope.spawn(move || run(at))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// What is left in a bucket of a round, asked by a look.
fn left(parts: &Parts, round: usize, bucket: usize) -> u64 {
    let name = NAMES[bucket];
    let mut look = descriptor(&[(name, &*value(name, round))]);
    look.hits_addend = Some(0);
    parts.ask(&request("race", &[look])).remaining()[0].into()
}

#[test]
fn racing_requests_are_charged_exactly_and_denied_only_by_what_others_got() {
    for threads in [2, 4, 8] {
        let parts = Parts::new(&source(POLICY), 10_000_000);
        let rounds = 9_000 / threads;
        let log = race(&parts, threads, rounds);
        let mut spent = vec![[0; 3]; rounds];
        for (call, _) in log.iter().filter(|(_, is_admitted)| *is_admitted) {
            (0..3).filter(|at| call.has(*at)).for_each(|at| spent[call.round][at] += call.hits);
        }
        let lefts: Vec<_> =
            (0..rounds).map(|round| [0, 1, 2].map(|at| left(&parts, round, at))).collect();
        for (round, (spent, left)) in spent.iter().zip(&lefts).enumerate() {
            for at in 0..3 {
                assert!(
                    spent[at] <= SIZES[at],
                    "round {round}: {} of {} spent",
                    spent[at],
                    SIZES[at]
                );
                assert_eq!(spent[at] + left[at], SIZES[at], "round {round}: tokens were lost");
            }
        }
        let denied: Vec<_> = log.iter().filter(|(_, is_admitted)| !is_admitted).collect();
        assert!(denied.len() > rounds, "the race was no race");
        for (call, _) in denied {
            // Nothing refills: who would still fit at the end would have fitted before.
            let fits = (0..3).all(|at| !call.has(at) || lefts[call.round][at] >= call.hits);
            assert!(!fits, "{call:?} was denied for nothing");
        }
    }
}

#[test]
fn a_moving_clock_admits_the_size_and_what_was_gained_since() {
    const POLICY: &str = "
domain: race
tables:
  - { name: fast, key: [], rows: { all: [{ size: 50, per_second: 5000 }] } }
  - { name: slow, key: [t], rows: { all: [{ size: 300, per_second: 1000 }] } }
";
    let parts = Parts::new(&source(POLICY), 10_000);
    let admitted = AtomicU32::new(0);
    let message = request("race", &[descriptor(&[("t", "acme")])]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    parts.clock.advance(Nanos::new(10_000));
                    let is_ok = parts.ask(&message).is_ok();
                    admitted.fetch_add(u32::from(is_ok), Ordering::Relaxed);
                }
            });
        }
    });
    // 200,000 steps of 10 us are 2 s, at 1000 a second.
    let budget = 300 + 2 * 1000;
    let admitted = admitted.into_inner();
    assert!(admitted <= budget && admitted >= budget - 1, "{admitted} of {budget}");
}

#[test]
fn slots_are_never_held_by_more_than_there_are() {
    const POLICY: &str = "
domain: race
tables:
  - { name: jobs, key: [t], rows: { all: [{ concurrent: 3, ttl: 1h }] } }
";
    let parts = Parts::new(&source(POLICY), 10_000);
    let acquire = request("race", &[descriptor(&[("t", "acme")])]);
    let (held, most, taken) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3_000 {
                    let answer = parts.ask(&acquire);
                    let Some(lease) = answer.metadata("lease") else { continue };
                    most.fetch_max(held.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                    taken.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                    held.fetch_sub(1, Ordering::AcqRel);
                    let mut release = descriptor(&[("lease", lease)]);
                    release.is_negative_hits = true;
                    assert_eq!(parts.ask(&request("race", &[release])).released(), Some(1));
                }
            });
        }
    });
    let (most, taken) = (most.into_inner(), taken.into_inner());
    assert!(most <= 3, "{most} held 3 slots");
    assert!(taken > 1_000, "only {taken} were taken: the race was no race");
    assert_eq!((parts.store.lease_count(), parts.store.len()), (0, 0));
}

#[test]
fn a_request_sees_one_policy_while_others_are_put_in_force() {
    let policy = |version: &str| {
        source(&format!(
            "domain: race
tables:
  - {{ name: first {version}, key: [a], rows: {{ all: [{{ per_second: 1000000 }}] }} }}
  - {{ name: last {version}, key: [b], rows: {{ all: [{{ per_second: 1000000 }}] }} }}
"
        ))
    };
    let versions = [policy("one"), policy("two")];
    let parts = Parts::new(&versions[0], 10_000);
    let message = request("race", &[descriptor(&[("a", "1")]), descriptor(&[("b", "1")])]);
    let is_done = AtomicBool::new(false);
    let seen = [const { AtomicU32::new(0) }; 2];
    std::thread::scope(|scope| {
        let ask = || {
            while !is_done.load(Ordering::Acquire) {
                let answer = parts.ask(&message);
                let names: Vec<_> = answer
                    .0
                    .statuses
                    .iter()
                    .map(|status| status.current_limit.as_ref().unwrap().name.clone())
                    .collect();
                match [&*names[0], &*names[1]] {
                    ["first one/all", "last one/all"] => seen[0].fetch_add(1, Ordering::Relaxed),
                    ["first two/all", "last two/all"] => seen[1].fetch_add(1, Ordering::Relaxed),
                    mixed => panic!("two policies in one reply: {mixed:?}"),
                };
            }
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        let is_seen = || seen.iter().all(|count| count.load(Ordering::Relaxed) > 0);
        // On a busy machine it may take more turns until the threads have run at all.
        for turn in 0..100_000 {
            parts.replace(&versions[turn % 2]);
            if turn > 400 && is_seen() {
                break;
            }
        }
        is_done.store(true, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{seen:?}");
}
