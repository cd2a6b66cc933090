//! The store within the process.
//!
//! Buckets live in up to 2048 shards, one for 4096 keys, each behind a lock of its own. A request locks the shards of all its
//! buckets in ascending order (so two requests never wait for each other in a circle), lets every bucket
//! answer, and then writes all or nothing. What it reports is therefore exact, however many threads ask.

mod holders;
mod leases;
mod shard;
pub mod snapshot;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use self::holders::Holder;
use self::leases::Leases;
use self::shard::{Cell, Change, Keys, Room, Shard};
use super::{Admission, Charge, Force, Outcome, Outcomes, StoreError, Wait, lease_bits, settle};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::Bucket;
use crate::policy::fingerprint::{Fingerprint, SHARDS};

/// Keys are not spread evenly: with four to a tenant, the fullest of many shards of so many has a tenth more
/// than the average, and begins to evict when the store is nine tenths full. With fewer it would be sooner.
const FEWEST_KEYS_OF_A_SHARD: usize = 4096;

/// A shard on cache lines of its own, so that two cores do not fight over one that neither needs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// Buckets in memory, bounded by a number of keys.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Padded]>,
    leases: Leases,
    most_keys_of_a_shard: usize,
    evicted_live: AtomicU64,
    swept: AtomicUsize,
}

impl MemoryStore {
    /// An empty store that never keeps more than `most_keys` keys (at least 1). A key is a bucket that is
    /// not full, at about 40 bytes, or a lease in a bucket, at about 180.
    pub fn new(most_keys: usize) -> Self {
        let wanted = (most_keys / FEWEST_KEYS_OF_A_SHARD).clamp(1, SHARDS);
        let shards = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self {
            shards: (0..shards).map(|_| Padded::default()).collect(),
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
        outcomes.clear();
        let Some(mut shards) = self.lock(charges) else {
            return Ok(Admission::Admitted { lease: None });
        };
        let mut changes = Changes::with_capacity(charges.len());
        for charge in charges {
            let (outcome, change) = shards.of(charge).decide(charge, now);
            outcomes.push(outcome);
            changes.push(change);
        }
        let spare = |at, charge: &Charge<'_>| {
            let change = changes.get_mut(at).map_or(Change::Nothing, std::mem::take);
            shards.of(charge).look(charge, &change, now)
        };
        if settle(charges, outcomes, spare) {
            return Ok(Admission::Denied);
        }
        Ok(Admission::Admitted { lease: self.commit(charges, &changes, now, &mut shards)? })
    }

