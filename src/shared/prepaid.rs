//! Admissions that a replica charges in the shared store ahead of the requests, so that most requests need no question.
//!
//! A *plan* is the set of buckets that a request meets. For a plan in demand, the store is asked for several admissions
//! at once, all or none: a *grant*. Each admission of it is spent on one request, without a question to the store, until
//! the grant's time is over; the unspent ones are given back then.
//!
//! - Each admission was charged at most one span, the setting `prepaid`, before it is spent. What is given back leaves a
//!   bucket no fuller than if only the spent part had ever been charged. So in any time t a token bucket admits at most
//!   size + rate x (t + prepaid) tokens, over all replicas.
//! - A grant follows the demand of the plan over the last span: half of it, so that it is spent within its time. It is
//!   at most a quarter of what is left in every bucket, divided by the number of replicas: near its limit, a bucket is
//!   asked call by call, and no replica denies what others hold.
//! - What a request is told is the state of its buckets after the last grant, with the unspent admissions of the plan
//!   added: what is left never increases by a grant, or by what is given back.
//!
//! This module decides and counts; it does not know connections or timers. `shared::prepay` asks the store.

mod demand;
mod grant;

use std::cmp::Ordering;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};

use hashbrown::hash_map::Entry as MapEntry;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use self::demand::Demand;
pub use self::grant::{GiveBack, Grant};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Bucket, Counting, LimitChanges};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::Counter;
use crate::store::script::{ObservedState, State};
use crate::store::{BucketState, Charge, Mode, Outcomes, Wait};
use crate::striped::{STRIPES, Striped};

/// The fewest admissions that are worth a grant, which costs a question, and another if some are given back.
const MIN_GRANT: u64 = 2;

/// A grant is this part of the demand in one span, so that nearly all of it is spent within its time.
const DEMAND_PARTS: u64 = 2;

/// All replicas together take at most this part of what is left at a time. With two, replicas that have spent theirs are
/// denied in bursts while others have some left (0.7 % of calls in a simulation); with four, none is.
const LEFT_PARTS: u64 = 4;

/// The most buckets of a plan that is prepaid. Plans of more are rare, and would make each answer dearer.
const MAX_BUCKETS: usize = 8;

/// After how long without a request a plan is forgotten.
const IDLE: Nanos = Nanos::from_secs(2);

/// The name of a plan: it depends on the names of all of its buckets and on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanName(u128);

impl PlanName {
    /// The name of the plan with these charges. Names of buckets are hashes of which clients cannot choose two that are
    /// equal; the odd factor keeps the order.
    fn of(charges: &[Charge<'_>]) -> Self {
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mix = |sum: u128, charge: &Charge<'_>| {
            sum.wrapping_mul(FACTOR)
                .wrapping_add(u128::from_le_bytes(charge.fingerprint.to_bytes()))
        };
        Self(charges.iter().fold(1, mix))
    }

    /// The bits by which plans are spread.
    const fn hash(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A charge of a plan, kept beyond the request that brought it.
#[derive(Debug, Clone)]
pub struct PlannedCharge {
    fingerprint: Fingerprint,
    bucket: Bucket,
    changes: Option<LimitChanges>,
    hits: Hits,
    mode: Mode,
    counting: Counting,
}

impl From<&Charge<'_>> for PlannedCharge {
    fn from(charge: &Charge<'_>) -> Self {
        let Charge { fingerprint, bucket, changes, hits, mode, counting, debt: _ } = *charge;
        Self { fingerprint, bucket: *bucket, changes: changes.cloned(), hits, mode, counting }
    }
}

impl PlannedCharge {
    /// The charge for so many requests.
    pub fn times(&self, requests: u64) -> Charge<'_> {
        let Self { fingerprint, ref bucket, ref changes, hits, mode, counting } = *self;
        let hits = Hits::charge(hits.charged().saturating_mul(requests));
        Charge { fingerprint, bucket, changes: changes.as_ref(), hits, mode, debt: None, counting }
    }

    /// The name of its bucket.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The state of its bucket without so many of its charges, if it is one of a counter.
    pub fn without(&self, state: BucketState, charges: u64) -> Option<BucketState> {
        Some(Counter::of(&self.bucket)?.without(state, self.hits, charges))
    }

