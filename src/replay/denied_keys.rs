//! The keys that were denied: when, how long on end, and in which minutes.

use hashbrown::HashTable;

use super::series::Series;
use crate::clock::Timestamp;
use crate::observe::bucket_label::BucketLabel;
use crate::policy::fingerprint::Fingerprint;

/// The most keys that are described of one part. When there are twice as many, the half that was denied least is forgotten;
/// its denials stay counted.
const MAX_KEYS: usize = 250;

/// The most steps of time of one key.
const MAX_STEPS: usize = 240;

/// A key that was denied.
#[derive(Debug, Clone)]
pub(super) struct DeniedKey {
    /// Its bucket, for people.
    pub(super) label: BucketLabel,
    /// The number of the rule in the policy.
    pub(super) rule: usize,
    /// Its first denial.
    pub(super) first: Timestamp,
    /// Its last one.
    pub(super) last: Timestamp,
    /// How often it was denied.
    pub(super) denied: u64,
    /// How many of its requests were denied on end, at most.
    pub(super) longest_streak: u64,
    streak: u64,
    /// Its requests from the first denial on.
    pub(super) series: Series,
}

/// The keys that were denied most.
#[derive(Debug)]
pub(super) struct DeniedKeys {
    /// Each with the name of its bucket.
    keys: HashTable<(Fingerprint, DeniedKey)>,
    /// How many keys were forgotten; one that is denied again later counts again.
    forgotten: u64,
    max_keys: usize,
}

impl Default for DeniedKeys {
    fn default() -> Self {
        Self { keys: HashTable::new(), forgotten: 0, max_keys: MAX_KEYS }
    }
}

impl DeniedKeys {
    /// Counts a denied request of a key.
    pub(super) fn deny(
        &mut self,
        fingerprint: Fingerprint,
        rule: usize,
        now: Timestamp,
        label: impl FnOnce() -> BucketLabel,
    ) {
        if self.keys.len() >= 2 * self.max_keys && self.find_mut(fingerprint).is_none() {
            self.forget_half();
        }
        let new = || DeniedKey {
            label: label(),
            rule,
            first: now,
            last: now,
            denied: 0,
            longest_streak: 0,
            streak: 0,
            series: Series::with_most(MAX_STEPS),
        };
        let found = self.keys.entry(fingerprint.hash64(), |(name, _)| *name == fingerprint, hash);
        let (_, key) = found.or_insert_with(|| (fingerprint, new())).into_mut();
        key.last = now;
        key.denied += 1;
        key.streak += 1;
        key.longest_streak = key.longest_streak.max(key.streak);
        key.series.count(now, true);
    }

    /// Counts a request of a key that was denied before and that its bucket admits now.
    pub(super) fn admit(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        if let Some(key) = self.find_mut(fingerprint) {
            key.streak = 0;
            key.series.count(now, false);
        }
    }

    fn find_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut DeniedKey> {
        let found = self.keys.find_mut(fingerprint.hash64(), |(name, _)| *name == fingerprint);
        found.map(|(_, key)| key)
    }

    fn forget_half(&mut self) {
        let mut counts: Vec<_> = self.keys.iter().map(|(name, key)| (key.denied, *name)).collect();
        counts.sort_unstable_by_key(|(denied, name)| (*denied, name.to_bytes()));
        for (_, forgotten) in counts.iter().take(self.max_keys) {
            let found = self.keys.find_entry(forgotten.hash64(), |(name, _)| name == forgotten);
            self.forgotten += u64::from(found.map(|entry| entry.remove()).is_ok());
        }
    }

    /// Adds the keys of a part of the requests, which shares none with these.
    pub(super) fn merge(&mut self, others: Self) {
        for key in others.keys {
            self.keys.insert_unique(hash(&key), key, hash);
        }
        self.forgotten += others.forgotten;
    }

    /// The `count` keys that were denied most, the most denied first; of equal ones, in the order of their first denials. With
    /// the names of their buckets, by which ties are broken.
    pub(super) fn most(self, count: usize) -> Vec<([u8; 16], DeniedKey)> {
        let keys = self.keys.into_iter().map(|(name, key)| (name.to_bytes(), key));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable_by_key(|(name, key)| (std::cmp::Reverse(key.denied), key.first, *name));
        keys.truncate(count);
        keys
    }
}

fn hash((name, _): &(Fingerprint, DeniedKey)) -> u64 {
    name.hash64()
}
