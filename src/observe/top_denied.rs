//! The buckets that denied most in the last minutes, for the question "who is being denied?".
//!
//! Denials are counted by bucket in sketches of a fixed size: Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005). A sketch counts the buckets that it knows. A
//! bucket that is new to a full sketch takes the place of the one with the lowest count, and continues from that count;
//! its own count is too high by that much at most. A bucket that is not in a sketch was not denied more often than the
//! lowest count in it.
//!
//! There is one sketch for each minute and each part of the buckets. The counts of five minutes are added when they are
//! read, and so are their errors. Buckets of rows in shadow are counted apart from enforced ones, so that a row on trial
//! displaces none of the others.
//!
//! Only a call that a bucket denies, or in shadow would deny, gets here: it locks one sketch, for as long as counting
//! takes, and allocates only for a bucket that is not in the sketch.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashTable};
use parking_lot::Mutex;

use super::bucket_label::BucketLabel;
use crate::clock::{Nanos, Timestamp};
use crate::decision::Verdict;
use crate::descriptor::Query;
use crate::limit::Bucket;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::striped::{STRIPES, Striped};

/// How many minutes are counted, the current one included.
const MINUTES: usize = 5;

/// The number of buckets that are counted in one minute, separately for enforced rows and for rows in shadow.
pub const MAX_COUNTED: usize = STRIPES * MAX_PER_SKETCH;

/// Few enough to search all of them for the lowest count. The count of a bucket is too high by a 64th of the denials
/// that its sketch has counted in the minute, at most.
const MAX_PER_SKETCH: usize = 64;

const MINUTE: Nanos = Nanos::from_secs(60);

/// A bucket, and how often it denied.
#[derive(Debug, Clone)]
pub struct DeniedBucket {
    /// Name of the bucket in the store.
    pub fingerprint: Fingerprint,
    /// Name of the bucket for people.
    pub label: Arc<BucketLabel>,
    /// Its kind and parameters.
    pub bucket: Bucket,
    /// The number of descriptors that it denied, or would have denied if it were not in shadow. Never too low.
    pub count: u64,
    /// By how much `count` may be too high.
    pub at_most_over: u64,
}

/// The buckets that denied most.
#[derive(Debug, Clone, Default)]
pub struct TopDenied {
    /// The buckets, the most denied first.
    pub buckets: Vec<DeniedBucket>,
    /// The number of other buckets that are counted.
    pub omitted: usize,
    /// No bucket that is not listed denied more often than this, counted or not.
    pub others_at_most: u64,
}

/// The count of a bucket in one minute.
#[derive(Debug)]
struct Counter {
    fingerprint: Fingerprint,
    label: Arc<BucketLabel>,
    bucket: Bucket,
    count: u64,
    at_most_over: u64,
}

/// The counts of one minute.
#[derive(Debug, Default)]
struct Sketch {
    /// The number of the minute since the Unix epoch.
    minute: u64,
    /// By the hash that the name of a bucket is.
    counters: HashTable<Counter>,
    /// The place in the table of the counter that was found last: a key that is denied is often denied again at once.
    last: usize,
}

impl Sketch {
    fn get(&self, fingerprint: Fingerprint) -> Option<&Counter> {
        self.counters.find(fingerprint.hash64(), |counter| counter.fingerprint == fingerprint)
    }

    /// As [`Self::get`], to be counted.
    fn get_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut Counter> {
        let is_it = |counter: &Counter| counter.fingerprint == fingerprint;
        if !self.counters.get_bucket(self.last).is_some_and(is_it) {
            self.last = self.counters.find_bucket_index(fingerprint.hash64(), is_it)?;
        }
        self.counters.get_bucket_mut(self.last)
    }

    /// The most denials that a bucket can have had that is not in the sketch.
    fn lowest(&self) -> u64 {
        let is_full = self.counters.len() >= MAX_PER_SKETCH;
        let lowest = self.counters.iter().map(|counter| counter.count).min();
        if is_full { lowest.unwrap_or_default() } else { 0 }
    }

    /// Counts a bucket that is new to the sketch.
    fn add(&mut self, fingerprint: Fingerprint, bucket: Bucket, label: Arc<BucketLabel>) {
        let is_full = self.counters.len() >= MAX_PER_SKETCH;
        let lowest = self.counters.iter().min_by_key(|counter| counter.count);
        let replaced = lowest.filter(|_| is_full).map(|counter| counter.fingerprint);
        let replaced = replaced.and_then(|lowest| {
            let is_lowest = |counter: &Counter| counter.fingerprint == lowest;
            Some(self.counters.find_entry(lowest.hash64(), is_lowest).ok()?.remove().0)
        });
        let at_most_over = replaced.map_or(0, |counter| counter.count);
        let count = at_most_over + 1;
        let counter = Counter { fingerprint, label, bucket, count, at_most_over };
        let hash = |counter: &Counter| counter.fingerprint.hash64();
        self.counters.insert_unique(fingerprint.hash64(), counter, hash);
    }
}

/// The sketches of the last minutes, each in the place of its minute modulo [`MINUTES`].
#[derive(Debug, Default)]
struct Ring([Sketch; MINUTES]);

impl Ring {
    fn add(
        &mut self,
        fingerprint: Fingerprint,
        bucket: &Bucket,
        minute: u64,
        label: impl FnOnce() -> BucketLabel,
    ) {
        let Some(sketch) = self.0.get_mut(place(minute)) else { return };
        if sketch.minute == minute
            && let Some(counter) = sketch.get_mut(fingerprint)
        {
            counter.count += 1;
            return;
        }
        self.add_new(fingerprint, *bucket, minute, label);
    }