    fn is(&self, charge: &Charge<'_>) -> bool {
        let Self { fingerprint, bucket, hits, mode, counting, changes: _ } = self;
        *fingerprint == charge.fingerprint
            && *bucket == *charge.bucket
            && *hits == charge.hits
            && *mode == charge.mode
            && *counting == charge.counting
    }
}

/// Whether charges can be made ahead: each takes hits from a token bucket that admits or denies. Leases, looks, hits that
/// are given back, debts, and buckets that admit nothing are asked for call by call.
pub fn can_be_prepaid(charges: &[Charge<'_>]) -> bool {
    let can_be = |charge: &Charge<'_>| {
        matches!(charge.bucket, Bucket::Tokens(_))
            && charge.debt.is_none()
            && charge.hits.charged() > 0
            && charge.mode != Mode::Quota
    };
    !charges.is_empty() && charges.len() <= MAX_BUCKETS && charges.iter().all(can_be)
}

/// How many admissions one of `replicas` may ask for, if a bucket has tokens for `left`.
pub fn share_of(left: u64, replicas: NonZeroU32) -> u64 {
    left / LEFT_PARTS / u64::from(replicas.get())
}

/// What a request is to do.
#[derive(Debug)]
pub enum Step {
    /// An admission was spent on it: it is admitted. More are to be asked for in the background, if told.
    Spent(Option<Ahead>),
    /// None is there: it asks the store; also for more, if told. `is_hot` says that the plan was or is prepaid.
    Ask {
        /// The question for more.
        ahead: Option<Ahead>,
        /// Whether the state that the store tells may lack admissions that are prepaid.
        is_hot: bool,
    },
}

/// A question for admissions ahead. Until it is answered or dropped, no other is asked for the same plan.
#[derive(Debug)]
pub struct Ahead {
    all: Arc<Prepaid>,
    name: PlanName,
    plan: Arc<[PlannedCharge]>,
    count: u64,
    span: Nanos,
}

impl Ahead {
    /// The charges of the plan, for one request each.
    pub fn plan(&self) -> &[PlannedCharge] {
        &self.plan
    }

    /// How many admissions to ask for, apart from that of the request that asks.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// What is to be given back if the store has charged them although buckets of `over` have too little: those of other
    /// modes are charged.
    pub fn charged_in_part(
        &self,
        states: &[ObservedState],
        has_own: bool,
        over: &[Mode],
    ) -> GiveBack {
        let of_plan =
            self.plan.iter().zip(states).filter(|(charge, _)| !over.contains(&charge.mode));
        let (plan, states): (Vec<_>, Vec<_>) =
            of_plan.map(|(charge, seen)| (charge.clone(), *seen)).unzip();
        let count = self.count.saturating_add(u64::from(has_own));
        GiveBack::new(plan.into(), Grant::new(&states, count, 0, Timestamp::default()))
    }

    /// Keeps what the store granted to a question that was sent at `sent`: `count` admissions, and one more if
    /// `is_one_spent`, on the request that asked. `states` are those before the charge, by the store's clock, which
    /// showed `answered`. Returns the outcomes of that request and the grant, whose time will be over.
    pub fn granted(
        self,
        states: &[ObservedState],
        is_one_spent: bool,
        sent: Timestamp,
        answered: Now,
        outcomes: &mut Outcomes,
    ) -> GrantName {
        let spent = u64::from(is_one_spent);
        let until = sent.after(self.span);
        let of = self.count.saturating_add(spent);
        let grant = Grant::new(states, of, spent, until);
        let mut stripe = self.all.stripes.of(self.name.hash()).lock();
        stripe.granted = stripe.granted.wrapping_add(1);
        let number = stripe.granted;
        let entry = stripe.plans.entry(self.name).or_default();
        let hot = entry.hot.get_or_insert_with(|| Box::new(Hot::new(Arc::clone(&self.plan))));
        let charged = self.plan.iter().zip(states);
        let charged = charged.map(|(charge, seen)| after_charge(charge, *seen, of, sent));
        hot.observe(charged, answered.wall);
        hot.last_count = self.count;
        hot.grants.push((number, grant));
        let unspent = hot.unspent();
        hot.tell(unspent, answered, outcomes);
        drop(stripe);
        GrantName { name: self.name, number, until }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut stripe = self.all.stripes.of(self.name.hash()).lock();
        if let Some(entry) = stripe.plans.get_mut(&self.name) {
            entry.is_asking = false;
        }
    }
}

