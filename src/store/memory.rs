//! The store within the process.
//!
//! Buckets live in up to 2048 shards, one for 4096 keys, each behind a lock of its own. A request locks the shards of all its
//! buckets in ascending order (so two requests never wait for each other in a circle), lets every bucket
//! answer, and then writes all or nothing. What it reports is therefore exact, however many threads ask.

mod counter_entry;
mod holders;
mod leases;
mod live_entries;
mod locked_shards;
mod shard;
mod shrink;
pub mod snapshot;
mod tally;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use self::holders::Holder;
use self::leases::{Leases, Reservations};
use self::locked_shards::LockedShards;
use self::shard::{Change, Shard};
use self::tally::Tally;
use super::{
    Admission, BucketState, Charge, Mode, Outcome, Outcomes, StoreError, Wait, lease_bits, settle,
};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::{Bucket, MAX_SLOTS};
use crate::policy::fingerprint::{Fingerprint, SHARDS};

/// Keys are not spread evenly: with four to a tenant, the fullest of many shards of so many has a tenth more
/// than the average, and begins to evict when the store is nine tenths full. With fewer it would be sooner.
const MIN_KEYS_PER_SHARD: usize = 4096;

/// How many leases there may be at least, whatever is said: as many as one bucket may hold. So each bucket that a
/// policy may have can be used up to its limit.
const MIN_LEASE_CAPACITY: usize = MAX_SLOTS as usize;

/// What a call waits for that finds no place for its lease. When one comes free nobody knows.
const LEASE_RETRY: Wait = Wait::For(Nanos::from_secs(1));

/// How often a call that finds no place looks beyond its own bucket for leases that have expired.
const EXPIRY_SCAN_INTERVAL: Nanos = Nanos::new(1_000_000);

/// A shard on cache lines of its own, so that two cores do not fight over one that neither needs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// Buckets in memory, bounded by a number of keys.
///
/// Token buckets and leases have a bound each, and neither goes for the other. A token bucket too many has another
/// one forgotten. A lease too many is not given out: a lease that is held is never forgotten, since the limit would
/// be passed.
///
/// ```
/// use tollgate::clock::Timestamp;
/// use tollgate::store::{Admission, MemoryStore, Outcomes};
///
/// let store = MemoryStore::new(10_000);
/// let mut outcomes = Outcomes::new();
/// // What meets no bucket is admitted and takes no room.
/// let admission = store.decide(&[], Timestamp::default(), &mut outcomes)?;
/// assert_eq!(admission, Admission::Admitted { lease: None });
/// assert!(store.is_empty());
/// # Ok::<(), tollgate::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Padded]>,
    leases: Leases,
    max_per_shard: usize,
    evicted: Tally,
    refused: Tally,
    swept: AtomicUsize,
    /// When leases that have expired may be looked for again, in nanoseconds since the Unix epoch.
    next_expiry_scan: AtomicU64,
}

/// How a store is short of room, and has been in the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Buckets were forgotten that were not full, so that more was admitted than their limits.
    pub of_buckets: bool,
    /// Calls were denied, or shadow rows not charged, because there was no place for their leases.
    pub of_leases: bool,
}

impl MemoryStore {
    /// An empty store that never keeps more than `max_keys` token buckets that are not full (at least 1), at about
    /// 40 bytes each, and as many leases in concurrency buckets (at least 10,000), at about 180.
    pub fn new(max_keys: usize) -> Self {
        let wanted = (max_keys / MIN_KEYS_PER_SHARD).clamp(1, SHARDS);
        let shards = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self {
            shards: (0..shards).map(|_| Padded::default()).collect(),
            leases: Leases::new(max_keys.max(MIN_LEASE_CAPACITY)),
            max_per_shard: (max_keys / shards).max(1),
            evicted: Tally::default(),
            refused: Tally::default(),
            swept: AtomicUsize::new(0),
            next_expiry_scan: AtomicU64::new(0),
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
        let mut reservations = Reservations::new(&self.leases);
        let mut refused = 0;
        for charge in charges {
            let (mut outcome, mut change) = shards.of(charge).decide(charge, now);
            if matches!(change, Change::Slots(..))
                && !self.reserve_lease(&mut reservations, shards.of(charge), charge, now)
            {
                (outcome, change) =
                    (out_of_lease_capacity(shards.of(charge), charge, now), Change::Nothing);
                refused += 1;
            }
            outcomes.push(outcome);
            changes.push(change);
        }
        self.refused.note(refused, now);
        let unspent = |at, charge: &Charge<'_>| {
            let change = changes.get_mut(at).map_or(Change::Nothing, std::mem::take);
            shards.of(charge).peek(charge, &change, now)
        };
        if settle(charges, outcomes, unspent) {
            return Ok(Admission::Denied);
        }
        let lease = self.commit(charges, &changes, now, &mut shards, &mut reservations)?;
        Ok(Admission::Admitted { lease })
    }

