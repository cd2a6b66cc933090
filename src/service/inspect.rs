//! Operations for administrators: read the state of buckets and leases, refill buckets, release leases.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::Service;
use super::backend::Backend;
use super::unspent::{Reading, Unspent};
use crate::clock::{Nanos, Timestamp};
use crate::decision::{Charges, Verdict};
use crate::descriptor::{Entry, Hits, LeaseId};
use crate::limit::{Bucket, Counting, LimitChanges};
use crate::live::LoadedPolicies;
use crate::observe::active_leases::HeldSlots;
use crate::observe::recent_buckets::BucketSnapshot;
use crate::observe::top_denied::TopDenied;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::lookup::NamedBucket;
use crate::policy::{Plan, Policy};
use crate::store::{Admission, Charge, Mode, Outcome, Outcomes, StoreError};

/// The most buckets in one command to the store.
pub(super) const MAX_BATCH: usize = 64;

/// How long a shared store may take to check the listed leases.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the same may take in the background.
const PRUNE_TIMEOUT: Duration = Duration::from_secs(10);

/// A bucket to read or to refill, as the calls that it limits decide it.
#[derive(Debug, Clone, Copy)]
pub struct Inspected<'a> {
    /// Its name in the store.
    pub fingerprint: Fingerprint,
    /// Its limit.
    pub bucket: &'a Bucket,
    /// When the limit changed: what was used before refills at the old rate until then.
    pub changes: Option<&'a LimitChanges>,
}

impl<'a> From<&NamedBucket<'a>> for Inspected<'a> {
    fn from(of: &NamedBucket<'a>) -> Self {
        let (bucket, changes) = (of.bucket(), of.rule.changes());
        Self { fingerprint: of.fingerprint, bucket, changes }
    }
}

impl<'a> From<&'a BucketSnapshot> for Inspected<'a> {
    fn from(seen: &'a BucketSnapshot) -> Self {
        let (bucket, changes) = (&seen.bucket, seen.changes.as_deref());
        Self { fingerprint: seen.fingerprint, bucket, changes }
    }
}

impl<'a> Inspected<'a> {
    const fn charge(self, hits: Hits) -> Charge<'a> {
        let Self { fingerprint, bucket, changes } = self;
        let mode = Mode::Enforced;
        let is_window = matches!(bucket, Bucket::Window(_));
        let counting = if is_window { Counting::Each } else { Counting::AllOrNone };
        Charge { fingerprint, bucket, changes, hits, mode, debt: None, counting }
    }
}

/// Leases that are held.
#[derive(Debug, Clone, Default)]
pub struct HeldLeases {
    /// The listed slots: one item for each bucket in which a lease has slots.
    pub items: Vec<HeldSlots>,
    /// The number of items that are not listed; with a shared store, an upper bound.
    pub omitted: usize,
}

