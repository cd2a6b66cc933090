//! Which calls are timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One call in so many is timed: a prime, so that it is not always the same of those that come together.
const EVERY: u32 = 61;

/// The calls of one worker, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Timing(Arc<AtomicU32>);

impl Timing {
    /// Whether the call that has come now is to be timed.
    pub(super) fn is_due(&self) -> bool {
        // No other thread counts here.
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
        count.is_multiple_of(EVERY)
    }
}
