//! The part of the services that all threads share.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::Service;
use super::backend::Backend;
use crate::clock::{Clock, Now, Timestamp};
use crate::live::ActivePolicies;
use crate::observe::active_leases::ActiveLeases;
use crate::observe::denied_log::{DeniedLog, Logged};
use crate::observe::envoy_shares::EnvoyShares;
use crate::observe::recent_buckets::RecentBuckets;
use crate::observe::telemetry::Telemetry;
use crate::observe::top_denied::DenialCounts;
use crate::observe::traces::Tracer;
use crate::shared;
use crate::store::MemoryStore;

/// Where the buckets are kept.
pub enum Stores {
    /// In this process's memory.
    Memory(Arc<MemoryStore>),
    /// In a store that replicas share, with local memory for decisions while it does not answer.
    Shared(Arc<shared::Store>),
}

/// The process-wide part of a [`Service`]: clock, policies, stores, counters, lists, logs and traces.
pub struct Core {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) policies: Arc<ActivePolicies>,
    stores: Stores,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) recent: Arc<RecentBuckets>,
    pub(super) leases: Arc<ActiveLeases>,
    shares: EnvoyShares,
    pub(super) denials: Arc<DenialCounts>,
    pub(super) denied: Option<DeniedLog>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

impl Core {
    /// A core over these parts, without a log of denied calls and without spans.
    pub fn new(
        clock: Arc<dyn Clock>,
        policies: Arc<ActivePolicies>,
        stores: Stores,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let (recent, leases, shares, denials) = Default::default();
        let (denied, tracer) = (None, None);
        Self { clock, policies, stores, telemetry, recent, leases, shares, denials, denied, tracer }
    }

    /// The same core, with a log of at most `max` denials a second.
    #[must_use]
    pub fn with_denied_log(self, max: NonZeroU32, logged: Logged) -> Self {
        Self { denied: Some(DeniedLog::new(max, logged)), ..self }
    }

    /// The same core, with spans of gRPC calls.
    #[must_use]
    pub fn with_tracer(self, tracer: Arc<Tracer>) -> Self {
        Self { tracer: Some(tracer), ..self }
    }

    /// Builds a service for the caller's runtime. With a shared store, the service has a connection of its own;
    /// this waits until the connection is up or the first attempt has failed.
    pub async fn connect(self: Arc<Self>) -> Arc<Service> {
        let backend = match &self.stores {
            Stores::Memory(store) => Backend::Memory(Arc::clone(store)),
            Stores::Shared(shared) => {
                let client = shared.connect();
                client.ready().await;
                Backend::Shared(client)
            }
        };
        Arc::new(Service { core: self, backend })
    }

    /// The time of this process's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time of this process's clock, and that of the wall clock.
    pub fn read(&self) -> Now {
        self.clock.read()
    }

    /// This process's clock.
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The policies in force.
    pub fn policies(&self) -> &ActivePolicies {
        &self.policies
    }

    /// The counters.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The counters, to be kept.
    pub fn shared_telemetry(&self) -> Arc<Telemetry> {
        Arc::clone(&self.telemetry)
    }

    /// The shares of Envoys that limit by themselves.
    pub const fn shares(&self) -> &EnvoyShares {
        &self.shares
    }

    /// The store in memory. With a shared store, it holds local decisions only.
    pub fn memory(&self) -> &MemoryStore {
        match &self.stores {
            Stores::Memory(store) => store,
            Stores::Shared(shared) => shared.local(),
        }
    }

    /// The shared store, if there is one.
    fn shared(&self) -> Option<&shared::Store> {
        match &self.stores {
            Stores::Memory(_) => None,
            Stores::Shared(shared) => Some(shared),
        }
    }

    /// How many calls of [`Self::sweep`] sweep the whole store.
    pub fn shard_count(&self) -> usize {
        self.memory().shard_count()
    }

    /// Sweeps the next part of the store. Returns the number of keys removed.
    pub fn sweep(&self) -> usize {
        let now = self.clock.read();
        let owed = self.policies.load().limits().owed(now);
        let of_shared = self.shared().map_or(0, shared::Store::sweep);
        self.memory().sweep_except(&owed, now) + of_shared
    }

    /// Keeps the buckets in a shared store for as long as policies that slow their limits need them. Never completes; see
    /// [`shared::Store::lengthen_keys`].
    pub async fn lengthen_keys(self: Arc<Self>) {
        match self.shared() {
            Some(shared) => shared.lengthen_keys(&self.policies).await,
            // The sweep of a memory store keeps them.
            None => std::future::pending().await,
        }
    }

    /// Has nothing more charged in a shared store ahead of the requests, since the process ends.
    pub fn stop_prepaying(&self) {
        if let Some(shared) = self.shared() {
            shared.stop_prepaying();
        }
    }

    /// Whether requests are decided without the shared store that is configured.
    pub fn is_degraded(&self) -> bool {
        self.shared().is_some_and(shared::Store::is_degraded)
    }

    /// Whether the shared store has been reached since the start; true without one.
    pub fn was_store_reached(&self) -> bool {
        self.shared().is_none_or(shared::Store::was_reached)
    }

    /// Why limits are not fully enforced although calls are answered; empty if they are.
    pub fn shortfalls(&self) -> Vec<String> {
        let of_shared = self.shared().into_iter().flat_map(shared::Store::shortfalls);
        let shortage = self.memory().shortage(self.now());
        let of_memory = [
            (
                shortage.of_buckets,
                "--max-keys is reached, so buckets that are not full are evicted",
            ),
            (
                shortage.of_leases,
                "the maximum number of leases is held, so calls that take more are denied",
            ),
        ];
        let of_memory = of_memory.into_iter().filter(|(is_short, _)| *is_short);
        of_shared.chain(of_memory.map(|(_, text)| text.to_owned())).collect()
    }
}
