//! One concurrency bucket, decided from its occupancy.

use super::{Outcome, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::Concurrency;

/// How much of a bucket is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// How many slots are held.
    pub slots: u64,
    /// When the last of them expires.
    pub last_expiry: Timestamp,
}

/// How many slots are taken, if any, and when they expire.
pub type Taken = Option<(u32, Timestamp)>;

/// Takes one slot for each hit: the outcome, and what is taken if the bucket admits. `time_until_freed` returns the
/// time until this many of the held slots have expired.
pub fn decide(
    bucket: &Concurrency,
    held: Occupancy,
    now: Timestamp,
    hits: Hits,
    time_until_freed: impl FnOnce(u64) -> Nanos,
) -> (Outcome, Taken) {
    let charged = hits.charged();
    let outcome = outcome(bucket, held, now, charged, time_until_freed);
    if hits.given_back() > 0 {
        // Slots are freed by the id of their lease. Hits without one free nothing, and are not denied.
        return (Outcome { wait: Wait::NONE, ..outcome }, None);
    }
    match u32::try_from(charged) {
        Ok(slots @ 1..) if outcome.wait == Wait::NONE => {
            let remaining = outcome.remaining.saturating_sub(slots);
            let expires = now.after(bucket.ttl());
            let reset = expires.max(held.last_expiry).since(now);
            (Outcome { remaining, reset, ..outcome }, Some((slots, expires)))
        }
        _ => (outcome, None),
    }
}

/// The outcome for a call that takes no slot.
pub fn peek(bucket: &Concurrency, held: Occupancy, now: Timestamp) -> Outcome {
    Outcome { wait: Wait::NONE, ..outcome(bucket, held, now, 0, |_| Nanos::ZERO) }
}

/// The outcome of this many hits, without taking slots; 0 hits peek as 1.
fn outcome(
    bucket: &Concurrency,
    held: Occupancy,
    now: Timestamp,
    hits: u64,
    time_until_freed: impl FnOnce(u64) -> Nanos,
) -> Outcome {
    let size = u64::from(bucket.slots().get());
    let needed = hits.max(1);
    let wait = if needed > size {
        Wait::NEVER
    } else if held.slots + needed <= size {
        Wait::NONE
    } else {
        Wait::of(time_until_freed(held.slots + needed - size))
    };
    let remaining = u32::try_from(size.saturating_sub(held.slots)).unwrap_or(u32::MAX);
    Outcome { wait, remaining, uncharged: 0, before: 0, reset: held.last_expiry.since(now) }
}
