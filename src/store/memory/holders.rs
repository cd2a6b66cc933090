//! The leases of one concurrency bucket.

use smallvec::SmallVec;

use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::store::slots::Occupancy;

/// The slots that one lease holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) lease: LeaseId,
    pub(super) slots: u32,
    pub(super) expires: Timestamp,
}

/// The holders of one bucket, ordered by expiry. Expired ones may still be in the list and do not count.
#[derive(Debug, Default)]
pub(super) struct Holders(SmallVec<[Holder; 2]>);

impl Holders {
    /// The holders that have not expired.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = &Holder> {
        self.0.iter().skip_while(move |holder| holder.expires <= now)
    }

    pub(super) fn occupancy(&self, now: Timestamp) -> Occupancy {
        Occupancy {
            slots: self.live(now).map(|holder| u64::from(holder.slots)).sum(),
            last_expiry: self.0.last().map_or(Timestamp::default(), |last| last.expires),
        }
    }

    /// The time until `slots` more slots are free by expiry alone; zero if fewer are held.
    pub(super) fn time_until_freed(&self, now: Timestamp, slots: u64) -> Nanos {
        let mut freed = 0;
        let last = self.live(now).find(|holder| {
            freed += u64::from(holder.slots);
            freed >= slots
        });
        last.map_or(Nanos::ZERO, |holder| holder.expires.since(now))
    }

    pub(super) fn add(&mut self, holder: Holder) {
        let at = self.0.partition_point(|other| other.expires <= holder.expires);
        self.0.insert(at, holder);
    }

    /// Removes a lease; `None` if it holds nothing here.
    pub(super) fn remove(&mut self, lease: LeaseId) -> Option<Holder> {
        let at = self.0.iter().position(|holder| holder.lease == lease)?;
        Some(self.0.remove(at))
    }

    /// Removes all holders that have expired.
    pub(super) fn remove_expired(&mut self, now: Timestamp) -> SmallVec<[Holder; 2]> {
        let expired = self.0.partition_point(|holder| holder.expires <= now);
        self.0.drain(..expired).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
