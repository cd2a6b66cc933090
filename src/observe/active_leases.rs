//! The leases that this process has granted and that may still be held, with the labels of their buckets.
//!
//! The store knows leases by their ids only. To find a lease that was never released, an operator needs its age and
//! its bucket, so the list records them when the lease is granted and drops them when it is released. Calls without a
//! lease do not touch the list. It is bounded, and a full list takes no more: the oldest leases are those that an
//! operator looks for. Leases beyond the bound are counted.
//!
//! A lease that another replica releases stays on the list of the replica that granted it. So a list that is nearly
//! full notifies a task, which asks the store which of the leases are still held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::bucket_label::BucketLabel;
use crate::clock::{Nanos, Timestamp};
use crate::decision::{Decided, Verdict};
use crate::descriptor::{LeaseId, Query};
use crate::limit::Bucket;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Wait;
use crate::striped::{STRIPES, Striped};

/// The maximum number of leases in the list.
pub const MAX_LISTED: usize = STRIPES * MAX_PER_STRIPE;

const MAX_PER_STRIPE: usize = 256;

/// The length from which on a stripe is pruned.
const NEARLY_FULL: usize = MAX_PER_STRIPE / 4 * 3;

/// The minimum interval between two prunings of a stripe for expired leases.
const PRUNE_INTERVAL: Nanos = Nanos::from_secs(1);

/// The minimum interval between two notifications: each costs the store one call per lease.
const QUERY_INTERVAL: Nanos = Nanos::from_secs(10);

/// The slots of a lease in one bucket.
#[derive(Debug, Clone)]
pub struct HeldSlots {
    /// The lease.
    pub lease: LeaseId,
    /// Name of the bucket in the store.
    pub fingerprint: Fingerprint,
    /// Name of the bucket for people.
    pub label: Arc<BucketLabel>,
    /// Number of slots.
    pub count: u64,
    /// When they were taken.
    pub since: Timestamp,
    /// When they become free without a release.
    pub expires: Timestamp,
}

#[derive(Debug, Default)]
struct Stripe {
    leases: HashMap<LeaseId, SmallVec<[HeldSlots; 1]>>,
    /// When a stripe that is nearly full may be pruned next.
    next_prune: Timestamp,
    /// Leases omitted since the stripe was full; reset once all of them have expired.
    omitted: usize,
    /// When all omitted leases will have expired.
    omitted_until: Timestamp,
}

impl Stripe {
    /// The slots that have not expired.
    fn held(&self, now: Timestamp) -> impl Iterator<Item = &HeldSlots> {
        self.leases.values().flatten().filter(move |slots| slots.expires > now)
    }
}

/// The list of active leases.
#[derive(Debug)]
pub struct ActiveLeases {
    stripes: Striped<Stripe>,
    nearly_full: Notify,
    /// When `nearly_full` may be notified next, in nanoseconds since the Unix epoch.
    next_query: AtomicU64,
}

impl Default for ActiveLeases {
    fn default() -> Self {
        let (stripes, nearly_full) = (Striped::default(), Notify::new());
        Self { stripes, nearly_full, next_query: AtomicU64::new(0) }
    }
}

impl ActiveLeases {
    /// Records the lease of a verdict, if it has one.
    #[inline]
    pub fn record(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        if let Some(lease) = verdict.lease {
            self.add(lease, now, slots(lease, policy, query, verdict, now));
        }
    }

    /// Removes a lease that was released.
    pub fn forget(&self, lease: LeaseId) {
        self.stripe(lease).lock().leases.remove(&lease);
    }

    /// The listed slots that have not expired, the oldest first.
    pub fn list(&self, now: Timestamp) -> Vec<HeldSlots> {
        let mut all: Vec<HeldSlots> = Vec::new();
        for stripe in self.stripes.iter() {
            all.extend(stripe.lock().held(now).cloned());
        }
        all.sort_by_key(|slots| (slots.since, slots.expires, slots.lease.to_bytes()));
        all
    }

    /// How many leases may be held but are not in the list; some of them may have been released.
    pub fn omitted(&self, now: Timestamp) -> usize {
        let of_stripe = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock();
            if stripe.omitted_until > now { stripe.omitted } else { 0 }
        };
        self.stripes.iter().map(of_stripe).sum()
    }

    /// Waits until the list is nearly full, so that the store should be asked which leases are held.
    pub async fn nearly_full(&self) {
        self.nearly_full.notified().await;
    }

    #[cold]
    fn add(&self, lease: LeaseId, now: Timestamp, slots: SmallVec<[HeldSlots; 1]>) {
        let mut stripe = self.stripe(lease).lock();
        if stripe.leases.len() >= NEARLY_FULL && now >= stripe.next_prune {
            stripe.leases.retain(|_, held| held.iter().any(|slots| slots.expires > now));
            stripe.next_prune = now.after(PRUNE_INTERVAL);
            if stripe.leases.len() >= NEARLY_FULL {
                self.notify_nearly_full(now);
            }
        }
        if stripe.leases.len() < MAX_PER_STRIPE {
            stripe.leases.insert(lease, slots);
        } else if let Some(until) = slots.iter().map(|slots| slots.expires).max() {
            if stripe.omitted_until <= now {
                stripe.omitted = 0;
            }
            stripe.omitted += 1;
            stripe.omitted_until = stripe.omitted_until.max(until);
        }
    }

    fn notify_nearly_full(&self, now: Timestamp) {
        let next = now.after(QUERY_INTERVAL).as_unix_nanos();
        let next_if_due = |at| (at <= now.as_unix_nanos()).then_some(next);
        if self.next_query.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next_if_due).is_ok() {
            self.nearly_full.notify_one();
        }
    }

    fn stripe(&self, lease: LeaseId) -> &Mutex<Stripe> {
        // The store's index uses other bits of the hash.
        self.stripes.of(lease.hash64() >> 56)
    }
}

