//! The path of a request: read, prepare, decide, finish.
//!
//! A [`Service`] belongs to one runtime. It consists of the process-wide [`Core`] and a `Backend`, in which it decides.
//! [`Core::connect`] builds it, so a service with a shared store always has a connection to it.

mod answer;
mod backend;
mod core;
mod inspect;
mod quota;
#[cfg(test)]
mod stats_tests;
#[cfg(test)]
mod tests;
mod unspent;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use tonic::{Code, Status};

pub use self::answer::{Answer, LeaseGuard};
use self::backend::Backend;
pub use self::core::{Core, Stores};
pub use self::inspect::{HeldLeases, Inspected};
pub use self::unspent::{Reading, Unspent};
use crate::clock::{Clock, Nanos, Now, Timestamp};
use crate::decision::{self, Verdict};
use crate::descriptor::{BadRequest, LeaseId, Query};
use crate::live::{ActivePolicies, LoadedPolicies, LoadedPolicy};
use crate::observe::telemetry::Telemetry;
use crate::observe::traces::Span;
use crate::policy::Plan;
use crate::reply::{self, Reply};
use crate::shared::StoreClient;
use crate::store::{MemoryStore, StoreError};
use crate::wire;

/// Decides requests.
pub struct Service {
    core: Arc<Core>,
    backend: Backend,
}

/// The result of a call, and its span.
pub type CallResult = (Result<Answer, Status>, Option<Box<Span>>);

/// The result of a call, or a future of it.
pub enum Response {
    /// Decided in memory.
    Ready(CallResult),
    /// Decided by the shared store.
    Pending(Pin<Box<dyn Future<Output = CallResult> + Send>>),
}

impl Response {
    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`Service::handle`].
    pub async fn finish(self) -> Result<Answer, Status> {
        let (answer, _) = match self {
            Self::Ready(result) => result,
            Self::Pending(result) => result.await,
        };
        answer
    }
}

/// A request that is ready to be decided.
struct Request<'p, 'a, 'm> {
    message: &'m [u8],
    query: &'a Query<'m>,
    /// The time of the request: the clock is read once.
    now: Now,
    loaded: &'a LoadedPolicy,
    plan: &'p Plan<'a>,
}

impl Request<'_, '_, '_> {
    const fn is_of_tree(&self) -> bool {
        self.loaded.stats.is_some()
    }

    /// How long it has taken by `now`, since it was read.
    const fn took(&self, now: Timestamp) -> Nanos {
        now.since(self.now.steady)
    }
}

impl Service {
    /// A service that decides in memory, with a core of its own.
    pub fn in_memory(
        clock: Arc<dyn Clock>,
        policies: Arc<ActivePolicies>,
        store: Arc<MemoryStore>,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let backend = Backend::Memory(Arc::clone(&store));
        let core = Arc::new(Core::new(clock, policies, Stores::Memory(store), telemetry));
        Arc::new(Self { core, backend })
    }

    /// The part that the services of all threads share.
    pub const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Whether calls are traced.
    pub fn is_traced(&self) -> bool {
        self.core.tracer.is_some()
    }

    /// The span of a call with these headers, if calls are traced and it is sampled.
    pub fn begin_span(&self, headers: &HeaderMap) -> Option<Box<Span>> {
        self.core.tracer.as_ref()?.begin(headers)
    }

