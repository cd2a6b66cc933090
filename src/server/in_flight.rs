//! Whether a worker is at work: how many calls wait for their body or for room for their answer, and whether
//! any came at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The calls of one worker.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    has_come: AtomicBool,
}

impl InFlight {
    /// Whether no call waits, and none has come since this was last asked.
    pub(super) fn is_quiet(&self) -> bool {
        let has_come = self.0.has_come.swap(false, Ordering::AcqRel);
        !has_come && self.0.waiting.load(Ordering::Acquire) == 0
    }

    /// A call has come. Most are answered at once.
    pub(super) fn note(&self) {
        self.0.has_come.store(true, Ordering::Release);
    }

    /// How many calls wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    /// A call waits.
    pub(super) fn begin(&self) -> Counted {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }
}

/// One that waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        let Self(InFlight(calls)) = self;
        calls.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_when_nothing_waits_and_nothing_has_come_for_a_while() {
        let calls = InFlight::default();
        assert!(calls.is_quiet());
        calls.note();
        assert!(!calls.is_quiet());
        assert!(calls.is_quiet());
        let waiting = calls.begin();
        assert!(!calls.is_quiet());
        drop(waiting);
        assert!(calls.is_quiet());
    }
}
