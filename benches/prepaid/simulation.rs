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

use super::scenarios::{Conditions, Figures, Request, Scenario};
use crate::random::Random;

/// When a run begins: far from the epoch, as in production.
const START: u64 = 1_800_000_000_000_000_000;

/// What the store charged at once.
struct Charged {
    tenant: usize,
    at: Timestamp,
    /// Hits of one admission.
    hits: u64,
    /// Admissions.
    count: u64,
    /// Those of them that were spent.
    spent: u64,
}

/// A question to the store.
struct Question {
    replica: usize,
    tenant: usize,
    hits: u32,
    /// Whether a request waits for it.
    has_request: bool,
    ahead: Option<GrantRequest>,
    sent: Timestamp,
}

enum Event {
    /// A replica's clients call it at random.
    Call {
        replica: usize,
    },
    Request(Request),
    Question(Question),
    Answer {
        question: Question,
        state: BucketState,
        at: Timestamp,
        charge: Option<usize>,
    },
    End {
        replica: usize,
        grant: GrantName,
        charge: usize,
    },
    GiveBack(GiveBack),
}

struct Replica {
    prepaid: Arc<Prepaid>,
    /// The states of the buckets that it saw last.
    seen: Vec<BucketState>,
    /// Until when it denies without a question, by what the store told it.
    denied_until: Vec<Timestamp>,
    /// What it has prepaid.
    grants: Vec<Granted>,
    /// The tenant that it serves next.
    next: usize,
}

/// Prepaid admissions, each with the time by which it must be spent.
struct Granted {
    tenant: usize,
    hits: u32,
    until: Timestamp,
    left: u64,
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
    charges: Vec<Charged>,
    figures: Figures,
}

impl Simulation {
    /// Runs it to its end.
    pub(crate) fn run(scenario: Scenario, conditions: Conditions) -> Figures {
        let mut simulation = Self::new(scenario, conditions);
        for replica in 0..simulation.replicas.len() {
            let gap = simulation.random.gap(scenario.per_second);
            simulation.after(gap, Event::Call { replica });
        }
        simulation.finish()
    }

    /// Runs with these calls, and no others.
    pub(crate) fn of_requests(
        scenario: Scenario,
        conditions: Conditions,
        requests: impl IntoIterator<Item = Request>,
    ) -> Figures {
        let mut simulation = Self::new(scenario, conditions);
        for request in requests {
            simulation.after(request.after, Event::Request(request));
        }
        simulation.finish()
    }

