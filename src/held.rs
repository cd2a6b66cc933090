//! Leases that this process has taken and that may still be held, with the words that name their buckets.
//!
//! The store knows leases by number only. Whoever looks for one that was never released needs its age and whose
//! it is, so that is noted when it is taken, and taken off when it is released; no other call pays for it. The
//! list is bounded, and what is full takes no more: a lease that nobody releases is to stay on it.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

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

/// How often that is done: not at every lease that finds no place.
const LOOK_AGAIN: Nanos = Nanos::from_secs(1);

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
    /// When a part that is full may be looked through for what has expired.
    look_again: Timestamp,
}

/// The list.
#[derive(Debug)]
pub struct Held {
    parts: [Mutex<Part>; PARTS],
}

impl Default for Held {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
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
            let part = part.lock();
            let held = part.leases.values().flatten();
            all.extend(held.filter(|slots| slots.expires > now).cloned());
        }
        all.sort_by_key(|slots| (slots.since, slots.expires, slots.lease.to_bytes()));
        all
    }

    #[cold]
    fn add(&self, lease: LeaseId, now: Timestamp, slots: SmallVec<[Slots; 1]>) {
        let Some(part) = self.part(lease) else { return };
        let mut part = part.lock();
        if part.leases.len() >= MOST_OF_A_PART && now >= part.look_again {
            part.leases.retain(|_, held| held.iter().any(|slots| slots.expires > now));
            part.look_again = now.after(LOOK_AGAIN);
        }
        if part.leases.len() < MOST_OF_A_PART {
            part.leases.insert(lease, slots);
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
    use super::*;
    use crate::policy::fingerprint::name_for_tests;

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
        let later = NOW.after(hold).after(Nanos::new(most));
        assert_eq!(held.list(later).len(), 0);
        for number in 0..most {
            add(&held, most * 2 + number, later, hold);
        }
        assert_eq!(held.list(later).len(), MOST, "what has expired makes room");
    }
}
