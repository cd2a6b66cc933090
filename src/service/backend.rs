//! The store in which a service decides: its own memory, or a shared store. An enum, since the set is closed; all
//! differences between the two are here.

use std::sync::Arc;

use tokio::time::Instant;

use super::unspent::Unspent;
use crate::clock::{Nanos, Now, Timestamp};
use crate::decision::{Charges, Verdict};
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::{OnStoreError, Plan, Policy};
use crate::shared::{Decision, StoreClient};
use crate::store::{Admission, Charge, MemoryStore, Outcomes, StoreError};

pub(super) enum Backend {
    /// Decides synchronously.
    Memory(Arc<MemoryStore>),
    /// Decides over a connection that belongs to the service's runtime.
    Shared(Arc<StoreClient>),
}

impl Backend {
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Converts a steady time of this process to the clock by which the store's leases expire.
    pub(super) fn store_time(&self, ours: Timestamp) -> Timestamp {
        match self {
            Self::Memory(_) => ours,
            Self::Shared(client) => client.store().to_store_time(ours),
        }
    }

    /// Charges all or nothing, without cached denials. Returns the time of the decision by the store's wall clock.
    pub(super) async fn charge(
        &self,
        charges: &[Charge<'_>],
        now: Now,
        outcomes: &mut Outcomes,
    ) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(store) => store.decide(charges, now, outcomes).map(|_| now.wall),
            Self::Shared(client) => {
                Ok(client.decide(charges, client.deadline(), outcomes).await?.now)
            }
        }
    }

    /// Reads the state of buckets; `charges` must have 0 hits. Returns the time of it by the store's wall clock. While a
    /// shared store does not answer and the policy decides locally, reads the local state.
    pub(super) async fn peek(
        &self,
        charges: &[Charge<'_>],
        on_store_error: OnStoreError,
        now: Now,
        outcomes: &mut Outcomes,
    ) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(store) => {
                store.would_deny(charges, now, outcomes);
                Ok(now.wall)
            }
            Self::Shared(client) => match client.decide(charges, client.deadline(), outcomes).await
            {
                Err(_) if on_store_error == OnStoreError::Local => {
                    outcomes.clear();
                    Ok(client.decide_locally(charges, outcomes)?.now)
                }
                decided => Ok(decided?.now),
            },
        }
    }

    /// What this process has prepaid of these buckets in a shared store.
    pub(super) fn unspent(&self, buckets: impl Iterator<Item = Fingerprint>) -> Unspent {
        match self {
            Self::Memory(_) => Unspent::default(),
            Self::Shared(client) => Unspent::new(client.unspent_hits(&buckets.collect())),
        }
    }

    /// For how long a policy has admissions prepaid in a shared store, if it has.
    pub(super) fn prepaid_time(&self, policy: &Policy) -> Option<Nanos> {
        match self {
            Self::Memory(_) => None,
            Self::Shared(client) => prepaid_time(client, policy),
        }
    }

    /// Gives back what was charged ahead to these buckets in a shared store and not spent.
    pub(super) async fn give_back_prepaid(&self, buckets: impl Iterator<Item = Fingerprint>) {
        if let Self::Shared(client) = self {
            client.give_back_prepaid(&buckets.collect()).await;
        }
    }

    /// Gives back all that was charged ahead in a shared store and not spent.
    pub(super) async fn give_back_all_prepaid(&self) {
        if let Self::Shared(client) = self {
            client.give_back_all_prepaid().await;
        }
    }

    /// Whether a lease has slots in a bucket. If a shared store does not answer, the lease counts as held.
    pub(super) async fn holds(
        &self,
        lease: LeaseId,
        fingerprint: Fingerprint,
        deadline: Instant,
    ) -> bool {
        match self {
            Self::Memory(store) => store.holds(lease, fingerprint),
            Self::Shared(client) => client.holds(lease, fingerprint, deadline).await,
        }
    }

    /// Releases a lease. Returns whether it is known to have held slots.
    pub(super) async fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        match self {
            Self::Memory(store) => store.release(lease, now),
            Self::Shared(client) => client.release(lease, client.deadline()).await,
        }
    }

    /// Releases a lease without waiting for the store.
    pub(super) fn release_soon(&self, lease: LeaseId, now: Timestamp) {
        match self {
            Self::Memory(store) => {
                store.release(lease, now);
            }
            Self::Shared(client) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let client = Arc::clone(client);
                    runtime.spawn(async move { client.release(lease, client.deadline()).await });
                }
                // The connection has ended with its runtime: a lease in the shared store expires by its
                // ttl.
                Err(_) => {
                    client.store().local().release(lease, now);
                }
            },
        }
    }
}

