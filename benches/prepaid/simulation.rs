//! A simulation of replicas that prepay admissions: the real `tollgate::shared::prepaid` of each replica, and a store that
//! answers after a round trip. Time is simulated, and the same seed gives the same run.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use tollgate::clock::{Nanos, Now, Timestamp};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Period, Rate, TokenBucket, Unit};
use tollgate::policy::fingerprint::Fingerprint;
use tollgate::shared::prepaid::{self, GiveBack, GrantName, GrantRequest, Prepaid, Step};
use tollgate::store::script::{ObservedState, State};
use tollgate::store::{BucketState, Charge, Mode, Outcomes, Wait, gcra};

/// When a run begins: far from the epoch, as in production.
const START: u64 = 1_800_000_000_000_000_000;

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
    /// By how many tokens a bucket exceeded size + rate x t, over the worst time t.
    pub(crate) worst_excess: f64,
}

/// Pseudorandom numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of events that come at random, `rate` a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short span")]
    fn gap(&mut self, rate: f64) -> Nanos {
        Nanos::new((-(1.0 - self.share()).ln() / rate * 1e9) as u64)
    }

    fn is_one_of_thousand(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }
}

/// A question to the store.
struct Question {
    replica: usize,
    tenant: usize,
    /// Whether a request waits for it.
    has_request: bool,
    ahead: Option<GrantRequest>,
    sent: Timestamp,
}

enum Event {
    Call { replica: usize },
    Question(Question),
    Answer { question: Question, state: BucketState, at: Timestamp, is_admitted: bool },
    End { replica: usize, grant: GrantName },
    GiveBack(GiveBack),
}

struct Replica {
    prepaid: Arc<Prepaid>,
    /// The states of the buckets that it saw last.
    seen: Vec<BucketState>,
    /// Until when it denies without a question, by what the store told it.
    denied_until: Vec<Timestamp>,
    /// The tenant that it serves next.
    next: usize,
}

/// One bucket in the store, the same in a store that is asked for each call, and what the calls saw.
struct Tenant {
    fingerprint: Fingerprint,
    full_at: Timestamp,
    full_at_exactly: Timestamp,
    /// When a bucket of this size would be full that was charged as each call was admitted.
    full_at_admitted: Timestamp,
    unspent: i64,
}

/// A run.
pub(crate) struct Simulation {
    scenario: Scenario,
    conditions: Conditions,
    bucket: Bucket,
    tokens: TokenBucket,
    random: Random,
    now: Timestamp,
    events: BTreeMap<(Timestamp, u64), Event>,
    number: u64,
    replicas: Vec<Replica>,
    tenants: Vec<Tenant>,
    of: HashMap<Fingerprint, usize>,
    figures: Figures,
}

impl Simulation {
    /// Runs it to its end.
    pub(crate) fn run(scenario: Scenario, conditions: Conditions) -> Figures {
        let mut simulation = Self::new(scenario, conditions);
        let end = simulation.now.after(conditions.length);
        while let Some(((at, _), event)) = simulation.events.pop_first() {
            simulation.now = at;
            if at > end && matches!(event, Event::Call { .. }) {
                continue;
            }
            simulation.handle(event);
        }
        simulation.figures
    }

    fn new(scenario: Scenario, conditions: Conditions) -> Self {
        let per_second = Period::one(Unit::Second);
        let rate = Rate::new(scenario.rate, per_second).unwrap();
        let tokens = TokenBucket::new(scenario.size, rate).unwrap();
        let start = Timestamp::from_unix_nanos(START);
        let tenants: Vec<_> = (0..scenario.tenants)
            .map(|tenant| Tenant {
                fingerprint: Fingerprint::parse(&format!("{:032x}", u128::from(tenant) << 64 | 7))
                    .unwrap(),
                full_at: start,
                full_at_exactly: start,
                full_at_admitted: start,
                unspent: 0,
            })
            .collect();
        let of = tenants.iter().enumerate().map(|(at, tenant)| (tenant.fingerprint, at)).collect();
        let replica = |at: u32| Replica {
            prepaid: Prepaid::new(100_000),
            seen: vec![BucketState::NONE; tenants.len()],
            denied_until: vec![start; tenants.len()],
            next: usize::try_from(at).unwrap_or(0) * 7919 % tenants.len(),
        };
        let mut simulation = Self {
            scenario,
            conditions,
            bucket: Bucket::Tokens(tokens),
            tokens,
            random: Random(conditions.seed),
            now: start,
            events: BTreeMap::new(),
            number: 0,
            replicas: (0..scenario.replicas).map(replica).collect(),
            tenants,
            of,
            figures: Figures::default(),
        };
        for replica in 0..simulation.replicas.len() {
            let gap = simulation.random.gap(scenario.per_second);
            simulation.after(gap, Event::Call { replica });
        }
        simulation
    }

