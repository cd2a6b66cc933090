//! Admissions that the store granted at once.

use std::sync::Arc;

use smallvec::SmallVec;

use super::PlannedCharge;
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

    /// When they were charged, by the store's clock.
    pub(super) fn charged_at(&self) -> Timestamp {
        self.states.first().map_or(Timestamp::default(), |seen| seen.at)
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

    /// What is to be given back; nothing if all are spent.
    pub(super) fn give_back(self, plan: &Arc<[PlannedCharge]>) -> Option<GiveBack> {
        (self.unspent() > 0).then(|| GiveBack::new(Arc::clone(plan), self))
    }
}

/// Admissions of a grant that were not spent.
#[derive(Debug)]
pub struct GiveBack {
    plan: Arc<[PlannedCharge]>,
    grant: Grant,
}

impl GiveBack {
    pub(super) const fn new(plan: Arc<[PlannedCharge]>, grant: Grant) -> Self {
        Self { plan, grant }
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