fn slots(
    lease: LeaseId,
    policy: &Policy,
    query: &Query<'_>,
    verdict: &Verdict<'_>,
    now: Timestamp,
) -> SmallVec<[HeldSlots; 1]> {
    let of = |decided: &Decided<'_>| {
        let Bucket::Concurrency(bucket) = decided.matched.bucket else { return None };
        let count = decided.matched.hits.charged();
        (count > 0 && decided.outcome.wait == Wait::NONE).then(|| HeldSlots {
            lease,
            fingerprint: decided.matched.fingerprint,
            label: Arc::new(BucketLabel::of(policy, query, decided)),
            count,
            since: now,
            expires: now.after(bucket.ttl()),
        })
    };
    let mut all: SmallVec<[HeldSlots; 1]> = SmallVec::new();
    for slots in verdict.decided.iter().filter_map(of) {
        // Several descriptors with the same bucket take its slots once, for the largest hits.
        match all.iter_mut().find(|other| other.fingerprint == slots.fingerprint) {
            Some(other) => other.count = other.count.max(slots.count),
            None => all.push(slots),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::policy::identity::name_for_tests;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1 << 60);

    fn lease(number: u64) -> LeaseId {
        let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
        LeaseId::from_bytes([a, b, c, d, e, f, g, a, h, 0, 0, 0, 0, 0, 0, 0])
    }

    fn add(held: &ActiveLeases, number: u64, since: Timestamp, hold: Nanos) {
        let name: Box<str> = "x".into();
        let label = BucketLabel {
            domain: name.clone(),
            table: name.clone(),
            row: name,
            key: [].into(),
            is_truncated: false,
            is_shadow: false,
        };
        let slots = HeldSlots {
            lease: lease(number),
            fingerprint: name_for_tests("x"),
            label: Arc::new(label),
            count: 1,
            since,
            expires: since.after(hold),
        };
        held.add(lease(number), since, [slots].into());
    }

    #[test]
    fn the_list_is_bounded_and_the_oldest_stay_until_they_expire() {
        let held = ActiveLeases::default();
        let most = u64::try_from(MAX_LISTED).unwrap();
        let hold = Nanos::from_secs(60);
        for number in 0..most * 2 {
            add(&held, number, NOW.after(Nanos::new(number)), hold);
        }
        let listed = held.list(NOW);
        assert_eq!(listed.len(), MAX_LISTED);
        assert_eq!((listed[0].lease, listed[MAX_LISTED - 1].lease), (lease(0), lease(most - 1)));
        held.forget(lease(0));
        assert_eq!(held.list(NOW)[0].lease, lease(1));
        assert_eq!(held.omitted(NOW), MAX_LISTED, "a lease that was listed is not omitted");
        let later = NOW.after(hold).after(Nanos::new(most * 2));
        assert_eq!((held.list(later).len(), held.omitted(later)), (0, 0));
        for number in 0..most {
            add(&held, most * 2 + number, later, hold);
        }
        assert_eq!(held.list(later).len(), MAX_LISTED, "expired leases make room");
        add(&held, most * 3, later, hold);
        assert_eq!(held.omitted(later), 1, "the earlier omitted leases have expired");
    }

    #[test]
    fn a_nearly_full_list_notifies_once_per_interval() {
        let held = ActiveLeases::default();
        let is_notified = || {
            let mut context = Context::from_waker(Waker::noop());
            pin!(held.nearly_full()).poll(&mut context).is_ready()
        };
        let hold = Nanos::from_secs(3600);
        let nearly_full = u64::try_from(STRIPES * NEARLY_FULL).unwrap();
        (0..nearly_full).for_each(|number| add(&held, number, NOW, hold));
        assert!(!is_notified());
        (nearly_full..nearly_full + 100).for_each(|number| add(&held, number, NOW, hold));
        assert!(is_notified() && !is_notified());
        add(&held, nearly_full + 100, NOW.after(QUERY_INTERVAL).before(Nanos::new(1)), hold);
        assert!(!is_notified());
        add(&held, nearly_full + 101, NOW.after(QUERY_INTERVAL).after(PRUNE_INTERVAL), hold);
        assert!(is_notified());
    }
}
