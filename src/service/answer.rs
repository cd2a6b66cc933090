//! What goes out, and what becomes of a lease whose answer does not.

use std::sync::Arc;

use super::Service;
use crate::descriptor::LeaseId;
use crate::wire;

/// What goes out.
pub struct Answer {
    /// A RateLimitResponse in gRPC's frame.
    pub frame: Vec<u8>,
    /// Whether the request must not pass.
    pub is_over_limit: bool,
    /// Gives the lease that was taken back when it is dropped, unless [`LeaseGuard::disarm`] was called before.
    pub lease: Option<LeaseGuard>,
}

impl Answer {
    /// The RateLimitResponse.
    pub fn message(&self) -> &[u8] {
        self.frame.get(wire::frame::PREFIX..).unwrap_or_default()
    }

    /// The answer was delivered, and with it the lease, if there is one.
    pub fn delivered(self) {
        if let Some(lease) = self.lease {
            lease.disarm();
        }
    }
}

/// Gives a lease back unless its holder was told of it.
pub struct LeaseGuard {
    service: Arc<Service>,
    /// None once the holder was told.
    lease: Option<LeaseId>,
}

impl LeaseGuard {
    pub(super) const fn new(service: Arc<Service>, lease: LeaseId) -> Self {
        Self { service, lease: Some(lease) }
    }

    /// The answer was delivered: the lease is its holder's from now on.
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
