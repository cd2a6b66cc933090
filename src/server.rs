//! The supervisor: it starts the threads, accepts connections, and drains.
//!
//! gRPC runs on one single-threaded runtime per core: tokio's multi-threaded one costs a small unary call about 1.6
//! times the CPU. One acceptor passes connections to them in rotation. Envoy opens a handful of long-lived
//! connections, which `SO_REUSEPORT` would spread by chance. HTTP has a thread and a runtime of its own, so that its
//! requests delay neither the acceptor nor the workers.

mod accept;
mod connection_limit;
mod grpc_health;
mod http_thread;
pub mod open_files;
mod options;
mod quota_thread;
mod shortage;
mod shutdown;
mod sweep;
mod worker;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic_health::pb::health_server::{Health, HealthServer};

use self::connection_limit::ConnectionLimit;
use self::grpc_health::GrpcHealth;
use self::http_thread::HttpThread;
pub use self::options::{Options, Reference, ServerError};
pub use self::shutdown::Stop;
use self::shutdown::{Phase, wait_before_drain};
use self::worker::Worker;
use crate::admin::Readiness;
use crate::grpc::ConnectionConfig;
use crate::listener::{Address, Listener};
pub use crate::reference::Addresses as ReferenceAddresses;
use crate::reference::{self, Listeners};
use crate::rlqs::QuotaService;
use crate::service::Core;

/// How long threads that serve gRPC, and then HTTP requests in flight, may take to end after the drain. No call
/// waits for them.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A server whose addresses are bound; it answers once it runs.
#[derive(Debug)]
pub struct Server {
    options: Options,
    grpc: Listener,
    http: Option<Listener>,
    reference: Option<Listeners<Listener>>,
}