    /// Makes every change. Returns the lease under which slots are now held, if any were taken.
    fn commit(
        &self,
        charges: &[Charge<'_>],
        changes: &Changes,
        now: Timestamp,
        shards: &mut LockedShards<'_>,
        reservations: &mut Reservations<'_>,
    ) -> Result<Option<LeaseId>, StoreError> {
        let takes_slots = changes.iter().any(|change| matches!(change, Change::Slots(..)));
        let lease = if takes_slots { Some(LeaseId::from_bytes(lease_bits()?)) } else { None };
        let mut evicted = 0;
        for (charge, change) in charges.iter().zip(changes) {
            let shard = shards.of(charge);
            match (change, lease) {
                (Change::State(state, at), _) => {
                    let most = self.max_per_shard;
                    let is_live = shard.set(charge.fingerprint, *at, *state, now, most);
                    evicted += u64::from(is_live);
                }
                (Change::Slots(slots, expires), Some(lease)) => {
                    let holder = Holder { lease, slots: *slots, expires: *expires };
                    shard.add_holder(charge.fingerprint, holder, now, &self.leases);
                    reservations.commit_one();
                }
                _ => {}
            }
        }
        self.evicted.note(evicted, now);
        Ok(lease)
    }

    /// What [`Self::decide`] would say, and nothing is charged. Returns whether it would deny.
    pub fn would_deny(
        &self,
        charges: &[Charge<'_>],
        now: Timestamp,
        outcomes: &mut Outcomes,
    ) -> bool {
        outcomes.clear();
        let Some(mut shards) = self.lock(charges) else { return false };
        let mut reservations = Reservations::new(&self.leases);
        outcomes.extend(charges.iter().map(|charge| {
            let shard = shards.of(charge);
            match shard.decide(charge, now) {
                (_, Change::Slots(..)) if !self.reserve_lease(&mut reservations, shard, charge, now) => {
                    out_of_lease_capacity(shard, charge, now)
                }
                (outcome, _) => outcome,
            }
        }));
        let look = |_, charge: &Charge<'_>| shards.of(charge).peek(charge, &Change::Nothing, now);
        settle(charges, outcomes, look)
    }

    /// How one bucket stands, for a call of one hit; nothing is charged.
    pub fn peek(&self, fingerprint: Fingerprint, bucket: &Bucket, now: Timestamp) -> Outcome {
        let charge = Charge { fingerprint, bucket, hits: Hits::PEEK, mode: Mode::Enforced };
        let mut outcomes = Outcomes::new();
        self.would_deny(&[charge], now, &mut outcomes);
        let full = Outcome { wait: Wait::None, remaining: bucket.size(), reset: Nanos::ZERO };
        outcomes.first().copied().unwrap_or(full)
    }

    /// The state of a counter, if it is kept and has not lapsed.
    pub fn state(&self, fingerprint: Fingerprint, now: Timestamp) -> Option<BucketState> {
        let shard = self.shards.get(self.index(fingerprint.shard()))?.0.lock();
        Some(shard.state(fingerprint).0).filter(|state| state.lapses_at() > now)
    }

    /// Gives a counter the state that it has elsewhere.
    pub fn set_state(&self, fingerprint: Fingerprint, state: BucketState, now: Timestamp) {
        if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
            let mut shard = shard.0.lock();
            let (_, at) = shard.state(fingerprint);
            let is_live = shard.set(fingerprint, at, state, now, self.max_per_shard);
            drop(shard);
            self.evicted.note(u64::from(is_live), now);
        }
    }

    /// Frees the slots of a lease. Returns whether it still held any: a lease is released at most once,
    /// and one that has expired holds nothing.
    pub fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        let mut was_held = false;
        for fingerprint in self.leases.remove(lease) {
            if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
                was_held |= shard.0.lock().release(fingerprint, lease, now, &self.leases);
            }
        }
        was_held
    }

    /// Whether a lease holds slots in a bucket, or has until it expired since the last sweep.
    pub fn holds(&self, lease: LeaseId, fingerprint: Fingerprint) -> bool {
        self.leases.contains(lease, fingerprint)
    }

    /// Sweeps the next shard: forgets its full buckets and expired leases. Returns how many keys went.
    /// Called once a tick, so that no other thread waits longer than one shard takes.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let turn = self.swept.fetch_add(1, Ordering::Relaxed);
        self.leases.shrink(turn);
        self.of_turn(turn).map_or(0, |shard| shard.0.lock().sweep(now, &self.leases))
    }

    fn of_turn(&self, turn: usize) -> Option<&Padded> {
        self.shards.get(turn % self.shards.len().max(1))
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// How many keys there are: buckets that were not full when last touched or swept, and leases.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// How many of them are token buckets, which `max_keys` bounds by itself.
    pub fn token_bucket_count(&self) -> usize {
        let buckets = |shard: &Padded| {
            let (buckets, _) = shard.0.lock().counts();
            buckets
        };
        self.shards.iter().map(buckets).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many leases there are, those included that expired since the last sweep.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// How many buckets that were not full were forgotten because the store was at its limit. Above 0, limits
    /// were not kept: the store needs more keys.
    pub fn evicted_live(&self) -> u64 {
        self.evicted.count()
    }

    /// How many leases were not given out because there was no place for them.
    pub fn refused_leases(&self) -> u64 {
        self.refused.count()
    }

    /// What it has been short of in the last minute.
    pub fn shortage(&self, now: Timestamp) -> Shortage {
        Shortage { of_buckets: self.evicted.is_recent(now), of_leases: self.refused.is_recent(now) }
    }

    /// Takes a place for a lease in a bucket of this shard, which is locked.
    fn reserve_lease(
        &self,
        reservations: &mut Reservations<'_>,
        shard: &mut Shard,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> bool {
        reservations.reserve() || self.reserve_lease_after_expiry(reservations, shard, charge, now)
    }

    /// The same where there was none: leases may have expired that were not swept yet.
    #[cold]
    fn reserve_lease_after_expiry(
        &self,
        reservations: &mut Reservations<'_>,
        shard: &mut Shard,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> bool {
        shard.drop_expired(charge.fingerprint, now, &self.leases);
        let next = now.after(EXPIRY_SCAN_INTERVAL).as_unix_nanos();
        let is_time = |at| (at <= now.as_unix_nanos()).then_some(next);
        let (relaxed, next_expiry_scan) = (Ordering::Relaxed, &self.next_expiry_scan);
        if next_expiry_scan.fetch_update(relaxed, relaxed, is_time).is_ok() {
            shard.drop_all_expired(now, &self.leases);
            // Out of order, so that it must not wait for a lock.
            let other = self.of_turn(self.swept.fetch_add(1, Ordering::Relaxed));
            if let Some(mut other) = other.and_then(|other| other.0.try_lock()) {
                other.drop_all_expired(now, &self.leases);
            }
        }
        reservations.reserve()
    }

    /// Which of the shards here a bucket lives in, of the [`SHARDS`] that there may be.
    const fn index(&self, shard: usize) -> usize {
        // A power of two, never 0.
        shard & (self.shards.len() - 1)
    }
}

/// What a bucket says that could admit a call, had the store a place for its lease.
#[cold]
fn out_of_lease_capacity(shard: &Shard, charge: &Charge<'_>, now: Timestamp) -> Outcome {
    Outcome { wait: LEASE_RETRY, remaining: 0, ..shard.peek(charge, &Change::Nothing, now) }
}

type Changes = SmallVec<[Change; 8]>;

#[cfg(test)]
pub(crate) mod tests;
