//! Where a service decides: in memory, or in a store that replicas share. It is a closed set, so an enum; all
//! differences between the two are here.

use std::sync::Arc;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::decision::{Charges, Verdict};
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::{OnStoreError, Plan};
use crate::shared::{Decision, StoreClient};
use crate::store::{Admission, Charge, MemoryStore, Outcomes, StoreError};

pub(super) enum Backend {
    /// Decided at once.
    Memory(Arc<MemoryStore>),
    /// Decided over a connection that belongs to the runtime of the service.
    Shared(Arc<StoreClient>),
}

impl Backend {
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// A moment of our clock by the clock that the buckets go by: a shared store has its own.
    pub(super) fn time(&self, ours: Timestamp) -> Timestamp {
        match self {
            Self::Memory(_) => ours,
            Self::Shared(client) => client.store().to_store_time(ours),
        }
    }

    /// Charges all of it or nothing, and asks the store even where it is known what it would say. Returns the time at
    /// which that was decided.
    pub(super) async fn charge(
        &self,
        charges: &[Charge<'_>],
        now: Timestamp,
        outcomes: &mut Outcomes,
    ) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(store) => store.decide(charges, now, outcomes).map(|_| now),
            Self::Shared(client) => {
                Ok(client.decide(charges, client.deadline(), outcomes).await?.now)
            }
        }
    }

    /// What would be decided, and when; nothing is charged. The charges only look. While a shared store is away,
    /// this is what would be decided without it, if the policy says `local`.
    pub(super) async fn peek(
        &self,
        charges: &[Charge<'_>],
        on_store_error: OnStoreError,
        now: Timestamp,
        outcomes: &mut Outcomes,
    ) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(store) => {
                store.would_deny(charges, now, outcomes);
                Ok(now)
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

    /// Whether a lease has slots in a bucket. While a shared store cannot tell, it has.
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

    /// Gives the slots of a lease back. Returns whether it is known to have held any.
    pub(super) async fn release(&self, lease: LeaseId, now: Timestamp) -> bool {
        match self {
            Self::Memory(store) => store.release(lease, now),
            Self::Shared(client) => client.release(lease, client.deadline()).await,
        }
    }

    /// The same without waiting for it.
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
                // The connection is gone with its runtime: a lease of the store's expires.
                Err(_) => {
                    client.store().local().release(lease, now);
                }
            },
        }
    }
}

/// Has the shared store decide, unless it is known what it would say. Returns its time as well.
pub(super) async fn decide_shared<'p>(
    client: &StoreClient,
    on_store_error: OnStoreError,
    plan: &'p Plan<'_>,
    now: Timestamp,
) -> Result<(Verdict<'p>, Timestamp), StoreError> {
    // The same for all that is asked, from when the first of it is.
    let mut deadline = None;
    let mut released = 0;
    for lease in &plan.releases {
        let deadline = *deadline.get_or_insert_with(|| client.deadline());
        released += usize::from(client.release(*lease, deadline).await);
    }
    let charges = Charges::of(plan);
    let mut outcomes = Outcomes::new();
    if charges.all().is_empty() {
        let admission = Admission::Admitted { lease: None };
        return Ok((charges.verdict(plan, &outcomes, admission, released), now));
    }
    if client.would_deny(charges.all(), &mut outcomes) {
        let verdict = charges.verdict(plan, &outcomes, Admission::Denied, released);
        return Ok((verdict, client.store().now()));
    }
    let deadline = deadline.unwrap_or_else(|| client.deadline());
    let decision = match client.decide(charges.all(), deadline, &mut outcomes).await {
        Ok(decision) => decision,
        Err(error) => {
            tracing::debug!(%error, "deciding without the shared store");
            outcomes.clear();
            let now = client.store().now();
            match on_store_error {
                OnStoreError::Local => client.decide_locally(charges.all(), &mut outcomes)?,
                OnStoreError::Allow => {
                    let admission = client.deny_blocked(charges.all(), &mut outcomes);
                    Decision { admission, now }
                }
                OnStoreError::Deny => Decision { admission: Admission::Denied, now },
            }
        }
    };
    Ok((charges.verdict(plan, &outcomes, decision.admission, released), decision.now))
}
