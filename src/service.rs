//! The path of a request, spelled out once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tonic::{Request, Response, Status};

use crate::clock::Clock;
use crate::decision::{self, Verdict};
use crate::descriptor::{LeaseId, Query};
use crate::policy::HeaderStyle;
use crate::reload::Live;
use crate::reply::{self, Reply};
use crate::store::{MemoryStore, StoreError};
use crate::telemetry::Telemetry;
use crate::wire::{self, RateLimitRequest, RateLimitResponse, RateLimitService};

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

    /// The life of a request: one clock reading, one snapshot, plan, verdict, reply. Returns the lease it
    /// took with the reply.
    ///
    /// # Errors
    /// Where the store cannot decide; nothing is charged then.
    pub fn decide(&self, query: &Query<'_>) -> Result<(Reply, Option<LeaseId>), StoreError> {
        let now = self.clock.now();
        let snapshot = self.live.load();
        let descriptors = query.descriptors().len();
        let Some((policy, counters)) = snapshot.of(query.domain()) else {
            self.telemetry.count_unknown_domain();
            return Ok((
                reply::compose(&Verdict::unlimited(), descriptors, HeaderStyle::Off, now),
                None,
            ));
        };
        let plan = policy.meet(query, now);
        let verdict = decision::decide(&plan, &self.store, now)?;
        counters.count(&verdict);
        let reply = reply::compose(&verdict, descriptors, policy.headers(), now);
        if Telemetry::is_timed(now) {
            self.telemetry.observe(now, self.clock.now());
        }
        Ok((reply, verdict.lease))
    }

    /// Answers a message. What it took is undone when the guard is dropped unless
    /// [`LeaseGuard::answered`] was called before.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a message that is no question, `UNAVAILABLE` where the store cannot decide.
    pub fn answer(
        self: &Arc<Self>,
        message: &RateLimitRequest,
    ) -> Result<(RateLimitResponse, Option<LeaseGuard>), Status> {
        let query = wire::query(message).map_err(|error| {
            self.telemetry.count_bad_request();
            Status::invalid_argument(error.to_string())
        })?;
        let (reply, lease) = self.decide(&query).map_err(|error| {
            self.telemetry.count_failure();
            tracing::error!(%error, "cannot decide");
            Status::unavailable(error.to_string())
        })?;
        Ok((wire::response(reply), lease.map(|lease| LeaseGuard::new(Arc::clone(self), lease))))
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

/// Gives a lease back unless its holder was told of it.
pub struct LeaseGuard {
    service: Arc<Service>,
    lease: LeaseId,
    is_answered: AtomicBool,
}

impl LeaseGuard {
    fn new(service: Arc<Service>, lease: LeaseId) -> Self {
        Self { service, lease, is_answered: AtomicBool::new(false) }
    }

    /// The answer went out: the lease is its holder's from now on.
    pub fn answered(&self) {
        self.is_answered.store(true, Ordering::Release);
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if !self.is_answered.load(Ordering::Acquire) {
            self.service.store.release(self.lease, self.service.clock.now());
            self.service.telemetry.count_abandoned();
        }
    }
}

/// The service as tonic serves it. A lease's guard travels with the response, see
/// [`crate::server::answered`].
pub struct Grpc(pub Arc<Service>);

#[tonic::async_trait]
impl RateLimitService for Grpc {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let (answer, guard) = self.0.answer(request.get_ref())?;
        let mut response = Response::new(answer);
        if let Some(guard) = guard {
            response.extensions_mut().insert(Arc::new(guard));
        }
        Ok(response)
    }
}
