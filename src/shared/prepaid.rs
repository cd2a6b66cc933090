//! Admissions that a replica charges in the shared store ahead of the requests, so that most requests need no question.
//!
//! A *plan* is the set of buckets that a request meets, with the hits that it charges to them. For a plan in demand, the
//! store is asked for several admissions at once, all or none: a *grant*. Each admission of it is spent on one request,
//! without a question to the store, until the grant's time is over; the unspent ones are given back then.
//!
//! - Each admission was charged at most the *prepaid time* before it is spent. What is given back of a grant leaves
//!   a bucket no fuller than if only its spent part had ever been charged. So in any time t a token bucket admits at most
//!   size + rate x (t + prepaid time) tokens, over all replicas.
//! - A grant that begins within the time of another one, and ends after it, does not know what the other one gave back: of
//!   its own, what has refilled between the two ends may be given back. That adds up only if replicas take grants again
//!   and again while hardly anything is spent. So only requests with the same hits are demand, and a grant is half of it;
//!   `tests/suites/prepaid/adversary.rs` holds demands to the bound that are made to exceed it.
//! - A grant follows the demand of the plan over the last prepaid time: half of it, so that it is spent within its
//!   time. It is at most a quarter of what is left in every bucket, divided by the number of replicas: near its limit,
//!   a bucket is asked call by call, and no replica denies what others hold.
//! - What a request is told is the state of its buckets without the unspent admissions of the plan. An answer of the store
//!   changes it only where it shows something else (`told`), so that what is left never increases by a grant, or by what is
//!   given back, in whatever order answers are seen.
//!
//! This module decides and counts; it does not know connections or timers. `shared::prepay` asks the store, and
//! `shared::give_back` gives back.

mod demand;
mod grant;
mod grant_request;
mod plan;
mod prepaid_plan;
#[cfg(test)]
mod tests;
mod told;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};

use hashbrown::hash_map::Entry as MapEntry;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use self::demand::Demand;
pub use self::grant::GiveBack;
pub use self::grant_request::{GrantName, GrantRequest};
pub use self::plan::{PlanName, PlannedCharge, can_be_prepaid};
use self::prepaid_plan::PrepaidPlan;
use self::told::{Ahead, Asked, Seen, Told};
use crate::clock::{Nanos, Now, Timestamp};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::Counter;
use crate::store::{Charge, Outcome, Outcomes, Wait};
use crate::striped::{STRIPES, Striped};

/// The fewest admissions that are worth a grant, which costs a question, and another if some are given back.
const MIN_GRANT: u64 = 2;

/// A grant is this part of the demand in one prepaid time, so that nearly all of it is spent within its time.
const DEMAND_PARTS: u64 = 2;

/// All replicas together take at most this part of what is left at a time. With two, replicas that have spent theirs are
/// denied in bursts while others have some left (0.7 % of calls in a simulation); with four, none is.
const LEFT_PARTS: u64 = 4;

/// After how long without a request a plan is forgotten.
const IDLE: Nanos = Nanos::from_secs(2);

/// How many admissions one of `replicas` may ask for, if a bucket has tokens for `left`.
pub fn share_of(left: u64, replicas: NonZeroU32) -> u64 {
    left / LEFT_PARTS / u64::from(replicas.get())
}

/// What a request is to do.
#[derive(Debug)]
pub enum Step {
    /// An admission was spent on it: it is admitted. More are to be asked for in the background, if told.
    Spent(Option<GrantRequest>),
    /// None is there: it asks the store; also for more, if told.
    Ask {
        /// The question for more.
        ahead: Option<GrantRequest>,
        /// The plan.
        plan: PlanName,
    },
}

/// What is known of a plan.
#[derive(Debug, Default)]
struct Entry {
    demand: Demand,
    /// Whether the store is being asked for admissions ahead.
    is_asking: bool,
    /// How many admissions are asked for or given back.
    under_way: u64,
    /// What its requests are told.
    told: Told,
    /// Present once the plan was in demand.
    prepaid: Option<Box<PrepaidPlan>>,
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