    fn finish(mut self) -> Figures {
        let end = self.now.after(self.conditions.length);
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if at > end && matches!(event, Event::Call { .. }) {
                continue;
            }
            self.handle(event);
        }
        self.figures.worst_excess_charged = self.worst_excess_charged();
        self.figures
    }

    /// By how many tokens a bucket exceeded size + rate x t, if what was spent counts when it was charged. What was spent of
    /// a charge is known at the end.
    #[expect(clippy::cast_precision_loss, reason = "tokens of a bucket")]
    fn worst_excess_charged(&self) -> f64 {
        let interval = self.tokens.interval();
        let mut full_at = vec![Timestamp::default(); self.tenants.len()];
        let excess = self.charges.iter().map(|charged| {
            let full_at = &mut full_at[charged.tenant];
            let spent = charged.spent * charged.hits;
            if spent > 0 {
                *full_at = (*full_at).max(charged.at).after(interval.times(spent));
            }
            let owed = full_at.since(charged.at).get() as f64 / interval.get() as f64;
            owed - f64::from(self.scenario.size)
        });
        excess.fold(f64::MIN, f64::max)
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
            grants: Vec::new(),
            next: usize::try_from(at).unwrap_or(0) * 7919 % tenants.len(),
        };
        Self {
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
            charges: Vec::new(),
            figures: Figures::default(),
        }
    }

    fn after(&mut self, span: Nanos, event: Event) {
        self.number += 1;
        self.events.insert((self.now.after(span), self.number), event);
    }

    fn half_trip(&mut self) -> Nanos {
        // From a half to one and a half times as long as it should take.
        let trip = self.conditions.round_trip.get();
        Nanos::new(trip / 4 + self.random.number() % (trip / 2).max(1))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call { replica } => self.call(replica),
            Event::Request(request) => self.request(request),
            Event::Question(question) => self.decide(question),
            Event::Answer { question, state, at, charge } => {
                self.answer(question, state, at, charge);
            }
            Event::End { replica, grant, charge } => {
                let back = self.replicas[replica].prepaid.end(grant);
                let unspent = back.as_ref().map_or(0, GiveBack::count);
                let charged = &mut self.charges[charge];
                charged.spent = charged.count - unspent;
                if let Some(back) = back {
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
        let after = Nanos::ZERO;
        self.request(Request { after, replica, tenant, hits: 1 });
    }

    fn request(&mut self, Request { replica, tenant, hits, .. }: Request) {
        self.figures.calls += 1;
        let (_, exactly) =
            gcra::take(&self.tokens, self.tenants[tenant].full_at_exactly, self.now, hits.into());
        if let Some(next) = exactly {
            self.tenants[tenant].full_at_exactly = next;
            self.figures.admitted_exactly += 1;
        }
        let fingerprint = self.tenants[tenant].fingerprint;
        let charge = Charge {
            fingerprint,
            bucket: &self.bucket,
            changes: None,
            hits: Hits::charge(hits.into()),
            mode: Mode::Enforced,
            debt: None,
            counting: Counting::AllOrNone,
        };
        let of = &self.replicas[replica];
        let seen = of.seen[tenant];
        let replicas = NonZeroU32::new(self.scenario.replicas).unwrap();
        let left = || {
            let outcome = gcra::peek(&self.tokens, seen.moment(), self.now);
            prepaid::share_of(u64::from(outcome.remaining / hits), replicas)
        };
        let mut outcomes = Outcomes::new();
        let step = (self.conditions.span > Nanos::ZERO).then(|| {
            let now = Now::from(self.now);
            of.prepaid.begin(&[charge], self.conditions.span, now, left, &mut outcomes)
        });
        let (ahead, has_request) = match step {
            None => (None, true),
            Some(Step::Spent(ahead)) => {
                assert_eq!(outcomes.len(), 1);
                self.tenants[tenant].unspent -= 1;
                self.spend(replica, tenant, hits);
                self.admit(tenant, hits);
                (ahead, false)
            }
            Some(Step::Ask { ahead, .. }) => (ahead, true),
        };
        if has_request && self.now < self.replicas[replica].denied_until[tenant] {
            self.figures.wrongly_denied += u64::from(self.tenants[tenant].unspent > 0);
        } else if has_request || ahead.is_some() {
            self.ask(Question { replica, tenant, hits, has_request, ahead, sent: self.now });
        }
    }

    /// One admission of a grant whose time is not over.
    fn spend(&mut self, replica: usize, tenant: usize, hits: u32) {
        let now = self.now;
        let grants = &mut self.replicas[replica].grants;
        grants.retain(|grant| grant.left > 0 && now < grant.until);
        let of_plan = |grant: &&mut Granted| grant.tenant == tenant && grant.hits == hits;
        match grants.iter_mut().find(of_plan) {
            Some(grant) => grant.left -= 1,
            None => self.figures.spent_late += 1,
        }
    }

    fn ask(&mut self, question: Question) {
        let trip = self.half_trip();
        self.after(trip, Event::Question(question));
    }

    /// The store decides.
    fn decide(&mut self, question: Question) {
        self.figures.questions += 1;
        let count = question.ahead.as_ref().map_or(0, GrantRequest::count)
            + u64::from(question.has_request);
        let hits = count * u64::from(question.hits);
        let tenant = &mut self.tenants[question.tenant];
        let state = BucketState::until(tenant.full_at, self.tokens.compact_interval());
        let (_, next) = gcra::take(&self.tokens, tenant.full_at, self.now, hits);
        let is_admitted = next.is_some();
        tenant.full_at = next.unwrap_or(tenant.full_at);
        let charge = is_admitted.then_some(self.charges.len());
        if is_admitted {
            let hits = u64::from(question.hits);
            self.charges.push(Charged {
                tenant: question.tenant,
                at: self.now,
                hits,
                count,
                spent: 0,
            });
            tenant.unspent +=
                i64::try_from(count).unwrap_or(i64::MAX) - i64::from(question.has_request);
        } else if question.has_request && question.ahead.is_none() && tenant.unspent > 0 {
            self.figures.wrongly_denied += 1;
        }
        if self.random.is_one_of_thousand(self.conditions.lost_per_mille) {
            // The request is denied, whatever the store said.
            return;
        }
        let (trip, at) = (self.half_trip(), self.now);
        self.after(trip, Event::Answer { question, state, at, charge });
    }

    fn answer(
        &mut self,
        question: Question,
        state: BucketState,
        at: Timestamp,
        charge: Option<usize>,
    ) {
        let Question { replica, tenant, hits, has_request, ahead, sent } = question;
        let count = ahead.as_ref().map_or(0, GrantRequest::count) + u64::from(has_request);
        let (_, next) = gcra::take(&self.tokens, state.moment(), at, count * u64::from(hits));
        let next = next.unwrap_or(state.moment());
        self.replicas[replica].seen[tenant] =
            BucketState::until(next, self.tokens.compact_interval());
        let Some(charge) = charge else {
            // Less is left than it knew: it asks for itself alone.
            let is_asked_again = has_request && ahead.is_some();
            if ahead.is_none() {
                let wait = gcra::peek(&self.tokens, next, at).wait.time().unwrap_or_default();
                let until = self.now.after(wait.min(self.conditions.span));
                self.replicas[replica].denied_until[tenant] = until;
            }
            drop(ahead);
            if is_asked_again {
                let sent = self.now;
                self.ask(Question { replica, tenant, hits, has_request, ahead: None, sent });
            }
            return;
        };
        if has_request {
            self.charges[charge].spent = 1;
            self.admit(tenant, hits);
        }
        if let Some(ahead) = ahead {
            assert_eq!(ahead.plan().len(), 1);
            let (until, left) = (sent.after(self.conditions.span), ahead.count());
            self.replicas[replica].grants.push(Granted { tenant, hits, until, left });
            let seen = [ObservedState { at, state: State::Counter(state) }];
            let mut outcomes = Outcomes::new();
            let now = Now::from(self.now);
            let grant = ahead.granted(&seen, has_request, sent, now, &mut outcomes);
            assert_eq!(outcomes.first().map(|outcome| outcome.wait), Some(Wait::NONE));
            self.after(grant.until().since(self.now), Event::End { replica, grant, charge });
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
    fn admit(&mut self, tenant: usize, hits: u32) {
        self.figures.admitted += 1;
        let tenant = &mut self.tenants[tenant];
        tenant.full_at_admitted =
            tenant.full_at_admitted.max(self.now).after(self.tokens.interval().times(hits.into()));
        let owed = tenant.full_at_admitted.since(self.now).get() as f64;
        let excess = owed / self.tokens.interval().get() as f64 - f64::from(self.scenario.size);
        self.figures.worst_excess = self.figures.worst_excess.max(excess);
    }
}
