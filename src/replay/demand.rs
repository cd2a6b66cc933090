//! How much each key of a rule asked for, whatever was admitted.
//!
//! The size that a key needs is the least size of its bucket with which, at the rate that the bucket has, every one of its
//! requests would have been admitted. For a token bucket it is the largest backlog of one that is charged for every request:
//! backlog = max(0, backlog - time x rate) + hits. For a window it is the most that any window counted, and for a
//! concurrency bucket the most requests that ran at one time. One pass finds it exactly, in 8 bytes of state a key.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::clock::Timestamp;
use crate::limit::{Bucket, TokenBucket, Window};
use crate::policy::fingerprint::{Fingerprint, ShortName};

/// A table grows by doubling: in parts, which seldom grow at one time, it does not need three times its memory for that.
const PARTS: usize = 16;

/// What one key asked of one rule: 32 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    name: ShortName,
    /// The largest size that it needed. Saturates.
    pub(super) needed: u32,
    /// Its requests. Saturates.
    pub(super) requests: u32,
    /// Those that its bucket denied, or in shadow would have denied. Saturates.
    pub(super) denied: u32,
    state: State,
}

/// Of a token bucket that is charged for every request, the moment at which it is full, in nanoseconds since the Unix epoch;
/// of a window its number in the upper half, and its count in the lower; of a concurrency bucket the running requests.
#[derive(Debug, Clone, Copy, Default)]
struct State(u64);

impl State {
    /// The backlog in tokens, rounded up, with `hits` more at `now`.
    fn charge_tokens(&mut self, bucket: &TokenBucket, now: Timestamp, hits: u64) -> u64 {
        let full_at = Timestamp::from_unix_nanos(self.0).max(now);
        let full_at = full_at.after(bucket.interval().times(hits));
        self.0 = full_at.as_unix_nanos();
        full_at.since(now).get().div_ceil(bucket.interval().get().max(1))
    }

    /// The count of the current window, with `hits` more.
    fn charge_window(&mut self, window: Window, now: Timestamp, hits: u64) -> u64 {
        let seconds = now.as_unix_nanos() / 1_000_000_000;
        let number = (seconds / u64::from(window.unit().seconds().max(1))) & u64::from(u32::MAX);
        let counted = if self.0 >> 32 == number { self.0 & u64::from(u32::MAX) } else { 0 };
        let count = counted.saturating_add(hits).min(u64::from(u32::MAX));
        self.0 = number << 32 | count;
        count
    }
}

/// The demand of all keys of one rule.
#[derive(Debug)]
pub(super) struct Demands {
    parts: [HashTable<Demand>; PARTS],
}

impl Default for Demands {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| HashTable::new()) }
    }
}

impl Demands {
    /// Counts a request of a key, which its bucket denied if so. Returns the demand of the key with it.
    pub(super) fn count(
        &mut self,
        fingerprint: Fingerprint,
        bucket: &Bucket,
        now: Timestamp,
        hits: u64,
        is_denied: bool,
    ) -> Demand {
        let demand = self.entry(fingerprint.short());
        demand.requests = demand.requests.saturating_add(1);
        demand.denied = demand.denied.saturating_add(u32::from(is_denied));
        let needed = match bucket {
            Bucket::Tokens(bucket) => demand.state.charge_tokens(bucket, now, hits),
            Bucket::Window(window) => demand.state.charge_window(*window, now, hits),
            Bucket::Concurrency(_) => {
                demand.state.0 = demand.state.0.saturating_add(1);
                demand.state.0
            }
            Bucket::Blocked(_) => 0,
        };
        demand.needed = demand.needed.max(u32::try_from(needed).unwrap_or(u32::MAX));
        *demand
    }

    /// Ends a running request of a concurrency bucket.
    pub(super) fn end(&mut self, fingerprint: Fingerprint) {
        let demand = self.entry(fingerprint.short());
        demand.state.0 = demand.state.0.saturating_sub(1);
    }

    fn entry(&mut self, name: ShortName) -> &mut Demand {
        let hash = name.hash64();
        // Bits by which a table neither chooses a place nor tells its entries apart.
        let [_, _, _, _, bits, ..] = hash.to_le_bytes();
        let [first, others @ ..] = &mut self.parts;
        let part = match usize::from(bits) % PARTS {
            0 => first,
            at => others.get_mut(at - 1).unwrap_or(first),
        };
        let is_it = |demand: &Demand| demand.name == name;
        match part.entry(hash, is_it, |demand| demand.name.hash64()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(place) => {
                let new = Demand { name, needed: 0, requests: 0, denied: 0, state: State(0) };
                place.insert(new).into_mut()
            }
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Demand> {
        self.parts.iter().flatten()
    }

    /// Adds the keys of a part of the requests, which share no key with these.
    pub(super) fn merge(&mut self, others: Self) {
        for (own, others) in self.parts.iter_mut().zip(others.parts) {
            for demand in others {
                own.insert_unique(demand.name.hash64(), demand, |demand| demand.name.hash64());
            }
        }
    }
}
