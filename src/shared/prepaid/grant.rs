//! Admissions that the store granted at once.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Prepaid;
use super::plan::{PlanName, PlannedCharge};
use crate::clock::{Nanos, Timestamp};
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Charge;
use crate::store::counter::Counter;
use crate::store::script::{ObservedState, State};

/// Admissions that were charged at once.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// The states of the buckets before the charge, by the store's clock.
    states: SmallVec<[ObservedState; 2]>,
    /// How many were charged.
    of: u64,
    /// How many of them are spent.
    spent: u64,
    /// When their time is over, by the steady time.
    until: Timestamp,
}

impl Grant {
    pub(super) fn new(states: &[ObservedState], of: u64, spent: u64, until: Timestamp) -> Self {
        Self { states: states.iter().copied().collect(), of, spent, until }
    }

    /// How many are not spent.
    pub(super) const fn unspent(&self) -> u64 {
        self.of.saturating_sub(self.spent)
    }

    /// Spends one, unless their time is over or all are spent. Returns whether it did.
    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let is_spent = now < self.until && self.unspent() > 0;
        self.spent += u64::from(is_spent);
        is_spent
    }
}

/// Admissions of a grant that were not spent. Until it is dropped, the store may have them or not.
#[derive(Debug)]
pub struct GiveBack {
    all: Arc<Prepaid>,
    name: PlanName,
    plan: Arc<[PlannedCharge]>,
    grant: Grant,
}

impl GiveBack {
    /// Its admissions are to be [under way](super::told::Ahead::under_way).
    pub(super) const fn new(
        all: Arc<Prepaid>,
        name: PlanName,
        plan: Arc<[PlannedCharge]>,
        grant: Grant,
    ) -> Self {
        Self { all, name, plan, grant }
    }

    /// The store has them back since `at`, by its clock.
    pub fn arrived(&self, at: Timestamp) {
        self.all.with_plan(self.name, |entry| entry.told.given_back(at));
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.grant.unspent()
    }

    /// The plan.
    pub fn plan(&self) -> &[PlannedCharge] {
        &self.plan
    }

    /// Their charges.
    pub fn charges(&self) -> impl Iterator<Item = Charge<'_>> {
        self.plan.iter().map(|charge| charge.times(self.count()))
    }

    /// The states of the buckets with the charges of those that were spent, and of no others: what is refunded was charged
    /// after them.
    pub fn states(&self) -> impl Iterator<Item = ObservedState> {
        self.plan.iter().zip(&self.grant.states).map(|(charge, seen)| {
            let (Some(counter), State::Counter(state)) = (Counter::of(&charge.bucket), seen.state)
            else {
                return *seen;
            };
            let (_, next) =
                counter.decide(state, seen.at.into(), charge.times(self.grant.spent).hits);
            ObservedState { state: State::Counter(next.unwrap_or(state)), ..*seen }
        })
    }

    /// For each token bucket its name, the time in which it refills what is given back, and from when on it does.
    pub fn refunds(&self) -> impl Iterator<Item = (Fingerprint, Nanos, Timestamp)> {
        self.charges().zip(self.states()).filter_map(|(charge, seen)| {
            let Bucket::Tokens(_) = charge.bucket else { return None };
            let (Some(counter), State::Counter(state)) = (Counter::of(charge.bucket), seen.state)
            else {
                return None;
            };
            let [cost, from] = counter.refund(state, seen.at, charge.hits)?.spans;
            Some((charge.fingerprint, Nanos::new(cost), Timestamp::from_unix_nanos(from)))
        })
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        let count = self.count();
        self.all.with_plan(self.name, |entry| entry.end_under_way(count));
    }
}