impl Service {
    /// The state of every bucket of a plan, and when it was read. Nothing is charged and no lease is released. While
    /// a shared store does not answer and the policy decides locally, this is the local state.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn peek<'p>(
        &self,
        policy: &Policy,
        plan: &'p Plan<'_>,
    ) -> Result<(Verdict<'p>, Reading), StoreError> {
        let charges = Charges::of(plan).peeking();
        let mut outcomes = Outcomes::new();
        let read = self.core.clock.read();
        let mut at = read.wall;
        if !charges.all().is_empty() {
            let (all, mode) = (charges.all(), policy.on_store_error());
            at = self.backend.peek(all, mode, read, &mut outcomes).await?;
        }
        let named = charges.all().iter().map(|charge| (charge.fingerprint, charge.bucket));
        let reading = self.with_prepaid(named, &mut outcomes, at);
        let admission = Admission::Admitted { lease: None };
        Ok((charges.verdict(plan, &outcomes, admission, 0), reading))
    }

    /// Adds what this process has prepaid of buckets in a shared store to their outcomes of a look at `at`.
    fn with_prepaid<'a>(
        &self,
        buckets: impl Iterator<Item = (Fingerprint, &'a Bucket)> + Clone,
        outcomes: &mut [Outcome],
        at: Timestamp,
    ) -> Reading {
        let unspent = self.unspent(buckets.clone().map(|(fingerprint, _)| fingerprint));
        for (named, outcome) in buckets.zip(outcomes) {
            *outcome = unspent.added_to(*outcome, named, at);
        }
        Reading { at, unspent }
    }

    /// What this process has prepaid of these buckets in a shared store.
    pub fn unspent(&self, buckets: impl Iterator<Item = Fingerprint>) -> Unspent {
        self.backend.unspent(buckets)
    }

    /// For how long a policy has admissions prepaid in a shared store, if it has.
    pub fn prepaid_time(&self, policy: &Policy) -> Option<Nanos> {
        self.backend.prepaid_time(policy)
    }

    /// The buckets that were recently near or over their limit, shadow rows included, with their current state and its wall
    /// time, the emptiest first: what a call of no hits would be told. With a shared store, the limit and the state are the last
    /// that this process saw, without the buckets that have refilled since.
    pub fn recent_buckets(&self) -> Vec<BucketSnapshot> {
        let mut all = self.core.recent.list();
        let now = self.core.clock.read();
        match &self.backend {
            Backend::Memory(store) => {
                let policies = self.core.policies.load_full();
                for seen in &mut all {
                    update(seen, &policies, now.wall);
                    let changes = seen.changes.as_deref();
                    seen.outcome = store.peek(seen.fingerprint, &seen.bucket, changes, now);
                    seen.at = now.wall;
                }
            }
            Backend::Shared(_) => {
                // Recorded by this process's clock, which never jumps, and returned by the store's.
                all.retain(|seen| seen.at.after(seen.outcome.reset) > now.steady);
                all.iter_mut().for_each(|seen| seen.at = self.backend.store_time(seen.at));
            }
        }
        all.sort_by_key(|seen| (seen.fill(), seen.standing(), seen.fingerprint));
        all
    }

    /// The bucket of this name, if it was recently near or over its limit, with the limit that the policy in force has
    /// for it and the outcome that was recorded.
    pub fn recent_bucket(&self, fingerprint: Fingerprint) -> Option<BucketSnapshot> {
        let mut seen = self.core.recent.get(fingerprint)?;
        update(&mut seen, &self.core.policies.load_full(), self.wall_now());
        Some(seen)
    }

    /// The buckets that denied most calls of this process in the last minutes, `max` of them at most: those of enforced
    /// rows, or those of rows in shadow, which would have denied them; of one domain, if it is given.
    pub fn top_denied(&self, is_shadow: bool, domain: Option<&str>, max: usize) -> TopDenied {
        self.core.denials.top(is_shadow, domain, max, self.now())
    }

    /// The state of each bucket for a call of one hit, and when it was read. Nothing is charged.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn peek_many(
        &self,
        buckets: &[Inspected<'_>],
    ) -> Result<(Vec<Outcome>, Reading), StoreError> {
        let (mut outcomes, at) = self.decide_each(buckets, Hits::PEEK).await?;
        let named = buckets.iter().map(|of| (of.fingerprint, of.bucket));
        let reading = self.with_prepaid(named, &mut outcomes, at);
        Ok((outcomes, reading))
    }

    /// Refills token buckets. The slots of concurrency buckets stay with their leases. With a shared store, other
    /// replicas may deny by their cached denials for as long as they have admissions prepaid, and for up to ten seconds
    /// more where they have none.
    ///
    /// # Errors
    /// If the store does not answer; some of the buckets may be full then.
    pub async fn refill(&self, buckets: &[Inspected<'_>]) -> Result<(), StoreError> {
        let everything = Hits::give_back(u64::MAX);
        // Else it would be given back later, to a bucket that is charged again.
        self.backend.give_back_prepaid(buckets.iter().map(|of| of.fingerprint)).await;
        self.decide_each(buckets, everything).await?;
        for bucket in buckets {
            // Memory holds what was charged without the shared store.
            let charge = bucket.charge(everything);
            self.core.memory().decide(&[charge], self.core.clock.read(), &mut Outcomes::new())?;
            self.core.recent.forget(bucket.fingerprint);
        }
        Ok(())
    }

    async fn decide_each(
        &self,
        buckets: &[Inspected<'_>],
        hits: Hits,
    ) -> Result<(Vec<Outcome>, Timestamp), StoreError> {
        let (mut all, ours) = (Vec::with_capacity(buckets.len()), self.core.clock.read());
        let mut now = ours.wall;
        for some in buckets.chunks(MAX_BATCH) {
            let charges: Vec<_> = some.iter().map(|of| of.charge(hits)).collect();
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

    /// The time of the clock by which leases expire.
    pub fn store_now(&self) -> Timestamp {
        self.backend.store_time(self.now())
    }

    /// A time of a lease by the wall clock.
    pub fn lease_time(&self, at: Timestamp) -> Timestamp {
        match &self.backend {
            Backend::Memory(_) => self.to_wall(at),
            Backend::Shared(_) => at,
        }
    }

    /// The leases that this process granted and that are still held, at most `max` of them, the oldest first. A
    /// shared store is asked which of them are held, since another replica may have released some; if it does not
    /// answer, they count as held.
    pub async fn leases(&self, max: usize) -> HeldLeases {
        let now = self.store_now();
        let deadline = Instant::now() + LIST_TIMEOUT;
        let mut all = self.core.leases.list(now).into_iter();
        let mut items = Vec::new();
        while items.len() < max
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

    /// Waits until the list of leases is nearly full, then removes those that are no longer held: other replicas
    /// may have released them.
    pub async fn prune_leases(&self) {
        self.core.leases.nearly_full().await;
        let deadline = Instant::now() + PRUNE_TIMEOUT;
        for slots in self.core.leases.list(self.store_now()) {
            self.is_held(&slots, deadline).await;
        }
    }

    /// Whether slots are still held. If not, their lease is no longer listed.
    async fn is_held(&self, slots: &HeldSlots, deadline: Instant) -> bool {
        let is_held = self.backend.holds(slots.lease, slots.fingerprint, deadline).await;
        if !is_held {
            self.core.leases.forget(slots.lease);
        }
        is_held
    }

    /// Releases a lease. Returns whether it is known to have held slots.
    pub async fn release(&self, lease: LeaseId) -> bool {
        self.core.leases.forget(lease);
        self.backend.release(lease, self.now()).await
    }
}

/// Gives a listed bucket the limit that the policies in force have for it at this time of the wall clock, if they have
/// one: it was recorded with the limit of that time.
fn update(seen: &mut BucketSnapshot, policies: &LoadedPolicies, now: Timestamp) {
    let label = &*seen.label;
    let key: SmallVec<[Entry<'_>; 8]> =
        label.key.iter().map(|(key, value)| Entry { key: (&**key).into(), value }).collect();
    let loaded = policies.get(&*label.domain);
    let rule = loaded.and_then(|loaded| {
        loaded.policy.rule_of([&label.table, &label.row], &key, seen.fingerprint, now)
    });
    if let Some(rule) = rule {
        (seen.bucket, seen.changes) = (*rule.bucket(), rule.shared_changes());
    }
}
