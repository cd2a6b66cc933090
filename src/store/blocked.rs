//! A blocked bucket, which admits nothing. It has no state, so that every store decides it alike, without a key.

use super::{Outcome, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::Blocked;

/// Denies a charge and a peek at `now` of the wall clock. Hits given back are ignored, and not denied.
pub fn decide(blocked: &Blocked, now: Timestamp, hits: Hits) -> Outcome {
    if hits.given_back() > 0 {
        return peek(blocked, now);
    }
    let wait = blocked.until.map_or(Wait::NEVER, |until| Wait::of(until.since(now)));
    Outcome { wait, ..peek(blocked, now) }
}

/// The outcome for a call that charges nothing.
pub fn peek(blocked: &Blocked, now: Timestamp) -> Outcome {
    let reset = blocked.until.map_or(Nanos::ZERO, |until| until.since(now));
    Outcome { wait: Wait::NONE, remaining: 0, uncharged: 0, before: 0, reset }
}
