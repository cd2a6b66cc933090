//! Charges for what Envoys use that limit by themselves.

use super::Service;
use super::backend::Backend;
use super::inspect::MAX_BATCH;
use crate::limit::{Bucket, Counting, Debt};
use crate::policy::fingerprint::Fingerprint;
use crate::shares::{BucketId, Claims, DueCharge, ReplicaId};
use crate::store::{Charge, Mode, Outcome, Outcomes, StoreError};

/// What is used is charged whatever is left: a bucket may come to owe as much as it gains in this time.
const MOST_OWED_SECONDS: u32 = 60;

impl Service {
    /// Makes charges whatever is left in their buckets, and returns what was left after each. What a bucket would owe beyond
    /// what it gains in a minute and its size is not charged, so that nobody who reports too much can empty it for long.
    ///
    /// # Errors
    /// If the store does not answer; some of the charges may have been made then.
    pub async fn charge_shares(&self, due: &[DueCharge]) -> Result<Vec<Outcome>, StoreError> {
        let mut all = Vec::with_capacity(due.len());
        let now = self.core.clock.read();
        for some in due.chunks(MAX_BATCH) {
            let buckets: Vec<Bucket> = some.iter().map(|of| Bucket::Tokens(of.limit)).collect();
            let charges: Vec<_> = some.iter().zip(&buckets).map(charge).collect();
            let mut outcomes = Outcomes::new();
            self.backend.charge(&charges, now, &mut outcomes).await?;
            all.extend(outcomes);
        }
        Ok(all)
    }

    /// Lists the buckets of a bucket id with those that are near their limit, as a request does that meets them.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn note_buckets(&self, domain: &str, id: &BucketId) -> Result<(), StoreError> {
        let policies = self.core.policies.load_full();
        let Some(loaded) = policies.get(domain) else { return Ok(()) };
        let Some(query) = id.query(domain) else { return Ok(()) };
        let now = self.core.clock.read();
        let plan = loaded.policy.resolve(&query, now.wall);
        let (verdict, _) = self.peek(&loaded.policy, &plan).await?;
        self.core.recent.record(&loaded.policy, &query, &verdict, now.steady);
        Ok(())
    }

    /// The other replicas that share the buckets; none without a shared store.
    pub fn other_replicas(&self) -> Vec<ReplicaId> {
        match &self.backend {
            Backend::Memory(_) => Vec::new(),
            Backend::Shared(client) => client.other_replicas(),
        }
    }

    /// Tells other replicas what this one claims, and returns what they do. Those that have ended claim nothing after a while.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn exchange_claims(
        &self,
        own: &Claims,
        others: &[ReplicaId],
    ) -> Result<Vec<(ReplicaId, Claims)>, StoreError> {
        match &self.backend {
            Backend::Memory(_) => Ok(Vec::new()),
            Backend::Shared(client) => client.exchange_claims(own, others).await,
        }
    }

    /// Says of each of these buckets whether this replica is the first with Envoys that share it.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn are_first(&self, buckets: &[Fingerprint]) -> Result<Vec<bool>, StoreError> {
        match &self.backend {
            Backend::Memory(_) => Ok(vec![true; buckets.len()]),
            Backend::Shared(client) => client.are_first(buckets).await,
        }
    }
}

fn charge<'a>((due, bucket): (&'a DueCharge, &'a Bucket)) -> Charge<'a> {
    let interval = due.limit.interval().get().max(1);
    let a_minute = u64::from(MOST_OWED_SECONDS) * 1_000_000_000 / interval;
    let most_owed = a_minute.saturating_add(due.limit.size().get().into());
    Charge {
        fingerprint: due.fingerprint,
        bucket,
        changes: due.changes.as_deref(),
        hits: due.hits,
        mode: Mode::Enforced,
        debt: Some(Debt::up_to(u32::try_from(most_owed).unwrap_or(u32::MAX))),
        counting: Counting::AllOrNone,
    }
}
