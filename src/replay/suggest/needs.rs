//! The first pass: which size each key needs at each rate of its ladder.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::super::charges::charges;
use super::keys::Keys;
use super::ladder::{Ladder, Ladders};
use crate::clock::{Nanos, Timestamp};
use crate::limit::Bucket;
use crate::policy::MatchedBucket;
use crate::policy::fingerprint::ShortName;

/// How many keys share a piece of memory. One that grew as a whole would need three times its memory for that.
const KEYS_PER_PIECE: usize = 256;

/// What all keys need.
#[derive(Debug)]
pub(in crate::replay) struct Needs<'p> {
    ladders: &'p Ladders,
    /// By the number of the rule.
    rules: Vec<RuleNeeds>,
    /// The requests that hold slots: until when, the rule, the key, and how many.
    running: BinaryHeap<Reverse<(Timestamp, usize, usize, u64)>>,
}

/// What the keys of one rule need.
#[derive(Debug, Default)]
struct RuleNeeds {
    requests: u64,
    /// The keys, with their numbers.
    keys: HashTable<(ShortName, usize)>,
    pieces: Vec<Piece>,
}

/// The states and the sizes of some keys: of each key as many as its ladder has rates, one key after another. 12 bytes for
/// each.
#[derive(Debug, Default)]
struct Piece {
    states: Vec<u64>,
    needed: Vec<u32>,
}

impl<'p> Needs<'p> {
    pub(in crate::replay) fn new(ladders: &'p Ladders) -> Self {
        let rules = (0..ladders.len()).map(|_| RuleNeeds::default()).collect();
        Self { ladders, rules, running: BinaryHeap::new() }
    }

    /// Counts what a request that began at `now` asks of the buckets that it matched.
    pub(in crate::replay) fn count<'a>(
        &mut self,
        matched: impl Iterator<Item = &'a MatchedBucket<'a>> + Clone,
        duration: Nanos,
        now: Timestamp,
    ) {
        self.end_until(now);
        for (matched, hits) in charges(matched) {
            let Some(number) = matched.rule.map(|rule| rule.id().get()) else { continue };
            let (Some(ladder), Some(rule)) = (self.ladders.get(number), self.rules.get_mut(number))
            else {
                continue;
            };
            rule.requests += 1;
            let key = rule.key(matched.fingerprint.short(), ladder);
            if let Some((states, needed)) = rule.of_key(key, ladder) {
                ladder.charge(states, needed, hits, now);
            }
            if let Bucket::Concurrency(bucket) = &ladder.bucket
                && hits.charged() > 0
            {
                let end = now.after(duration.min(bucket.ttl()));
                self.running.push(Reverse((end, number, key, hits.charged())));
            }
        }
    }

    /// Frees the slots of the requests that have ended by `now`.
    fn end_until(&mut self, now: Timestamp) {
        while let Some(Reverse((_, number, key, slots))) =
            self.running.peek().copied().filter(|Reverse((end, ..))| *end <= now)
        {
            self.running.pop();
            let (ladder, rule) = (self.ladders.get(number), self.rules.get_mut(number));
            let of_key = ladder.zip(rule).and_then(|(ladder, rule)| rule.of_key(key, ladder));
            if let Some(held) = of_key.and_then(|(states, _)| states.first_mut()) {
                *held = held.saturating_sub(slots);
            }
        }
    }

    /// Adds what the keys of a part of the requests need, which are no keys of these.
    pub(in crate::replay) fn merge(&mut self, other: Self) {
        for (own, rule) in self.rules.iter_mut().zip(other.rules) {
            own.requests += rule.requests;
            let first = own.pieces.len() * KEYS_PER_PIECE;
            own.pieces.extend(rule.pieces);
            for (name, key) in rule.keys {
                own.keys.insert_unique(name.hash64(), (name, first + key), |of| of.0.hash64());
            }
        }
    }

    /// How many requests met a rule.
    pub(super) fn requests(&self, rule: usize) -> u64 {
        self.rules.get(rule).map_or(0, |rule| rule.requests)
    }

    /// How many keys met a rule.
    pub(super) fn keys(&self, rule: usize) -> usize {
        self.rules.get(rule).map_or(0, |rule| rule.keys.len())
    }

    /// The sizes that so many of the keys of a rule, those that need least, need at the rate at a place of the ladder, and
    /// that all of them need.
    pub(super) fn sizes(&self, rule: usize, at: usize, keys: usize) -> (u32, u32) {
        let (Some(of_rule), Some(ladder)) = (self.rules.get(rule), self.ladders.get(rule)) else {
            return (0, 0);
        };
        let of_keys =
            of_rule.pieces.iter().flat_map(|piece| piece.needed.chunks_exact(ladder.len()));
        let mut needed: Vec<u32> = of_keys.filter_map(|of_key| of_key.get(at)).copied().collect();
        let last = needed.len().saturating_sub(1);
        if needed.is_empty() {
            return (0, 0);
        }
        let (_, size, above) = needed.select_nth_unstable(keys.saturating_sub(1).min(last));
        let size = *size;
        (size, above.iter().copied().max().unwrap_or(size))
    }

    /// The keys of a rule that need more than this size at the rate at a place of the ladder.
    pub(super) fn keys_above(&self, rule: usize, at: usize, size: u32) -> Keys {
        let (Some(of_rule), Some(ladder)) = (self.rules.get(rule), self.ladders.get(rule)) else {
            return Keys::default();
        };
        let needed = |key: usize| {
            let piece = of_rule.pieces.get(key / KEYS_PER_PIECE)?;
            piece.needed.get(key % KEYS_PER_PIECE * ladder.len() + at).copied()
        };
        let above = of_rule.keys.iter().filter(|(_, key)| needed(*key) > Some(size));
        above.map(|(name, _)| *name).collect()
    }
}

impl RuleNeeds {
    /// The number of a key; that of a new one, if it has not been met.
    fn key(&mut self, name: ShortName, ladder: &Ladder) -> usize {
        let is_it = |of: &(ShortName, usize)| of.0 == name;
        let place = match self.keys.entry(name.hash64(), is_it, |of| of.0.hash64()) {
            Entry::Occupied(entry) => return entry.get().1,
            Entry::Vacant(place) => place,
        };
        let is_full = |piece: &Piece| piece.needed.len() >= KEYS_PER_PIECE * ladder.len();
        if self.pieces.last().is_none_or(is_full) {
            self.pieces.push(Piece::default());
        }
        let before = (self.pieces.len() - 1) * KEYS_PER_PIECE;
        let Some(piece) = self.pieces.last_mut() else { return before };
        let key = before + piece.needed.len() / ladder.len();
        piece.states.resize(piece.states.len() + ladder.len(), 0);
        piece.needed.resize(piece.needed.len() + ladder.len(), 0);
        place.insert((name, key));
        key
    }

    fn of_key(&mut self, key: usize, ladder: &Ladder) -> Option<(&mut [u64], &mut [u32])> {
        let piece = self.pieces.get_mut(key / KEYS_PER_PIECE)?;
        let begin = key % KEYS_PER_PIECE * ladder.len();
        let range = begin..begin + ladder.len();
        Some((piece.states.get_mut(range.clone())?, piece.needed.get_mut(range)?))
    }
}
