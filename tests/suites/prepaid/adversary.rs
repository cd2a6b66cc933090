//! Demands that are made to break the bound: replicas that take grants and fall silent, in phases aligned to the prepaid time,
//! and a strike that takes all that a bucket has when these are about to be given back, and once more behind that.

use proptest::prelude::*;
use tollgate::clock::Nanos;

use super::scenarios::{Conditions, Figures, Request, Scenario};
use super::simulation::Simulation;

/// The prepaid time.
const SPAN: Nanos = Nanos::new(100_000_000);

/// Phases are aligned to these parts of it.
const PARTS: u64 = 8;

const ROUND_TRIP: Nanos = Nanos::new(500_000);

/// What a bucket refills while admissions are prepaid, in tokens.
fn refilled(rate: u32) -> f64 {
    f64::from(rate) * SPAN.get() as f64 / 1e9
}

/// So many times what a bucket refills in the prepaid time, in whole tokens.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
fn tokens(rate: u32, refills: f64) -> u32 {
    (refilled(rate) * refills) as u32
}

/// So many requests for `hits` tokens each, one behind another within `within`.
fn burst(
    replica: usize,
    count: u64,
    hits: u32,
    begin: Nanos,
    within: Nanos,
) -> impl Iterator<Item = Request> {
    let gap = Nanos::new(within.get() / count.max(1));
    (0..count).map(move |number| {
        let after = begin.plus(gap.times(number));
        Request { after, replica, tenant: 0, hits }
    })
}

/// Requests to one replica for twice what a bucket can have.
fn strike(replica: usize, size: u32, at: Nanos) -> impl Iterator<Item = Request> {
    burst(replica, u64::from(size) * 2, 1, at, Nanos::new(SPAN.get() / 100))
}

fn run(size: u32, rate: u32, replicas: u32, seed: u64, requests: Vec<Request>) -> Figures {
    let name = "adversary";
    let (tenants, per_second, demand): (_, _, fn(u32, f64) -> f64) = (1, 0.0, |_, _| 0.0);
    let scenario = Scenario { name, size, rate, replicas, tenants, per_second, demand };
    let length = Nanos::ZERO;
    let conditions =
        Conditions { span: SPAN, round_trip: ROUND_TRIP, length, lost_per_mille: 0, seed };
    Simulation::of_requests(scenario, conditions, requests)
}

/// A phase in which a replica is hot.
#[derive(Debug, Clone)]
struct Phase {
    replica: usize,
    /// When it begins, in parts of the prepaid time.
    begin: u64,
    /// Its requests, as a multiple of what the bucket refills in the prepaid time.
    load: f64,
    hits: u32,
}

fn phase(parts: u64) -> impl Strategy<Value = Phase> {
    let hits = prop_oneof![6 => Just(1_u32), 1 => 2_u32..40, 1 => Just(100_000)];
    (0_usize..8, 0..parts, 0.02_f64..1.5, hits).prop_map(|(replica, begin, load, hits)| Phase {
        replica,
        begin,
        load,
        hits,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// In any time t a bucket admits at most size + rate x (t + prepaid time), whichever replicas are hot at a time, and
    /// whenever all is taken that the bucket and the replicas have.
    #[test]
    fn no_bucket_exceeds_its_bound_if_replicas_fall_silent(
        rate in 50_u32..2_000,
        size_in_refills in 0.1_f64..10.0,
        replicas in 1_u32..8,
        phases in prop::collection::vec(phase(5 * PARTS), 1..40),
        silent_for in 0..6 * PARTS,
        seed in any::<u64>(),
    ) {
        let size = tokens(rate, size_in_refills) + 1;
        let part = Nanos::new(SPAN.get() / PARTS);
        let fleet = usize::try_from(replicas).unwrap();
        let mut requests: Vec<_> = phases
            .iter()
            .flat_map(|phase| {
                let count = u64::from(tokens(rate, phase.load)) + 4;
                burst(phase.replica % fleet, count, phase.hits, part.times(phase.begin), part)
            })
            .collect();
        let last = phases.iter().map(|phase| phase.begin).max().unwrap_or(0);
        // A moment before what was prepaid then is given back, and a moment behind it.
        let end = part.times(last + silent_for);
        let moment = ROUND_TRIP.times(4);
        for at in [end.minus(moment), end.plus(moment)] {
            (0..fleet).for_each(|replica| requests.extend(strike(replica, size / replicas + 1, at)));
        }
        let figures = run(size, rate, replicas, seed, requests);
        // What a request waits for was charged a round trip before it was admitted, prepaid or not.
        let bound = refilled(rate) + f64::from(rate) * ROUND_TRIP.times(2).get() as f64 / 1e9;
        prop_assert!(figures.worst_excess <= bound, "{figures:?}, bound {bound}");
        prop_assert_eq!(figures.spent_late, 0);
    }

    /// What is given back leaves a bucket no fuller than if only what was spent had been charged: if each admission that was
    /// spent counts when it was charged, no more than size + rate x t are admitted in any time t. The replicas take grants at
    /// the same time and fall silent, the bucket is full again, and all of it is taken just before they give back.
    #[test]
    fn what_has_refilled_meanwhile_is_not_given_back(
        rate in 300_u32..2_000,
        size_in_refills in 1.0_f64..8.0,
        replicas in 1_u32..8,
        load in 0.2_f64..0.6,
        seed in any::<u64>(),
    ) {
        let size = tokens(rate, size_in_refills) + 1;
        let within = Nanos::new(SPAN.get() / 50);
        let count = u64::from(tokens(rate, load) / replicas) + 4;
        let mut requests: Vec<_> = (1..=usize::try_from(replicas).unwrap())
            .flat_map(|replica| burst(replica, count, 1, Nanos::ZERO, within))
            .collect();
        let moment = ROUND_TRIP.times(4);
        let given_back = [SPAN.minus(moment), SPAN.plus(within).plus(moment)];
        requests.extend(given_back.iter().flat_map(|at| strike(0, size, *at)));
        let figures = run(size, rate, replicas + 1, seed, requests);
        // Where one replica gives back after another, the later one does not know what the earlier one gave back of what was
        // charged before its own: what refills between the two may be given back.
        let between = f64::from(rate) * (within.plus(ROUND_TRIP.times(2)).get() as f64 / 1e9);
        let excess = figures.worst_excess_charged;
        prop_assert!(excess <= between, "{excess} of {between}, {figures:?}");
    }
}

/// Requests that ask for more than there ever is are denied, and charge nothing. Were they demand for one with few hits, replicas
/// would take grants again and again while nothing is spent, and give back what had refilled: 497 tokens too many, not 100.
#[test]
fn requests_with_other_hits_are_no_demand() {
    let (size, rate) = (4_000, 1_000);
    let between = SPAN.plus(ROUND_TRIP.times(2));
    let mut requests = Vec::new();
    for number in 0..24 {
        let replica = usize::from(number % 2 == 1);
        let begin = Nanos::new(between.get() * number / 2);
        requests.extend(burst(replica, 1_000, size + 1, begin, ROUND_TRIP));
        requests.extend(burst(replica, 1, 1, begin.plus(ROUND_TRIP.times(3)), ROUND_TRIP));
    }
    let end = between.times(12).plus(Nanos::new(SPAN.get() / 4));
    requests.extend((0..2).flat_map(|replica| strike(replica, size, end)));
    let figures = run(size, rate, 2, 1, requests);
    assert!(figures.worst_excess <= refilled(rate), "{figures:?}");
}
