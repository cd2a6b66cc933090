//! What is not to happen, as often as it did, and when last.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Nanos, Timestamp};

/// For how long it is told that something has happened.
const LATELY: Nanos = Nanos::from_secs(60);

/// How often something has happened, and when last.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: AtomicU64,
    last: AtomicU64,
}

impl Tally {
    /// Notes that it has happened so many times, of which none is none.
    pub(super) fn note(&self, count: u64, now: Timestamp) {
        if count > 0 {
            self.count.fetch_add(count, Ordering::Relaxed);
            self.last.store(now.as_unix_nanos(), Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it has happened in the last minute.
    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        let last = Timestamp::from_unix_nanos(self.last.load(Ordering::Relaxed));
        self.count() > 0 && now.since(last) < LATELY
    }
}
