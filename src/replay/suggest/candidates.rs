//! The second pass: what limits would have denied, tried on the keys that they may deny.

use super::keys::Keys;
use super::ladder::Ladder;
use crate::clock::Timestamp;
use crate::descriptor::{Hits, LeaseId};
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::store::{Admission, Charge, MemoryStore, Mode, Outcomes, StoreError, Wait};

/// Limits for one rule, the smallest first, of which the first that denies no more keys than it may is found.
#[derive(Debug)]
pub(super) struct Candidates<'p> {
    ladder: &'p Ladder,
    /// The keys that some of them may deny. All others are admitted by each.
    keys: Keys,
    /// How many keys may be denied.
    allowed: usize,
    limits: Vec<Candidate>,
}

/// A limit, with the state of the buckets of the keys.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) bucket: Bucket,
    store: MemoryStore,
    denied_keys: Keys,
    /// The requests that it denied.
    pub(super) denied: u64,
}

/// The candidate that took slots for a request, and their lease.
pub(super) type Held = (usize, LeaseId);

impl<'p> Candidates<'p> {
    /// `max_leases` bounds the requests that hold slots at one time.
    pub(super) fn new(
        ladder: &'p Ladder,
        limits: Vec<Bucket>,
        keys: Keys,
        allowed: usize,
        max_leases: usize,
    ) -> Self {
        // Keys are not spread evenly over the shards: with so many more none of them evicts.
        let spare = if keys.len() == 0 { 1 } else { keys.len() / 8 + (1 << 16) };
        let is_of_slots = matches!(ladder.bucket, Bucket::Concurrency(_)) && keys.len() > 0;
        let capacity = if is_of_slots { max_leases } else { keys.len() + spare };
        let limits = limits.into_iter().map(|bucket| Candidate {
            bucket,
            store: MemoryStore::new(capacity),
            denied_keys: Keys::default(),
            denied: 0,
        });
        Self { ladder, keys, allowed, limits: limits.collect() }
    }

    /// Whether none of them has to be tried.
    pub(super) fn are_known(&self) -> bool {
        self.keys.len() == 0
    }

    /// Decides a request that began at `now` by each of them. `hold` gets the slots that were taken.
    ///
    /// # Errors
    /// If a lease gets no id.
    pub(super) fn decide(
        &mut self,
        fingerprint: Fingerprint,
        hits: Hits,
        now: Timestamp,
        mut hold: impl FnMut(Held),
    ) -> Result<(), StoreError> {
        let name = fingerprint.short();
        if !self.keys.contains(name) {
            return Ok(());
        }
        let (debt, counting) = (self.ladder.debt, self.ladder.counting);
        let mut outcomes = Outcomes::new();
        for (at, limit) in self.limits.iter_mut().enumerate() {
            // It is not the one that is looked for.
            if limit.denied_keys.len() > self.allowed {
                continue;
            }
            let (bucket, mode) = (&limit.bucket, Mode::Enforced);
            let charge = Charge { fingerprint, bucket, changes: None, hits, mode, debt, counting };
            let admission = limit.store.decide(&[charge], now, &mut outcomes)?;
            if outcomes.iter().any(|outcome| outcome.wait != Wait::NONE) {
                limit.denied += 1;
                limit.denied_keys.insert(name);
            }
            if let Admission::Admitted { lease: Some(lease) } = admission {
                hold((at, lease));
            }
        }
        Ok(())
    }

    /// Frees slots.
    pub(super) fn release(&self, (at, lease): Held, now: Timestamp) {
        if let Some(limit) = self.limits.get(at) {
            limit.store.release(lease, now);
        }
    }

    /// The smallest of them that denied no more keys than it may.
    pub(super) fn found(&self) -> Option<&Candidate> {
        self.limits.iter().find(|limit| limit.denied_keys.len() <= self.allowed)
    }
}

impl Candidate {
    /// How many keys it denied.
    pub(super) fn denied_keys(&self) -> usize {
        self.denied_keys.len()
    }
}
