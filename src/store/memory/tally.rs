//! Counts of events that should not happen, and the time of the last one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Nanos, Timestamp};

/// How long an event counts as recent.
const RECENT: Nanos = Nanos::from_secs(60);

/// How often an event has happened, and when last.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: AtomicU64,
    last: AtomicU64,
}

impl Tally {
    /// Adds `count` events; 0 changes nothing.
    pub(super) fn record(&self, count: u64, now: Timestamp) {
        if count > 0 {
            self.count.fetch_add(count, Ordering::Relaxed);
            self.last.store(now.as_unix_nanos(), Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether an event has happened in the last minute.
    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        let last = Timestamp::from_unix_nanos(self.last.load(Ordering::Relaxed));
        self.count() > 0 && now.since(last) < RECENT
    }
}