    fn after(&mut self, span: Nanos, event: Event) {
        self.number += 1;
        self.events.insert((self.now.after(span), self.number), event);
    }

    fn half_trip(&mut self) -> Nanos {
        // From a half to one and a half times as long as it should take.
        let trip = self.conditions.round_trip.get();
        Nanos::new(trip / 4 + self.random.next() % (trip / 2).max(1))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call { replica } => self.call(replica),
            Event::Question(question) => self.decide(question),
            Event::Answer { question, state, at, is_admitted } => {
                self.answer(question, state, at, is_admitted);
            }
            Event::End { replica, grant } => {
                if let Some(back) = self.replicas[replica].prepaid.end(grant) {
                    let trip = self.half_trip();
                    self.after(trip, Event::GiveBack(back));
                }
            }
            Event::GiveBack(back) => self.give_back(&back),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
    fn call(&mut self, replica: usize) {
        let gap = self.random.gap(self.scenario.per_second);
        self.after(gap, Event::Call { replica });
        let seconds = (self.now.as_unix_nanos() - START) as f64 / 1e9;
        let number = u32::try_from(replica).unwrap_or(0);
        if self.random.share() > (self.scenario.demand)(number, seconds) {
            return;
        }
        let tenant = self.replicas[replica].next;
        self.replicas[replica].next = (tenant + 1) % self.tenants.len();
        self.figures.calls += 1;
        let (_, exactly) =
            gcra::take(&self.tokens, self.tenants[tenant].full_at_exactly, self.now, 1);
        if let Some(next) = exactly {
            self.tenants[tenant].full_at_exactly = next;
            self.figures.admitted_exactly += 1;
        }
        let fingerprint = self.tenants[tenant].fingerprint;
        let charge = Charge {
            fingerprint,
            bucket: &self.bucket,
            changes: None,
            hits: Hits::ONE,
            mode: Mode::Enforced,
            debt: None,
            counting: Counting::AllOrNone,
        };
        let of = &self.replicas[replica];
        let seen = of.seen[tenant];
        let replicas = NonZeroU32::new(self.scenario.replicas).unwrap();
        let left = || {
            let outcome = gcra::peek(&self.tokens, seen.moment(), self.now);
            prepaid::share_of(outcome.remaining.into(), replicas)
        };
        let mut outcomes = Outcomes::new();
        let step = if self.conditions.span == Nanos::ZERO {
            Step::Ask { ahead: None, prepaid: None }
        } else {
            let now = Now::from(self.now);
            of.prepaid.begin(&[charge], self.conditions.span, now, left, &mut outcomes)
        };
        let (ahead, has_request) = match step {
            Step::Spent(ahead) => {
                assert_eq!(outcomes.len(), 1);
                self.tenants[tenant].unspent -= 1;
                self.admit(tenant);
                (ahead, false)
            }
            Step::Ask { ahead, .. } => (ahead, true),
        };
        if has_request && self.now < self.replicas[replica].denied_until[tenant] {
            self.figures.wrongly_denied += u64::from(self.tenants[tenant].unspent > 0);
        } else if has_request || ahead.is_some() {
            self.ask(Question { replica, tenant, has_request, ahead, sent: self.now });
        }
    }

    fn ask(&mut self, question: Question) {
        let trip = self.half_trip();
        self.after(trip, Event::Question(question));
    }

    /// The store decides.
    fn decide(&mut self, question: Question) {
        self.figures.questions += 1;
        let hits = question.ahead.as_ref().map_or(0, GrantRequest::count)
            + u64::from(question.has_request);
        let tenant = &mut self.tenants[question.tenant];
        let state = BucketState::until(tenant.full_at, self.tokens.compact_interval());
        let (_, next) = gcra::take(&self.tokens, tenant.full_at, self.now, hits);
        let is_admitted = next.is_some();
        tenant.full_at = next.unwrap_or(tenant.full_at);
        if is_admitted {
            tenant.unspent +=
                i64::try_from(hits).unwrap_or(i64::MAX) - i64::from(question.has_request);
        } else if question.has_request && question.ahead.is_none() && tenant.unspent > 0 {
            self.figures.wrongly_denied += 1;
        }
        if self.random.is_one_of_thousand(self.conditions.lost_per_mille) {
            // The request is denied, whatever the store said.
            return;
        }
        let (trip, at) = (self.half_trip(), self.now);
        self.after(trip, Event::Answer { question, state, at, is_admitted });
    }

    fn answer(&mut self, question: Question, state: BucketState, at: Timestamp, is_admitted: bool) {
        let Question { replica, tenant, has_request, ahead, sent } = question;
        let hits = ahead.as_ref().map_or(0, GrantRequest::count) + u64::from(has_request);
        let (_, next) = gcra::take(&self.tokens, state.moment(), at, hits);
        let next = next.unwrap_or(state.moment());
        self.replicas[replica].seen[tenant] =
            BucketState::until(next, self.tokens.compact_interval());
        if !is_admitted {
            // Less is left than it knew: it asks for itself alone.
            let is_asked_again = has_request && ahead.is_some();
            if ahead.is_none() {
                let wait = gcra::peek(&self.tokens, next, at).wait.time().unwrap_or_default();
                let until = self.now.after(wait.min(self.conditions.span));
                self.replicas[replica].denied_until[tenant] = until;
            }
            drop(ahead);
            if is_asked_again {
                self.ask(Question { replica, tenant, has_request, ahead: None, sent: self.now });
            }
            return;
        }
        if has_request {
            self.admit(tenant);
        }
        if let Some(ahead) = ahead {
            assert_eq!(ahead.plan().len(), 1);
            let seen = [ObservedState { at, state: State::Counter(state) }];
            let mut outcomes = Outcomes::new();
            let now = Now::from(self.now);
            let grant = ahead.granted(&seen, has_request, sent, now, &mut outcomes);
            assert_eq!(outcomes.first().map(|outcome| outcome.wait), Some(Wait::NONE));
            self.after(grant.until().since(self.now), Event::End { replica, grant });
        }
    }

    fn give_back(&mut self, back: &GiveBack) {
        self.figures.questions += 1;
        if self.random.is_one_of_thousand(self.conditions.lost_per_mille) {
            return;
        }
        for (fingerprint, cost, from) in back.refunds() {
            let tenant = &mut self.tenants[self.of[&fingerprint]];
            // What has refilled since is not given back again: as the script does it.
            let cost = cost.minus(self.now.since(from));
            tenant.full_at = tenant.full_at.before(cost);
            tenant.unspent -= i64::try_from(back.count()).unwrap_or(i64::MAX);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "tokens of a bucket")]
    fn admit(&mut self, tenant: usize) {
        self.figures.admitted += 1;
        let tenant = &mut self.tenants[tenant];
        tenant.full_at_admitted =
            tenant.full_at_admitted.max(self.now).after(self.tokens.interval());
        let owed = tenant.full_at_admitted.since(self.now).get() as f64;
        let excess = owed / self.tokens.interval().get() as f64 - f64::from(self.scenario.size);
        self.figures.worst_excess = self.figures.worst_excess.max(excess);
    }
}

/// Those of the issue: even and uneven, near the limit and beyond, bursts, many replicas.
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
