//! The store in the memory of the process.
//!
//! Buckets are spread over one shard for every 4096 keys, at most 2048, each with a lock. A request locks the shards of
//! all its buckets in ascending order (so that two requests cannot deadlock), asks every bucket, and then changes all
//! or none. Its outcomes are therefore exact under any number of threads.

mod counter_entry;
mod holders;
mod leases;
mod live_entries;
mod locked_shards;
mod shard;
mod shrink;
pub mod snapshot;
mod tally;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use self::holders::Holder;
use self::leases::{Leases, Reservations};
use self::locked_shards::LockedShards;
use self::shard::{Answer, Change, Shard};
use self::tally::Tally;
use super::{
    Admission, BucketState, Charge, Mode, Outcome, Outcomes, StoreError, Wait, are_in_order,
    lease_bits, settle, window,
};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::{Bucket, Counting, LimitChanges, MAX_SLOTS, OwedStates};
use crate::policy::fingerprint::{Fingerprint, SHARDS};

/// Keys are not spread evenly. With four keys to a tenant, the fullest of many shards of this size holds a tenth more
/// than the average, so that it evicts when the store is nine tenths full. Smaller shards would evict sooner.
const MIN_KEYS_PER_SHARD: usize = 4096;

/// As [`MIN_KEYS_PER_SHARD`], for one thread. A shard is swept in a fraction of a millisecond.
const KEYS_PER_SHARD_OF_ONE_THREAD: usize = 1 << 18;

/// The least lease capacity, whatever `max_keys` is: as many as one bucket may hold, so that every bucket can be used
/// up to its limit.
const MIN_LEASE_CAPACITY: usize = MAX_SLOTS as usize;

/// The wait reported to a call that finds no lease capacity. It is a guess: a lease may be released at any time.
const LEASE_RETRY: Wait = Wait::of(Nanos::from_secs(1));

/// The least time between two scans for expired leases, beyond its own bucket, by calls that find no lease capacity.
const EXPIRY_SCAN_INTERVAL: Nanos = Nanos::new(1_000_000);

/// A shard on cache lines of its own, against false sharing.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// Buckets in memory, bounded by a number of keys.
///
/// Token buckets and leases have separate bounds and never displace each other. A token bucket above the bound evicts
/// another one. A lease above the bound is not granted; a held lease is never evicted, since its bucket would then
/// exceed its limit.
///
/// ```
/// use tollgate::clock::Timestamp;
/// use tollgate::store::{Admission, MemoryStore, Outcomes};
///
/// let store = MemoryStore::new(10_000);
/// let mut outcomes = Outcomes::new();
/// // A request that matches no bucket is admitted, and nothing is stored.
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
    next_sweep: AtomicUsize,
    /// The earliest time of the next scan for expired leases, in nanoseconds since the Unix epoch.
    next_expiry_scan: AtomicU64,
}

/// What a store has lacked in the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Buckets that were not full were evicted, so that calls above their limits were admitted.
    pub of_buckets: bool,
    /// Calls were denied, or shadow rows not charged, for want of lease capacity.
    pub of_leases: bool,
}

impl MemoryStore {
    /// An empty store for at most `max_keys` token buckets that are not full (at least 1; about 40 bytes each), and for
    /// as many leases in concurrency buckets (at least 10,000; about 180 bytes each).
    pub fn new(max_keys: usize) -> Self {
        Self::with_shards_of(max_keys, MIN_KEYS_PER_SHARD)
    }

    /// As [`Self::new`], for one thread. It locks nothing that another holds, and finds its buckets sooner in few shards.
    pub fn of_one_thread(max_keys: usize) -> Self {
        Self::with_shards_of(max_keys, KEYS_PER_SHARD_OF_ONE_THREAD)
    }

    fn with_shards_of(max_keys: usize, keys_per_shard: usize) -> Self {
        let wanted = (max_keys / keys_per_shard).clamp(1, SHARDS);
        let shards = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self {
            shards: (0..shards).map(|_| Padded::default()).collect(),
            leases: Leases::new(max_keys.max(MIN_LEASE_CAPACITY)),
            max_per_shard: (max_keys / shards).max(1),
            evicted: Tally::default(),
            refused: Tally::default(),
            next_sweep: AtomicUsize::new(0),
            next_expiry_scan: AtomicU64::new(0),
        }
    }

