//! Buckets by how their state is kept, and the kinds whose state is one number.
//!
//! A new kind of that sort is a variant of [`Counter`], a module beside [`gcra`](super::gcra) for its arithmetic, and a
//! kind in the script. The stores, the snapshot and what is remembered of a shared store carry its state unread.

use super::script::Field;
use super::script::tokens::{self, Operation};
use super::{BucketState, Outcome, gcra};
use crate::clock::Timestamp;
use crate::descriptor::Hits;
use crate::limit::{Blocked, Bucket, Concurrency, TokenBucket};

/// A bucket by how its state is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum StateKind<'a> {
    /// As a [`BucketState`].
    Counter(Counter<'a>),
    /// As the leases that hold its slots.
    Leases(&'a Concurrency),
    /// Not at all: its answer depends on the time alone.
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
    /// Its state is the moment at which it is full again.
    Tokens(&'a TokenBucket),
}

impl<'a> Counter<'a> {
    /// The counter that a bucket is, if it is one.
    pub(crate) const fn of(bucket: &'a Bucket) -> Option<Self> {
        match bucket {
            Bucket::Tokens(bucket) => Some(Self::Tokens(bucket)),
            Bucket::Concurrency(_) | Bucket::Blocked(_) => None,
        }
    }

    /// Takes, gives back or only looks: the outcome, and the next state where there is another.
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
                (outcome, next.map(BucketState::until))
            }
        }
    }

    /// The bucket as it stands, for a call of one hit that charges nothing.
    #[inline]
    pub(super) fn peek(self, state: BucketState, now: Timestamp) -> Outcome {
        match self {
            Self::Tokens(bucket) => gcra::peek(bucket, state.moment(), now),
        }
    }

    /// What hits ask of it in the script.
    pub(super) fn operation(self, hits: Hits, is_denied: bool) -> Operation {
        match self {
            Self::Tokens(bucket) => tokens::operation(bucket, hits, is_denied),
        }
    }

    /// What takes a charge back in the script that was made when it stood so at a time; nothing where none was.
    pub(super) fn refund(self, state: BucketState, at: Timestamp, hits: Hits) -> Option<Operation> {
        match self {
            Self::Tokens(bucket) => tokens::refund(bucket, state, at, hits),
        }
    }

    /// Its state as the script tells it.
    pub(super) fn read(self, field: Field<'_>) -> BucketState {
        match self {
            Self::Tokens(_) => tokens::read(field),
        }
    }

    /// The state of a bucket that stands like this at a time.
    pub(crate) fn observed(self, outcome: &Outcome, at: Timestamp) -> BucketState {
        match self {
            Self::Tokens(_) => BucketState::until(at.after(outcome.reset)),
        }
    }
}
