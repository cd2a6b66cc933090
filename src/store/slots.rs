//! One concurrency bucket, decided from how many of its slots are held and until when.

use super::{Outcome, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::Concurrency;

/// The slots of a bucket that are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// How many.
    pub slots: u64,
    /// When the last of them comes back by itself.
    pub last_expiry: Timestamp,
}

/// Slots to be taken, and until when.
pub type Taken = Option<(u32, Timestamp)>;

/// Takes as many slots as there are hits: the outcome, and what is taken where the bucket admits. `freed` tells
/// how long it takes until so many of the slots that are held have come back by themselves.
pub fn decide(
    bucket: &Concurrency,
    held: Occupancy,
    now: Timestamp,
    hits: Hits,
    freed: impl FnOnce(u64) -> Nanos,
) -> (Outcome, Taken) {
    let charged = hits.charged();
    let outcome = outcome(bucket, held, now, charged, freed);
    if hits.given_back() > 0 {
        // Slots come back by lease only; hits without one give nothing back and deny nobody.
        return (Outcome { wait: Wait::None, ..outcome }, None);
    }
    match u32::try_from(charged) {
        Ok(slots @ 1..) if outcome.wait == Wait::None => {
            let remaining = outcome.remaining.saturating_sub(slots);
            let expires = now.after(bucket.ttl());
            let reset = expires.max(held.last_expiry).since(now);
            (Outcome { remaining, reset, ..outcome }, Some((slots, expires)))
        }
        _ => (outcome, None),
    }
}

/// The bucket as it stands, for a call that takes no slot.
pub fn peek(bucket: &Concurrency, held: Occupancy, now: Timestamp) -> Outcome {
    Outcome { wait: Wait::None, ..outcome(bucket, held, now, 0, |_| Nanos::ZERO) }
}

/// What so many hits would meet; 0 asks as if for one.
fn outcome(
    bucket: &Concurrency,
    held: Occupancy,
    now: Timestamp,
    hits: u64,
    freed: impl FnOnce(u64) -> Nanos,
) -> Outcome {
    let size = u64::from(bucket.slots().get());
    let needed = hits.max(1);
    let wait = if needed > size {
        Wait::Never
    } else if held.slots + needed <= size {
        Wait::None
    } else {
        Wait::For(freed(held.slots + needed - size))
    };
    let remaining = u32::try_from(size.saturating_sub(held.slots)).unwrap_or(u32::MAX);
    Outcome { wait, remaining, reset: held.last_expiry.since(now) }
}
