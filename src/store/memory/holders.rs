//! Who holds the slots of one concurrency bucket.

use smallvec::SmallVec;

use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::store::slots::Occupancy;

/// Slots held under one lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) lease: LeaseId,
    pub(super) slots: u32,
    pub(super) expires: Timestamp,
}

/// The holders of one bucket, ordered by expiry. Expired ones may still be there and do not count.
#[derive(Debug, Default)]
pub(super) struct Holders(SmallVec<[Holder; 2]>);

impl Holders {
    /// Those whose time is not over.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = &Holder> {
        self.0.iter().skip_while(move |holder| holder.expires <= now)
    }

    pub(super) fn held(&self, now: Timestamp) -> Occupancy {
        Occupancy {
            slots: self.live(now).map(|holder| u64::from(holder.slots)).sum(),
            last_expiry: self.0.last().map_or(Timestamp::default(), |last| last.expires),
        }
    }

    /// When so many leases will have expired that `slots` are free again, should nobody release.
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

    /// Takes a lease out; `None` where it holds nothing here.
    pub(super) fn remove(&mut self, lease: LeaseId) -> Option<Holder> {
        let at = self.0.iter().position(|holder| holder.lease == lease)?;
        Some(self.0.remove(at))
    }

    /// Takes out everyone whose time is over.
    pub(super) fn remove_expired(&mut self, now: Timestamp) -> SmallVec<[Holder; 2]> {
        let expired = self.0.partition_point(|holder| holder.expires <= now);
        self.0.drain(..expired).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
