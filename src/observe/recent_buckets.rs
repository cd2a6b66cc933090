//! Buckets that were lately seen near their limit, or over it, with the words that name them.
//!
//! The store knows buckets by their fingerprints only. Whoever wants to know which tenants are at their limit
//! needs names, so these are recorded when a request meets such a bucket. That costs the request next to nothing: a
//! bucket is recorded once in [`NOTE_INTERVAL`], no request waits for a lock, and memory is allocated only for a bucket
//! that is not listed yet. The list is bounded; the bucket seen longest ago goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::bucket_label::BucketLabel;
use crate::clock::{Nanos, Timestamp};
use crate::decision::Verdict;
use crate::descriptor::Query;
use crate::limit::Bucket;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::store::{Outcome, Wait};
use crate::striped::{STRIPES, Striped};

/// The most buckets that are listed.
pub const MAX_LISTED: usize = STRIPES * MAX_PER_STRIPE;

/// Few enough to look through all of them for the one that goes.
const MAX_PER_STRIPE: usize = 256;

/// How many bits of a time in nanoseconds are dropped to get the span within which a bucket is noted once.
const INTERVAL_BITS: u32 = 27;

/// How long a bucket that was noted is left alone: 134 ms.
pub const NOTE_INTERVAL: Nanos = Nanos::new(1 << INTERVAL_BITS);

/// How near a bucket is to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It cannot admit a call of one hit.
    Over,
    /// Less than a tenth is left.
    Near,
    /// A tenth is left, or more.
    Clear,
}

impl Standing {
    /// How a bucket stands that would say this to a call of one hit.
    pub fn of(bucket: &Bucket, outcome: &Outcome) -> Self {
        if outcome.wait != Wait::None || outcome.remaining == 0 {
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

/// A bucket of the list.
#[derive(Debug, Clone)]
pub struct BucketSnapshot {
    /// The bucket's name in the store.
    pub fingerprint: Fingerprint,
    /// The bucket's name for people.
    pub label: Arc<BucketLabel>,
    /// What it is.
    pub bucket: Bucket,
    /// How it stood.
    pub outcome: Outcome,
    /// When that was.
    pub at: Timestamp,
}

impl BucketSnapshot {
    /// How near it is to its limit.
    pub fn standing(&self) -> Standing {
        Standing::of(&self.bucket, &self.outcome)
    }

    /// What is left of it, of 2^32 when it is full.
    pub fn fill(&self) -> u64 {
        let left = u64::from(self.outcome.remaining) << 32;
        left.checked_div(self.bucket.size().into()).unwrap_or(0)
    }
}

type Stripe = HashMap<Fingerprint, BucketSnapshot>;

/// The list.
#[derive(Debug)]
pub struct RecentBuckets {
    stripes: Striped<Stripe>,
    /// For each hash, the bucket recorded last and its interval; repeats within an interval are skipped.
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
    /// Records those buckets of a verdict that are over their limit, or have less than a tenth left. What is blocked
    /// is near nothing: it would be listed for good, in place of what will pass again.
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
                self.record_one(matched.fingerprint, *matched.bucket, outcome, now, label);
            }
        }
    }

    /// Every bucket that is listed, in no order.
    pub fn list(&self) -> Vec<BucketSnapshot> {
        let mut all = Vec::new();
        for stripe in self.stripes.iter() {
            all.extend(stripe.lock().values().cloned());
        }
        all
    }

    /// Takes a bucket off the list until it is seen again.
    pub fn forget(&self, fingerprint: Fingerprint) {
        self.stripe(fingerprint).lock().remove(&fingerprint);
        // By the very next call.
        if let Some(noted) = self.mark_of(fingerprint) {
            noted.store(0, Ordering::Relaxed);
        }
    }

    /// The bucket of that name, if it is listed.
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
        bucket: Bucket,
        outcome: Outcome,
        at: Timestamp,
        label: impl FnOnce() -> BucketLabel,
    ) {
        // A bucket that is not noted now will be by the next call.
        let Some(mut stripe) = self.stripe(fingerprint).try_lock() else { return };
        if let Some(noted) = self.mark_of(fingerprint) {
            noted.store(mark(fingerprint, at), Ordering::Relaxed);
        }
        if let Some(seen) = stripe.get_mut(&fingerprint) {
            (seen.bucket, seen.outcome, seen.at) = (bucket, outcome, at);
            return;
        }
        if stripe.len() >= MAX_PER_STRIPE {
            let oldest = stripe.values().min_by_key(|seen| seen.at).map(|seen| seen.fingerprint);
            oldest.and_then(|oldest| stripe.remove(&oldest));
        }
        let label = Arc::new(label());
        stripe.insert(fingerprint, BucketSnapshot { fingerprint, label, bucket, outcome, at });
    }

    // The upper half of the hash: the lower one is the same for all buckets of a row.

    fn mark_of(&self, fingerprint: Fingerprint) -> Option<&AtomicU64> {
        let upper = usize::try_from(fingerprint.hash64() >> 32).unwrap_or(0);
        self.noted.get(upper % MAX_LISTED)
    }

    fn stripe(&self, fingerprint: Fingerprint) -> &Mutex<Stripe> {
        self.stripes.of(fingerprint.hash64() >> 48)
    }
}

/// Which bucket, in which span of time.
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
        let outcome = Outcome { wait: Wait::None, remaining: 0, reset: Nanos::ZERO };
        recent.record_one(fingerprint, bucket, outcome, at, || BucketLabel {
            domain: "d".into(),
            table: "t".into(),
            row: "always".into(),
            key: [("k".into(), key.to_string().into_bytes().into())].into(),
            is_truncated: false,
            is_shadow: false,
        });
    }

    fn keys(recent: &RecentBuckets) -> Vec<usize> {
        recent.list().iter().map(|seen| seen.label.key_text()[0][1].parse().unwrap()).collect()
    }

    #[test]
    fn the_list_is_bounded_and_what_was_seen_longest_ago_goes() {
        let recent = RecentBuckets::default();
        let mut at = NOW;
        for key in 0..MAX_LISTED * 3 {
            at = at.after(Nanos::new(1));
            note(&recent, key, at);
            // BucketSnapshot again and again, however old.
            note(&recent, 7, at);
        }
        let keys = keys(&recent);
        assert!(keys.len() > MAX_LISTED * 9 / 10 && keys.len() <= MAX_LISTED, "{}", keys.len());
        assert!(keys.contains(&7) && keys.contains(&(MAX_LISTED * 3 - 1)));
        let oldest = keys.iter().filter(|key| **key != 7).min().unwrap();
        assert!(*oldest > MAX_LISTED, "{oldest}: a part is about as full as others");
    }

    #[test]
    fn whoever_finds_the_list_busy_goes_on_without_it() {
        let recent = RecentBuckets::default();
        let held: Vec<_> = recent.stripes.iter().map(Mutex::lock).collect();
        note(&recent, 1, NOW);
        assert!(!recent.is_noted(name_for_tests("1"), NOW), "the next call is to note it");
        drop(held);
        assert_eq!(recent.list().len(), 0);
        note(&recent, 1, NOW);
        assert_eq!(keys(&recent), [1]);
        assert!(recent.is_noted(name_for_tests("1"), NOW));
        assert!(!recent.is_noted(name_for_tests("1"), NOW.after(NOTE_INTERVAL)));
        assert!(!recent.is_noted(name_for_tests("2"), NOW));
        recent.forget(name_for_tests("1"));
        assert_eq!(keys(&recent).len(), 0);
        assert!(
            !recent.is_noted(name_for_tests("1"), NOW),
            "it may be near its limit again at once"
        );
    }
}
