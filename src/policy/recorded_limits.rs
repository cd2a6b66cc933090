//! The limits of one set of policies, as replicas keep them in a shared store.
//!
//! # Format 1
//!
//! Numbers are little-endian; times are nanoseconds since the Unix epoch, by the store's clock.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format |
//! | 8 | since when the limits have been in force |
//! | 4 | how many places in the policies have token buckets |
//! | 32 and more for each place, in the order of places | 16 for the place, 8 for a hash of its limits and of the calls to which they apply, 4 for the most tokens that a bucket may owe, 4 for how many intervals follow, 4 for each interval |

use hashbrown::HashMap;

use super::identity::Salt;
use super::succession::LimitHistory;
use crate::clock::{Nanos, Now, Timestamp};
use crate::limit::{BucketLimits, ChangeTime, CompactInterval, LimitChanges, MAX_FILL_TIME};

const FORMAT: u8 = 1;

/// The limits of a set of policies, and when they were in force.
#[derive(Debug, Clone)]
pub struct RecordedLimits {
    /// Since when, by the store's clock.
    pub since: Timestamp,
    /// When they were in force last, as far as known, by the store's clock. It is not part of the bytes.
    pub until: Timestamp,
    by_salt: HashMap<Salt, BucketLimits>,
}

impl RecordedLimits {
    /// The limits in force.
    pub fn of(limits: &LimitHistory, since: Timestamp, until: Timestamp) -> Self {
        let by_salt = limits.iter().map(|(salt, changes)| (salt, changes.limits.clone()));
        Self { since, until, by_salt: by_salt.collect() }
    }

    /// The limits as bytes. Replicas with the same limits since the same time write the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        let mut places: Vec<_> = self.by_salt.iter().collect();
        places.sort_unstable_by_key(|(salt, _)| salt.to_bytes());
        let mut bytes = vec![FORMAT];
        bytes.extend(self.since.as_unix_nanos().to_le_bytes());
        bytes.extend(count(places.len()));
        for (salt, limits) in places {
            bytes.extend(salt.to_bytes());
            bytes.extend(limits.digest.to_le_bytes());
            bytes.extend(limits.size.to_le_bytes());
            bytes.extend(count(limits.intervals.len()));
            limits.intervals.iter().for_each(|interval| bytes.extend(interval.to_bytes()));
        }
        bytes
    }

    /// The limits that [`Self::to_bytes`] wrote; `None` for any other bytes, such as those of another format.
    pub fn from_bytes(bytes: &[u8], until: Timestamp) -> Option<Self> {
        let mut from = Reader(bytes);
        if from.take()? != [FORMAT] {
            return None;
        }
        let since = Timestamp::from_unix_nanos(u64::from_le_bytes(from.take()?));
        let places = (0..from.u32()?).map(|_| {
            let salt = Salt::from_bytes(from.take()?);
            let digest = u64::from_le_bytes(from.take()?);
            let (size, count) = (from.u32()?, from.u32()?);
            let intervals = (0..count).map(|_| from.take().map(CompactInterval::from_bytes));
            let intervals = intervals.collect::<Option<Vec<_>>>()?;
            let is_known = |interval: &CompactInterval| interval.nanos() > Nanos::ZERO;
            let limits = BucketLimits { digest, intervals, size, ends: Vec::new() };
            limits.intervals.iter().all(is_known).then_some((salt, limits))
        });
        let by_salt = places.collect::<Option<HashMap<_, _>>>()?;
        let Reader([]) = from else { return None };
        Some(Self { since, until, by_salt })
    }

    /// Whether the limits of all places are those of the other.
    pub fn has_limits_of(&self, other: &Self) -> bool {
        let is_same = |(salt, limits): (&Salt, &BucketLimits)| {
            other.by_salt.get(salt).is_some_and(|of_other| of_other.digest == limits.digest)
        };
        self.by_salt.len() == other.by_salt.len() && self.by_salt.iter().all(is_same)
    }

    /// Has no bucket owe less than under other limits: what it owed is owed after a change, too.
    pub fn raise_sizes(&mut self, others: &Self) {
        for (salt, limits) in &mut self.by_salt {
            let before = others.by_salt.get(salt).map_or(0, |before| before.size);
            limits.size = limits.size.max(before);
        }
    }

    /// Of these limits, those that are faster than what their buckets have in `limits`, each with the longest interval
    /// there, if a key that was written under them may not have ended by `now`.
    pub fn slowed_by(
        &self,
        limits: &LimitHistory,
        now: Timestamp,
    ) -> impl Iterator<Item = (CompactInterval, Nanos)> {
        self.by_salt.iter().flat_map(move |(salt, before)| {
            let changes = limits.get(*salt).filter(|after| after.limits.digest != before.digest);
            let slowest = changes.map_or(Nanos::ZERO, LimitChanges::slowest);
            let slowed = before.intervals.iter().filter(move |interval| {
                let longest = interval.nanos().times(before.size.into());
                interval.nanos() < slowest && self.until.after(longest) > now
            });
            slowed.map(move |interval| (*interval, slowest))
        })
    }
}

/// The limits that were in force last, as recorded, and when they became what they are: not before any other limits of the
/// same bucket were in force last.
pub fn recorded_history(all: &[RecordedLimits], now: Now) -> LimitHistory {
    let mut last: HashMap<Salt, &RecordedLimits> = HashMap::new();
    for (salt, of) in all.iter().flat_map(|of| of.by_salt.keys().map(move |salt| (*salt, of))) {
        let known = last.entry(salt).or_insert(of);
        if (of.until, of.since) > (known.until, known.since) {
            *known = of;
        }
    }
    let history = last.into_iter().filter_map(|(salt, last)| {
        let limits = last.by_salt.get(&salt)?;
        let of_place = || all.iter().filter_map(|of| Some((of, of.by_salt.get(&salt)?.digest)));
        let same = of_place().filter(|(_, digest)| *digest == limits.digest);
        let since = same.map(|(of, _)| of.since).min()?;
        let others = of_place().filter(|(_, digest)| *digest != limits.digest);
        let changed_at = others.map(|(of, _)| of.until).fold(since, Timestamp::max);
        let changed_at = ChangeTime::at(now.to_steady(changed_at.min(now.wall)));
        Some((salt, LimitChanges::new(changed_at, limits.clone(), Vec::new())))
    });
    history.collect()
}

/// How long after limits were in force last something may be owed under them, or under others of these that replaced
/// them, at most: the longest time in which any bucket fills at the slowest of its rates.
pub fn longest_owed(all: &[RecordedLimits]) -> Nanos {
    let mut by_salt: HashMap<Salt, (Nanos, u32)> = HashMap::new();
    for (salt, limits) in all.iter().flat_map(|of| of.by_salt.iter()) {
        let (slowest, size) = by_salt.entry(*salt).or_insert((Nanos::ZERO, 0));
        let intervals = limits.intervals.iter().map(|interval| interval.nanos());
        *slowest = intervals.fold(*slowest, Nanos::max);
        *size = limits.size.max(*size);
    }
    let longest = by_salt.into_values().map(|(slowest, size)| slowest.times(size.into())).max();
    longest.unwrap_or(Nanos::ZERO).min(Nanos::new(MAX_FILL_TIME))
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
