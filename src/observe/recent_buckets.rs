//! The buckets that were recently near or over their limit, with their labels.
//!
//! The store knows buckets by their fingerprints only. To see which tenants are at their limit, an operator needs
//! names, so the list records them when a request matches such a bucket. That costs a request little: a bucket is
//! recorded once per [`NOTE_INTERVAL`], no request waits for a lock, and only a bucket that is not in the list
//! allocates. The list is bounded; a new bucket replaces the one recorded longest ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::bucket_label::BucketLabel;
use crate::clock::{Nanos, Timestamp};
use crate::decision::Verdict;
use crate::descriptor::Query;
use crate::limit::{Bucket, LimitChanges};
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::rule::Rule;
use crate::store::{Outcome, Wait};
use crate::striped::{STRIPES, Striped};

/// The maximum number of buckets in the list.
pub const MAX_LISTED: usize = STRIPES * MAX_PER_STRIPE;

/// Few enough to search all of them for the oldest.
const MAX_PER_STRIPE: usize = 256;

/// The lowest bits of a time in nanoseconds, which are dropped to get its interval.
const INTERVAL_BITS: u32 = 27;

/// A bucket is recorded once in each interval of this length: 134 ms.
pub const NOTE_INTERVAL: Nanos = Nanos::new(1 << INTERVAL_BITS);

/// How near a bucket is to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It cannot admit one hit.
    Over,
    /// Less than a tenth is left.
    Near,
    /// A tenth is left, or more.
    Clear,
}

impl Standing {
    /// The standing of a bucket with this outcome for one hit.
    pub fn of(bucket: &Bucket, outcome: &Outcome) -> Self {
        if outcome.wait != Wait::NONE || outcome.remaining == 0 {
            Self::Over
        } else if u64::from(outcome.remaining) * 10 < u64::from(bucket.size()) {
            Self::Near
        } else {
            Self::Clear
        }
    }

    /// The word for it: `over`, `near` or `clear`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Near => "near",
            Self::Clear => "clear",
        }
    }
}

/// A bucket in the list.
#[derive(Debug, Clone)]
pub struct BucketSnapshot {
    /// Name of the bucket in the store.
    pub fingerprint: Fingerprint,
    /// Name of the bucket for people.
    pub label: Arc<BucketLabel>,
    /// Its kind and parameters.
    pub bucket: Bucket,
    /// When its limit changed, if a policy that was in force has it.
    pub changes: Option<Arc<LimitChanges>>,
    /// Its outcome when it was recorded.
    pub outcome: Outcome,
    /// When it was recorded.
    pub at: Timestamp,
}

impl BucketSnapshot {
    /// How near it is to its limit.
    pub fn standing(&self) -> Standing {
        Standing::of(&self.bucket, &self.outcome)
    }

    /// What remains of it, as a fraction of 2^32, which is full.
    pub fn fill(&self) -> u64 {
        let left = u64::from(self.outcome.remaining) << 32;
        left.checked_div(self.bucket.size().into()).unwrap_or(0)
    }
}

type Stripe = HashMap<Fingerprint, BucketSnapshot>;

/// The list of recent buckets.
#[derive(Debug)]
pub struct RecentBuckets {
    stripes: Striped<Stripe>,
    /// Per hash slot, a mark of the bucket recorded last and of its interval; repeats in an interval are skipped.
    noted: Box<[AtomicU64]>,
}

