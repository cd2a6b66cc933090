//! How much each key of a rule asked for, whatever was admitted.
//!
//! The size that a key needs is the least size of its bucket with which, at the rate that the bucket has, every one of its
//! requests would have been admitted: the most that any of them needed. One pass finds it exactly, in 8 bytes of state a key.

use std::hint::black_box;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::charges::Charge;
use crate::clock::Timestamp;
use crate::limit::Bucket;
use crate::policy::fingerprint::{Fingerprint, ShortName};

/// A table grows by doubling: in parts, which seldom grow at one time, it does not need three times its memory for that.
const PARTS: usize = 16;

/// What one key asked of one rule: 28 bytes, since all parts of it have four. A grown table has at least 7 entries for every 16
/// slots, each with one byte of metadata, so that a key takes at most 67 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    name: ShortName,
    /// The number of the rule, and in the highest bit whether a request was denied.
    rule: u32,
    /// The largest size that it needed. Saturates.
    pub(super) needed: u32,
    /// The two halves of a number. Of a token bucket that is charged for every request, the moment at which it is full, in
    /// nanoseconds since the Unix epoch; of a window its number in the upper half, and its count in the lower; of a
    /// concurrency bucket the slots that are taken.
    state: [u32; 2],
}

const IS_DENIED: u32 = 1 << 31;

/// A request of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'b> {
    pub(super) bucket: &'b Bucket,
    /// None if another descriptor of the request has met the bucket, and what it asks is told there.
    pub(super) charge: Option<Charge>,
    pub(super) now: Timestamp,
    pub(super) is_denied: bool,
}

impl Demand {
    /// The number of the rule.
    pub(super) const fn rule(&self) -> u32 {
        self.rule & !IS_DENIED
    }

    /// Whether its bucket denied one of its requests, or in shadow would have.
    pub(super) const fn is_denied(&self) -> bool {
        self.rule & IS_DENIED != 0
    }

    fn state(&self) -> u64 {
        let [low, high] = self.state;
        u64::from(high) << 32 | u64::from(low)
    }

    fn set_state(&mut self, state: u64) {
        let [a, b, c, d, rest @ ..] = state.to_le_bytes();
        self.state = [[a, b, c, d], rest].map(u32::from_le_bytes);
    }

    fn charge(&mut self, charge: Charge, asked: &Asked<'_>) {
        let mut state = self.state();
        match asked.bucket {
            Bucket::Tokens(bucket) => {
                charge.of_tokens(bucket.interval(), &mut state, &mut self.needed, asked.now);
            }
            Bucket::Window(window) => {
                charge.of_window(*window, &mut state, &mut self.needed, asked.now);
            }
            Bucket::Concurrency(_) => charge.of_slots(&mut state, &mut self.needed),
            Bucket::Blocked(_) => {}
        }
        self.set_state(state);
    }
}

/// The place of the part that has a key.
fn part_of(hash: u64) -> usize {
    let [_, _, _, bits, ..] = hash.to_le_bytes();
    usize::from(bits) % PARTS
}

/// The demand of all keys.
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
    /// Counts a request of a key. Returns the demand of the key with it.
    pub(super) fn count(&mut self, name: Fingerprint, rule: u32, asked: &Asked<'_>) -> Demand {
        let demand = self.entry(name.short(), rule);
        demand.rule |= if asked.is_denied { IS_DENIED } else { 0 };
        if let Some(charge) = asked.charge {
            demand.charge(charge, asked);
        }
        *demand
    }

    /// Gives slots of a concurrency bucket back.
    pub(super) fn end(&mut self, name: Fingerprint, rule: u32, slots: u64) {
        let demand = self.entry(name.short(), rule);
        demand.set_state(demand.state().saturating_sub(slots));
    }

    /// Has the processor fetch the demand of a key, which is asked for soon: nothing waits for what is found.
    #[inline]
    pub(super) fn prefetch(&self, name: Fingerprint) {
        let (name, hash) = (name.short(), name.hash64());
        let part = self.parts.get(part_of(hash));
        black_box(part.and_then(|part| part.find(hash, |demand| demand.name == name)));
    }

    fn entry(&mut self, name: ShortName, rule: u32) -> &mut Demand {
        // The lower half is the same for all buckets of one row and one tenant, so that these are side by side.
        let hash = name.hash64();
        let [first, others @ ..] = &mut self.parts;
        let part = match part_of(hash) {
            0 => first,
            at => others.get_mut(at - 1).unwrap_or(first),
        };
        let is_it = |demand: &Demand| demand.name == name && demand.rule() == rule;
        match part.entry(hash, is_it, |demand| demand.name.hash64()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(place) => {
                let new = Demand { name, rule, needed: 0, state: [0; 2] };
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

    /// All of them, in no order. The memory of a part is free when its last one was returned.
    pub(super) fn into_all(self) -> impl Iterator<Item = Demand> {
        self.parts.into_iter().flatten()
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
