//! Listeners, runtimes, drain.
//!
//! gRPC runs on one single-threaded runtime per core: tokio's multi-threaded one costs a small unary call
//! about 1.6 times the CPU. One acceptor deals connections to them in turn, since Envoy opens a handful of
//! long-lived ones, which `SO_REUSEPORT` would spread by chance.

pub mod answered;
mod worker;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use self::worker::{Streams, Worker};
use crate::admin::{self, Readiness};
use crate::service::Service;
use crate::wire;

/// The store is swept once in this time, one shard a tick.
const SWEEP_ROUND: Duration = Duration::from_secs(10);

/// How long the acceptor pauses when the system refuses it a connection, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where to listen, and with how many threads.
#[derive(Debug, Clone)]
pub struct Options {
    /// gRPC; port 0 takes a free one.
    pub grpc: SocketAddr,
    /// HTTP; port 0 takes a free one.
    pub http: SocketAddr,
    /// Threads that serve gRPC.
    pub workers: NonZeroUsize,
    /// How long calls in flight may take to finish once the server is told to stop.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            grpc: local(8081),
            http: local(8080),
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            drain: Duration::from_secs(10),
        }
    }
}

/// Why a server cannot start, or did not stop by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address} for {what}: {error}; choose another with --{what} ADDRESS:PORT"
    )]
    Bind {
        /// `grpc` or `http`.
        what: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system gives no thread or runtime.
    #[error("cannot start a thread to serve gRPC: {0}")]
    Thread(#[from] std::io::Error),
    /// A part of the server stopped although nobody asked it to.
    #[error("{0} stopped unexpectedly; a server that cannot answer must not look alive")]
    Died(&'static str),
}

/// A server whose addresses are bound; it answers once it runs.
#[derive(Debug)]
pub struct Server {
    options: Options,
    grpc: TcpListener,
    http: TcpListener,
}

impl Server {
    /// Binds both addresses.
    ///
    /// # Errors
    /// [`ServerError::Bind`] where one is taken or not this machine's.
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let grpc = bind("grpc", options.grpc).await?;
        let http = bind("http", options.http).await?;
        Ok(Self { options, grpc, http })
    }

    /// The address gRPC is bound to.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.local_addr().unwrap_or(self.options.grpc)
    }

    /// The address HTTP is bound to.
    pub fn http_address(&self) -> SocketAddr {
        self.http.local_addr().unwrap_or(self.options.http)
    }

    /// Serves until `stop` completes; then takes no more connections, finishes the calls in flight and
    /// returns. Returns early with an error if any part of the server stops by itself.
    ///
    /// # Errors
    /// [`ServerError::Thread`] or [`ServerError::Died`].
    pub async fn run(
        self,
        service: Arc<Service>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(wire::SERVICE, tonic_health::ServingStatus::Serving).await;
        let (draining, drain) = watch::channel(false);
        let readiness = Readiness::default();
        let mut workers = self.start_workers(&service, &health, &drain)?;
        let streams = workers.iter().map(Worker::streams).collect();
        let accepting = tokio::spawn(accept(self.grpc, streams, drain.clone()));
        let admin = tokio::spawn(admin::serve(
            self.http,
            Arc::clone(&service),
            readiness.clone(),
            drained(drain.clone()),
        ));
        let sweeping = tokio::spawn(sweep(Arc::clone(&service)));
        readiness.set(true);
        let result = tokio::select! {
            () = stop => Ok(()),
            died = worker::first_to_die(&mut workers) => Err(died),
            _ = accepting => Err(ServerError::Died("the gRPC listener")),
            _ = admin => Err(ServerError::Died("the HTTP listener")),
        };
        readiness.set(false);
        shut(&reporter).await;
        let _ = draining.send(true);
        worker::join(workers, self.options.drain).await;
        sweeping.abort();
        result
    }

    fn start_workers(
        &self,
        service: &Arc<Service>,
        health: &HealthServer<impl Health>,
        drain: &watch::Receiver<bool>,
    ) -> Result<Vec<Worker>, ServerError> {
        let start =
            |at| Worker::start(at, Arc::clone(service), health.clone(), drained(drain.clone()));
        (0..self.options.workers.get()).map(start).collect()
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|error| ServerError::Bind { what, address, error })
}

/// Completes when the server is told to stop.
async fn drained(mut drain: watch::Receiver<bool>) {
    // An error means that the server is gone, which is stopped as well.
    let _ = drain.wait_for(|is_draining| *is_draining).await;
}

async fn shut(reporter: &HealthReporter) {
    for service in ["", wire::SERVICE] {
        reporter.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
    }
}

/// Deals connections to the workers in turn. Ends only when the server drains, or no worker is left.
async fn accept(listener: TcpListener, workers: Vec<Streams>, drain: watch::Receiver<bool>) {
    let mut drained = std::pin::pin!(drained(drain));
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut drained => return std::future::pending().await,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                let Some(worker) = turn.next() else { return };
                if worker.send(stream).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a gRPC connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn sweep(service: Arc<Service>) {
    let tick = SWEEP_ROUND / u32::try_from(service.shard_count()).unwrap_or(1).max(1);
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        service.sweep();
    }
}
