//! How many calls wait for their body or for room for their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many such calls one worker has.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Whether there are none.
    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    pub(super) fn begin(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        let Self(InFlight(count)) = self;
        count.fetch_sub(1, Ordering::AcqRel);
    }
}
