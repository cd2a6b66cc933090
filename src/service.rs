//! The path of a request, spelled out once.

use std::sync::Arc;

use tonic::Status;

use crate::clock::Clock;
use crate::decision::{self, Verdict};
use crate::descriptor::{LeaseId, Query};
use crate::policy::HeaderStyle;
use crate::reload::Live;
use crate::reply;
use crate::store::{MemoryStore, StoreError};
use crate::telemetry::Telemetry;
use crate::wire;

/// Decides requests.
pub struct Service {
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    store: Arc<MemoryStore>,
    telemetry: Arc<Telemetry>,
}

impl Service {
    /// A service over these parts.
    pub fn new(
        clock: Arc<dyn Clock>,
        live: Arc<Live>,
        store: Arc<MemoryStore>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self { clock, live, store, telemetry }
    }

    /// The life of a request, from the bytes of a question to the bytes of its answer: one reading of the
    /// clock, one snapshot of the policies, a plan, a verdict, a reply.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no question; `UNAVAILABLE` where the store cannot decide, and
    /// nothing is charged then.
    pub fn answer(self: &Arc<Self>, message: &[u8]) -> Result<Answer, Status> {
        let mut query = Query::default();
        wire::read(message, &mut query)
            .map_err(|error| self.refuse(Status::invalid_argument(error.to_string())))?;
        let now = self.clock.now();
        let snapshot = self.live.load();
        let descriptors = query.len();
        let Some((policy, counters)) = snapshot.of(query.domain()) else {
            self.telemetry.count_unknown_domain();
            let reply = reply::compose(&Verdict::unlimited(), descriptors, HeaderStyle::Off, now);
            return Ok(Answer { frame: wire::framed(&reply), is_over_limit: false, lease: None });
        };
        let plan = policy.meet(&query, now);
        let verdict =
            decision::decide(&plan, &self.store, now).map_err(|error| self.fail(&error))?;
        counters.count(&verdict);
        let lease = verdict.lease.map(|lease| LeaseGuard::new(Arc::clone(self), lease));
        let reply = reply::compose(&verdict, descriptors, policy.headers(), now);
        let frame = wire::framed(&reply);
        if Telemetry::is_timed(now) {
            self.telemetry.observe(now, self.clock.now());
        }
        Ok(Answer { frame, is_over_limit: reply.is_over_limit, lease })
    }

    /// Counts a request that cannot be decided, and passes its status on.
    pub fn refuse(&self, status: Status) -> Status {
        self.telemetry.count_bad_request();
        status
    }

    fn fail(&self, error: &StoreError) -> Status {
        self.telemetry.count_failure();
        tracing::error!(%error, "cannot decide");
        Status::unavailable(error.to_string())
    }

    /// The policies in force.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The counters.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.store.shard_count()
    }

    /// Sweeps the next part of the store.
    pub fn sweep(&self) -> usize {
        self.store.sweep(self.clock.now())
    }
}

/// What goes out.
pub struct Answer {
    /// A RateLimitResponse in gRPC's frame.
    pub frame: Vec<u8>,
    /// Whether the request must not pass.
    pub is_over_limit: bool,
    /// Gives the lease that was taken back when it is dropped, unless [`LeaseGuard::answered`] was called
    /// before.
    pub lease: Option<LeaseGuard>,
}

impl Answer {
    /// The RateLimitResponse.
    pub fn message(&self) -> &[u8] {
        self.frame.get(wire::frame::PREFIX..).unwrap_or_default()
    }

    /// The answer went out, and with it the lease, if there is one.
    pub fn went_out(self) {
        if let Some(lease) = self.lease {
            lease.answered();
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
    const fn new(service: Arc<Service>, lease: LeaseId) -> Self {
        Self { service, lease: Some(lease) }
    }

    /// The answer went out: the lease is its holder's from now on.
    pub fn answered(mut self) {
        self.lease = None;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.service.store.release(lease, self.service.clock.now());
            self.service.telemetry.count_abandoned();
        }
    }
}
