//! The entries of a shard, copied for a snapshot.

use super::counter_entry::CounterEntry;
use super::holders::Holder;
use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;

/// The live keys of a shard: its buckets that are not full, and its leases that have not expired.
#[derive(Debug, Default)]
pub(super) struct LiveEntries {
    pub(super) counters: Vec<CounterEntry>,
    pub(super) leases: Vec<(Fingerprint, Holder)>,
}

impl LiveEntries {
    /// Forgets what is there, and has memory for so many counters and leases and a few more. It is touched
    /// here, so that the system need not find it while the shard is locked.
    pub(super) fn make_room(&mut self, counters: usize, leases: usize) {
        refill(&mut self.counters, counters, CounterEntry::default());
        let nobody =
            Holder { lease: LeaseId::from_bytes([0; 16]), slots: 0, expires: Timestamp::default() };
        refill(&mut self.leases, leases, (Fingerprint::from_bytes([0; 16]), nobody));
    }

    pub(super) fn len(&self) -> usize {
        self.counters.len() + self.leases.len()
    }
}

fn refill<T: Clone>(list: &mut Vec<T>, room: usize, filling: T) {
    if list.capacity() < room {
        list.resize(room + room / 8, filling);
    }
    list.clear();
}
