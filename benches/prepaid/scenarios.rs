//! What is simulated: demands, conditions, and the figures that come of them.

use tollgate::clock::Nanos;

const SECOND: u64 = 1_000_000_000;

/// What is simulated.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// The size of each bucket.
    pub(crate) size: u32,
    /// Tokens a second.
    pub(crate) rate: u32,
    /// How many replicas there are.
    pub(crate) replicas: u32,
    /// How many tenants, each with a bucket of its own, which a replica serves in turn.
    pub(crate) tenants: u32,
    /// The most calls a second of a replica, over all tenants.
    pub(crate) per_second: f64,
    /// The share of these that a replica has at a time in seconds.
    pub(crate) demand: fn(u32, f64) -> f64,
}

/// How the simulation differs from a store that answers and replicas that live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    /// For how long admissions are prepaid; none are, if it is zero.
    pub(crate) span: Nanos,
    /// How long it takes to the store and back.
    pub(crate) round_trip: Nanos,
    /// How long the run lasts.
    pub(crate) length: Nanos,
    /// How many of a thousand answers and give-backs are lost.
    pub(crate) lost_per_mille: u64,
    /// The seed of all that is random.
    pub(crate) seed: u64,
}

/// A call at a given moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// When, after the beginning.
    pub(crate) after: Nanos,
    /// The replica that is called.
    pub(crate) replica: usize,
    /// The tenant whose bucket it meets.
    pub(crate) tenant: usize,
    /// How many tokens it takes.
    pub(crate) hits: u32,
}

/// What came of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    /// Calls.
    pub(crate) calls: u64,
    /// Calls that were admitted.
    pub(crate) admitted: u64,
    /// Calls that a store would have admitted that is asked for each call.
    pub(crate) admitted_exactly: u64,
    /// Questions to the store, those that give back included.
    pub(crate) questions: u64,
    /// Calls that were denied while other admissions of the bucket were prepaid.
    pub(crate) wrongly_denied: u64,
    /// Calls on which an admission was spent that was asked for longer ago than admissions are prepaid.
    pub(crate) spent_late: u64,
    /// By how many tokens a bucket exceeded size + rate x t, over the worst time t.
    pub(crate) worst_excess: f64,
    /// The same, if what was spent counts when it was charged.
    pub(crate) worst_excess_charged: f64,
}

/// Even and uneven demands, near the limit and beyond, bursts, many replicas.
pub(crate) const SCENARIOS: [Scenario; 9] = [
    scenario("plenty, even", 1_000, 1_000, 10, 50.0, |_, _| 1.0),
    scenario("near the limit", 1_000, 1_000, 10, 95.0, |_, _| 1.0),
    scenario("twice over", 1_000, 1_000, 10, 200.0, |_, _| 1.0),
    scenario("one replica hot", 1_000, 1_000, 10, 800.0, |at, _| if at == 0 { 1.0 } else { 0.006 }),
    scenario("bursts", 1_000, 1_000, 10, 300.0, |_, at| if at % 2.0 < 0.5 { 1.0 } else { 0.03 }),
    scenario("hot and wide", 100_000, 10_000, 10, 700.0, |_, _| 1.0),
    scenario("100 replicas", 10_000, 10_000, 100, 70.0, |_, _| 1.0),
    scenario("small, sparse", 10, 10, 10, 0.8, |_, _| 1.0),
    Scenario {
        tenants: 1_000,
        ..scenario("1,000 tenants in turn", 100, 100, 4, 2_500.0, |_, _| 1.0)
    },
];

const fn scenario(
    name: &'static str,
    size: u32,
    rate: u32,
    replicas: u32,
    per_second: f64,
    demand: fn(u32, f64) -> f64,
) -> Scenario {
    Scenario { name, size, rate, replicas, tenants: 1, per_second, demand }
}

/// The conditions of the table: a round trip of a millisecond, and nothing is lost.
pub(crate) const fn usual(span_ms: u64) -> Conditions {
    Conditions {
        span: Nanos::new(span_ms * 1_000_000),
        round_trip: Nanos::new(1_000_000),
        length: Nanos::new(8 * SECOND),
        lost_per_mille: 0,
        seed: 1,
    }
}
