//! One shard: the state of its buckets, and a hard limit on how many it keeps.

use hashbrown::HashTable;

use super::holders::{Holder, Holders};
use super::leases::Leases;
use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::limit::{Bucket, Concurrency};
use crate::policy::fingerprint::Fingerprint;
use crate::store::{Charge, Outcome, Wait, gcra};

/// How many entries are compared when one has to go.
const EVICTION_SAMPLE: usize = 16;

/// A table is shrunk when it is less than a quarter full and larger than this.
const SMALLEST_TO_SHRINK: usize = 64;

/// A token bucket's state. 24 bytes: a name of two words, not of one 16-aligned `u128`.
type Cell = (Fingerprint, Timestamp);

/// What a charge would change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// Nothing: a look, or a bucket that cannot admit.
    Nothing,
    /// The token bucket is full again at this time.
    FullAt(Timestamp),
    /// So many slots are taken.
    Slots(u32),
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    cells: HashTable<Cell>,
    holders: HashTable<(Fingerprint, Holders)>,
    leases: usize,
}

impl Shard {
    /// How many keys count against the limit: buckets with fewer tokens than they hold, and leases.
    pub(super) fn len(&self) -> usize {
        self.cells.len() + self.leases
    }

    /// What one bucket says to a charge, and what it would become.
    pub(super) fn decide(&self, charge: &Charge<'_>, now: Timestamp) -> (Outcome, Change) {
        match charge.bucket {
            Bucket::Tokens(bucket) => {
                let full_at = self.full_at(charge.fingerprint);
                let (charged, given) = (charge.hits.charged(), charge.hits.given_back());
                if given > 0 {
                    let (outcome, next) = gcra::give_back(bucket, full_at, now, given);
                    (outcome, Change::FullAt(next))
                } else if charged > 0 {
                    let (outcome, next) = gcra::take(bucket, full_at, now, charged);
                    (outcome, next.map_or(Change::Nothing, Change::FullAt))
                } else {
                    (gcra::look(bucket, full_at, now), Change::Nothing)
                }
            }
            Bucket::Concurrency(bucket) => self.decide_slots(bucket, charge, now),
        }
    }

