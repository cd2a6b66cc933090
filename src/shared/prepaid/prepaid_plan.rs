//! A plan in demand, and what is prepaid of it.

use std::sync::Arc;

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::grant::Grant;
use super::plan::PlannedCharge;
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Charge;

/// What one plan has prepaid.
#[derive(Debug)]
pub(super) struct PrepaidPlan {
    pub(super) plan: Arc<[PlannedCharge]>,
    /// The grants of which some are unspent, the oldest first.
    grants: SmallVec<[(u64, Grant); 2]>,
    /// The admissions of them that are not spent. Those of grants whose time is over count until they are given back.
    unspent: u64,
    /// How many admissions were granted last.
    pub(super) last_count: u64,
}

impl PrepaidPlan {
    pub(super) fn new(plan: Arc<[PlannedCharge]>) -> Self {
        Self { plan, grants: SmallVec::new(), unspent: 0, last_count: 0 }
    }

    pub(super) fn is(&self, charges: &[Charge<'_>]) -> bool {
        self.plan.len() == charges.len()
            && self.plan.iter().zip(charges).all(|(planned, charge)| planned.is(charge))
    }

    pub(super) fn meets_any(&self, buckets: &HashSet<Fingerprint>) -> bool {
        self.plan.iter().any(|charge| buckets.contains(&charge.fingerprint))
    }

    /// Adds a grant with its number.
    pub(super) fn add(&mut self, number: u64, grant: Grant) {
        self.unspent = self.unspent.saturating_add(grant.unspent());
        self.grants.push((number, grant));
    }

    /// Spends one admission of the oldest grant whose time is not over. Returns whether there was one.
    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let Some(at) = self.grants.iter_mut().position(|(_, grant)| grant.spend(now)) else {
            return false;
        };
        self.unspent = self.unspent.saturating_sub(1);
        if self.grants.get(at).is_some_and(|(_, grant)| grant.unspent() == 0) {
            self.grants.remove(at);
        }
        true
    }

    /// Whether all grants are spent or given back.
    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// The admissions that are not spent.
    pub(super) const fn unspent(&self) -> u64 {
        self.unspent
    }

    /// Removes a grant, if some of it is unspent.
    pub(super) fn end(&mut self, number: u64) -> Option<Grant> {
        let at = self.grants.iter().position(|(other, _)| *other == number)?;
        let (_, grant) = self.grants.remove(at);
        self.unspent = self.unspent.saturating_sub(grant.unspent());
        (grant.unspent() > 0).then_some(grant)
    }

    /// Removes all grants of which some are unspent.
    pub(super) fn end_all(&mut self) -> Vec<Grant> {
        let numbers: SmallVec<[u64; 2]> = self.grants.iter().map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.end(number)).collect()
    }
}
