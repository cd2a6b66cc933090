//! A plan in demand, and what is prepaid of it.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::grant::{GiveBack, Grant};
use super::plan::PlannedCharge;
use crate::clock::{Nanos, Now, Timestamp};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::Counter;
use crate::store::script::{ObservedState, State};
use crate::store::{BucketState, Charge, Outcomes};

/// By how much two answers of the store are seen in another order at most. An answer from longer before comes from a server
/// whose clock was set back, or from another server.
const MAX_REORDERED: Nanos = Nanos::from_secs(1);

/// What one plan has prepaid.
#[derive(Debug)]
pub(super) struct PrepaidPlan {
    pub(super) plan: Arc<[PlannedCharge]>,
    /// The states of its buckets that the store told last, by this process's clock, without what was given back since.
    states: SmallVec<[BucketState; 2]>,
    /// When they were, by the store's clock. Answers may be seen in another order than the store gave them.
    as_of: Timestamp,
    /// The grants of which some are unspent, the oldest first.
    pub(super) grants: SmallVec<[(u64, Grant); 2]>,
    /// How many admissions were granted last.
    pub(super) last_count: u64,
}

impl PrepaidPlan {
    pub(super) fn new(plan: Arc<[PlannedCharge]>) -> Self {
        let (states, grants) = (SmallVec::new(), SmallVec::new());
        Self { plan, states, as_of: Timestamp::default(), grants, last_count: 0 }
    }

    pub(super) fn is(&self, charges: &[Charge<'_>]) -> bool {
        self.plan.len() == charges.len()
            && self.plan.iter().zip(charges).all(|(planned, charge)| planned.is(charge))
    }

    /// Takes the states that the store had at `as_of`, after what it was asked.
    pub(super) fn observe(&mut self, states: impl Iterator<Item = BucketState>, as_of: Timestamp) {
        let is_of_other_clock = self.as_of.since(as_of) > MAX_REORDERED;
        match as_of.cmp(&self.as_of) {
            Ordering::Less if !is_of_other_clock => {}
            // In which order they were is not known: a charge makes a bucket full later.
            Ordering::Equal => {
                for (known, state) in self.states.iter_mut().zip(states) {
                    let is_charged_later = match (known.count(), state.count()) {
                        (Some(known), Some(count)) => count > known,
                        _ => state.moment() > known.moment(),
                    };
                    if is_charged_later {
                        *known = state;
                    }
                }
            }
            Ordering::Less | Ordering::Greater => {
                self.states = states.collect();
                self.as_of = as_of;
            }
        }
    }

    pub(super) fn meets_any(&self, buckets: &HashSet<Fingerprint>) -> bool {
        self.plan.iter().any(|charge| buckets.contains(&charge.fingerprint))
    }

    /// Spends one admission of the oldest grant whose time is not over. Returns whether there was one.
    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let Some(at) = self.grants.iter_mut().position(|(_, grant)| grant.spend(now)) else {
            return false;
        };
        if self.grants.get(at).is_some_and(|(_, grant)| grant.unspent() == 0) {
            self.grants.remove(at);
        }
        true
    }

    /// The admissions that are not spent. Those of grants whose time is over count until they are given back, so that what
    /// a request is told does not decrease and increase again.
    pub(super) fn unspent(&self) -> u64 {
        self.grants.iter().map(|(_, grant)| grant.unspent()).sum()
    }

    /// Of these, the ones that were charged by then, by the store's clock.
    pub(super) fn unspent_at(&self, as_of: Timestamp) -> u64 {
        let charged = self.grants.iter().filter(|(_, grant)| grant.charged_at() <= as_of);
        charged.map(|(_, grant)| grant.unspent()).sum()
    }

    /// The outcomes of the request on which an admission was spent last.
    pub(super) fn tell(&self, unspent: u64, now: Now, outcomes: &mut Outcomes) {
        outcomes.clear();
        outcomes.extend(self.plan.iter().zip(&self.states).filter_map(|(charge, state)| {
            Some(Counter::of(&charge.bucket)?.prepaid(*state, charge.hits, unspent, now))
        }));
    }

    /// Removes a grant; returns what of it is to be given back.
    pub(super) fn end(&mut self, number: u64) -> Option<GiveBack> {
        let at = self.grants.iter().position(|(other, _)| *other == number)?;
        let (_, grant) = self.grants.remove(at);
        for (charge, state) in self.plan.iter().zip(&mut self.states) {
            if let Some(counter) = Counter::of(&charge.bucket) {
                *state = counter.without(*state, charge.hits, grant.unspent());
            }
        }
        grant.give_back(&self.plan)
    }

    pub(super) fn end_all(&mut self) -> Vec<GiveBack> {
        let numbers: SmallVec<[u64; 2]> = self.grants.iter().map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.end(number)).collect()
    }
}

/// The state of a bucket after the charge for so many requests, by this process's clock. The charge came after `sent`, so
/// that the bucket refills here no earlier than in the store.
pub(super) fn after_charge(
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