/// The name of a grant, and when its time is over, by the steady time.
#[derive(Debug, Clone, Copy)]
pub struct GrantName {
    name: PlanName,
    number: u64,
    until: Timestamp,
}

impl GrantName {
    /// When what is unspent is to be given back.
    pub const fn until(self) -> Timestamp {
        self.until
    }
}

/// What one plan has prepaid.
#[derive(Debug)]
struct Hot {
    plan: Arc<[PlannedCharge]>,
    /// The states of its buckets that the store told last, by this process's clock, without what was given back since.
    states: SmallVec<[BucketState; 2]>,
    /// When they were, by the store's clock. Answers may be seen in another order than the store gave them.
    as_of: Timestamp,
    /// The grants of which something is left, the oldest first.
    grants: SmallVec<[(u64, Grant); 2]>,
    /// How many admissions were granted last.
    last_count: u64,
}

impl Hot {
    fn new(plan: Arc<[PlannedCharge]>) -> Self {
        let (states, grants) = (SmallVec::new(), SmallVec::new());
        Self { plan, states, as_of: Timestamp::default(), grants, last_count: 0 }
    }

    fn is(&self, charges: &[Charge<'_>]) -> bool {
        self.plan.len() == charges.len()
            && self.plan.iter().zip(charges).all(|(planned, charge)| planned.is(charge))
    }

    /// Takes the states that the store had at `as_of`, after what it was asked.
    fn observe(&mut self, states: impl Iterator<Item = BucketState>, as_of: Timestamp) {
        match as_of.cmp(&self.as_of) {
            Ordering::Less => {}
            // In which order they were is not known: a charge makes a bucket full later.
            Ordering::Equal => {
                for (known, state) in self.states.iter_mut().zip(states) {
                    if state.moment() > known.moment() {
                        *known = state;
                    }
                }
            }
            Ordering::Greater => {
                self.states = states.collect();
                self.as_of = as_of;
            }
        }
    }

    fn meets(&self, bucket: Fingerprint) -> bool {
        self.plan.iter().any(|charge| charge.fingerprint == bucket)
    }

    /// Spends one admission of the oldest grant whose time is not over. Returns whether there was one.
    fn spend(&mut self, now: Timestamp) -> bool {
        let Some(at) = self.grants.iter_mut().position(|(_, grant)| grant.spend(now)) else {
            return false;
        };
        if self.grants.get(at).is_some_and(|(_, grant)| grant.left() == 0) {
            self.grants.remove(at);
        }
        true
    }

    /// The admissions that are not spent. Those of grants whose time is over count until they are given back, so that what
    /// a request is told does not decrease and increase again.
    fn unspent(&self) -> u64 {
        self.grants.iter().map(|(_, grant)| grant.left()).sum()
    }

    /// Of these, the ones that were charged by then, by the store's clock.
    fn unspent_at(&self, as_of: Timestamp) -> u64 {
        let charged = self.grants.iter().filter(|(_, grant)| grant.charged_at() <= as_of);
        charged.map(|(_, grant)| grant.left()).sum()
    }

    /// The outcomes of the request on which an admission was spent last.
    fn tell(&self, unspent: u64, now: Now, outcomes: &mut Outcomes) {
        outcomes.clear();
        outcomes.extend(self.plan.iter().zip(&self.states).filter_map(|(charge, state)| {
            Some(Counter::of(&charge.bucket)?.prepaid(*state, charge.hits, unspent, now))
        }));
    }

    /// Removes a grant; returns what of it is to be given back.
    fn end(&mut self, number: u64) -> Option<GiveBack> {
        let at = self.grants.iter().position(|(other, _)| *other == number)?;
        let (_, grant) = self.grants.remove(at);
        for (charge, state) in self.plan.iter().zip(&mut self.states) {
            if let Some(counter) = Counter::of(&charge.bucket) {
                *state = counter.without(*state, charge.hits, grant.left());
            }
        }
        grant.give_back(&self.plan)
    }

    fn end_all(&mut self) -> Vec<GiveBack> {
        let numbers: SmallVec<[u64; 2]> = self.grants.iter().map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.end(number)).collect()
    }
}

