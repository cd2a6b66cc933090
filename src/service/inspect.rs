//! What a person asks of the store: how buckets stand, which leases are held, and to give either back.

use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use super::backend::Backend;
use crate::clock::Timestamp;
use crate::decision::{Charges, Verdict};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::Bucket;
use crate::observe::active_leases::HeldSlots;
use crate::observe::recent_buckets::BucketSnapshot;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::{Plan, Policy};
use crate::store::{Admission, Charge, Mode, Outcome, Outcomes, StoreError};

/// How many buckets are asked for together.
const TOGETHER: usize = 64;

/// How long a shared store may take to tell of all leases.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it may take while nobody waits for it.
const PRUNE_TIMEOUT: Duration = Duration::from_secs(10);

/// Leases that are held.
#[derive(Debug, Clone, Default)]
pub struct HeldLeases {
    /// Those that are listed: one for each bucket in which a lease has slots.
    pub items: Vec<HeldSlots>,
    /// How many more there are; of a shared store, how many there may be at most.
    pub omitted: usize,
}

impl Service {
    /// How every bucket of a plan stands, and when: nothing is charged and no lease is released. While a shared
    /// store is away, this is what would be decided by without it, where the policy says `local`.
    ///
    /// # Errors
    /// Where the store cannot tell.
    pub async fn peek<'p>(
        &self,
        policy: &Policy,
        plan: &'p Plan<'_>,
    ) -> Result<(Verdict<'p>, Timestamp), StoreError> {
        let charges = Charges::of(plan).peeking();
        let mut outcomes = Outcomes::new();
        let mut now = self.now();
        if !charges.all().is_empty() {
            let (all, mode) = (charges.all(), policy.on_store_error());
            now = self.backend.peek(all, mode, now, &mut outcomes).await?;
        }
        let admission = Admission::Admitted { lease: None };
        Ok((charges.verdict(plan, &outcomes, admission, 0), now))
    }

    /// The buckets that were lately seen near their limit or over it, those of shadow rows among them, and how
    /// each stands now; ordered by what is left, the emptiest first. Of a shared store it is told what this
    /// process saw last, and no bucket that has become full since by itself.
    pub fn recent_buckets(&self) -> Vec<BucketSnapshot> {
        let mut all = self.core.recent.list();
        let now = self.now();
        match &self.backend {
            Backend::Memory(store) => {
                for seen in &mut all {
                    seen.outcome = store.peek(seen.fingerprint, &seen.bucket, now);
                }
            }
            Backend::Shared(_) => {
                // Noted by our clock, which never jumps, and told by the store's.
                all.retain(|seen| seen.at.after(seen.outcome.reset) > now);
                all.iter_mut().for_each(|seen| seen.at = self.backend.time(seen.at));
            }
        }
        all.sort_by_key(|seen| (seen.fill(), seen.standing(), seen.fingerprint));
        all
    }

    /// The bucket of that name, as it was lately seen near its limit, if it was.
    pub fn recent_bucket(&self, fingerprint: Fingerprint) -> Option<BucketSnapshot> {
        self.core.recent.get(fingerprint)
    }

    /// How each of these buckets stands, for a call of one hit, and when; nothing is charged.
    ///
    /// # Errors
    /// Where the store cannot tell.
    pub async fn peek_many(
        &self,
        buckets: &[(Fingerprint, &Bucket)],
    ) -> Result<(Vec<Outcome>, Timestamp), StoreError> {
        self.decide_each(buckets, Hits::PEEK).await
    }

    /// Makes token buckets full. HeldSlots stay with the leases that hold them. Of a shared store, other replicas go
    /// by what it told them last until that ends, for ten seconds at most.
    ///
    /// # Errors
    /// Where the store does not take it; some may be full then.
    pub async fn refill(&self, buckets: &[(Fingerprint, &Bucket)]) -> Result<(), StoreError> {
        let everything = Hits::give_back(u64::MAX);
        self.decide_each(buckets, everything).await?;
        for (fingerprint, bucket) in buckets {
            // What was decided without a shared store is kept here.
            let charge = charge((*fingerprint, bucket), everything);
            self.core.memory().decide(&[charge], self.now(), &mut Outcomes::new())?;
            self.core.recent.forget(*fingerprint);
        }
        Ok(())
    }

    async fn decide_each(
        &self,
        buckets: &[(Fingerprint, &Bucket)],
        hits: Hits,
    ) -> Result<(Vec<Outcome>, Timestamp), StoreError> {
        let (mut all, ours) = (Vec::with_capacity(buckets.len()), self.now());
        let mut now = ours;
        for some in buckets.chunks(TOGETHER) {
            let charges: Vec<_> = some.iter().map(|of| charge(*of, hits)).collect();
            let mut outcomes = Outcomes::new();
            now = self.backend.charge(&charges, ours, &mut outcomes).await?;
            all.extend(outcomes);
        }
        Ok((all, now))
    }

    /// Whether buckets are kept in a store that replicas share.
    pub const fn is_shared(&self) -> bool {
        self.backend.is_shared()
    }

    /// The time that the buckets go by: a shared store has a clock of its own.
    pub fn store_now(&self) -> Timestamp {
        self.backend.time(self.now())
    }

    /// The leases that this process has taken and that are still held, so many at most, the oldest first. A
    /// shared store is asked which are, since another replica may have released some; while it cannot tell, they
    /// are.
    pub async fn leases(&self, most: usize) -> HeldLeases {
        let now = self.store_now();
        let deadline = Instant::now() + LIST_TIMEOUT;
        let mut all = self.core.leases.list(now).into_iter();
        let mut items = Vec::new();
        while items.len() < most
            && let Some(slots) = all.next()
        {
            if self.is_held(&slots, deadline).await {
                items.push(slots);
            }
        }
        let omitted = match &self.backend {
            Backend::Memory(store) => store.lease_count().saturating_sub(items.len()),
            Backend::Shared(_) => all.len() + self.core.leases.omitted(now),
        };
        HeldLeases { items, omitted }
    }

    /// Waits until the list of leases has got full, and takes off what is not held any more: other replicas
    /// release leases unseen.
    pub async fn prune_leases(&self) {
        self.core.leases.nearly_full().await;
        let deadline = Instant::now() + PRUNE_TIMEOUT;
        for slots in self.core.leases.list(self.store_now()) {
            self.is_held(&slots, deadline).await;
        }
    }

    /// What is not held is not listed any more.
    async fn is_held(&self, slots: &HeldSlots, deadline: Instant) -> bool {
        let is_held = self.backend.holds(slots.lease, slots.fingerprint, deadline).await;
        if !is_held {
            self.core.leases.forget(slots.lease);
        }
        is_held
    }

    /// Gives the slots of a lease back. Returns whether it is known to have held any.
    pub async fn release(&self, lease: LeaseId) -> bool {
        self.core.leases.forget(lease);
        self.backend.release(lease, self.now()).await
    }
}

const fn charge((fingerprint, bucket): (Fingerprint, &Bucket), hits: Hits) -> Charge<'_> {
    Charge { fingerprint, bucket, hits, mode: Mode::Enforced }
}
