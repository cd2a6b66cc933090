//! The path of a request, spelled out once.

mod denied;
mod looked;

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;
use tonic::{Code, Status};

use self::denied::DeniedLog;
pub use self::looked::HeldLeases;
use crate::clock::{Clock, Timestamp};
use crate::decision::{self, Charges, Verdict};
use crate::descriptor::{LeaseId, Query};
use crate::held::Held;
use crate::live::{ActivePolicies, LoadedPolicy};
use crate::near::Near;
use crate::policy::{HeaderStyle, OnStoreError, Plan};
use crate::reply::{self, Denials, Reply};
use crate::shared::{self, Decision, Link};
use crate::store::{Admission, MemoryStore, Outcomes, StoreError};
use crate::telemetry::Telemetry;
use crate::traces::{Span, Tracer};
use crate::wire;

/// Decides requests.
pub struct Service {
    clock: Arc<dyn Clock>,
    policies: Arc<ActivePolicies>,
    store: Arc<MemoryStore>,
    shared: Option<Arc<shared::Store>>,
    link: Option<Arc<Link>>,
    telemetry: Arc<Telemetry>,
    near: Arc<Near>,
    held: Arc<Held>,
    denied: Option<Arc<DeniedLog>>,
    tracer: Option<Arc<Tracer>>,
}

/// What became of a call, and its span.
pub type Told = (Result<Answer, Status>, Option<Box<Span>>);

/// An answer, or the future that brings it.
pub enum Answering {
    /// Decided in memory.
    Now(Told),
    /// Decided by the shared store.
    Later(Pin<Box<dyn Future<Output = Told> + Send>>),
}

impl Answering {
    /// The answer, once it is there.
    ///
    /// # Errors
    /// As [`Service::answer`].
    pub async fn finish(self) -> Result<Answer, Status> {
        let (answer, _) = match self {
            Self::Now(told) => told,
            Self::Later(told) => told.await,
        };
        answer
    }
}

impl Service {
    /// A service over these parts.
    pub fn new(
        clock: Arc<dyn Clock>,
        policies: Arc<ActivePolicies>,
        store: Arc<MemoryStore>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let (near, held) = Default::default();
        Self {
            clock,
            policies,
            store,
            shared: None,
            link: None,
            telemetry,
            near,
            held,
            denied: None,
            tracer: None,
        }
    }

