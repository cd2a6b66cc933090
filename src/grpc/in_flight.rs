//! The calls in flight of one worker: how many wait for their body or for room for their response, and whether any
//! arrived lately.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The calls in flight of one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    has_arrived: AtomicBool,
}

impl InFlight {
    /// Returns whether a call waits, or has arrived since the last time that this was asked.
    pub(crate) fn take_activity(&self) -> bool {
        let has_arrived = self.0.has_arrived.swap(false, Ordering::AcqRel);
        has_arrived || self.0.waiting.load(Ordering::Acquire) > 0
    }

    /// Records that a call has arrived. Most calls are answered at once and never wait.
    pub(super) fn record_arrival(&self) {
        self.0.has_arrived.store(true, Ordering::Release);
    }

    /// The number of calls that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    /// Counts a call as waiting until the guard is dropped.
    pub(super) fn begin(&self) -> InFlightGuard {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        InFlightGuard(self.clone())
    }
}

/// A call that waits until this is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard(InFlight);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let Self(InFlight(calls)) = self;
        calls.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_active_while_a_call_waits_and_once_after_one_arrived() {
        let calls = InFlight::default();
        assert!(!calls.take_activity());
        calls.record_arrival();
        assert!(calls.take_activity());
        assert!(!calls.take_activity());
        let waiting = calls.begin();
        assert!(calls.take_activity());
        drop(waiting);
        assert!(!calls.take_activity());
    }
}
