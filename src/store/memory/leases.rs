//! Which buckets a lease holds slots in, so that its id alone is enough to release it.

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

/// The names of the buckets that a lease holds slots in; nearly always one.
pub(super) type Buckets = SmallVec<[Fingerprint; 1]>;

type Stripe = HashMap<LeaseId, Buckets, BuildHasherDefault<RandomBits>>;

/// Every lease with what it holds. A shard's lock may be held when a stripe's is taken, never the reverse.
#[derive(Debug)]
pub(super) struct Leases {
    stripes: Striped<Stripe>,
    /// How many places there are. A lease takes one in each bucket that it holds slots in.
    places: usize,
    /// How many of them are taken: by leases, those included that expired since the last sweep, and by calls that
    /// are about to take leases.
    taken: AtomicUsize,
}

impl Leases {
    /// With so many places for all shards together, since a bucket keeps all its leases in one.
    pub(super) fn new(places: usize) -> Self {
        Self { stripes: Striped::default(), places, taken: AtomicUsize::new(0) }
    }

    /// Takes a place, where one is free.
    fn take_place(&self) -> bool {
        let next = |taken| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Takes a place, be one free or not: what is held is not forgotten for it, and nobody else finds a place until
    /// there are fewer.
    pub(super) fn take_place_beyond(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives back places whose leases are gone from their buckets.
    pub(super) fn free(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }

    fn stripe(&self, lease: LeaseId) -> &Mutex<Stripe> {
        self.stripes.of(lease.hash64() >> 56)
    }

    pub(super) fn add(&self, lease: LeaseId, fingerprint: Fingerprint) {
        self.stripe(lease).lock().entry(lease).or_default().push(fingerprint);
    }

    /// Takes a lease out with all it holds; the second time there is nothing.
    pub(super) fn take(&self, lease: LeaseId) -> Buckets {
        self.stripe(lease).lock().remove(&lease).unwrap_or_default()
    }

    /// Whether a lease may hold slots in a bucket.
    pub(super) fn has(&self, lease: LeaseId, fingerprint: Fingerprint) -> bool {
        let stripe = self.stripe(lease).lock();
        stripe.get(&lease).is_some_and(|held| held.contains(&fingerprint))
    }

    /// Notes that a lease no longer holds slots in one bucket.
    pub(super) fn forget(&self, lease: LeaseId, fingerprint: Fingerprint) {
        let mut stripe = self.stripe(lease).lock();
        if let Some(held) = stripe.get_mut(&lease) {
            held.retain(|other| *other != fingerprint);
            if held.is_empty() {
                stripe.remove(&lease);
            }
        }
    }

    /// Gives back the memory of leases that are gone, in the stripe of this number.
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

/// The places that a call has taken for leases. Those that it does not use go back.
pub(super) struct Places<'a> {
    leases: &'a Leases,
    unused: usize,
}

impl<'a> Places<'a> {
    pub(super) const fn none(leases: &'a Leases) -> Self {
        Self { leases, unused: 0 }
    }

    /// Takes one more, where one is free.
    pub(super) fn take(&mut self) -> bool {
        let is_taken = self.leases.take_place();
        self.unused += usize::from(is_taken);
        is_taken
    }

    /// One belongs to a lease from now on.
    pub(super) const fn use_one(&mut self) {
        self.unused = self.unused.saturating_sub(1);
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        if self.unused > 0 {
            self.leases.free(self.unused);
        }
    }
}

/// A lease is 128 random bits: its first word is as good a hash as any.
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