    /// Counts a bucket that is new to the sketch of its minute. Out of line: most denials are of known buckets.
    #[cold]
    #[inline(never)]
    fn add_new(
        &mut self,
        fingerprint: Fingerprint,
        bucket: Bucket,
        minute: u64,
        label: impl FnOnce() -> BucketLabel,
    ) {
        let known = self.0.iter().find_map(|sketch| sketch.get(fingerprint));
        let known = known.map(|counter| Arc::clone(&counter.label));
        let label = known.unwrap_or_else(|| Arc::new(label()));
        let Some(sketch) = self.0.get_mut(place(minute)) else { return };
        if sketch.minute < minute {
            sketch.counters.clear();
            sketch.minute = minute;
        }
        // A thread that was held up for minutes would count in a minute that is no longer there.
        if sketch.minute == minute {
            sketch.add(fingerprint, bucket, label);
        }
    }

    /// The sketches of the last minutes.
    fn recent(&self, now: Timestamp) -> impl Iterator<Item = &Sketch> {
        let last = minute(now);
        let first = first_minute(now);
        self.0.iter().filter(move |sketch| (first..=last).contains(&sketch.minute))
    }

    /// Adds the counts of the last minutes to a list. Returns the most denials of a bucket that is not added.
    fn sum(&self, now: Timestamp, all: &mut Vec<DeniedBucket>) -> u64 {
        let lowest_of_all: u64 = self.recent(now).map(Sketch::lowest).sum();
        let mut sums: HashMap<Fingerprint, DeniedBucket> = HashMap::new();
        for sketch in self.recent(now) {
            let lowest = sketch.lowest();
            for counter in &sketch.counters {
                let Counter { fingerprint, label, bucket, count, at_most_over } = counter;
                let sum = match sums.entry(*fingerprint) {
                    Entry::Occupied(known) => known.into_mut(),
                    // As if it were in no sketch, until those in which it is are added.
                    Entry::Vacant(new) => new.insert(DeniedBucket {
                        fingerprint: *fingerprint,
                        label: Arc::clone(label),
                        bucket: *bucket,
                        count: lowest_of_all,
                        at_most_over: lowest_of_all,
                    }),
                };
                sum.bucket = *bucket;
                sum.count = sum.count - lowest + count;
                sum.at_most_over = sum.at_most_over - lowest + at_most_over;
            }
        }
        all.extend(sums.into_values());
        lowest_of_all
    }
}

/// The counts of all buckets.
#[derive(Debug, Default)]
pub struct DenialCounts {
    enforced: Striped<Ring>,
    shadow: Striped<Ring>,
}

impl DenialCounts {
    /// Counts the buckets that denied a verdict's call, or would have denied it if they were not in shadow.
    #[cold]
    #[inline(never)]
    pub fn record(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        let minute = minute(now);
        for decided in verdict.decided.iter().filter(|decided| decided.is_over()) {
            let matched = decided.matched;
            let label = || BucketLabel::of(policy, query, decided);
            let counts = self.of(matched.row.is_shadow());
            let mut ring = stripe(counts, matched.fingerprint).lock();
            ring.add(matched.fingerprint, matched.bucket, minute, label);
        }
    }

    /// The buckets that denied most in the last minutes, `max` of them at most: those of enforced rows, or those of
    /// rows in shadow; of one domain, if it is given.
    pub fn top(
        &self,
        is_shadow: bool,
        domain: Option<&str>,
        max: usize,
        now: Timestamp,
    ) -> TopDenied {
        let (mut buckets, mut others_at_most) = (Vec::new(), 0);
        for stripe in self.of(is_shadow).iter() {
            others_at_most = stripe.lock().sum(now, &mut buckets).max(others_at_most);
        }
        buckets.retain(|of| domain.is_none_or(|domain| *of.label.domain == *domain));
        buckets.sort_unstable_by_key(|of| (Reverse(of.count), of.at_most_over, of.fingerprint));
        if let Some(next) = buckets.get(max) {
            others_at_most = next.count.max(others_at_most);
        }
        let omitted = buckets.len().saturating_sub(max);
        buckets.truncate(max);
        TopDenied { buckets, omitted, others_at_most }
    }

    const fn of(&self, is_shadow: bool) -> &Striped<Ring> {
        if is_shadow { &self.shadow } else { &self.enforced }
    }
}

/// The time that is counted, up to `now`: four to five minutes.
pub fn span(now: Timestamp) -> Nanos {
    let begin = Timestamp::from_unix_nanos(0).after(MINUTE.times(first_minute(now)));
    now.since(begin)
}

/// The number of a time's minute since the Unix epoch.
const fn minute(at: Timestamp) -> u64 {
    at.as_unix_nanos() / MINUTE.get()
}

/// The first minute that is counted.
const fn first_minute(now: Timestamp) -> u64 {
    minute(now).saturating_sub(MINUTES as u64 - 1)
}

fn place(minute: u64) -> usize {
    usize::try_from(minute % MINUTES as u64).unwrap_or(0)
}

/// By the upper half of the hash: the lower half is the same for all buckets of a row.
fn stripe(counts: &Striped<Ring>, fingerprint: Fingerprint) -> &Mutex<Ring> {
    counts.of(fingerprint.hash64() >> 48)
}

#[cfg(test)]
mod tests;
