//! Buckets by the kind of their state, and the buckets whose state is one number.
//!
//! A new bucket of this kind is a variant of [`Counter`], a module beside [`gcra`] for its arithmetic, and
//! a kind in the script with a module beside [`tokens`] for its operations. Stores and snapshots carry its state unread.

use super::field::Field;
use super::tokens::{self, Operation};
use super::{BucketState, Outcome, gcra};
use crate::clock::{Now, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Blocked, Bucket, CompactInterval, Concurrency, LimitChanges, TokenBucket};

/// A bucket by the kind of its state.
#[derive(Debug, Clone, Copy)]
pub(super) enum StateKind<'a> {
    /// Its state is a [`BucketState`].
    Counter(Counter<'a>),
    /// Its state is the leases that hold its slots.
    Leases(&'a Concurrency),
    /// It has no state: its outcome depends on the time alone.
    Stateless(&'a Blocked),
}

impl<'a> From<&'a Bucket> for StateKind<'a> {
    fn from(bucket: &'a Bucket) -> Self {
        match bucket {
            Bucket::Tokens(bucket) => Self::Counter(Counter::Tokens(bucket)),
            Bucket::Concurrency(bucket) => Self::Leases(bucket),
            Bucket::Blocked(blocked) => Self::Stateless(blocked),
        }
    }
}

/// A bucket whose state is a [`BucketState`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter<'a> {
    /// A token bucket. Its state is the moment at which it is full again.
    Tokens(&'a TokenBucket),
}

impl<'a> Counter<'a> {
    /// The bucket as a counter, if it is one.
    pub(crate) const fn of(bucket: &'a Bucket) -> Option<Self> {
        match bucket {
            Bucket::Tokens(bucket) => Some(Self::Tokens(bucket)),
            Bucket::Concurrency(_) | Bucket::Blocked(_) => None,
        }
    }

    /// Charges, gives back or peeks: the outcome, and the next state if it changes.
    #[inline]
    pub(super) fn decide(
        self,
        state: BucketState,
        now: Timestamp,
        hits: Hits,
    ) -> (Outcome, Option<BucketState>) {
        match self {
            Self::Tokens(bucket) => {
                let (outcome, next) = gcra::decide(bucket, state.moment(), now, hits);
                (outcome, next.map(|moment| self.at(moment)))
            }
        }
    }

    /// The state of this bucket in which it is full at `moment`.
    #[inline]
    fn at(self, moment: Timestamp) -> BucketState {
        match self {
            Self::Tokens(bucket) => BucketState::until(moment, bucket.compact_interval()),
        }
    }

    /// The state with what was used under another limit, if it was written under one. That limit ended when `changes`
    /// say so, or else at `now`.
    #[inline]
    pub(crate) fn carried_over(
        self,
        state: BucketState,
        changes: Option<&LimitChanges>,
        now: Now,
    ) -> Option<BucketState> {
        let Self::Tokens(bucket) = self;
        let interval = state.interval();
        if interval == bucket.compact_interval() || interval == CompactInterval::UNKNOWN {
            return None;
        }
        let ended = changes.map_or(now.steady, |changes| changes.last_end_of(interval, now));
        Some(self.at(gcra::carry_over(bucket, state.moment(), interval, ended)))
    }

    /// The state of this bucket, which is one part of `whole`, where that has `state`: the same share of it is left.
    pub(crate) fn part_of(
        self,
        whole: Self,
        state: BucketState,
        changes: Option<&LimitChanges>,
        now: Now,
    ) -> BucketState {
        self.at(whole.carried_over(state, changes, now).unwrap_or(state).moment())
    }

    /// The outcome for a call of one hit; nothing is charged.
    #[inline]
    pub(super) fn peek(self, state: BucketState, now: Timestamp) -> Outcome {
        match self {
            Self::Tokens(bucket) => gcra::peek(bucket, state.moment(), now),
        }
    }

    /// The operation of the script for these hits.
    pub(super) fn operation(self, hits: Hits, is_denied: bool) -> Operation {
        match self {
            Self::Tokens(bucket) => tokens::operation(bucket, hits, is_denied),
        }
    }

    /// The operation of the script that refunds these hits, charged at `at` in this state; `None` if nothing was
    /// charged.
    pub(super) fn refund(self, state: BucketState, at: Timestamp, hits: Hits) -> Option<Operation> {
        match self {
            Self::Tokens(bucket) => tokens::refund(bucket, state, at, hits),
        }
    }

    /// Its state, from a field of the script's reply.
    pub(super) fn read(self, field: Field<'_>) -> BucketState {
        match self {
            Self::Tokens(_) => self.at(tokens::read(field)),
        }
    }

    /// The state that gives this outcome at `at`.
    pub(crate) fn observed(self, outcome: &Outcome, at: Timestamp) -> BucketState {
        self.at(at.after(outcome.reset))
    }
}
