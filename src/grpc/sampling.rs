//! Sampling of the calls whose duration is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One call in this many is measured: a prime, so that of calls that come in groups it is not always the same one.
const SAMPLE_INTERVAL: u32 = 61;

/// Counts the calls of one worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Sampler(Arc<AtomicU32>);

impl Sampler {
    /// Counts a call. Returns whether its duration is to be measured.
    pub(super) fn sample(&self) -> bool {
        // A load and a store suffice: only this worker's thread counts here.
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
        count.is_multiple_of(SAMPLE_INTERVAL)
    }
}
