//! Leases that this process has taken and that may still be held, with the words that name their buckets.
//!
//! The store knows leases by number only. Whoever looks for one that was never released needs its age and whose
//! it is, so that is noted when it is taken, and taken off when it is released; no other call pays for it. The
//! list is bounded, and what is full takes no more: a lease that nobody releases is to stay on it. Of those that
//! found no place it is known how many there may be.
//!
//! What another replica releases stays on the list of the one that gave it out. So a list that is filling up says
//! so, for somebody to ask the store which of its leases are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::clock::{Nanos, Timestamp};
use crate::decision::{Decided, Verdict};
use crate::descriptor::{LeaseId, Query};
use crate::limit::Bucket;
use crate::near::Named;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Wait;

/// The most leases that are listed.
pub const MOST: usize = PARTS * MOST_OF_A_PART;

const PARTS: usize = 16;

const MOST_OF_A_PART: usize = 256;

/// From when on a part is looked through for what is not held any more.
const CROWDED: usize = MOST_OF_A_PART / 4 * 3;

/// How often a part is looked through for what has expired: not at every lease.
const LOOK_AGAIN: Nanos = Nanos::from_secs(1);

/// How often the store is to be asked, a call for each lease.
const ASK_AGAIN: Nanos = Nanos::from_secs(10);

/// What a lease holds in one bucket.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The lease.
    pub lease: LeaseId,
    /// The bucket's name in the store.
    pub fingerprint: Fingerprint,
    /// The bucket's name for people.
    pub named: Arc<Named>,
    /// How many slots.
    pub count: u64,
    /// When they were taken.
    pub since: Timestamp,
    /// When they come back by themselves.
    pub expires: Timestamp,
}

#[derive(Debug, Default)]
struct Part {
    leases: HashMap<LeaseId, SmallVec<[Slots; 1]>>,
    /// When a part that is crowded may be looked through for what has expired.
    look_again: Timestamp,
    /// How many leases found no place, since the last time that none of them was held for certain.
    left_off: usize,
    /// When none of them will be.
    left_off_until: Timestamp,
}

impl Part {
    /// Whatever has not expired.
    fn held(&self, now: Timestamp) -> impl Iterator<Item = &Slots> {
        self.leases.values().flatten().filter(move |slots| slots.expires > now)
    }
}

/// The list.
#[derive(Debug)]
pub struct Held {
    parts: [Mutex<Part>; PARTS],
    crowded: Notify,
    /// When that is said again, in nanoseconds since the Unix epoch.
    ask_again: AtomicU64,
}

impl Default for Held {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self { parts, crowded: Notify::new(), ask_again: AtomicU64::new(0) }
    }
}

impl Held {
    /// Notes the lease of a verdict, if it has one.
    #[inline]
    pub fn note(&self, policy: &Policy, query: &Query<'_>, verdict: &Verdict<'_>, now: Timestamp) {
        if let Some(lease) = verdict.lease {
            self.add(lease, now, slots(lease, policy, query, verdict, now));
        }
    }

    /// Takes a lease off the list, since it was released.
    pub fn forget(&self, lease: LeaseId) {
        if let Some(part) = self.part(lease) {
            part.lock().leases.remove(&lease);
        }
    }

    /// Whatever is listed and has not expired, the oldest first.
    pub fn list(&self, now: Timestamp) -> Vec<Slots> {
        let mut all: Vec<Slots> = Vec::new();
        for part in &self.parts {
            all.extend(part.lock().held(now).cloned());
        }
        all.sort_by_key(|slots| (slots.since, slots.expires, slots.lease.to_bytes()));
        all
    }

    /// How many leases found no place and may still be held: some of them may have been released.
    pub fn left_off(&self, now: Timestamp) -> usize {
        let of_part = |part: &Mutex<Part>| {
            let part = part.lock();
            if part.left_off_until > now { part.left_off } else { 0 }
        };
        self.parts.iter().map(of_part).sum()
    }

    /// Waits until the list has got so full that the store is to be asked which leases are held.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    #[cold]
    fn add(&self, lease: LeaseId, now: Timestamp, slots: SmallVec<[Slots; 1]>) {
        let Some(part) = self.part(lease) else { return };
        let mut part = part.lock();
        if part.leases.len() >= CROWDED && now >= part.look_again {
            part.leases.retain(|_, held| held.iter().any(|slots| slots.expires > now));
            part.look_again = now.after(LOOK_AGAIN);
            if part.leases.len() >= CROWDED {
                self.say_crowded(now);
            }
        }
        if part.leases.len() < MOST_OF_A_PART {
            part.leases.insert(lease, slots);
        } else if let Some(until) = slots.iter().map(|slots| slots.expires).max() {
            if part.left_off_until <= now {
                part.left_off = 0;
            }
            part.left_off += 1;
            part.left_off_until = part.left_off_until.max(until);
        }
    }

