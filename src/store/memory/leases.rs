//! The index from a lease to its buckets, so that the id alone releases it.

use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::shrink::is_sparse;
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;
use crate::striped::Striped;

/// The buckets in which a lease holds slots; nearly always one.
pub(super) type Buckets = SmallVec<[Fingerprint; 1]>;

type Stripe = HashMap<LeaseId, Buckets, BuildHasherDefault<RandomBits>>;

/// Every lease with its buckets. Lock order: a shard before a stripe, never the reverse.
#[derive(Debug)]
pub(super) struct Leases {
    stripes: Striped<Stripe>,
    /// How many leases there may be. A lease counts once in each bucket in which it holds slots.
    capacity: usize,
    /// How much of the capacity is in use: by leases, including those that expired since the last sweep, and by
    /// reservations of calls that are being decided.
    reserved: AtomicUsize,
}

impl Leases {
    /// `capacity` is for all shards together, since one bucket keeps all its leases in one shard.
    pub(super) fn new(capacity: usize) -> Self {
        Self { stripes: Striped::default(), capacity, reserved: AtomicUsize::new(0) }
    }

    /// Reserves capacity for one lease. Returns whether there was some.
    fn reserve(&self) -> bool {
        let next = |reserved| (reserved < self.capacity).then_some(reserved + 1);
        self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Reserves capacity for a lease that must be kept. Above the capacity, [`Self::reserve`] fails until enough
    /// leases are gone.
    pub(super) fn reserve_over_capacity(&self) {
        self.reserved.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the capacity of `count` leases that are gone from their buckets.
    pub(super) fn free(&self, count: usize) {
        self.reserved.fetch_sub(count, Ordering::Relaxed);
    }

    fn stripe(&self, lease: LeaseId) -> &Mutex<Stripe> {
        self.stripes.of(lease.hash64() >> 56)
    }

    pub(super) fn add(&self, lease: LeaseId, fingerprint: Fingerprint) {
        self.stripe(lease).lock().entry(lease).or_default().push(fingerprint);
    }

    /// Removes a lease. Returns its buckets; none if it is not there.
    pub(super) fn remove(&self, lease: LeaseId) -> Buckets {
        self.stripe(lease).lock().remove(&lease).unwrap_or_default()
    }

    /// Whether a lease holds slots in a bucket, or held some until it expired after the last sweep.
    pub(super) fn contains(&self, lease: LeaseId, fingerprint: Fingerprint) -> bool {
        let stripe = self.stripe(lease).lock();
        stripe.get(&lease).is_some_and(|held| held.contains(&fingerprint))
    }

    /// Removes one bucket from a lease, and the lease with its last bucket.
    pub(super) fn remove_bucket(&self, lease: LeaseId, fingerprint: Fingerprint) {
        let mut stripe = self.stripe(lease).lock();
        if let Some(held) = stripe.get_mut(&lease) {
            held.retain(|other| *other != fingerprint);
            if held.is_empty() {
                stripe.remove(&lease);
            }
        }
    }

    /// Returns the memory of leases that are gone, in one stripe; `number` may be any.
    pub(super) fn shrink(&self, number: usize) {
        let mut stripe = self.stripes.at(number).lock();
        let len = stripe.len();
        if is_sparse(len, stripe.capacity()) {
            stripe.shrink_to(len * 2);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }
}

/// The capacity that a call has reserved for leases. What it does not commit is returned on drop.
pub(super) struct Reservations<'a> {
    leases: &'a Leases,
    unused: usize,
}

impl<'a> Reservations<'a> {
    pub(super) const fn new(leases: &'a Leases) -> Self {
        Self { leases, unused: 0 }
    }

    /// Reserves capacity for one more lease. Returns whether there was some.
    pub(super) fn reserve(&mut self) -> bool {
        let is_reserved = self.leases.reserve();
        self.unused += usize::from(is_reserved);
        is_reserved
    }

    /// Leaves one reservation to a lease that now exists.
    pub(super) const fn commit_one(&mut self) {
        self.unused = self.unused.saturating_sub(1);
    }
}

impl Drop for Reservations<'_> {
    fn drop(&mut self) {
        if self.unused > 0 {
            self.leases.free(self.unused);
        }
    }
}

/// A hasher for leases: their bits are random, so that XOR of the words is a hash.
#[derive(Default)]
pub(super) struct RandomBits(u64);

impl Hasher for RandomBits {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_usize(&mut self, _length_of_the_array: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
