//! Buckets by the kind of their state, and the buckets whose state is a [`BucketState`].
//!
//! A new bucket of this kind is a variant of [`Counter`], a module beside [`gcra`] and [`window`] for its arithmetic and
//! its operations in the script, and a kind in the script. Stores and snapshots carry its state unread.

use super::field::Field;
use super::tokens::{self, Operation};
use super::{BucketState, Charge, Outcome, Wait, debt, gcra, window};
use crate::clock::{Now, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{
    Blocked, Bucket, CompactInterval, Concurrency, Counting, Debt, LimitChanges, TokenBucket,
    Window,
};

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

impl<'a> From<&Charge<'a>> for StateKind<'a> {
    fn from(charge: &Charge<'a>) -> Self {
        match charge.bucket {
            Bucket::Tokens(bucket) => Self::Counter(match charge.debt {
                None => Counter::Tokens(bucket),
                Some(debt) => Counter::Owing(bucket, debt),
            }),
            Bucket::Concurrency(bucket) => Self::Leases(bucket),
            Bucket::Window(window) => Self::Counter(Counter::Window(window, charge.counting)),
            Bucket::Blocked(blocked) => Self::Stateless(blocked),
        }
    }
}

/// A bucket whose state is a [`BucketState`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter<'a> {
    /// A token bucket. Its state is the moment at which it is full again.
    Tokens(&'a TokenBucket),
    /// A token bucket whose charges are always made. Its state is the same.
    Owing(&'a TokenBucket, Debt),
    /// A fixed window. Its state is its count.
    Window(&'a Window, Counting),
}

impl<'a> Counter<'a> {
    /// The bucket as a counter, if it is one. How it is charged makes no difference to its state.
    pub(crate) const fn of(bucket: &'a Bucket) -> Option<Self> {
        match bucket {
            Bucket::Tokens(bucket) => Some(Self::Tokens(bucket)),
            Bucket::Window(window) => Some(Self::Window(window, Counting::Each)),
            Bucket::Concurrency(_) | Bucket::Blocked(_) => None,
        }
    }

    /// The bucket of a charge as a counter, if it is one.
    pub(crate) fn of_charge(charge: &Charge<'a>) -> Option<Self> {
        match charge.into() {
            StateKind::Counter(counter) => Some(counter),
            StateKind::Leases(_) | StateKind::Stateless(_) => None,
        }
    }

    /// Charges, gives back or peeks: the outcome, and the next state if it changes.
    #[inline(always)]
    pub(crate) fn decide(
        self,
        state: BucketState,
        now: Now,
        hits: Hits,
    ) -> (Outcome, Option<BucketState>) {
        match self {
            Self::Tokens(bucket) => {
                let (outcome, next) = gcra::decide(bucket, state.moment(), now.steady, hits);
                (outcome, next.map(|moment| full_at(bucket, moment)))
            }
            Self::Owing(bucket, debt) => {
                let (outcome, next) = debt::decide(bucket, debt, state.moment(), now.steady, hits);
                (outcome, next.map(|moment| full_at(bucket, moment)))
            }
            Self::Window(window, counting) => {
                window::decide(*window, counting, state, now.wall, hits)
            }
        }
    }

    const fn tokens(self) -> Option<&'a TokenBucket> {
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => Some(bucket),
            Self::Window(..) => None,
        }
    }

    /// The interval of its limit, as states carry it; unknown for a window.
    pub(super) fn interval(self) -> CompactInterval {
        self.tokens().map_or(CompactInterval::UNKNOWN, TokenBucket::compact_interval)
    }

    /// The state with what was used under another limit, if it was written under one. A window counts the same under any
    /// limit.
    #[inline(always)]
    pub(crate) fn carried_over(
        self,
        state: BucketState,
        changes: Option<&LimitChanges>,
        now: Now,
    ) -> Option<BucketState> {
        let bucket = self.tokens()?;
        if state.has_bytes_of(bucket.compact_interval())
            || state.interval() == CompactInterval::UNKNOWN
        {
            return None;
        }
        Some(carry_over(bucket, state, changes, now))
    }

    /// The state of this bucket, which is one part of `whole`, where that has `state`: the same share of it is left.
    pub(crate) fn part_of(
        self,
        whole: Self,
        state: BucketState,
        changes: Option<&LimitChanges>,
        now: Now,
    ) -> BucketState {
        let carried = whole.carried_over(state, changes, now).unwrap_or(state);
        match (self, whole) {
            (Self::Window(part, _), Self::Window(whole, _)) => {
                window::part_of(*part, *whole, state)
            }
            _ => self.tokens().map_or(state, |bucket| full_at(bucket, carried.moment())),
        }
    }

    /// The outcome for a call of one hit to a token bucket, and of none to a window; nothing is charged.
    #[inline]
    pub(super) fn peek(self, state: BucketState, now: Now) -> Outcome {
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => {
                gcra::peek(bucket, state.moment(), now.steady)
            }
            Self::Window(window, counting) => {
                window::decide(*window, counting, state, now.wall, Hits::PEEK).0
            }
        }
    }

    /// The outcome of a charge of `hits` that was made ahead, where `state` has it.
    #[inline]
    pub(crate) fn prepaid(self, state: BucketState, hits: Hits, now: Now) -> Outcome {
        let outcome = match self {
            Self::Tokens(_) | Self::Owing(..) => self.peek(state, now),
            Self::Window(window, _) => window::charged(*window, state, hits, now.wall),
        };
        Outcome { wait: Wait::NONE, ..outcome }
    }

    /// The state with one more charge of `hits`.
    #[inline]
    pub(crate) fn with(self, state: BucketState, hits: Hits) -> BucketState {
        let hits = hits.charged();
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => {
                full_at(bucket, state.moment().after(bucket.interval().times(hits)))
            }
            Self::Window(..) => match state.count() {
                None => state,
                Some((end, count)) => {
                    let hits = u32::try_from(hits).unwrap_or(u32::MAX);
                    BucketState::counted(end, count.saturating_add(hits))
                }
            },
        }
    }

    /// The state without so many charges of `hits`.
    pub(crate) fn without(self, state: BucketState, hits: Hits, charges: u64) -> BucketState {
        let hits = hits.charged().saturating_mul(charges);
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => {
                full_at(bucket, state.moment().before(bucket.interval().times(hits)))
            }
            Self::Window(..) => match state.count() {
                None => state,
                Some((end, count)) => {
                    let hits = u32::try_from(hits).unwrap_or(u32::MAX);
                    BucketState::counted(end, count.saturating_sub(hits))
                }
            },
        }
    }

    /// The operation of the script for these hits.
    pub(super) fn operation(self, hits: Hits, is_denied: bool) -> Operation {
        match self {
            Self::Tokens(bucket) => tokens::operation(bucket, hits, is_denied),
            Self::Owing(bucket, debt) => tokens::operation_on_debt(bucket, debt, hits),
            Self::Window(window, counting) => window::operation(*window, counting, hits, is_denied),
        }
    }

    /// The operation of the script that refunds these hits, charged at `at` in this state; `None` if nothing was
    /// charged, or if the charge is made whatever happens to the request.
    pub(crate) fn refund(self, state: BucketState, at: Timestamp, hits: Hits) -> Option<Operation> {
        match self {
            Self::Tokens(bucket) => tokens::refund(bucket, state, at, hits),
            Self::Owing(..) => None,
            Self::Window(window, counting) => window::refund(*window, counting, state, at, hits),
        }
    }

    /// Its state, from a field of the script's reply.
    pub(super) fn read(self, field: Field<'_>) -> BucketState {
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => full_at(bucket, tokens::read(field)),
            Self::Window(..) => window::read(field),
        }
    }

    /// The state of a bucket that told this outcome of a charge of these hits at `at`.
    pub(crate) fn observed(self, hits: Hits, outcome: &Outcome, at: Now) -> BucketState {
        match self {
            Self::Tokens(bucket) | Self::Owing(bucket, _) => {
                full_at(bucket, at.steady.after(outcome.reset))
            }
            Self::Window(window, counting) => {
                window::observed(*window, counting, hits, outcome, at.wall)
            }
        }
    }
}

/// The state of a token bucket that is full at `moment`.
#[inline]
fn full_at(bucket: &TokenBucket, moment: Timestamp) -> BucketState {
    BucketState::until(moment, bucket.compact_interval())
}

/// The state with what was used under its limit. That limit ended when `changes` say so, or else at `now`. Of a state that
/// has lapsed meanwhile, an override that has ended since may have raised the rate: then only the last change of all is
/// known to be its own. Out of line: few states are of another limit.
#[cold]
#[inline(never)]
fn carry_over(
    bucket: &TokenBucket,
    state: BucketState,
    changes: Option<&LimitChanges>,
    now: Now,
) -> BucketState {
    let interval = state.interval();
    let ended = match changes {
        None => now.steady,
        Some(changes) if state.lapses_at(now) <= now.steady => changes.last(now),
        Some(changes) => changes.last_end_of(interval, now),
    };
    full_at(bucket, gcra::carry_over(bucket, state.moment(), interval, ended))
}
