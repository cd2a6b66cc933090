//! Questions for admissions ahead, and their answers.

use std::sync::Arc;

use super::Prepaid;
use super::grant::{GiveBack, Grant};
use super::plan::{PlanName, PlannedCharge};
use super::prepaid_plan::{PrepaidPlan, after_charge};
use crate::clock::{Nanos, Now, Timestamp};
use crate::limit::Bucket;
use crate::store::script::ObservedState;
use crate::store::{Mode, Outcomes};

/// A question for admissions ahead. Until it is answered or dropped, no other is asked for the same plan.
#[derive(Debug)]
pub struct GrantRequest {
    pub(super) all: Arc<Prepaid>,
    pub(super) name: PlanName,
    pub(super) plan: Arc<[PlannedCharge]>,
    pub(super) count: u64,
    pub(super) prepaid_time: Nanos,
}

impl GrantRequest {
    /// The charges of the plan, for one request each.
    pub fn plan(&self) -> &[PlannedCharge] {
        &self.plan
    }

    /// For how long they are prepaid.
    pub const fn prepaid_time(&self) -> Nanos {
        self.prepaid_time
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

    /// When the time of admissions is over that were charged after `sent`: with the prepaid time, or with the first of the windows.
    fn until(&self, states: &[ObservedState], sent: Timestamp) -> Timestamp {
        let ends = self.plan.iter().zip(states).filter_map(|(charge, seen)| match charge.bucket {
            Bucket::Window(window) => Some(window.end(seen.at).since(seen.at)),
            _ => None,
        });
        sent.after(ends.min().map_or(self.prepaid_time, |end| end.min(self.prepaid_time)))
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
        let of = self.count.saturating_add(spent);
        let until = self.until(states, sent);
        let grant = Grant::new(states, of, spent, until);
        let mut stripe = self.all.stripes.of(self.name.hash()).lock();
        stripe.granted = stripe.granted.wrapping_add(1);
        let number = stripe.granted;
        let entry = stripe.plans.entry(self.name).or_default();
        let prepaid =
            entry.prepaid.get_or_insert_with(|| Box::new(PrepaidPlan::new(Arc::clone(&self.plan))));
        let charged = self.plan.iter().zip(states);
        let charged = charged.map(|(charge, seen)| after_charge(charge, *seen, of, sent));
        prepaid.observe(charged, answered.wall);
        prepaid.last_count = self.count;
        prepaid.grants.push((number, grant));
        let unspent = prepaid.unspent();
        prepaid.tell(unspent, answered, outcomes);
        drop(stripe);
        GrantName { name: self.name, number, until }
    }
}

impl Drop for GrantRequest {
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
    pub(super) name: PlanName,
    pub(super) number: u64,
    until: Timestamp,
}

impl GrantName {
    /// When what is unspent is to be given back.
    pub const fn until(self) -> Timestamp {
        self.until
    }
}