    /// The same over a store that replicas share; what is decided without it is decided in memory. It is asked
    /// over [`Self::linked`] services.
    #[must_use]
    pub fn sharing(self, shared: Arc<shared::Store>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// The same with so many denied calls a second in the log, at most.
    #[must_use]
    pub fn logging_denied(self, most: NonZeroU32) -> Self {
        Self { denied: Some(Arc::new(DeniedLog::new(most))), ..self }
    }

    /// The same with spans of gRPC calls.
    #[must_use]
    pub fn tracing_calls(self, tracer: Arc<Tracer>) -> Self {
        Self { tracer: Some(tracer), ..self }
    }

    /// The span of a call with these headers, if calls are traced and it is sampled.
    pub fn begin_span(&self, headers: &HeaderMap) -> Option<Box<Span>> {
        self.tracer.as_ref()?.begin(headers)
    }

    /// The same with a connection to the shared store that belongs to the runtime of the caller, if there is one;
    /// ready once it is connected or could not be.
    pub async fn linked(self: Arc<Self>) -> Arc<Self> {
        let Some(shared) = &self.shared else { return self };
        let link = shared.link();
        link.tried().await;
        Arc::new(Self {
            clock: Arc::clone(&self.clock),
            policies: Arc::clone(&self.policies),
            store: Arc::clone(&self.store),
            shared: Some(Arc::clone(shared)),
            link: Some(link),
            telemetry: Arc::clone(&self.telemetry),
            near: Arc::clone(&self.near),
            held: Arc::clone(&self.held),
            denied: self.denied.clone(),
            tracer: self.tracer.clone(),
        })
    }

    /// The answer, decided by the shared store where there is one. The span is told the domain and the verdict.
    pub fn answering(self: &Arc<Self>, message: &[u8], mut span: Option<Box<Span>>) -> Answering {
        match &self.link {
            Some(link) => {
                let (service, link) = (Arc::clone(self), Arc::clone(link));
                let message = message.to_vec();
                Answering::Later(Box::pin(async move {
                    let answer = service.ask(&link, &message, span.as_deref_mut()).await;
                    (answer, span)
                }))
            }
            None => {
                let answer = self.answer_in(message, span.as_deref_mut());
                Answering::Now((answer, span))
            }
        }
    }

    /// The life of a request that is decided in memory, from the bytes of a question to the bytes of its
    /// answer: one reading of the clock, one snapshot of the policies, a plan, a verdict, a reply.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no question; `UNAVAILABLE` where the store cannot decide, and
    /// nothing is charged then.
    pub fn answer(self: &Arc<Self>, message: &[u8]) -> Result<Answer, Status> {
        self.answer_in(message, None)
    }

    /// The same within a span.
    fn answer_in(
        self: &Arc<Self>,
        message: &[u8],
        mut span: Option<&mut Span>,
    ) -> Result<Answer, Status> {
        let mut query = Query::default();
        self.read(message, &mut query, span.as_deref_mut())?;
        let now = self.clock.now();
        let snapshot = self.policies.load();
        let Some(found) = snapshot.of(query.domain()) else {
            return Ok(self.pass_unknown(&query, span));
        };
        let LoadedPolicy { policy, denials, .. } = found;
        let plan = policy.meet(&query, now);
        self.forget(&plan);
        let verdict =
            decision::decide(&plan, &self.store, now).map_err(|error| self.fail(&error))?;
        self.note(found, &query, &verdict, (now, now), span);
        let answer = self.tell(&verdict, query.len(), (policy.headers(), denials), now);
        if Telemetry::is_timed(now) {
            self.telemetry.observe(now, self.clock.now());
        }
        Ok(answer)
    }

    /// The same life, decided by the shared store, or by what becomes of it without.
    async fn ask(
        self: &Arc<Self>,
        link: &Link,
        message: &[u8],
        mut span: Option<&mut Span>,
    ) -> Result<Answer, Status> {
        let mut query = Query::default();
        self.read(message, &mut query, span.as_deref_mut())?;
        let now = self.clock.now();
        let ours = now;
        let snapshot = self.policies.load_full();
        let Some(found) = snapshot.of(query.domain()) else {
            return Ok(self.pass_unknown(&query, span));
        };
        let LoadedPolicy { policy, denials, .. } = found;
        let plan = policy.meet(&query, now);
        self.forget(&plan);
        let (verdict, now) = decide_shared(link, policy.on_store_error(), &plan, now)
            .await
            .map_err(|error| self.fail(&error))?;
        self.note(found, &query, &verdict, (ours, now), span);
        Ok(self.tell(&verdict, query.len(), (policy.headers(), denials), now))
    }

    /// Reads the question in a message into its place. The span is told its domain, even of one that is refused.
    fn read<'m>(
        &self,
        message: &'m [u8],
        query: &mut Query<'m>,
        span: Option<&mut Span>,
    ) -> Result<(), Status> {
        let read = wire::read(message, query);
        if let Some(span) = span {
            span.note_domain(query.domain());
        }
        read.map_err(|error| self.refuse(Status::invalid_argument(error.to_string())))
    }

    /// Tells the counters, the lists, the log and the span of a verdict, which came at a moment of our clock, and of
    /// the store's, by which leases end.
    fn note(
        &self,
        LoadedPolicy { policy, counters, .. }: &LoadedPolicy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        (now, of_store): (Timestamp, Timestamp),
        span: Option<&mut Span>,
    ) {
        counters.count(verdict);
        self.near.note(policy, query, verdict, now);
        self.held.note(policy, query, verdict, of_store);
        if let Some(log) = &self.denied
            && !verdict.is_admitted
        {
            log.note(policy, query, verdict, now);
        }
        if let Some(span) = span {
            span.note(verdict, query.len());
        }
    }

    /// Leases that are released need not be listed.
    fn forget(&self, plan: &Plan<'_>) {
        plan.releases.iter().for_each(|lease| self.held.forget(*lease));
    }

    fn pass_unknown(&self, query: &Query<'_>, span: Option<&mut Span>) -> Answer {
        self.telemetry.count_unknown_domain();
        if let Some(span) = span {
            span.note(&Verdict::unlimited(), query.len());
        }
        let reply = Reply::unlimited(query.len());
        Answer { frame: wire::framed(&reply), is_over_limit: false, lease: None }
    }

    /// Says a verdict on so many descriptors.
    fn tell<'a>(
        self: &Arc<Self>,
        verdict: &Verdict<'a>,
        descriptors: usize,
        (style, denials): (HeaderStyle, &'a Denials),
        now: Timestamp,
    ) -> Answer {
        let lease = verdict.lease.map(|lease| LeaseGuard::new(Arc::clone(self), lease));
        let reply = reply::compose(verdict, descriptors, style, denials, now);
        Answer { frame: wire::framed(&reply), is_over_limit: reply.is_over_limit, lease }
    }

    /// Counts a request that cannot be decided, and passes its status on.
    fn refuse(&self, status: Status) -> Status {
        self.telemetry.count_bad_request();
        status
    }