    /// Decides all charges at once: all are made, or none but those that always are. `outcomes` gets one entry for each.
    ///
    /// # Errors
    /// [`StoreError::Entropy`] if a lease is to be granted and gets no id; nothing is charged then.
    pub fn decide(
        &self,
        charges: &[Charge<'_>],
        now: impl Into<Now>,
        outcomes: &mut Outcomes,
    ) -> Result<Admission, StoreError> {
        self.decide_at(charges, now.into(), outcomes)
    }

    /// Compiled once, so that all of it is inlined.
    fn decide_at(
        &self,
        charges: &[Charge<'_>],
        now: Now,
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
            let shard = shards.of(charge);
            if let Some(bucket) = charge.plain_tokens() {
                let Answer { outcome, change, is_carried } =
                    shard.decide_tokens(bucket, charge, now);
                if is_carried {
                    shard.carry_over(charge, now);
                }
                outcomes.push(outcome);
                changes.push(change);
                continue;
            }
            let Answer { mut outcome, mut change, is_carried } = shard.decide(charge, now);
            if is_carried {
                shard.carry_over(charge, now);
            }
            if matches!(change, Change::Slots(..))
                && !self.reserve_lease(&mut reservations, shards.of(charge), charge, now.steady)
            {
                (outcome, change) =
                    (out_of_lease_capacity(shards.of(charge), charge, now), Change::Nothing);
                refused += 1;
            }
            outcomes.push(outcome);
            changes.push(change);
        }
        self.refused.record(refused, now.steady);
        let unspent = |at, charge: &Charge<'_>| {
            let change = changes.get_mut(at).map_or(Change::Nothing, std::mem::take);
            shards.of(charge).peek(charge, &change, now)
        };
        let is_denied = settle(charges, outcomes, unspent);
        if are_in_order(charges) {
            window::charge_in_order(charges, outcomes, |at, count| {
                if let Some(Change::State(state, _)) = changes.get_mut(at) {
                    *state = state.with_count(count);
                }
            });
        }
        if is_denied {
            if charges.iter().any(Charge::may_outlive_a_denial) {
                self.commit_always(charges, &changes, now, &mut shards);
            }
            return Ok(Admission::Denied);
        }
        let lease = self.commit(charges, &changes, now, &mut shards, &mut reservations)?;
        Ok(Admission::Admitted { lease })
    }

