//! How often a call is denied for which there is a token, by real tollgates that prepay in a real store.
//!
//! # When a denial is wrong
//!
//! A bucket is followed that is charged for nothing but the calls which were admitted, each at the moment of its decision:
//! what replicas have prepaid and not spent is in it. A denial is wrong if that bucket had a token at its moment.
//!
//! The moment at which a tollgate decides is not known; it lies between the sending of a call and its answer, both read on
//! one clock. That bucket refills as long as it is not full, so that it is emptiest if the admitted calls were decided as
//! late as can be. So
//!
//! - an admitted call is charged when its answer came; to a denied one that was under way at the same time, it counts as
//!   charged before;
//! - a denied call was decided when there was least in the bucket, between its sending and its answer.
//!
//! A denial that is wrong nevertheless is wrong whatever the moments were. Denials of which this is not certain do not
//! count: about as many tokens as there are calls under way are in doubt at a time. Therefore the budget is compared as
//! well: what a bucket admits of the same calls that is asked for each of them at once, less what was admitted.

#[path = "../../../benches/prepaid/arrivals.rs"]
mod arrivals;

use std::time::{Duration, Instant};

use super::prepaid::{policy, prepaid, replica, worst_excess};
use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{call, eventually, hits};
use crate::random::Random;

/// The size of a bucket, and what it refills in a second.
const SIZE: u32 = 1_000;
const REPLICAS: u32 = 4;
const LENGTH: Duration = Duration::from_secs(3);
/// The prepaid time by default.
const SPAN: Duration = Duration::from_millis(100);
/// The most calls that may be denied wrongly.
const MOST: f64 = 0.005;

/// A pattern of the simulation (benches/prepaid), for fewer replicas.
struct Pattern {
    name: &'static str,
    /// What is used of the bucket when it begins.
    used: u32,
    /// The calls a second of a replica at a time in seconds.
    demand: fn(u32, f64) -> f64,
}

const PATTERNS: [Pattern; 6] = [
    Pattern { name: "plenty, even", used: 0, demand: |_, _| 125.0 },
    Pattern { name: "near the limit", used: 0, demand: |_, _| 237.5 },
    Pattern { name: "near the limit, from an empty bucket", used: SIZE, demand: |_, _| 237.5 },
    Pattern { name: "twice over", used: 0, demand: |_, _| 500.0 },
    Pattern { name: "one replica hot", used: 0, demand: |at, _| if at == 0 { 800.0 } else { 5.0 } },
    Pattern { name: "bursts", used: 0, demand: |_, at| if at % 2.0 < 0.5 { 750.0 } else { 22.5 } },
];

#[derive(Debug, Clone, Copy)]
struct Call {
    sent: Instant,
    answered: Instant,
    is_admitted: bool,
}

/// A bucket that is charged at the moments that it is told.
#[derive(Debug, Clone, Copy)]
struct Exact {
    full_at: Instant,
}

impl Exact {
    /// One of which so much is used at a time.
    fn used(tokens: u32, at: Instant) -> Self {
        Self { full_at: at + interval() * tokens }
    }

    fn charge(&mut self, at: Instant) {
        self.full_at = self.full_at.max(at) + interval();
    }

    /// Whether there is a token besides so many others.
    fn has_token(self, besides: u32, at: Instant) -> bool {
        self.full_at.max(at) + interval() * (besides + 1) <= at + interval() * SIZE
    }
}

fn interval() -> Duration {
    Duration::from_secs(1) / SIZE
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Sent,
    Answered,
}

/// How many denials were wrong whatever the moments of the decisions.
fn wrongly_denied(calls: &[Call], mut bucket: Exact) -> u32 {
    let mut events: Vec<_> = (0..calls.len())
        .flat_map(|at| {
            [(calls[at].sent, Event::Sent, at), (calls[at].answered, Event::Answered, at)]
        })
        .collect();
    events.sort_by_key(|(time, ..)| *time);
    let mut under_way = 0;
    // The denials under way that were wrong up to now.
    let mut wrong = Vec::new();
    let mut count = 0;
    for (time, event, at) in events {
        match (event, calls[at].is_admitted) {
            (Event::Sent, true) => under_way += 1,
            (Event::Answered, true) => {
                under_way -= 1;
                bucket.charge(time);
            }
            (Event::Sent, false) => wrong.push(at),
            (Event::Answered, false) => {
                let before = wrong.len();
                wrong.retain(|other| *other != at);
                count += u32::from(wrong.len() < before);
            }
        }
        // Between two events the bucket only refills.
        if !bucket.has_token(under_way, time) {
            wrong.clear();
        }
    }
    count
}

/// How many of the calls a bucket admits that is asked for each of them when it is sent.
fn admitted_exactly(calls: &[Call], mut bucket: Exact) -> u32 {
    let mut sent: Vec<_> = calls.iter().map(|call| call.sent).collect();
    sent.sort_unstable();
    let mut admitted = 0;
    for at in sent {
        if bucket.has_token(0, at) {
            bucket.charge(at);
            admitted += 1;
        }
    }
    admitted
}