/// What is known of a plan.
#[derive(Debug, Default)]
struct Entry {
    demand: Demand,
    /// Whether the store is being asked for admissions ahead.
    is_asking: bool,
    /// Present once the plan was in demand.
    hot: Option<Box<Hot>>,
}

#[derive(Debug, Default)]
struct Stripe {
    plans: HashMap<PlanName, Entry>,
    /// How many grants there have been.
    granted: u64,
}

/// What one replica has prepaid.
#[derive(Debug)]
pub struct Prepaid {
    stripes: Striped<Stripe>,
    max_per_stripe: usize,
    next_sweep: AtomicUsize,
}

impl Prepaid {
    /// Nothing yet. Of more than `max_plans` plans at a time, the others are asked for call by call.
    pub fn new(max_plans: usize) -> Arc<Self> {
        Arc::new(Self {
            stripes: Striped::default(),
            max_per_stripe: (max_plans / STRIPES).max(1),
            next_sweep: AtomicUsize::new(0),
        })
    }

    /// Counts a request with charges that [can be prepaid](can_be_prepaid), and spends an admission on it if there is one;
    /// then `outcomes` has an entry for each charge. `span` is the time for which admissions are prepaid. `left` returns
    /// how many more admissions this replica may ask for now, by what it knows of the buckets.
    pub fn begin(
        self: &Arc<Self>,
        charges: &[Charge<'_>],
        span: Nanos,
        now: Now,
        left: impl FnOnce() -> u64,
        outcomes: &mut Outcomes,
    ) -> Step {
        let name = PlanName::of(charges);
        let mut stripe = self.stripes.of(name.hash()).lock();
        let is_full = stripe.plans.len() >= self.max_per_stripe;
        let entry = match stripe.plans.entry(name) {
            MapEntry::Occupied(entry) => entry.into_mut(),
            MapEntry::Vacant(place) if !is_full => place.insert(Entry::default()),
            MapEntry::Vacant(_) => return Step::Ask { ahead: None, is_hot: false },
        };
        entry.demand.count(now.steady, span);
        let mut unspent = 0;
        let mut is_spent = false;
        if let Some(hot) = &mut entry.hot {
            if hot.is(charges) {
                is_spent = hot.spend(now.steady);
                if is_spent {
                    unspent = hot.unspent();
                    hot.tell(unspent, now, outcomes);
                }
            } else if hot.grants.is_empty() && !entry.is_asking {
                // The same buckets with other limits, or other hits.
                entry.hot = None;
            } else {
                return Step::Ask { ahead: None, is_hot: false };
            }
        }
        let ahead = entry.count_ahead(unspent, now.steady, span, left).map(|count| {
            entry.is_asking = true;
            let plan = entry.hot.as_ref().map(|hot| Arc::clone(&hot.plan));
            let plan = plan.unwrap_or_else(|| charges.iter().map(PlannedCharge::from).collect());
            Ahead { all: Arc::clone(self), name, plan, count, span }
        });
        if is_spent {
            Step::Spent(ahead)
        } else {
            Step::Ask { ahead, is_hot: entry.hot.is_some() || entry.is_asking }
        }
    }

    /// Adds the unspent admissions of a plan to the outcomes of a request that the store has admitted, so that what is left
    /// does not decrease by a grant and increase again. The store admitted it at `now`, where `steady` is when it was asked.
    pub fn add_unspent(&self, charges: &[Charge<'_>], now: Now, outcomes: &mut Outcomes) {
        let name = PlanName::of(charges);
        let mut stripe = self.stripes.of(name.hash()).lock();
        let hot = stripe.plans.get_mut(&name).and_then(|entry| entry.hot.as_mut());
        let Some(hot) = hot.filter(|hot| hot.is(charges)) else { return };
        let states: SmallVec<[BucketState; 2]> = charges
            .iter()
            .zip(&*outcomes)
            .filter_map(|(charge, outcome)| {
                Some(Counter::of(charge.bucket)?.observed(charge.hits, outcome, now))
            })
            .collect();
        let unspent = hot.unspent_at(now.wall);
        for ((charge, outcome), state) in charges.iter().zip(outcomes).zip(&states) {
            if let Some(counter) = Counter::of(charge.bucket).filter(|_| outcome.wait == Wait::NONE)
            {
                *outcome = counter.prepaid(*state, charge.hits, unspent, now);
            }
        }
        hot.observe(states.into_iter(), now.wall);
    }

    /// Ends a grant. Returns what of it is to be given back; nothing if all is spent.
    pub fn end(&self, grant: GrantName) -> Option<GiveBack> {
        let mut stripe = self.stripes.of(grant.name.hash()).lock();
        stripe.plans.get_mut(&grant.name)?.hot.as_mut()?.end(grant.number)
    }

    /// Ends all grants of plans with this bucket. Returns what is to be given back.
    pub fn end_all_of(&self, bucket: Fingerprint) -> Vec<GiveBack> {
        let of_stripe = |stripe: &parking_lot::Mutex<Stripe>| -> Vec<GiveBack> {
            let mut stripe = stripe.lock();
            let hot = stripe.plans.values_mut().filter_map(|entry| entry.hot.as_mut());
            hot.filter(|hot| hot.meets(bucket)).flat_map(|hot| hot.end_all()).collect()
        };
        self.stripes.iter().flat_map(of_stripe).collect()
    }

    /// The admissions that are prepaid and not spent in plans with this bucket.
    pub fn unspent(&self, bucket: Fingerprint) -> u64 {
        let of_plan = |entry: &Entry| {
            let hot = entry.hot.as_ref()?;
            hot.meets(bucket).then(|| hot.unspent())
        };
        let of_stripe = |stripe: &parking_lot::Mutex<Stripe>| -> u64 {
            stripe.lock().plans.values().filter_map(of_plan).sum()
        };
        self.stripes.iter().map(of_stripe).sum()
    }

    /// The hits that admissions which are not spent have charged to these buckets, without the buckets of which there are
    /// none. Goes through all plans once.
    pub fn unspent_hits(&self, buckets: &HashSet<Fingerprint>) -> HashMap<Fingerprint, u64> {
        let mut all = HashMap::new();
        for stripe in self.stripes.iter() {
            let stripe = stripe.lock();
            for hot in stripe.plans.values().filter_map(|entry| entry.hot.as_deref()) {
                let unspent = hot.unspent();
                for charge in hot.plan.iter().filter(|charge| buckets.contains(&charge.fingerprint))
                {
                    if let Some(hits) = NonZeroU64::new(charge.times(unspent).hits.charged()) {
                        let sum: &mut u64 = all.entry(charge.fingerprint).or_default();
                        *sum = sum.saturating_add(hits.get());
                    }
                }
            }
        }
        all
    }

    /// Forgets the plans of the next stripe without demand and without admissions.
    pub fn sweep(&self, now: Timestamp) {
        let number = self.next_sweep.fetch_add(1, atomic::Ordering::Relaxed);
        let mut stripe = self.stripes.at(number).lock();
        stripe.plans.retain(|_, entry| {
            let has_grants = entry.hot.as_ref().is_some_and(|hot| !hot.grants.is_empty());
            has_grants || entry.is_asking || !entry.demand.is_idle(IDLE, now)
        });
        if stripe.plans.capacity() / 4 > stripe.plans.len() {
            stripe.plans.shrink_to_fit();
        }
    }
}

impl Entry {
    /// How many admissions to ask for ahead, if any, when `unspent` are there.
    fn count_ahead(
        &self,
        unspent: u64,
        now: Timestamp,
        span: Nanos,
        left: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let last = self.hot.as_ref().map_or(0, |hot| hot.last_count);
        if self.is_asking || unspent > last / 2 {
            return None;
        }
        let wanted = self.demand.over_last_span(now, span) / DEMAND_PARTS;
        if wanted < MIN_GRANT {
            return None;
        }
        Some(wanted.min(left())).filter(|count| *count >= MIN_GRANT)
    }
}

/// The state of a bucket after the charge for so many requests, by this process's clock. The charge came after `sent`, so
/// that the bucket refills here no earlier than in the store.
fn after_charge(
    charge: &PlannedCharge,
    seen: ObservedState,
    of: u64,
    sent: Timestamp,
) -> BucketState {
    let (Some(counter), State::Counter(state)) = (Counter::of(&charge.bucket), seen.state) else {
        return BucketState::NONE;
    };
    let hits = charge.times(of).hits;
    let (outcome, _) = counter.decide(state, seen.at.into(), hits);
    counter.observed(hits, &outcome, Now { steady: sent, wall: seen.at })
}
