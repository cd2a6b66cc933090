//! What the requests of a plan are told.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::plan::PlannedCharge;
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::Hits;
use crate::store::counter::Counter;
use crate::store::{BucketState, Outcomes};

/// By how much two answers of the store are seen in another order at most. An answer from longer before comes from a server
/// whose clock was set back, or from another server.
const MAX_REORDERED: Nanos = Nanos::from_secs(1);

/// Admissions that the store may have charged, although no request was admitted by them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Those that are not spent. The newest answer of the store has them.
    pub(super) unspent: u64,
    /// Those that are asked for or given back: whether an answer has them is not known.
    pub(super) under_way: u64,
}

/// When the store was asked, by this process's clock, and when it answered, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) sent: Timestamp,
    pub(super) answered: Now,
}

/// The state of a bucket in an answer of the store, after the charges of the question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) counter: Counter<'a>,
    /// Those of one request.
    pub(super) hits: Hits,
    /// By this process's clock, as if the store had decided when it was asked.
    pub(super) state: BucketState,
    /// Whether the request is told this state as it is, since the bucket denies it.
    pub(super) is_told: bool,
}

/// The states of a plan's buckets as its requests are told them: with the charges of all requests that were admitted, and
/// without what is charged ahead.
///
/// An answer of the store shows that at least as much is left as it says, and at most that and all that is unspent or under
/// way. What is told stays as it is while it lies between the two. So it never increases by what this process charges ahead
/// or gives back, in whatever order the store decides and its answers are seen.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By this process's clock.
    states: SmallVec<[BucketState; 2]>,
    /// When the newest answer was, by the store's clock.
    as_of: Timestamp,
}

impl Told {
    /// Charges an admission to a request, and tells it what is left.
    pub(super) fn spend(&mut self, plan: &[PlannedCharge], now: Now, outcomes: &mut Outcomes) {
        outcomes.clear();
        for (charge, state) in plan.iter().zip(&mut self.states) {
            if let Some(counter) = Counter::of(&charge.bucket) {
                *state = counter.with(*state, charge.hits);
                outcomes.push(counter.prepaid(*state, charge.hits, now));
            }
        }
    }

    /// Tells a request whose charges the states have what is left.
    pub(super) fn tell(&self, plan: &[PlannedCharge], now: Now, outcomes: &mut Outcomes) {
        outcomes.clear();
        outcomes.extend(plan.iter().zip(&self.states).filter_map(|(charge, state)| {
            Some(Counter::of(&charge.bucket)?.prepaid(*state, charge.hits, now))
        }));
    }

    /// Tells a request what is left that the store has admitted alone, where that is not what the store says.
    pub(super) fn correct(&self, all: &[Seen<'_>], now: Now, outcomes: &mut Outcomes) {
        for ((seen, state), outcome) in all.iter().zip(&self.states).zip(outcomes) {
            if !seen.is_told && *state != seen.state {
                *outcome = seen.counter.prepaid(*state, seen.hits, now);
            }
        }
    }

    /// Takes an answer of the store.
    pub(super) fn learn<'a>(
        &mut self,
        all: impl Iterator<Item = Seen<'a>>,
        ahead: Ahead,
        Asked { sent, answered }: Asked,
    ) {
        let is_of_other_clock = self.as_of.since(answered.wall) > MAX_REORDERED;
        let order = match answered.wall.cmp(&self.as_of) {
            Ordering::Less if is_of_other_clock => Ordering::Greater,
            order => order,
        };
        let took = answered.steady.since(sent);
        for (at, seen) in all.enumerate() {
            match self.states.get_mut(at) {
                Some(told) => *told = seen.told_after(*told, order, ahead, took),
                None => self.states.push(seen.most_left(ahead)),
            }
        }
        if order == Ordering::Greater {
            self.as_of = answered.wall;
        }
    }

    /// Takes it that a request was told these states, and denied.
    pub(super) fn deny(&mut self, all: &[Seen<'_>]) {
        for (told, seen) in self.states.iter_mut().zip(all) {
            *told = seen.told_after_denial(*told);
        }
    }

    /// Takes it that what this process gave back is in all answers after `at`, by the store's clock, and ignores those until
    /// then.
    pub(super) fn given_back(&mut self, at: Timestamp) {
        self.as_of = self.as_of.max(at.after(Nanos::new(1)));
    }
}

impl Seen<'_> {
    /// What is told after this answer, if `told` was told before it, and it is newer or older than the last one.
    fn told_after(
        &self,
        told: BucketState,
        order: Ordering,
        ahead: Ahead,
        took: Nanos,
    ) -> BucketState {
        if self.is_told {
            return self.told_after_denial(told);
        }
        if !self.is_of_limit_of(told) {
            return self.most_left(ahead);
        }
        match order {
            Ordering::Less => told,
            Ordering::Equal => later(told, self.most_left(ahead)),
            // It was reset, or others gave back. Whether the answer has what is under way is not known: it is not told.
            Ordering::Greater if is_later(told, self.least_left(took)) => {
                self.counter.without(self.state, self.hits, ahead.unspent)
            }
            Ordering::Greater => later(told, self.most_left(ahead)),
        }
    }

    /// What is told after a denial that was told this state.
    fn told_after_denial(&self, told: BucketState) -> BucketState {
        if self.is_of_limit_of(told) { later(told, self.state) } else { self.state }
    }

    fn is_of_limit_of(&self, told: BucketState) -> bool {
        told.interval() == self.state.interval()
    }

    /// The state if the answer has all that is charged ahead.
    fn most_left(&self, ahead: Ahead) -> BucketState {
        if self.is_told {
            return self.state;
        }
        let charges = ahead.unspent.saturating_add(ahead.under_way);
        self.counter.without(self.state, self.hits, charges)
    }

    /// The state if the answer has nothing that is charged ahead, and the store decided as late as it may have.
    fn least_left(&self, took: Nanos) -> BucketState {
        self.state.moved(|moment| moment.after(took))
    }
}

/// That of two states of one bucket with more charges.
fn later(one: BucketState, other: BucketState) -> BucketState {
    if is_later(one, other) { one } else { other }
}

fn is_later(one: BucketState, other: BucketState) -> bool {
    match (one.count(), other.count()) {
        (Some(one), Some(other)) => one > other,
        _ => one.moment() > other.moment(),
    }
}
