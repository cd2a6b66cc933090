//! Releasing leases, at once or when the shared store is available again.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::StoreClient;
use super::connection::{Function, fields};
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;
use crate::store::StoreError;
use crate::store::script::{self, Released};

/// How many releases are queued while the store is unavailable; further leases are left to expire.
const MAX_PENDING_RELEASES: usize = 10_000;

/// Leases to release once the store is available, each in one partition; the oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingReleases(Mutex<VecDeque<(LeaseId, u16)>>);

impl PendingReleases {
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(super) fn pop(&self) -> Option<(LeaseId, u16)> {
        self.0.lock().pop_front()
    }

    /// Adds a release, unless the queue is full.
    fn push(&self, lease: LeaseId, partition: u16) {
        let mut pending = self.0.lock();
        if pending.len() < MAX_PENDING_RELEASES {
            pending.push_back((lease, partition));
        }
    }
}

impl StoreClient {
    /// Frees the slots of a lease, now or once the store is available. Returns whether it is known to have held any.
    pub async fn release(&self, lease: LeaseId, deadline: Instant) -> bool {
        self.store.local.release(lease, self.store.clock.now())
            || self.release_from(lease, lease.partition(), deadline).await
    }

    /// Whether a lease holds slots, locally or in the store. If the store does not reply, it is assumed to.
    pub async fn holds(&self, lease: LeaseId, fingerprint: Fingerprint, deadline: Instant) -> bool {
        let call = script::lease_key(&self.store.names, lease);
        self.store.local.holds(lease, fingerprint)
            || !matches!(self.call(Function::Get, &call, deadline).await, Ok(redis::Value::Nil))
    }

    /// Releases a lease in a partition, and in the other partitions that the store names.
    pub(super) async fn release_from(
        &self,
        lease: LeaseId,
        partition: u16,
        deadline: Instant,
    ) -> bool {
        let mut was_held = false;
        let mut partitions = vec![partition];
        while let Some(partition) = partitions.pop() {
            match self.release_in(lease, partition, deadline).await {
                Ok(released) => {
                    was_held |= released.was_held;
                    partitions.extend(released.other_partitions);
                }
                Err(error @ StoreError::Rejected(_)) => {
                    // A retry would be rejected, too. The slots are freed when the lease expires.
                    tracing::debug!(%error, "a lease cannot be released; it expires by itself");
                }
                Err(error) => {
                    tracing::debug!(%error, "a lease will be released once the shared store is available");
                    self.store.pending_releases.push(lease, partition);
                    self.notify_pending_release();
                }
            }
        }
        was_held
    }

    async fn release_in(
        &self,
        lease: LeaseId,
        partition: u16,
        deadline: Instant,
    ) -> Result<Released, StoreError> {
        let call = script::release(&self.store.names, lease, partition, None);
        let answer = self.call(Function::Release, &call, deadline).await?;
        Released::read(&fields(&answer)?)
    }
}