/// Decides by a prepaid admission or a cached denial, or else in the shared store. Returns the time of the verdict by the
/// store's clock.
pub(super) async fn decide_shared<'p>(
    client: &Arc<StoreClient>,
    policy: &Policy,
    plan: &'p Plan<'_>,
    now: Now,
) -> Result<(Verdict<'p>, Timestamp), StoreError> {
    // One deadline for all commands of a request, from the first one on.
    let mut deadline = None;
    let mut released = 0;
    // What waits is boxed, here and below: timers need so much space and alignment that the future of a request that asks
    // nothing would take a slow allocation for it.
    for lease in &plan.releases {
        let deadline = *deadline.get_or_insert_with(|| client.deadline());
        released += usize::from(Box::pin(client.release(*lease, deadline)).await);
    }
    let charges = Charges::of(plan);
    let mut outcomes = Outcomes::new();
    if charges.all().is_empty() {
        let admission = Admission::Admitted { lease: None };
        return Ok((charges.verdict(plan, &outcomes, admission, released), now.wall));
    }
    let prepaid_time = prepaid_time(client, policy).filter(|_| can_be_prepaid(plan));
    // Who has waited for a release knows the time no longer.
    let steady = if plan.releases.is_empty() { now.steady } else { client.store().steady_now() };
    let ask = match client.spend_prepaid(charges.all(), prepaid_time, steady, &mut outcomes) {
        Ok(Decision { admission, now }) => {
            return Ok((charges.verdict(plan, &outcomes, admission, released), now));
        }
        Err(ask) => ask,
    };
    if client.would_deny_ahead(&ask, charges.all(), &mut outcomes) {
        let verdict = charges.verdict(plan, &outcomes, Admission::Denied, released);
        return Ok((verdict, client.store().now()));
    }
    let deadline = deadline.unwrap_or_else(|| client.deadline());
    let deciding = client.decide_ahead(ask, charges.all(), deadline, &mut outcomes);
    let decision = match Box::pin(deciding).await {
        Ok(decision) => decision,
        Err(error) => {
            tracing::debug!(%error, "deciding without the shared store");
            outcomes.clear();
            let now = client.store().now();
            match policy.on_store_error() {
                OnStoreError::Local => client.decide_locally(charges.all(), &mut outcomes)?,
                OnStoreError::Allow => {
                    let admission = client.deny_blocked(charges.all(), &mut outcomes);
                    Decision { admission, now }
                }
                OnStoreError::Deny => Decision { admission: Admission::Denied, now },
                OnStoreError::Fail => match client.deny_blocked(charges.all(), &mut outcomes) {
                    Admission::Denied => Decision { admission: Admission::Denied, now },
                    Admission::Admitted { .. } => return Err(error),
                },
            }
        }
    };
    Ok((charges.verdict(plan, &outcomes, decision.admission, released), decision.now))
}

fn prepaid_time(client: &StoreClient, policy: &Policy) -> Option<Nanos> {
    policy.store_prepaid().time(client.store().prepaid_time())
}

/// Whether all limits of a plan are those of the policy: one that a request brings along is not known to the next one.
fn can_be_prepaid(plan: &Plan<'_>) -> bool {
    plan.matched.iter().all(|matched| matched.rule.is_some())
}
