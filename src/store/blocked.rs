//! What lets nothing pass. It has no state: every store decides it the same, without a key.

use super::{Outcome, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::Blocked;

/// Denies a charge, and a look, since nothing is left. Hits given back have nowhere to go and deny nobody.
pub fn decide(blocked: &Blocked, now: Timestamp, hits: Hits) -> Outcome {
    if hits.given_back() > 0 {
        return peek(blocked, now);
    }
    let wait = blocked.until.map_or(Wait::Never, |until| Wait::For(until.since(now)));
    Outcome { wait, ..peek(blocked, now) }
}

/// As it stands, for a call that takes nothing.
pub fn peek(blocked: &Blocked, now: Timestamp) -> Outcome {
    let reset = blocked.until.map_or(Nanos::ZERO, |until| until.since(now));
    Outcome { wait: Wait::None, remaining: 0, reset }
}
