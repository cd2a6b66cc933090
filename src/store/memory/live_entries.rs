//! The entries of a shard, copied for a snapshot.

use super::counter_entry::CounterEntry;
use super::holders::Holder;
use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;

/// The live entries of a shard: counters that have not lapsed, and leases that have not expired.
#[derive(Debug, Default)]
pub(super) struct LiveEntries {
    pub(super) counters: Vec<CounterEntry>,
    pub(super) leases: Vec<(Fingerprint, Holder)>,
}

impl LiveEntries {
    /// Removes all entries, and allocates memory for this many. The memory is written to here, so that no page fault
    /// happens while the shard is locked.
    pub(super) fn reset(&mut self, counters: usize, leases: usize) {
        reset(&mut self.counters, counters, CounterEntry::default());
        let holder =
            Holder { lease: LeaseId::from_bytes([0; 16]), slots: 0, expires: Timestamp::default() };
        reset(&mut self.leases, leases, (Fingerprint::from_bytes([0; 16]), holder));
    }

    pub(super) fn len(&self) -> usize {
        self.counters.len() + self.leases.len()
    }
}

fn reset<T: Clone>(list: &mut Vec<T>, capacity: usize, filling: T) {
    if list.capacity() < capacity {
        // An eighth more, since the shard may grow until it is copied.
        list.resize(capacity + capacity / 8, filling);
    }
    list.clear();
}