    fn decide_slots(
        &self,
        bucket: &Concurrency,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> (Outcome, Change) {
        let hits = charge.hits.charged();
        let none = Holders::default();
        let holders = self.holders(charge.fingerprint).unwrap_or(&none);
        let outcome = holders.outcome(bucket, now, hits);
        if charge.hits.given_back() > 0 {
            // Slots come back by lease only; hits without one give nothing back and deny nobody.
            return (Outcome { wait: Wait::No, ..outcome }, Change::Nothing);
        }
        match u32::try_from(hits) {
            Ok(slots @ 1..) if outcome.wait == Wait::No => {
                let remaining = outcome.remaining.saturating_sub(slots);
                (Outcome { remaining, reset: bucket.hold(), ..outcome }, Change::Slots(slots))
            }
            _ => (outcome, Change::Nothing),
        }
    }

    /// The bucket as it stands, whatever was asked of it.
    pub(super) fn look(&self, charge: &Charge<'_>, now: Timestamp) -> Outcome {
        match charge.bucket {
            Bucket::Tokens(bucket) => gcra::look(bucket, self.full_at(charge.fingerprint), now),
            Bucket::Concurrency(bucket) => self
                .holders(charge.fingerprint)
                .unwrap_or(&Holders::default())
                .outcome(bucket, now, 0),
        }
    }

    fn full_at(&self, fingerprint: Fingerprint) -> Timestamp {
        self.cells
            .find(fingerprint.hash64(), |(name, _)| *name == fingerprint)
            .map_or(Timestamp::default(), |(_, full_at)| *full_at)
    }

    fn holders(&self, fingerprint: Fingerprint) -> Option<&Holders> {
        self.holders
            .find(fingerprint.hash64(), |(name, _)| *name == fingerprint)
            .map(|(_, holders)| holders)
    }

    /// Makes a token bucket full at `full_at`. Returns whether a live key had to go for it.
    pub(super) fn set(
        &mut self,
        fingerprint: Fingerprint,
        full_at: Timestamp,
        now: Timestamp,
        room: &Room<'_>,
    ) -> bool {
        let hash = fingerprint.hash64();
        if let Some((_, old)) = self.cells.find_mut(hash, |(name, _)| *name == fingerprint) {
            *old = full_at;
            return false;
        }
        if full_at <= now {
            return false;
        }
        let evicted_live = self.make_room(fingerprint, now, room);
        self.cells.insert_unique(hash, (fingerprint, full_at), |(name, _)| name.hash64());
        evicted_live
    }

    /// Adds a holder to a concurrency bucket. Returns whether a live key had to go for it.
    pub(super) fn hold(
        &mut self,
        fingerprint: Fingerprint,
        holder: Holder,
        now: Timestamp,
        room: &Room<'_>,
    ) -> bool {
        self.drop_expired(fingerprint, now, room.leases);
        let evicted_live = self.make_room(fingerprint, now, room);
        let hash = fingerprint.hash64();
        self.holders
            .entry(hash, |(name, _)| *name == fingerprint, |(name, _)| name.hash64())
            .or_insert_with(|| (fingerprint, Holders::default()))
            .into_mut()
            .1
            .add(holder);
        self.leases += 1;
        room.leases.add(holder.lease, fingerprint);
        evicted_live
    }

    fn drop_expired(&mut self, fingerprint: Fingerprint, now: Timestamp, leases: &Leases) {
        let found = self.holders.find_mut(fingerprint.hash64(), |(name, _)| *name == fingerprint);
        let Some((_, holders)) = found else { return };
        for expired in holders.remove_expired(now) {
            self.leases -= 1;
            leases.forget(expired.lease, fingerprint);
        }
    }

    /// Takes a lease out of one bucket. Returns whether its slots were still held.
    pub(super) fn release(
        &mut self,
        fingerprint: Fingerprint,
        lease: LeaseId,
        now: Timestamp,
    ) -> bool {
        let found = self.holders.find_entry(fingerprint.hash64(), |(name, _)| *name == fingerprint);
        let Ok(mut entry) = found else { return false };
        let holder = entry.get_mut().1.remove(lease);
        if entry.get().1.is_empty() {
            entry.remove();
        }
        self.leases -= usize::from(holder.is_some());
        holder.is_some_and(|holder| holder.expires > now)
    }

    /// Makes room for one more key. A full bucket says the same as none, so it goes first; when there
    /// is none in the sample, the bucket nearest to full goes. Returns whether what went was live.
    fn make_room(&mut self, near: Fingerprint, now: Timestamp, room: &Room<'_>) -> bool {
        if self.len() < room.most_keys {
            return false;
        }
        self.evict_cell(near, now).unwrap_or_else(|| self.evict_lease(now, room.leases))
    }

    #[cold]
    fn evict_cell(&mut self, near: Fingerprint, now: Timestamp) -> Option<bool> {
        let buckets = self.cells.num_buckets();
        let start = usize::try_from(near.hash64()).unwrap_or(0) % buckets.max(1);
        let mut nearest_full: Option<(usize, Timestamp)> = None;
        let mut sampled = 0;
        for at in (start..buckets).chain(0..start) {
            let Some((_, full_at)) = self.cells.get_bucket(at) else { continue };
            if nearest_full.is_none_or(|(_, best)| *full_at < best) {
                nearest_full = Some((at, *full_at));
            }
            sampled += 1;
            if sampled == EVICTION_SAMPLE || *full_at <= now {
                break;
            }
        }
        let (at, full_at) = nearest_full?;
        self.cells.get_bucket_entry(at).ok()?.remove();
        Some(full_at > now)
    }

    #[cold]
    fn evict_lease(&mut self, now: Timestamp, leases: &Leases) -> bool {
        let Some((fingerprint, holders)) = self.holders.iter_mut().next() else { return false };
        let fingerprint = *fingerprint;
        let evicted = holders.remove_first();
        if holders.is_empty()
            && let Ok(entry) =
                self.holders.find_entry(fingerprint.hash64(), |(name, _)| *name == fingerprint)
        {
            entry.remove();
        }
        let Some(holder) = evicted else { return false };
        self.leases -= 1;
        leases.forget(holder.lease, fingerprint);
        holder.expires > now
    }

    /// Forgets full buckets and expired leases, and gives memory back. Returns how many keys went.
    pub(super) fn sweep(&mut self, now: Timestamp, leases: &Leases) -> usize {
        let before = self.len();
        self.cells.retain(|(_, full_at)| *full_at > now);
        let mut expired = 0;
        self.holders.retain(|(fingerprint, holders)| {
            for holder in holders.remove_expired(now) {
                expired += 1;
                leases.forget(holder.lease, *fingerprint);
            }
            !holders.is_empty()
        });
        self.leases -= expired;
        let (kept, capacity) = (self.cells.len(), self.cells.capacity());
        if capacity > SMALLEST_TO_SHRINK && kept * 4 < capacity {
            self.cells.shrink_to(kept * 2, |(name, _)| name.hash64());
        }
        before - self.len()
    }
}

/// What a shard needs to know of the rest of the store when it grows.
#[derive(Debug)]
pub(super) struct Room<'a> {
    /// The most keys that this shard may keep.
    pub(super) most_keys: usize,
    /// Where leases are found by id.
    pub(super) leases: &'a Leases,
}