    /// Counts a message that is not read for this reason. One that is larger than is read is denied: its size is
    /// that of the request that Envoy asks about, whose client chose it, and Envoy would let through what has any
    /// other status.
    ///
    /// # Errors
    /// The status, if it is not `RESOURCE_EXHAUSTED`.
    pub fn refuse_unread(&self, status: Status) -> Result<Answer, Status> {
        let status = self.refuse(status);
        if status.code() != Code::ResourceExhausted {
            return Err(status);
        }
        tracing::debug!(reason = status.message(), "denied unread");
        Ok(Answer { frame: wire::framed(&Reply::unread()), is_over_limit: true, lease: None })
    }

    fn fail(&self, error: &StoreError) -> Status {
        self.telemetry.count_failure();
        tracing::error!(%error, "cannot decide");
        Status::unavailable(error.to_string())
    }

    /// The time by its clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes how long a gRPC call took whose message had come then.
    pub fn observe_call(&self, arrived: Timestamp) {
        self.telemetry.observe_call(arrived, self.clock.now());
    }

    /// The policies in force.
    pub fn policies(&self) -> &ActivePolicies {
        &self.policies
    }

    /// The counters.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The store in memory: the buckets, or, where a store is shared, what is decided without that.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// Whether buckets are kept in a store that replicas share.
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.store.shard_count()
    }

    /// Sweeps the next part of the store.
    pub fn sweep(&self) -> usize {
        let of_shared = self.shared.as_ref().map_or(0, |shared| shared.sweep());
        self.store.sweep(self.clock.now()) + of_shared
    }

    /// Whether requests are decided without the shared store, though there is one.
    pub fn is_degraded(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_degraded())
    }

    /// Why limits are not kept as they should be, though calls are answered; nothing where they are.
    pub fn shortfalls(&self) -> Vec<String> {
        let of_shared = self.shared.iter().flat_map(|shared| shared.shortfalls());
        let shortage = self.store.shortage(self.clock.now());
        let of_memory = [
            (
                shortage.of_buckets,
                "buckets that are not full are forgotten, since --max-keys is reached",
            ),
            (shortage.of_leases, "as many leases are held as are kept, so that others are refused"),
        ];
        let of_memory = of_memory.into_iter().filter(|(is_short, _)| *is_short);
        of_shared.chain(of_memory.map(|(_, text)| text.to_owned())).collect()
    }

    /// Gives a lease back of which nobody was told.
    fn abandon(&self, lease: LeaseId) {
        self.telemetry.count_abandoned();
        self.held.forget(lease);
        match (&self.link, tokio::runtime::Handle::try_current()) {
            (Some(link), Ok(runtime)) => {
                let link = Arc::clone(link);
                runtime.spawn(async move { link.release(lease, link.deadline()).await });
            }
            _ => {
                self.store.release(lease, self.clock.now());
            }
        }
    }
}

/// Has the shared store decide, unless it is known what it would say. Returns its time as well.
async fn decide_shared<'p>(
    link: &Link,
    mode: OnStoreError,
    plan: &'p Plan<'_>,
    now: Timestamp,
) -> Result<(Verdict<'p>, Timestamp), StoreError> {
    // The same for all that is asked, from when the first of it is.
    let mut deadline = None;
    let mut released = 0;
    for lease in &plan.releases {
        let deadline = *deadline.get_or_insert_with(|| link.deadline());
        released += usize::from(link.release(*lease, deadline).await);
    }
    let charges = Charges::of(plan);
    let mut outcomes = Outcomes::new();
    if charges.all().is_empty() {
        let admission = Admission::Admitted { lease: None };
        return Ok((charges.verdict(plan, &outcomes, admission, released), now));
    }
    if link.foresee(charges.all(), &mut outcomes) {
        let verdict = charges.verdict(plan, &outcomes, Admission::Denied, released);
        return Ok((verdict, link.store().now()));
    }
    let deadline = deadline.unwrap_or_else(|| link.deadline());
    let decision = match link.decide(charges.all(), deadline, &mut outcomes).await {
        Ok(decision) => decision,
        Err(error) => {
            tracing::debug!(%error, "deciding without the shared store");
            outcomes.clear();
            let now = link.store().now();
            match mode {
                OnStoreError::Local => link.decide_locally(charges.all(), &mut outcomes)?,
                OnStoreError::Allow => {
                    let admission = link.deny_blocked(charges.all(), &mut outcomes);
                    Decision { admission, now }
                }
                OnStoreError::Deny => Decision { admission: Admission::Denied, now },
            }
        }
    };
    Ok((charges.verdict(plan, &outcomes, decision.admission, released), decision.now))
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
            self.service.abandon(lease);
        }
    }
}