    /// Makes every change. Returns the lease under which slots are now held, if any were taken.
    fn commit(
        &self,
        charges: &[Charge<'_>],
        changes: &Changes,
        now: Timestamp,
        shards: &mut Locked<'_>,
    ) -> Result<Option<LeaseId>, StoreError> {
        let takes_slots = changes.iter().any(|change| matches!(change, Change::Slots(..)));
        let lease = if takes_slots { Some(LeaseId::from_bytes(lease_bits()?)) } else { None };
        let room = self.room();
        let mut evicted_live = 0;
        for (charge, change) in charges.iter().zip(changes) {
            let shard = shards.of(charge);
            let evicted = match (change, lease) {
                (Change::FullAt(full_at, at), _) => {
                    shard.set(charge.fingerprint, *at, *full_at, now, &room)
                }
                (Change::Slots(slots, expires), Some(lease)) => {
                    let holder = Holder { lease, slots: *slots, expires: *expires };
                    shard.hold(charge.fingerprint, holder, now, &room)
                }
                _ => false,
            };
            evicted_live += u64::from(evicted);
        }
        if evicted_live > 0 {
            self.evicted_live.fetch_add(evicted_live, Ordering::Relaxed);
        }
        Ok(lease)
    }

    /// What [`Self::decide`] would say, and nothing is charged. Returns whether it would deny.
    pub fn foresee(&self, charges: &[Charge<'_>], now: Timestamp, outcomes: &mut Outcomes) -> bool {
        outcomes.clear();
        let Some(mut shards) = self.lock(charges) else { return false };
        outcomes.extend(charges.iter().map(|charge| shards.of(charge).decide(charge, now).0));
        let look = |_, charge: &Charge<'_>| shards.of(charge).look(charge, &Change::Nothing, now);
        settle(charges, outcomes, look)
    }

    /// How one bucket stands, for a call of one hit; nothing is charged.
    pub fn look(&self, fingerprint: Fingerprint, bucket: &Bucket, now: Timestamp) -> Outcome {
        let charge = Charge { fingerprint, bucket, hits: Hits::LOOK, force: Force::Enforced };
        let mut outcomes = Outcomes::new();
        self.foresee(&[charge], now, &mut outcomes);
        let full = Outcome { wait: Wait::No, remaining: bucket.size(), reset: Nanos::ZERO };
        outcomes.first().copied().unwrap_or(full)
    }

    /// When a token bucket is full again, where this is known and still to come.
    pub fn full_at(&self, fingerprint: Fingerprint, now: Timestamp) -> Option<Timestamp> {
        let shard = self.shards.get(self.index(fingerprint.shard()))?.0.lock();
        Some(shard.full_at(fingerprint).0).filter(|full_at| *full_at > now)
    }

    /// Notes when a token bucket is full again, as somebody else has decided.
    pub fn note(&self, fingerprint: Fingerprint, full_at: Timestamp, now: Timestamp) {
        let room = Room { most_keys: self.most_keys_of_a_shard, leases: &self.leases };
        if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
            let mut shard = shard.0.lock();
            let (_, at) = shard.full_at(fingerprint);
            if shard.set(fingerprint, at, full_at, now, &room) {
                drop(shard);
                self.evicted_live.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Frees the slots of a lease. Returns whether it still held any: a lease is released at most once,
    /// and one that has expired holds nothing.
    pub fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        let mut was_held = false;
        for fingerprint in self.leases.take(lease) {
            if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
                was_held |= shard.0.lock().release(fingerprint, lease, now);
            }
        }
        was_held
    }

    /// Whether a lease holds slots in a bucket, or has until it expired since the last sweep.
    pub fn holds(&self, lease: LeaseId, fingerprint: Fingerprint) -> bool {
        self.leases.has(lease, fingerprint)
    }

    /// Sweeps the next shard: forgets its full buckets and expired leases. Returns how many keys went.
    /// Called once a tick, so that no other thread waits longer than one shard takes.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let turn = self.swept.fetch_add(1, Ordering::Relaxed);
        self.leases.shrink(turn);
        let next = turn % self.shards.len().max(1);
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

    /// Copies the live keys of one shard in place of those in `into`; it is locked for no longer than that.
    fn copy_live(&self, shard: &Padded, now: Timestamp, into: &mut Keys) {
        let (cells, held) = shard.0.lock().counts();
        into.make_room(cells, held);
        shard.0.lock().copy_live(now, into);
    }

    /// Puts back a bucket that was copied from another store, unless it has become full.
    fn restore_cell(&self, cell: Cell, now: Timestamp) {
        let shard = self.shards.get(self.index(cell.name().shard()));
        let evicted = shard.is_some_and(|shard| shard.0.lock().insert(cell, now, &self.room()));
        self.evicted_live.fetch_add(u64::from(evicted), Ordering::Relaxed);
    }

    /// Puts back a lease that was copied from another store, in one of its buckets, unless it has expired.
    fn restore_holder(&self, fingerprint: Fingerprint, holder: Holder, now: Timestamp) {
        if holder.expires <= now {
            return;
        }
        let shard = self.shards.get(self.index(fingerprint.shard()));
        let evicted =
            shard.is_some_and(|shard| shard.0.lock().hold(fingerprint, holder, now, &self.room()));
        self.evicted_live.fetch_add(u64::from(evicted), Ordering::Relaxed);
    }

    const fn room(&self) -> Room<'_> {
        Room { most_keys: self.most_keys_of_a_shard, leases: &self.leases }
    }

    /// Which of the shards here a bucket lives in, of the [`SHARDS`] that there may be.
    const fn index(&self, shard: usize) -> usize {
        // A power of two, never 0.
        shard & (self.shards.len() - 1)
    }

    /// Locks the shards of all charges; there is at least one.
    fn lock(&self, charges: &[Charge<'_>]) -> Option<Locked<'_>> {
        let mut indexes = charges.iter().map(|charge| self.index(charge.fingerprint.shard()));
        let first = indexes.next()?;
        if indexes.all(|index| index == first) {
            return Some(Locked {
                store: self,
                first: self.lock_one(first)?,
                others: SmallVec::new(),
            });
        }
        let mut indexes: SmallVec<[usize; 8]> =
            charges.iter().map(|charge| self.index(charge.fingerprint.shard())).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut guards = indexes.into_iter().filter_map(|index| self.lock_one(index));
        Some(Locked { store: self, first: guards.next()?, others: guards.collect() })
    }

    fn lock_one(&self, index: usize) -> Option<(usize, MutexGuard<'_, Shard>)> {
        Some((index, self.shards.get(index)?.0.lock()))
    }
}

type Changes = SmallVec<[Change; 8]>;

/// The locked shards of one request, in ascending order. Nearly always one: buckets named by the same
/// values share it.
struct Locked<'a> {
    store: &'a MemoryStore,
    first: (usize, MutexGuard<'a, Shard>),
    others: SmallVec<[(usize, MutexGuard<'a, Shard>); 1]>,
}

impl Locked<'_> {
    /// The shard of a charge's bucket. It is locked: `lock` was given the same charges.
    fn of(&mut self, charge: &Charge<'_>) -> &mut Shard {
        let index = self.store.index(charge.fingerprint.shard());
        let other = self.others.binary_search_by_key(&index, |(other, _)| *other);
        let other = other.ok().and_then(|at| self.others.get_mut(at));
        let (_, shard) = other.unwrap_or(&mut self.first);
        shard
    }
}

#[cfg(test)]
pub(crate) mod tests;
