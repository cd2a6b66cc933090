//! Questions for admissions ahead, and their answers.

use std::sync::Arc;

use super::Prepaid;
use super::grant::{GiveBack, Grant};
use super::plan::{PlanName, PlannedCharge};
use super::prepaid_plan::PrepaidPlan;
use super::told::{Asked, Seen};
use crate::clock::{Nanos, Now, Timestamp};
use crate::limit::Bucket;
use crate::store::counter::Counter;
use crate::store::script::{ObservedState, State};
use crate::store::{Mode, Outcomes};

/// A question for admissions ahead. Until it is answered or dropped, no other is asked for the same plan.
#[derive(Debug)]
pub struct GrantRequest {
    pub(super) all: Arc<Prepaid>,
    pub(super) name: PlanName,
    pub(super) plan: Arc<[PlannedCharge]>,
    pub(super) count: u64,
    /// How many are under way: one more if a request waits for them.
    pub(super) under_way: u64,
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
        self.all.with_plan(self.name, |entry| entry.begin_under_way(count));
        let grant = Grant::new(&states, count, 0, Timestamp::default());
        GiveBack::new(Arc::clone(&self.all), self.name, plan.into(), grant)
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
        mut self,
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
        entry.end_under_way(std::mem::take(&mut self.under_way));
        let prepaid =
            entry.prepaid.get_or_insert_with(|| Box::new(PrepaidPlan::new(Arc::clone(&self.plan))));
        prepaid.last_count = self.count;
        prepaid.add(number, grant);
        let charged = self.plan.iter().zip(states);
        let charged = charged.filter_map(|(charge, seen)| after_charge(charge, *seen, of, sent));
        let ahead = entry.ahead();
        entry.told.learn(charged, ahead, Asked { sent, answered });
        entry.told.tell(&self.plan, answered, outcomes);
        drop(stripe);
        GrantName { name: self.name, number, until }
    }
}

/// What the store shows of a bucket by its state before the charge for so many requests.
fn after_charge(
    charge: &PlannedCharge,
    seen: ObservedState,
    of: u64,
    sent: Timestamp,
) -> Option<Seen<'_>> {
    let (counter, State::Counter(state)) = (Counter::of(&charge.bucket)?, seen.state) else {
        return None;
    };
    let hits = charge.times(of).hits;
    let (outcome, _) = counter.decide(state, seen.at.into(), hits);
    // The charge came after `sent`, so that the bucket refills here no earlier than in the store.
    let state = counter.observed(hits, &outcome, Now { steady: sent, wall: seen.at });
    Some(Seen { counter, hits: charge.hits, state, is_told: false })
}

impl Drop for GrantRequest {
    fn drop(&mut self) {
        let under_way = self.under_way;
        self.all.with_plan(self.name, |entry| {
            entry.is_asking = false;
            entry.end_under_way(under_way);
        });
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