impl Default for RecentBuckets {
    fn default() -> Self {
        Self {
            stripes: Striped::default(),
            noted: (0..MAX_LISTED).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl RecentBuckets {
    /// Records the buckets of a verdict that are over their limit, or have less than a tenth left. Blocked rows are
    /// skipped: they never recover, and would take the place of buckets that do.
    #[inline]
    pub fn record(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        for decided in &verdict.decided {
            let (matched, outcome) = (decided.matched, decided.outcome);
            let is_near = Standing::of(matched.bucket, &outcome) != Standing::Clear
                && !matches!(matched.bucket, Bucket::Blocked(_));
            if is_near && !self.is_noted(matched.fingerprint, now) {
                let label = || BucketLabel::of(policy, query, decided);
                let limit = (*matched.bucket, matched.rule.and_then(Rule::shared_changes));
                self.record_one(matched.fingerprint, limit, outcome, now, label);
            }
        }
    }

    /// All buckets in the list, in no particular order.
    pub fn list(&self) -> Vec<BucketSnapshot> {
        let mut all = Vec::new();
        for stripe in self.stripes.iter() {
            all.extend(stripe.lock().values().cloned());
        }
        all
    }

    /// Removes a bucket, until it is recorded again.
    pub fn forget(&self, fingerprint: Fingerprint) {
        self.stripe(fingerprint).lock().remove(&fingerprint);
        // Lets the next call record it, also within the interval.
        if let Some(noted) = self.mark_of(fingerprint) {
            noted.store(0, Ordering::Relaxed);
        }
    }

    /// The bucket with this fingerprint, if it is in the list.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<BucketSnapshot> {
        self.stripe(fingerprint).lock().get(&fingerprint).cloned()
    }

    fn is_noted(&self, fingerprint: Fingerprint, now: Timestamp) -> bool {
        let mark = mark(fingerprint, now);
        self.mark_of(fingerprint).is_some_and(|noted| noted.load(Ordering::Relaxed) == mark)
    }

    #[cold]
    #[inline(never)]
    fn record_one(
        &self,
        fingerprint: Fingerprint,
        (bucket, changes): (Bucket, Option<Arc<LimitChanges>>),
        outcome: Outcome,
        at: Timestamp,
        label: impl FnOnce() -> BucketLabel,
    ) {
        // If the lock is taken, the next call records the bucket.
        let Some(mut stripe) = self.stripe(fingerprint).try_lock() else { return };
        if let Some(noted) = self.mark_of(fingerprint) {
            noted.store(mark(fingerprint, at), Ordering::Relaxed);
        }
        if let Some(seen) = stripe.get_mut(&fingerprint) {
            (seen.bucket, seen.changes, seen.outcome, seen.at) = (bucket, changes, outcome, at);
            return;
        }
        if stripe.len() >= MAX_PER_STRIPE {
            let oldest = stripe.values().min_by_key(|seen| seen.at).map(|seen| seen.fingerprint);
            oldest.and_then(|oldest| stripe.remove(&oldest));
        }
        let label = Arc::new(label());
        let seen = BucketSnapshot { fingerprint, label, bucket, changes, outcome, at };
        stripe.insert(fingerprint, seen);
    }

    // Both use the upper half of the hash: the lower half is the same for all buckets of a row.

    fn mark_of(&self, fingerprint: Fingerprint) -> Option<&AtomicU64> {
        let upper = usize::try_from(fingerprint.hash64() >> 32).unwrap_or(0);
        self.noted.get(upper % MAX_LISTED)
    }

    fn stripe(&self, fingerprint: Fingerprint) -> &Mutex<Stripe> {
        self.stripes.of(fingerprint.hash64() >> 48)
    }
}

/// A mark of the bucket and the interval.
fn mark(fingerprint: Fingerprint, now: Timestamp) -> u64 {
    fingerprint.hash64().wrapping_add(now.as_unix_nanos() >> INTERVAL_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Rate, TokenBucket, Unit};
    use crate::policy::identity::name_for_tests;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1 << 60);

    fn note(recent: &RecentBuckets, key: usize, at: Timestamp) {
        let rate = Rate::new(20, Period::one(Unit::Day)).unwrap();
        let bucket = Bucket::Tokens(TokenBucket::new(20, rate).unwrap());
        let fingerprint = name_for_tests(&key.to_string());
        let outcome =
            Outcome { wait: Wait::NONE, remaining: 0, uncharged: 0, before: 0, reset: Nanos::ZERO };
        recent.record_one(fingerprint, (bucket, None), outcome, at, || BucketLabel {
            domain: "d".into(),
            table: "t".into(),
            row: "all".into(),
            key: [("k".into(), key.to_string().into_bytes().into())].into(),
            is_truncated: false,
            is_shadow: false,
        });
    }

    fn keys(recent: &RecentBuckets) -> Vec<usize> {
        recent.list().iter().map(|seen| seen.label.key_text()[0][1].parse().unwrap()).collect()
    }

    #[test]
    fn the_list_is_bounded_and_drops_the_bucket_recorded_longest_ago() {
        let recent = RecentBuckets::default();
        let mut at = NOW;
        for key in 0..MAX_LISTED * 3 {
            at = at.after(Nanos::new(1));
            note(&recent, key, at);
            // Recorded again and again, so that it stays the latest.
            note(&recent, 7, at);
        }
        let keys = keys(&recent);
        assert!(keys.len() > MAX_LISTED * 9 / 10 && keys.len() <= MAX_LISTED, "{}", keys.len());
        assert!(keys.contains(&7) && keys.contains(&(MAX_LISTED * 3 - 1)));
        let oldest = keys.iter().filter(|key| **key != 7).min().unwrap();
        assert!(*oldest > MAX_LISTED, "{oldest}: the stripes are about equally full");
    }

    #[test]
    fn a_call_that_finds_the_lock_taken_does_not_wait() {
        let recent = RecentBuckets::default();
        let held: Vec<_> = recent.stripes.iter().map(Mutex::lock).collect();
        note(&recent, 1, NOW);
        assert!(!recent.is_noted(name_for_tests("1"), NOW), "the next call records it");
        drop(held);
        assert_eq!(recent.list().len(), 0);
        note(&recent, 1, NOW);
        assert_eq!(keys(&recent), [1]);
        assert!(recent.is_noted(name_for_tests("1"), NOW));
        assert!(!recent.is_noted(name_for_tests("1"), NOW.after(NOTE_INTERVAL)));
        assert!(!recent.is_noted(name_for_tests("2"), NOW));
        recent.forget(name_for_tests("1"));
        assert_eq!(keys(&recent).len(), 0);
        assert!(!recent.is_noted(name_for_tests("1"), NOW), "it may be recorded again at once");
    }
}