impl Server {
    /// Binds all addresses.
    ///
    /// # Errors
    /// [`ServerError::Bind`] if one is in use or not an address of this machine.
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let of_grpc = match (&options.reference, &options.grpc) {
            (None, _) => "--grpc",
            (Some(_), Address::Unix(_)) => "GRPC_UDS",
            (Some(_), _) => "GRPC_HOST and GRPC_PORT",
        };
        let grpc = bind("grpc", of_grpc, &options.grpc).await?;
        let http = match &options.http {
            Some(address) => Some(bind("http", "--http", address).await?),
            None => None,
        };
        let reference = match &options.reference {
            Some(reference) => Some(Listeners::bind(&reference.ports).await?),
            None => None,
        };
        Ok(Self { options, grpc, http, reference })
    }

    /// The bound address of gRPC.
    pub const fn grpc_address(&self) -> &Address {
        self.grpc.address()
    }

    /// The bound address of HTTP, if it is served.
    pub fn http_address(&self) -> Option<&Address> {
        self.http.as_ref().map(Listener::address)
    }

    /// The bound addresses of the HTTP side of envoyproxy/ratelimit, if it is served.
    pub fn reference_addresses(&self) -> Option<ReferenceAddresses<'_>> {
        self.reference.as_ref().map(Listeners::addresses)
    }

    /// Serves until `stop` completes. The server then reports not ready, but serves until the drain delay is over, if
    /// `stop` asks for it. After that it accepts no connections, finishes the calls in flight and returns. When `force` completes, it
    /// skips the rest of the delay and of the drain. HTTP answers until the end, so that `/readyz` can report the
    /// drain. On return, nothing is decided any more, what was charged ahead in a shared store is given back, and the leases
    /// of undelivered answers are released.
    ///
    /// # Errors
    /// [`ServerError::Thread`] or [`ServerError::Reflection`] if it cannot start; [`ServerError::Stopped`], at once,
    /// if a part of the server stops by itself.
    pub async fn run(
        self,
        core: Arc<Core>,
        stop: impl Future<Output = Stop>,
        force: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let is_reference = self.options.reference.is_some();
        let (mut grpc_health, health_service) = GrpcHealth::new(is_reference).await;
        let (phase, phases) = watch::channel(Phase::Serving);
        let readiness = Readiness::default();
        let (quotas, mut dividing) = match self.options.quotas {
            Some(settings) => {
                let (service, exited) = quota_thread::start(&core, settings, &phases)?;
                (Some(service), Some(exited))
            }
            None => (None, None),
        };
        let mut workers = self.start_workers(&core, &health_service, quotas.as_ref(), &phases)?;
        let senders = workers.iter().map(Worker::connections).collect();
        let connections = core.telemetry().connections().clone();
        let limit = ConnectionLimit::new(self.options.max_connections, connections);
        let mut accepting = tokio::spawn(accept::accept(self.grpc, senders, limit, phases.clone()));
        let (tls, controls) = (self.options.http_tls, self.options.controls);
        let health = self.options.reference.map(|Reference { health, .. }| {
            Arc::new(reference::Health::new(health, readiness.clone(), Arc::clone(&core)))
        });
        let http = HttpThread {
            core: Arc::clone(&core),
            readiness: readiness.clone(),
            tls,
            controls,
            admin: self.http.map(Listener::park).transpose()?,
            reference: self.reference.map(Listeners::park).transpose()?.zip(health.clone()),
        };
        let mut http = http.start(phases)?;
        let mut sweeping = tokio::spawn(sweep::sweep(Arc::clone(&core)));
        let mut lengthening = tokio::spawn(Arc::clone(&core).lengthen_keys());
        let becoming_ready = {
            let (readiness, grpc_health) = (readiness.clone(), grpc_health.clone());
            let core = Arc::clone(&core);
            async move {
                if !self.options.is_ready_without_policies {
                    core.policies().loaded().await;
                }
                readiness.set(true);
                match health {
                    None => grpc_health.report(true).await,
                    Some(health) => report_health(&health, &grpc_health).await,
                }
            }
        };
        let mut force = pin!(force);
        let mut is_forced = false;
        let stopping = async {
            let mut stop = pin!(stop);
            let until_ready = tokio::select! {
                biased;
                stop = &mut stop => Some(stop),
                () = becoming_ready => None,
            };
            let stop = match until_ready {
                Some(stop) => stop,
                None => stop.await,
            };
            let delay = match stop {
                Stop::AfterDelay => self.options.drain_delay,
                Stop::WithoutDelay => Duration::ZERO,
            };
            readiness.set(false);
            grpc_health.report(false).await;
            is_forced = wait_before_drain(delay, force.as_mut()).await;
        };
        let result = tokio::select! {
            () = stopping => Ok(()),
            error = worker::first_exit(&mut workers) => Err(error),
            _ = &mut accepting => Err(ServerError::Stopped("the gRPC listener")),
            _ = &mut http => Err(ServerError::Stopped("the HTTP listener")),
            () = quota_thread::exited(&mut dividing) => Err(ServerError::Stopped("the quota service")),
            _ = &mut sweeping => Err(ServerError::Stopped("the sweep of the store")),
            _ = &mut lengthening => Err(ServerError::Stopped("the walk through the keys of the store")),
        };
        readiness.set(false);
        grpc_health.close().await;
        core.stop_prepaying();
        phase.send_replace(Phase::Draining);
        let force = async {
            if !is_forced {
                force.await;
            }
        };
        worker::drain(&mut workers, self.options.drain, force).await;
        phase.send_replace(Phase::Stopped);
        let divided = quota_thread::exited_if_started(&mut dividing);
        if tokio::time::timeout(SHUTDOWN_GRACE, divided).await.is_err() {
            tracing::warn!("exiting before all that Envoys have used is charged");
        }
        if tokio::time::timeout(SHUTDOWN_GRACE, worker::all_exited(&mut workers)).await.is_err() {
            tracing::warn!("exiting while a thread that serves gRPC is still running");
        }
        if !http.is_terminated() && tokio::time::timeout(SHUTDOWN_GRACE, http).await.is_err() {
            tracing::warn!("exiting while an HTTP request is still in flight");
        }
        result
    }

    fn start_workers(
        &self,
        core: &Arc<Core>,
        health: &HealthServer<impl Health>,
        quotas: Option<&QuotaService>,
        phases: &watch::Receiver<Phase>,
    ) -> Result<Vec<Worker>, ServerError> {
        let start = |index| {
            let config = ConnectionConfig {
                tls: self.options.grpc_tls.clone(),
                max_age: self.options.max_connection_age,
            };
            Worker::start(index, Arc::clone(core), health.clone(), quotas.cloned(), config, phases)
        };
        (0..self.options.workers.get()).map(start).collect()
    }
}

async fn bind(
    what: &'static str,
    setting: &'static str,
    address: &Address,
) -> Result<Listener, ServerError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|error| ServerError::Bind { what, setting, address: address.clone(), error })
}

/// Reports the health of the server to health checks and watches, as it changes. Never completes.
async fn report_health(health: &reference::Health, grpc_health: &GrpcHealth) {
    loop {
        let is_healthy = health.is_healthy();
        grpc_health.report(is_healthy).await;
        health.changed(is_healthy).await;
    }
}
