//! The answer to a call, and the guard that releases its lease if the answer is not delivered.

use std::sync::Arc;

use super::Service;
use crate::descriptor::LeaseId;
use crate::wire;

/// The answer to a call.
pub struct Answer {
    /// A RateLimitResponse in gRPC's frame.
    pub frame: Vec<u8>,
    /// Whether the request must not pass.
    pub is_over_limit: bool,
    /// Releases the call's lease when dropped, unless [`LeaseGuard::disarm`] is called first.
    pub lease: Option<LeaseGuard>,
}

impl Answer {
    /// The RateLimitResponse.
    pub fn message(&self) -> &[u8] {
        self.frame.get(wire::frame::PREFIX..).unwrap_or_default()
    }

    /// Marks the answer as delivered, so that its lease, if any, stays held.
    pub fn delivered(self) {
        if let Some(lease) = self.lease {
            lease.disarm();
        }
    }
}

/// Releases a lease when dropped, unless its answer was delivered.
pub struct LeaseGuard {
    service: Arc<Service>,
    /// `None` once the answer was delivered.
    lease: Option<LeaseId>,
}

impl LeaseGuard {
    pub(super) const fn new(service: Arc<Service>, lease: LeaseId) -> Self {
        Self { service, lease: Some(lease) }
    }

    /// Keeps the lease held: its answer was delivered.
    pub fn disarm(mut self) {
        self.lease = None;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.service.undo_lease(lease);
        }
    }
}