    /// Makes the changes of a denied request that are always made.
    #[cold]
    fn commit_always(
        &self,
        charges: &[Charge<'_>],
        changes: &Changes,
        now: Now,
        shards: &mut LockedShards<'_>,
    ) {
        let mut evicted = 0;
        for (charge, change) in charges.iter().zip(changes) {
            if let Change::State(state, at) = change
                && charge.may_outlive_a_denial()
            {
                let (name, max) = (charge.fingerprint, self.max_per_shard);
                let is_live = shards.of(charge).set(name, *at, *state, now, max);
                evicted += u64::from(is_live);
            }
        }
        self.evicted.record(evicted, now.steady);
    }

    /// Makes every change. Returns the lease that now holds slots, if any were taken.
    fn commit(
        &self,
        charges: &[Charge<'_>],
        changes: &Changes,
        now: Now,
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
                    let max = self.max_per_shard;
                    let is_live = shard.set(charge.fingerprint, *at, *state, now, max);
                    evicted += u64::from(is_live);
                }
                (Change::Slots(slots, expires), Some(lease)) => {
                    let holder = Holder { lease, slots: *slots, expires: *expires };
                    shard.add_holder(charge.fingerprint, holder, now.steady, &self.leases);
                    reservations.commit_one();
                }
                _ => {}
            }
        }
        self.evicted.record(evicted, now.steady);
        Ok(lease)
    }

    /// The outcomes that [`Self::decide`] would give; nothing is charged. Returns whether it would deny.
    pub fn would_deny(
        &self,
        charges: &[Charge<'_>],
        now: impl Into<Now>,
        outcomes: &mut Outcomes,
    ) -> bool {
        let now: Now = now.into();
        outcomes.clear();
        let Some(mut shards) = self.lock(charges) else { return false };
        let mut reservations = Reservations::new(&self.leases);
        outcomes.extend(charges.iter().map(|charge| {
            let shard = shards.of(charge);
            match shard.decide(charge, now) {
                Answer { change: Change::Slots(..), .. }
                    if !self.reserve_lease(&mut reservations, shard, charge, now.steady) =>
                {
                    out_of_lease_capacity(shard, charge, now)
                }
                Answer { outcome, .. } => outcome,
            }
        }));
        let unspent =
            |_, charge: &Charge<'_>| shards.of(charge).peek(charge, &Change::Nothing, now);
        let is_denied = settle(charges, outcomes, unspent);
        if are_in_order(charges) {
            window::charge_in_order(charges, outcomes, |_, _| {});
        }
        is_denied
    }

    /// The outcome of one bucket for a call of one hit; nothing is charged.
    pub fn peek(
        &self,
        fingerprint: Fingerprint,
        bucket: &Bucket,
        changes: Option<&LimitChanges>,
        now: impl Into<Now>,
    ) -> Outcome {
        let charge = Charge {
            fingerprint,
            bucket,
            changes,
            hits: Hits::PEEK,
            mode: Mode::Enforced,
            debt: None,
            counting: Counting::AllOrNone,
        };
        let mut outcomes = Outcomes::new();
        self.would_deny(&[charge], now, &mut outcomes);
        let remaining = bucket.size();
        let full =
            Outcome { wait: Wait::NONE, remaining, uncharged: 0, before: 0, reset: Nanos::ZERO };
        outcomes.first().copied().unwrap_or(full)
    }

    /// The state of a counter, if it is stored and has not lapsed.
    pub fn state(&self, fingerprint: Fingerprint, now: impl Into<Now>) -> Option<BucketState> {
        let now: Now = now.into();
        let shard = self.shards.get(self.index(fingerprint.shard()))?.0.lock();
        Some(shard.state(fingerprint).0).filter(|state| state.lapses_at(now) > now.steady)
    }

    /// Has the processor fetch the state of a counter, which is decided soon: nothing waits for what is found. Takes no lock,
    /// behind which it would wait.
    #[inline]
    pub fn prefetch(&mut self, fingerprint: Fingerprint) {
        let index = self.index(fingerprint.shard());
        let shard = self.shards.get_mut(index).map(|shard| shard.0.get_mut());
        black_box(shard.map(|shard| shard.state(fingerprint)));
    }

    /// Replaces the state of a counter.
    pub fn set_state(&self, fingerprint: Fingerprint, state: BucketState, now: impl Into<Now>) {
        let now: Now = now.into();
        if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
            let mut shard = shard.0.lock();
            let (_, at) = shard.state(fingerprint);
            let is_live = shard.set(fingerprint, at, state, now, self.max_per_shard);
            drop(shard);
            self.evicted.record(u64::from(is_live), now.steady);
        }
    }

    /// Frees the slots of a lease. Returns whether it held any: not if it was released before or has expired.
    pub fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        let mut was_held = false;
        for fingerprint in self.leases.remove(lease) {
            if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
                was_held |= shard.0.lock().release(fingerprint, lease, now, &self.leases);
            }
        }
        was_held
    }

    /// Whether a lease holds slots in a bucket, or held some and expired since the last sweep.
    pub fn holds(&self, lease: LeaseId, fingerprint: Fingerprint) -> bool {
        self.leases.contains(lease, fingerprint)
    }

    /// Sweeps the next shard: removes its full buckets and expired leases. Returns how many keys it removed. It is one
    /// shard a call, so that other threads wait for a lock no longer than one shard takes.
    pub fn sweep(&self, now: impl Into<Now>) -> usize {
        self.sweep_except(&OwedStates::default(), now)
    }

    /// As [`Self::sweep`], without removing those of which something may be owed under a slower limit than they were
    /// charged by.
    pub fn sweep_except(&self, owed: &OwedStates, now: impl Into<Now>) -> usize {
        let now: Now = now.into();
        let number = self.next_sweep.fetch_add(1, Ordering::Relaxed);
        self.leases.shrink(number);
        self.shard_at(number).map_or(0, |shard| shard.0.lock().sweep(owed, now, &self.leases))
    }

    fn shard_at(&self, number: usize) -> Option<&Padded> {
        self.shards.get(number % self.shards.len().max(1))
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// How many keys there are: buckets that were not full when last charged or swept, and leases.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// How many of the keys are token buckets; at most `max_keys`.
    pub fn token_bucket_count(&self) -> usize {
        let buckets = |shard: &Padded| {
            let (buckets, _) = shard.0.lock().counts();
            buckets
        };
        self.shards.iter().map(buckets).sum()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many leases there are, including those that expired since the last sweep.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// How many buckets that were not full were evicted because the store had `max_keys`. Each may have admitted calls
    /// above its limit: above 0, the store needs more keys.
    pub fn evictions(&self) -> u64 {
        self.evicted.count()
    }

    /// How many leases were not granted for want of capacity.
    pub fn refused_leases(&self) -> u64 {
        self.refused.count()
    }

    /// What the store has lacked in the last minute.
    pub fn shortage(&self, now: Timestamp) -> Shortage {
        Shortage { of_buckets: self.evicted.is_recent(now), of_leases: self.refused.is_recent(now) }
    }

    /// Reserves capacity for a lease in a bucket of this shard. Returns whether there was some.
    fn reserve_lease(
        &self,
        reservations: &mut Reservations<'_>,
        shard: &mut Shard,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> bool {
        reservations.reserve() || self.reserve_lease_after_expiry(reservations, shard, charge, now)
    }

    /// As [`Self::reserve_lease`], after removing leases that expired since the last sweep.
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
            // Outside the ascending order of locks, so this must not wait for one.
            let other = self.shard_at(self.next_sweep.fetch_add(1, Ordering::Relaxed));
            if let Some(mut other) = other.and_then(|other| other.0.try_lock()) {
                other.drop_all_expired(now, &self.leases);
            }
        }
        reservations.reserve()
    }

    /// The index of a shard of this store, from a number below [`SHARDS`].
    const fn index(&self, shard: usize) -> usize {
        // The length is a power of two, never 0.
        shard & (self.shards.len() - 1)
    }
}

/// The outcome of a bucket that has a free slot, in a store without capacity for a lease.
#[cold]
fn out_of_lease_capacity(shard: &Shard, charge: &Charge<'_>, now: Now) -> Outcome {
    Outcome { wait: LEASE_RETRY, remaining: 0, ..shard.peek(charge, &Change::Nothing, now) }
}

type Changes = SmallVec<[Change; 8]>;

#[cfg(test)]
pub(crate) mod tests;
