//! The store within the process.
//!
//! Buckets live in 256 shards, each behind a lock of its own. A request locks the shards of all its
//! buckets in ascending order (so two requests never wait for each other in a circle), lets every bucket
//! answer, and then writes all or nothing. What it reports is therefore exact, however many threads ask.

mod holders;
mod leases;
mod shard;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use self::holders::Holder;
use self::leases::Leases;
use self::shard::{Change, Room, Shard};
use super::{Admission, Charge, Outcomes, StoreError, Wait};
use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::limit::Bucket;
use crate::policy::fingerprint::{Fingerprint, SHARDS};

/// With fewer keys than this a shard's sample is all of it, and evictions are no longer fair.
const FEWEST_KEYS_OF_A_SHARD: usize = 64;

/// A shard on cache lines of its own, so that two cores do not fight over one that neither needs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(Mutex<Shard>);

/// Buckets in memory, bounded by a number of keys.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Slot]>,
    leases: Leases,
    most_keys_of_a_shard: usize,
    evicted_live: AtomicU64,
    swept: AtomicUsize,
}

impl MemoryStore {
    /// An empty store that never keeps more than `most_keys` keys (at least 1). A key is a bucket that is
    /// not full, or a lease; it takes about 50 bytes.
    pub fn new(most_keys: usize) -> Self {
        let wanted = (most_keys / FEWEST_KEYS_OF_A_SHARD).clamp(1, SHARDS);
        let shards = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self {
            shards: (0..shards).map(|_| Slot::default()).collect(),
            leases: Leases::default(),
            most_keys_of_a_shard: (most_keys / shards).max(1),
            evicted_live: AtomicU64::new(0),
            swept: AtomicUsize::new(0),
        }
    }

    /// Decides all charges at once: all are made, or none. `outcomes` gets one entry for each.
    ///
    /// # Errors
    /// [`StoreError::Entropy`] where a lease is due and cannot be named; nothing is charged then.
    pub fn decide(
        &self,
        charges: &[Charge<'_>],
        now: Timestamp,
        outcomes: &mut Outcomes,
    ) -> Result<Admission, StoreError> {
        let name = if charges.iter().any(takes_slots) { Some(new_lease()?) } else { None };
        let mut changes: SmallVec<[Change; 8]> = SmallVec::with_capacity(charges.len());
        let mut shards = self.lock(charges);
        outcomes.clear();
        let mut is_denied = false;
        for charge in charges {
            let Some(shard) = shards.of(charge) else { continue };
            let (outcome, change) = shard.decide(charge, now);
            is_denied |= charge.enforced && outcome.wait != Wait::No;
            outcomes.push(outcome);
            changes.push(change);
        }
        if is_denied {
            for (charge, outcome) in charges.iter().zip(outcomes) {
                if outcome.wait == Wait::No
                    && let Some(shard) = shards.of(charge)
                {
                    *outcome = super::Outcome { wait: Wait::No, ..shard.look(charge, now) };
                }
            }
            return Ok(Admission::Denied);
        }
        let room = Room { most_keys: self.most_keys_of_a_shard, leases: &self.leases };
        let mut lease = None;
        let mut evicted_live = 0;
        for (charge, change) in charges.iter().zip(&changes) {
            let Some(shard) = shards.of(charge) else { continue };
            let evicted = match (change, charge.bucket, name) {
                (Change::FullAt(full_at), ..) => {
                    shard.set(charge.fingerprint, *full_at, now, &room)
                }
                (Change::Slots(slots), Bucket::Concurrency(bucket), Some(name)) => {
                    lease = Some(name);
                    let expires = now.after(bucket.hold());
                    let holder = Holder { lease: name, slots: *slots, expires };
                    shard.hold(charge.fingerprint, holder, now, &room)
                }
                _ => false,
            };
            evicted_live += u64::from(evicted);
        }
        if evicted_live > 0 {
            self.evicted_live.fetch_add(evicted_live, Ordering::Relaxed);
        }
        Ok(Admission::Admitted { lease })
    }

    /// Frees the slots of a lease. Returns whether it still held any: a lease is released at most once,
    /// and one that has expired holds nothing.
    pub fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        let mut was_held = false;
        for fingerprint in self.leases.take(lease) {
            if let Some(shard) = self.shards.get(self.index(fingerprint)) {
                was_held |= shard.0.lock().release(fingerprint, lease, now);
            }
        }
        was_held
    }

    /// Sweeps the next shard: forgets its full buckets and expired leases. Returns how many keys went.
    /// Called once a tick, so that no other thread waits longer than one shard takes.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let next = self.swept.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1);
        self.shards.get(next).map_or(0, |shard| shard.0.lock().sweep(now, &self.leases))
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// How many keys there are: buckets that were not full when last touched or swept, and leases.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many leases there are, those included that expired since the last sweep.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// How many buckets that were not full, and leases that had not expired, were forgotten because the
    /// store was at its limit. Above 0, limits were not kept: the store needs more keys.
    pub fn evicted_live(&self) -> u64 {
        self.evicted_live.load(Ordering::Relaxed)
    }

    fn index(&self, fingerprint: Fingerprint) -> usize {
        // A power of two, never 0.
        fingerprint.shard() & (self.shards.len() - 1)
    }

    fn lock(&self, charges: &[Charge<'_>]) -> Locked<'_> {
        let mut indexes: SmallVec<[usize; 8]> =
            charges.iter().map(|charge| self.index(charge.fingerprint)).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let guards = indexes
            .into_iter()
            .filter_map(|index| Some((index, self.shards.get(index)?.0.lock())))
            .collect();
        Locked { store: self, guards }
    }
}

/// The locked shards of one request. Nearly always one: buckets named by the same values share it.
struct Locked<'a> {
    store: &'a MemoryStore,
    guards: SmallVec<[(usize, MutexGuard<'a, Shard>); 2]>,
}

impl Locked<'_> {
    fn of(&mut self, charge: &Charge<'_>) -> Option<&mut Shard> {
        let index = self.store.index(charge.fingerprint);
        self.guards.iter_mut().find(|(at, _)| *at == index).map(|(_, shard)| &mut **shard)
    }
}

fn takes_slots(charge: &Charge<'_>) -> bool {
    matches!(charge.bucket, Bucket::Concurrency(_)) && charge.hits.charged() > 0
}

fn new_lease() -> Result<LeaseId, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(LeaseId::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