    /// Handles a request, from its bytes to the bytes of the answer: one reading of the clock, one snapshot of the
    /// policies, a plan, a verdict, a reply. Records the domain and the verdict in the span.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the message is not a valid request; `UNAVAILABLE` if the store cannot decide, in which
    /// case nothing is charged; `UNKNOWN` while no policies have come from the control plane.
    pub fn handle(self: &Arc<Self>, message: &[u8], mut span: Option<Box<Span>>) -> Response {
        match &self.backend {
            Backend::Memory(store) => {
                let answer = self.decide_in_memory(store, message, span.as_deref_mut());
                Response::Ready((answer, span))
            }
            Backend::Shared(client) => {
                let (service, client) = (Arc::clone(self), Arc::clone(client));
                let message = message.to_vec();
                let mut result = Box::pin(async move {
                    let decided =
                        service.decide_in_shared_store(&client, &message, span.as_deref_mut());
                    (decided.await, span)
                });
                // A prepaid admission and a cached denial need no wait, and no task that waits.
                match result.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => Response::Ready(result),
                    Poll::Pending => Response::Pending(result),
                }
            }
        }
    }

    fn decide_in_memory(
        self: &Arc<Self>,
        store: &MemoryStore,
        message: &[u8],
        mut span: Option<&mut Span>,
    ) -> Result<Answer, Status> {
        let mut query = Query::default();
        self.read(message, &mut query, span.as_deref_mut())?;
        let policies = self.core.policies.load();
        let mut plan = Plan::default();
        let Some(request) = self.prepare(message, &query, &policies, &mut plan)? else {
            return self.answer_without_policy(message, &query, &policies, span);
        };
        let now = request.now;
        let mut verdict = Verdict::unlimited();
        decision::decide_into(request.plan, store, now, &mut verdict)
            .map_err(|error| self.store_failure(&error, &request))?;
        let answer = self.finish(&request, &verdict, now, span);
        let is_sampled = Telemetry::should_sample(now.steady);
        if is_sampled || request.is_of_tree() {
            let end = self.core.clock.now();
            if is_sampled {
                self.core.telemetry.observe(now.steady, end);
            }
            self.observe(&request, end);
        }
        Ok(answer)
    }

    async fn decide_in_shared_store(
        self: &Arc<Self>,
        client: &Arc<StoreClient>,
        message: &[u8],
        mut span: Option<&mut Span>,
    ) -> Result<Answer, Status> {
        let mut query = Query::default();
        self.read(message, &mut query, span.as_deref_mut())?;
        let policies = self.core.policies.load_full();
        let mut plan = Plan::default();
        let Some(request) = self.prepare(message, &query, &policies, &mut plan)? else {
            return self.answer_without_policy(message, &query, &policies, span);
        };
        let policy = &request.loaded.policy;
        let (verdict, now) = backend::decide_shared(client, policy, request.plan, request.now)
            .await
            .map_err(|error| self.store_failure(&error, &request))?;
        let answer = self.finish(&request, &verdict, now.into(), span);
        if request.is_of_tree() {
            self.observe(&request, self.core.clock.now());
        }
        Ok(answer)
    }

    /// Records how long a request took until `end`, if a descriptor tree decided it. Requests of tables need not read the
    /// clock again for it.
    fn observe(&self, request: &Request<'_, '_, '_>, end: Timestamp) {
        if request.is_of_tree() {
            self.core.telemetry.ratelimit().observe(request.took(end));
        }
    }

    /// Reads a request into `query`. Records its domain in the span, even if the request is rejected.
    fn read<'m>(
        &self,
        message: &'m [u8],
        query: &mut Query<'m>,
        span: Option<&mut Span>,
    ) -> Result<(), Status> {
        let read = wire::decode_into(message, query);
        if let Some(span) = span {
            span.record_domain(query.domain().as_str());
        }
        read.map_err(|bad| self.reject_query(&bad))
    }

    /// Reads the clock and adds the buckets that a query matches to an empty plan; `None` if no policy has its domain.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the policy rejects the query.
    #[inline(always)] // It returns much.
    fn prepare<'p, 'a, 'm>(
        &self,
        message: &'m [u8],
        query: &'a Query<'m>,
        policies: &'a LoadedPolicies,
        plan: &'p mut Plan<'a>,
    ) -> Result<Option<Request<'p, 'a, 'm>>, Status> {
        let now = self.core.clock.read();
        let Some(loaded) = policies.get(query.domain()) else { return Ok(None) };
        loaded.policy.check(query).map_err(|bad| self.reject_query(bad))?;
        loaded.policy.resolve_into(query, now.wall, plan);
        // Leases that are about to be released are no longer listed.
        plan.releases.iter().for_each(|lease| self.core.leases.forget(*lease));
        Ok(Some(Request { message, query, now, loaded, plan }))
    }

    /// Records a verdict and writes the answer. `store_now` is the verdict's time by the store's clock: by its steady time
    /// leases expire, and by its wall clock buckets are told to be full. A shared store has one clock for both.
    fn finish<'p>(
        self: &Arc<Self>,
        request: &'p Request<'_, '_, '_>,
        verdict: &Verdict<'p>,
        store_now: Now,
        span: Option<&mut Span>,
    ) -> Answer {
        let Request { message, query, now, loaded, plan } = request;
        let LoadedPolicy { policy, counters, stats, denials } = loaded;
        let core = &self.core;
        let is_any_over = counters.count(verdict);
        if plan.unread_entries > 0 {
            counters.count_repeated_entries(plan.unread_entries);
        }
        core.recent.record(policy, query, verdict, now.steady);
        core.leases.record(policy, query, verdict, store_now.steady);
        if is_any_over {
            core.denials.record(policy, query, verdict, now.steady);
        }
        if let Some(log) = &core.denied
            && (is_any_over || !verdict.is_admitted)
        {
            log.record(policy, query, verdict, now.steady);
        }
        if let Some(span) = span {
            span.record(verdict, query.len());
        }
        let lease = verdict.lease.map(|lease| LeaseGuard::new(Arc::clone(self), lease));
        let count = query.len();
        let reply = match policy.tree() {
            None => reply::compose(verdict, count, policy.headers(), denials, store_now.wall),
            Some(tree) => {
                if let Some(stats) = stats {
                    core.telemetry.ratelimit().count(stats, policy, query, plan, verdict);
                }
                let settings = tree.settings();
                let fields = settings.has_metadata.then(|| wire::request_fields(message));
                reply::compose_for_tree(verdict, plan, count, settings, fields)
            }
        };
        Answer { frame: wire::encode_framed(&reply), is_over_limit: reply.is_over_limit, lease }
    }

    /// Allows a request for a domain that has no policy.
    ///
    /// # Errors
    /// `UNKNOWN`, as from envoyproxy/ratelimit, while no valid policies have been loaded; `INVALID_ARGUMENT` for an irregular
    /// query where all policies are tables.
    fn answer_without_policy(
        &self,
        message: &[u8],
        query: &Query<'_>,
        policies: &LoadedPolicies,
        span: Option<&mut Span>,
    ) -> Result<Answer, Status> {
        if !policies.has_tree() {
            query.check().map_err(|bad| self.reject_query(bad))?;
        }
        if policies.is_awaited() {
            self.core.telemetry.count_failure();
            self.core.telemetry.ratelimit().count_service_error();
            return Err(Status::unknown("no valid policies have been loaded yet"));
        }
        self.core.telemetry.count_unknown_domain();
        self.core.telemetry.ratelimit().count_unknown_domain(query.domain(), query.len());
        if let Some(span) = span {
            span.record(&Verdict::unlimited(), query.len());
        }
        let fields = policies.has_metadata().then(|| wire::request_fields(message));
        let reply = Reply::without_policy(query.len(), fields);
        Ok(Answer { frame: wire::encode_framed(&reply), is_over_limit: false, lease: None })
    }

    /// Counts a query that is rejected, and returns its status.
    #[cold]
    fn reject_query(&self, bad: &BadRequest) -> Status {
        self.reject(Status::invalid_argument(bad.to_string()))
    }

    /// Counts an invalid request, and returns its status.
    fn reject(&self, status: Status) -> Status {
        self.core.telemetry.count_invalid_request();
        self.core.telemetry.ratelimit().count_service_error();
        status
    }

    /// Counts a message that is not read, with the reason as its status. A message that is too large is denied,
    /// since the client may have made it so: Envoy builds the message from the client's request and, by default,
    /// lets a request pass whose call fails.
    ///
    /// # Errors
    /// The status, if it is not `RESOURCE_EXHAUSTED`.
    pub fn reject_unread(&self, status: Status) -> Result<Answer, Status> {
        self.core.telemetry.count_invalid_request();
        if status.code() != Code::ResourceExhausted {
            return Err(status);
        }
        tracing::debug!(reason = status.message(), "denied without being read");
        Ok(Answer {
            frame: wire::encode_framed(&Reply::too_large()),
            is_over_limit: true,
            lease: None,
        })
    }

    fn store_failure(&self, error: &StoreError, request: &Request<'_, '_, '_>) -> Status {
        self.core.telemetry.count_failure();
        let took = request.took(self.core.clock.now());
        self.core.telemetry.ratelimit().count_store_error(took);
        if self.backend.is_shared() {
            // The log has one line for the outage, not one for each call.
            tracing::debug!(%error, "cannot decide");
        } else {
            tracing::error!(%error, "cannot decide");
        }
        Status::unavailable(error.to_string())
    }

    /// The steady time of this process's clock.
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// The time of the wall clock.
    pub fn wall_now(&self) -> Timestamp {
        self.core.clock.read().wall
    }

    /// The time of the wall clock at a moment of the steady time.
    pub fn to_wall(&self, steady: Timestamp) -> Timestamp {
        self.core.clock.read().to_wall(steady)
    }

    /// Records the duration of a gRPC call whose message arrived at `arrived`.
    pub fn observe_call(&self, arrived: Timestamp) {
        self.core.telemetry.observe_call(arrived, self.now());
    }

    /// The policies in force.
    pub fn policies(&self) -> &ActivePolicies {
        self.core.policies()
    }

    /// The counters.
    pub fn telemetry(&self) -> &Telemetry {
        self.core.telemetry()
    }

    /// Gives back all that was charged ahead in a shared store and not spent. The core must have
    /// [stopped](Core::stop_prepaying) charging ahead.
    pub async fn give_back_all_prepaid(&self) {
        self.backend.give_back_all_prepaid().await;
    }

    /// Releases a lease whose answer was not delivered.
    fn undo_lease(&self, lease: LeaseId) {
        self.core.telemetry.count_abandoned();
        self.core.leases.forget(lease);
        self.backend.release_soon(lease, self.now());
    }
}