/// Calls one replica at random moments, the same in each run.
fn make_calls(replica: &Tollgate, number: u32, pattern: &Pattern, begun: Instant) -> Vec<Call> {
    let (mut client, mut calls) = (replica.client(), Vec::new());
    let (mut random, mut next) = (Random(number.into()), Duration::ZERO);
    loop {
        next += Duration::from(random.gap((pattern.demand)(number, next.as_secs_f64())));
        if next > LENGTH {
            return calls;
        }
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
        let sent = Instant::now();
        let is_admitted = client.ask(call(&[("k", pattern.name)])).is_ok();
        calls.push(Call { sent, answered: Instant::now(), is_admitted });
    }
}

/// Uses up so much of the bucket; returns when it was.
fn use_up(replica: &Tollgate, pattern: &Pattern) -> Instant {
    if pattern.used > 0 {
        let mut all = call(&[]);
        all.descriptors = vec![hits(pattern.used.into(), &[("k", pattern.name)])];
        assert!(replica.client().ask(all).is_ok());
    }
    Instant::now()
}

#[test]
fn a_denial_is_wrong_only_if_there_was_a_token_whatever_the_moments() {
    let begun = Instant::now();
    let at = |millis: u64| begun + Duration::from_millis(millis);
    let call =
        |sent, answered, is_admitted| Call { sent: at(sent), answered: at(answered), is_admitted };
    let denied = |sent, answered| call(sent, answered, false);
    // One token is left, and with each millisecond there is one more.
    let bucket = Exact::used(SIZE - 1, begun);
    assert_eq!(wrongly_denied(&[denied(0, 5)], bucket), 1);
    assert_eq!(wrongly_denied(&[denied(0, 5)], Exact::used(SIZE, begun)), 0, "none at first");
    assert_eq!(wrongly_denied(&[denied(1, 5)], Exact::used(SIZE, begun)), 1);
    // An admitted one under way may have taken it.
    for admitted in [call(0, 9, true), call(0, 1, true), call(4, 9, true)] {
        let left = if admitted.sent == begun { 1 } else { 0 };
        let bucket = Exact::used(SIZE - left, begun);
        assert_eq!(wrongly_denied(&[admitted, denied(0, 5)], bucket), 0, "{admitted:?}");
    }
    assert_eq!(wrongly_denied(&[call(6, 7, true), denied(0, 5)], bucket), 1, "one that came later");
    let all = [denied(0, 5), call(0, 1, true), call(3, 4, true)];
    assert_eq!(
        admitted_exactly(&all, bucket),
        2,
        "the second of those that were sent at first is not"
    );
}

mod wall_clock {
    use super::*;

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn at_most_one_of_two_hundred_calls_is_denied_while_there_is_a_token() {
        let redis = Redis::start();
        let policy = policy(&format!("{{ per_second: {SIZE} }}"), "");
        let replicas: Vec<_> = (0..REPLICAS).map(|_| replica(&redis, &policy, &[])).collect();
        for replica in &replicas {
            assert!(replica.client().ask(call(&[("k", "another")])).is_ok());
        }
        let all = u64::from(REPLICAS);
        eventually("all know how many they are", || {
            replicas.iter().all(|one| one.metric("tollgate_shared_store_replicas") == all)
        });
        for pattern in PATTERNS {
            measure(&replicas, &pattern);
        }
    }

    fn measure(replicas: &[Tollgate], pattern: &Pattern) {
        let spent = || replicas.iter().map(|replica| prepaid(replica, "spent")).sum::<u64>();
        let spent_before = spent();
        let bucket = Exact::used(pattern.used, use_up(&replicas[0], pattern));
        let begun = Instant::now();
        let calls: Vec<Call> = std::thread::scope(|scope| {
            let make = |(number, replica)| {
                scope.spawn(move || make_calls(replica, number, pattern, begun))
            };
            let all: Vec<_> = (0..).zip(replicas).map(make).collect();
            all.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        let spent = spent() - spent_before;
        let admitted = calls.iter().filter(|call| call.is_admitted);
        let admitted: Vec<_> = admitted.map(|call| (call.sent, call.answered)).collect();
        let [all, denied, admitted_count] =
            [calls.len(), calls.len() - admitted.len(), admitted.len()]
                .map(|count| f64::from(u32::try_from(count).unwrap()));
        let wrong = f64::from(wrongly_denied(&calls, bucket));
        let exactly = f64::from(admitted_exactly(&calls, bucket));
        let size = f64::from(SIZE);
        let excess = worst_excess(admitted, size, size, SPAN);
        let mut latencies: Vec<_> = calls.iter().map(|call| call.answered - call.sent).collect();
        latencies.sort_unstable();
        eprintln!(
            "{:37} {all:>5} calls, {spent:>5} prepaid, median {:.0?}; {denied:>5} denied, {wrong} wrongly; {admitted_count:>5} admitted, exactly {exactly:>5}; excess {excess:.1}",
            pattern.name,
            latencies[latencies.len() / 2],
        );
        let name = pattern.name;
        assert!(spent > 0, "{name}: nothing was prepaid");
        assert!(wrong <= MOST * all, "{name}: {wrong} of {all} were denied wrongly");
        assert!(exactly - admitted_count <= MOST * all, "{name}: {admitted_count} of {exactly}");
        assert!(excess <= 0.0, "{name}: {excess} more than the bound");
    }
}