    /// Counts a request with charges that [can be prepaid](can_be_prepaid), and spends an admission on it if there is
    /// one; then `outcomes` has an entry for each charge. `share` returns how many more admissions this replica may ask
    /// for now, by what it knows of the buckets.
    pub fn begin(
        self: &Arc<Self>,
        charges: &[Charge<'_>],
        prepaid_time: Nanos,
        now: Now,
        share: impl FnOnce() -> u64,
        outcomes: &mut Outcomes,
    ) -> Step {
        let plan = PlanName::of(charges);
        let mut stripe = self.stripes.of(plan.hash()).lock();
        let is_full = stripe.plans.len() >= self.max_per_stripe;
        let entry = match stripe.plans.entry(plan) {
            MapEntry::Occupied(entry) => entry.into_mut(),
            MapEntry::Vacant(place) if !is_full => place.insert(Entry::default()),
            MapEntry::Vacant(_) => return Step::Ask { ahead: None, plan },
        };
        entry.demand.count(now.steady, prepaid_time);
        let mut is_spent = false;
        if let Some(prepaid) = &mut entry.prepaid {
            if prepaid.is(charges) {
                is_spent = prepaid.spend(now.steady);
                if is_spent {
                    entry.told.spend(&prepaid.plan, now, outcomes);
                }
            } else if prepaid.is_empty() && !entry.is_asking {
                // The same buckets with other limits.
                entry.prepaid = None;
            } else {
                return Step::Ask { ahead: None, plan };
            }
        }
        let ahead = entry.count_ahead(is_spent, now.steady, prepaid_time, share).map(|count| {
            let under_way = count.saturating_add(u64::from(!is_spent));
            entry.is_asking = true;
            entry.begin_under_way(under_way);
            let charges_of = entry.prepaid.as_ref().map(|prepaid| Arc::clone(&prepaid.plan));
            let charges_of =
                charges_of.unwrap_or_else(|| charges.iter().map(PlannedCharge::from).collect());
            let all = Arc::clone(self);
            GrantRequest { all, name: plan, plan: charges_of, count, under_way, prepaid_time }
        });
        if is_spent { Step::Spent(ahead) } else { Step::Ask { ahead, plan } }
    }

    /// Corrects what the store told a request of this plan that was asked for alone, so that what is left does not decrease
    /// by a grant and increase again. It was asked at `sent`; the clocks show `answered`, by the store's the time of its
    /// decision.
    pub fn answered(
        &self,
        plan: PlanName,
        charges: &[Charge<'_>],
        is_admitted: bool,
        sent: Timestamp,
        answered: Now,
        outcomes: &mut Outcomes,
    ) {
        let now = Now { steady: sent, wall: answered.wall };
        let seen = seen(charges, is_admitted, now, outcomes);
        self.with_plan(plan, |entry| {
            entry.told.learn(seen.iter().copied(), entry.ahead(), Asked { sent, answered });
            entry.told.correct(&seen, answered, outcomes);
        });
    }

    /// Takes it that a request of this plan was denied, with these outcomes, without asking the store: if some of its admissions
    /// are unspent or under way, the states by which it was denied may lack them.
    pub fn denied(
        &self,
        plan: PlanName,
        charges: &[Charge<'_>],
        now: impl FnOnce() -> Now,
        outcomes: &Outcomes,
    ) {
        self.with_plan(plan, |entry| {
            let Ahead { unspent, under_way } = entry.ahead();
            if unspent > 0 || under_way > 0 {
                entry.told.deny(&seen(charges, false, now(), outcomes));
            }
        });
    }

    /// Changes what is known of a plan, if it is not forgotten.
    fn with_plan(&self, plan: PlanName, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.stripes.of(plan.hash()).lock().plans.get_mut(&plan) {
            change(entry);
        }
    }

    /// Ends a grant. Returns what of it is to be given back; nothing if all is spent.
    pub fn end(self: &Arc<Self>, grant: GrantName) -> Option<GiveBack> {
        let mut stripe = self.stripes.of(grant.name.hash()).lock();
        let entry = stripe.plans.get_mut(&grant.name)?;
        let prepaid = entry.prepaid.as_mut()?;
        let (unspent, plan) = (prepaid.end(grant.number)?, Arc::clone(&prepaid.plan));
        entry.begin_under_way(unspent.unspent());
        Some(GiveBack::new(Arc::clone(self), grant.name, plan, unspent))
    }

    /// Ends all grants of plans with one of these buckets. Returns what is to be given back. Goes through all plans once.
    pub fn end_all_of(self: &Arc<Self>, buckets: &HashSet<Fingerprint>) -> Vec<GiveBack> {
        self.end_all_if(|prepaid| prepaid.meets_any(buckets))
    }

    /// Ends all grants. Returns what is to be given back.
    pub fn end_all(self: &Arc<Self>) -> Vec<GiveBack> {
        self.end_all_if(|_| true)
    }

    fn end_all_if(self: &Arc<Self>, is_meant: impl Fn(&PrepaidPlan) -> bool) -> Vec<GiveBack> {
        let mut all = Vec::new();
        for stripe in self.stripes.iter() {
            for (name, entry) in &mut stripe.lock().plans {
                let Some(prepaid) = entry.prepaid.as_mut().filter(|prepaid| is_meant(prepaid))
                else {
                    continue;
                };
                let (unspent, plan) = (prepaid.end_all(), Arc::clone(&prepaid.plan));
                for grant in unspent {
                    entry.begin_under_way(grant.unspent());
                    all.push(GiveBack::new(Arc::clone(self), *name, Arc::clone(&plan), grant));
                }
            }
        }
        all
    }

    /// The hits that admissions which are not spent have charged to these buckets, without the buckets of which there are
    /// none. Goes through all plans once.
    pub fn unspent_hits(&self, buckets: &HashSet<Fingerprint>) -> HashMap<Fingerprint, u64> {
        let mut all = HashMap::new();
        if buckets.is_empty() {
            return all;
        }
        for stripe in self.stripes.iter() {
            let stripe = stripe.lock();
            for prepaid in stripe.plans.values().filter_map(|entry| entry.prepaid.as_deref()) {
                let unspent = prepaid.unspent();
                for charge in
                    prepaid.plan.iter().filter(|charge| buckets.contains(&charge.fingerprint))
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
            let has_grants = entry.prepaid.as_ref().is_some_and(|prepaid| !prepaid.is_empty());
            let is_asked_for = entry.is_asking || entry.under_way > 0;
            has_grants || is_asked_for || !entry.demand.is_idle(IDLE, now)
        });
        if stripe.plans.capacity() / 4 > stripe.plans.len() {
            stripe.plans.shrink_to_fit();
        }
    }
}

/// What the outcomes of a request say, which the store has admitted, or denied as a whole.
fn seen<'a>(
    charges: &[Charge<'a>],
    is_admitted: bool,
    now: Now,
    outcomes: &Outcomes,
) -> SmallVec<[Seen<'a>; 4]> {
    let of_charge = |(charge, outcome): (&Charge<'a>, &Outcome)| {
        let counter = Counter::of_charge(charge)?;
        let state = counter.observed(charge.hits, outcome, now);
        let is_told = !is_admitted || outcome.wait != Wait::NONE;
        Some(Seen { counter, hits: charge.hits, state, is_told })
    };
    charges.iter().zip(outcomes).filter_map(of_charge).collect()
}

impl Entry {
    /// What the store may have charged ahead.
    fn ahead(&self) -> Ahead {
        let unspent = self.prepaid.as_ref().map_or(0, |prepaid| prepaid.unspent());
        Ahead { unspent, under_way: self.under_way }
    }

    /// Counts so many admissions as under way.
    const fn begin_under_way(&mut self, count: u64) {
        self.under_way = self.under_way.saturating_add(count);
    }

    /// Counts so many of them no longer.
    const fn end_under_way(&mut self, count: u64) {
        self.under_way = self.under_way.saturating_sub(count);
    }

    /// How many admissions to ask for ahead, if any. Those that are there can be spent if `is_spent`: the request found one.
    fn count_ahead(
        &self,
        is_spent: bool,
        now: Timestamp,
        prepaid_time: Nanos,
        share: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let there = self.prepaid.as_ref().filter(|_| is_spent);
        if self.is_asking || there.is_some_and(|there| there.unspent() > there.last_count / 2) {
            return None;
        }
        let wanted = self.demand.in_last(prepaid_time, now) / DEMAND_PARTS;
        if wanted < MIN_GRANT {
            return None;
        }
        Some(wanted.min(share())).filter(|count| *count >= MIN_GRANT)
    }
}