    fn say_crowded(&self, now: Timestamp) {
        let next = now.after(ASK_AGAIN).as_unix_nanos();
        let is_time = |at| (at <= now.as_unix_nanos()).then_some(next);
        if self.ask_again.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time).is_ok() {
            self.crowded.notify_one();
        }
    }

    fn part(&self, lease: LeaseId) -> Option<&Mutex<Part>> {
        let [.., last] = lease.hash64().to_le_bytes();
        self.parts.get(usize::from(last) % PARTS)
    }
}

fn slots(
    lease: LeaseId,
    policy: &Policy,
    query: &Query<'_>,
    verdict: &Verdict<'_>,
    now: Timestamp,
) -> SmallVec<[Slots; 1]> {
    let of = |decided: &Decided<'_>| {
        let Bucket::Concurrency(bucket) = decided.met.bucket else { return None };
        let count = decided.met.hits.charged();
        (count > 0 && decided.outcome.wait == Wait::No).then(|| Slots {
            lease,
            fingerprint: decided.met.fingerprint,
            named: Arc::new(Named::of(policy, query, decided)),
            count,
            since: now,
            expires: now.after(bucket.hold()),
        })
    };
    let mut all: SmallVec<[Slots; 1]> = SmallVec::new();
    for slots in verdict.decided.iter().filter_map(of) {
        // Several descriptors that reach one bucket take its slots once, by the largest hits.
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

    fn add(held: &Held, number: u64, since: Timestamp, hold: Nanos) {
        let name: Box<str> = "x".into();
        let named = Named {
            domain: name.clone(),
            table: name.clone(),
            row: name,
            key: [].into(),
            is_cut: false,
            is_shadow: false,
        };
        let slots = Slots {
            lease: lease(number),
            fingerprint: name_for_tests("x"),
            named: Arc::new(named),
            count: 1,
            since,
            expires: since.after(hold),
        };
        held.add(lease(number), since, [slots].into());
    }

    #[test]
    fn the_list_is_bounded_and_the_oldest_stay_until_they_expire() {
        let held = Held::default();
        let most = u64::try_from(MOST).unwrap();
        let hold = Nanos::from_secs(60);
        for number in 0..most * 2 {
            add(&held, number, NOW.after(Nanos::new(number)), hold);
        }
        let listed = held.list(NOW);
        assert_eq!(listed.len(), MOST);
        assert_eq!((listed[0].lease, listed[MOST - 1].lease), (lease(0), lease(most - 1)));
        held.forget(lease(0));
        assert_eq!(held.list(NOW)[0].lease, lease(1));
        assert_eq!(held.left_off(NOW), MOST, "one that was on it does not count");
        let later = NOW.after(hold).after(Nanos::new(most * 2));
        assert_eq!((held.list(later).len(), held.left_off(later)), (0, 0));
        for number in 0..most {
            add(&held, most * 2 + number, later, hold);
        }
        assert_eq!(held.list(later).len(), MOST, "what has expired makes room");
        add(&held, most * 3, later, hold);
        assert_eq!(held.left_off(later), 1, "those before have expired");
    }

    #[test]
    fn a_list_that_is_filling_up_says_so_and_not_at_every_lease() {
        let held = Held::default();
        let says_so = || {
            let mut context = Context::from_waker(Waker::noop());
            pin!(held.crowded()).poll(&mut context).is_ready()
        };
        let hold = Nanos::from_secs(3600);
        let crowded = u64::try_from(PARTS * CROWDED).unwrap();
        (0..crowded).for_each(|number| add(&held, number, NOW, hold));
        assert!(!says_so());
        (crowded..crowded + 100).for_each(|number| add(&held, number, NOW, hold));
        assert!(says_so() && !says_so());
        add(&held, crowded + 100, NOW.after(ASK_AGAIN).before(Nanos::new(1)), hold);
        assert!(!says_so());
        add(&held, crowded + 101, NOW.after(ASK_AGAIN).after(LOOK_AGAIN), hold);
        assert!(says_so());
    }
}
