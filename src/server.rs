//! Listeners, runtimes, drain.
//!
//! gRPC runs on one single-threaded runtime per core: tokio's multi-threaded one costs a small unary call
//! about 1.6 times the CPU. One acceptor deals connections to them in turn, since Envoy opens a handful of
//! long-lived ones, which `SO_REUSEPORT` would spread by chance. HTTP has a thread and a runtime of its own, so
//! that neither that acceptor nor the workers wait for what it does.

mod connection_limit;
mod http_thread;
pub mod open_files;
mod shortage;
mod worker;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use self::connection_limit::ConnectionLimit;
use self::http_thread::HttpThread;
use self::worker::{ConnectionSender, Worker};
use crate::admin::{Controls, Readiness};
use crate::grpc::ConnectionConfig;
use crate::listener::{Address, Listener};
use crate::service::Core;
use crate::store::memory::Shortage;
use crate::tls::Identity;
use crate::wire;

/// The store is swept once in this time, in so many ticks at most: an idle server is not to be woken more
/// often than need be.
const SWEEP_ROUND: Duration = Duration::from_secs(10);
const SWEEP_TICKS: usize = 256;

/// How long threads that serve gRPC, and then HTTP requests in flight, may take once gRPC is over. Nobody's
/// request waits for them.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Where to listen, and with how many threads.
#[derive(Debug, Clone)]
pub struct Options {
    /// gRPC.
    pub grpc: Address,
    /// HTTP.
    pub http: Address,
    /// What gRPC is served with over TLS; without it, in plain text.
    pub grpc_tls: Option<Identity>,
    /// The same for HTTP.
    pub http_tls: Option<Identity>,
    /// Threads that serve gRPC.
    pub workers: NonZeroUsize,
    /// The most gRPC connections that are open at a time; more are closed as soon as they are accepted.
    pub max_connections: usize,
    /// How old a gRPC connection may become, give or take a fifth, until it is to take no more calls and is
    /// closed when those it has are answered; none, as old as it likes.
    pub max_connection_age: Option<Duration>,
    /// How long calls and connections are still taken once the server is told to stop and says that it is
    /// not ready: as long as it takes whoever balances the load to notice.
    pub drain_delay: Duration,
    /// How long calls in flight may take to finish after that.
    pub drain: Duration,
    /// What may be changed over HTTP.
    pub controls: Controls,
}

impl Default for Options {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).into();
        Self {
            grpc: local(8081),
            http: local(8080),
            grpc_tls: None,
            http_tls: None,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_connections: 10_000,
            max_connection_age: Some(Duration::from_secs(300)),
            drain_delay: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            controls: Controls::default(),
        }
    }
}

/// Why a server cannot start, or did not stop by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address} for {what}: {error}; choose another with --{what} {}",
        address.form()
    )]
    Bind {
        /// `grpc` or `http`.
        what: &'static str,
        /// The address asked for.
        address: Address,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system gives no thread or runtime.
    #[error("cannot start a thread to serve gRPC or HTTP: {0}")]
    Thread(#[from] std::io::Error),
    /// The program's own protos cannot be read.
    #[error("cannot offer reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A part of the server stopped although nobody asked it to.
    #[error("{0} stopped unexpectedly; a server that cannot answer must not look alive")]
    Stopped(&'static str),
}

/// A server whose addresses are bound; it answers once it runs.
#[derive(Debug)]
pub struct Server {
    options: Options,
    grpc: Listener,
    http: Listener,
}

impl Server {
    /// Binds both addresses.
    ///
    /// # Errors
    /// [`ServerError::Bind`] where one is taken or not this machine's.
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let grpc = bind("grpc", &options.grpc).await?;
        let http = bind("http", &options.http).await?;
        Ok(Self { options, grpc, http })
    }

    /// The address gRPC is bound to.
    pub const fn grpc_address(&self) -> &Address {
        self.grpc.address()
    }

    /// The address HTTP is bound to.
    pub const fn http_address(&self) -> &Address {
        self.http.address()
    }

    /// Serves until `stop` completes. Then it is not ready, but serves as before until the drain delay is
    /// over; then it takes no more connections, finishes the calls in flight and returns. If `force`
    /// completes it returns at once, in the delay as well. Returns early with an error if any part of the server stops
    /// by itself. HTTP answers to the end, so that `/readyz` can say that there is no more to come. When it
    /// returns, nobody decides any more, and leases whose answers never left are given back.
    ///
    /// # Errors
    /// [`ServerError::Thread`] or [`ServerError::Reflection`] where it cannot start, else
    /// [`ServerError::Stopped`].
    pub async fn run(
        self,
        core: Arc<Core>,
        stop: impl Future<Output = ()>,
        force: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let (mut reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(wire::SERVICE, tonic_health::ServingStatus::Serving).await;
        let (phase, phases) = watch::channel(Phase::Serving);
        let readiness = Readiness::default();
        let mut workers = self.start_workers(&core, &health, &phases)?;
        let senders = workers.iter().map(Worker::connections).collect();
        let connections = core.telemetry().connections().clone();
        let limit = ConnectionLimit::new(self.options.max_connections, connections);
        let mut accepting = tokio::spawn(accept(self.grpc, senders, limit, phases.clone()));
        let (tls, controls) = (self.options.http_tls, self.options.controls);
        let (core_of_http, ready) = (Arc::clone(&core), readiness.clone());
        let http = HttpThread { tls, core: core_of_http, readiness: ready, controls };
        let mut http = http.start(self.http.park()?, phases)?;
        let mut sweeping = tokio::spawn(sweep(core));
        readiness.set(true);
        let mut force = pin!(force);
        let mut is_forced = false;
        let stopping = async {
            stop.await;
            readiness.set(false);
            report(&mut reporter).await;
            is_forced = delay(self.options.drain_delay, force.as_mut()).await;
        };
        let result = tokio::select! {
            () = stopping => Ok(()),
            error = worker::first_exit(&mut workers) => Err(error),
            _ = &mut accepting => Err(ServerError::Stopped("the gRPC listener")),
            _ = &mut http => Err(ServerError::Stopped("the HTTP listener")),
            _ = &mut sweeping => Err(ServerError::Stopped("the sweep of the store")),
        };
        readiness.set(false);
        close_health(&mut reporter).await;
        phase.send_replace(Phase::Draining);
        let force = async {
            if !is_forced {
                force.await;
            }
        };
        worker::drain(&mut workers, self.options.drain, force).await;
        phase.send_replace(Phase::Stopped);
        if tokio::time::timeout(SHUTDOWN_GRACE, worker::all_exited(&mut workers)).await.is_err() {
            tracing::warn!("a thread that serves gRPC was still running at the end");
        }
        if !http.is_terminated() && tokio::time::timeout(SHUTDOWN_GRACE, http).await.is_err() {
            tracing::warn!("an HTTP request was still in flight at the end");
        }
        result
    }

    fn start_workers(
        &self,
        core: &Arc<Core>,
        health: &HealthServer<impl Health>,
        phases: &watch::Receiver<Phase>,
    ) -> Result<Vec<Worker>, ServerError> {
        let start = |at| {
            let config = ConnectionConfig {
                tls: self.options.grpc_tls.clone(),
                max_age: self.options.max_connection_age,
            };
            Worker::start(at, Arc::clone(core), health.clone(), config, phases)
        };
        (0..self.options.workers.get()).map(start).collect()
    }
}

/// How far a server has come. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Takes connections.
    Serving,
    /// Takes none, and finishes the calls in flight.
    Draining,
    /// Abandons calls that are still in flight.
    Stopped,
}

/// Completes when the server has come so far.
async fn reached(mut phases: watch::Receiver<Phase>, phase: Phase) {
    // An error means that the server is gone, which is over as well.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

async fn bind(what: &'static str, address: &Address) -> Result<Listener, ServerError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|error| ServerError::Bind { what, address: address.clone(), error })
}

/// The names under which the service's health is asked for.
const HEALTH_OF: [&str; 2] = ["", wire::SERVICE];

/// Tells who asks for the service's health, or watches it, that it serves no more.
async fn report(reporter: &mut HealthReporter) {
    for service in HEALTH_OF {
        reporter.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
    }
}

/// Ends the watches of the service's health: they would never end by themselves.
async fn close_health(reporter: &mut HealthReporter) {
    report(reporter).await;
    for service in HEALTH_OF {
        reporter.clear_service_status(service).await;
    }
}

/// Lets time pass in which the server is not ready and serves all the same. Returns whether it was cut short.
async fn delay(span: Duration, force: Pin<&mut impl Future<Output = ()>>) -> bool {
    if span.is_zero() {
        return false;
    }
    tracing::info!(
        ?span,
        "not ready any more; calls are taken until the drain delay is over, or a second signal comes"
    );
    tokio::select! {
        biased;
        () = force => true,
        () = tokio::time::sleep(span) => false,
    }
}

/// Deals connections to the workers in turn, up to the limit. Ends only where no worker is left.
async fn accept(
    listener: Listener,
    workers: Vec<ConnectionSender>,
    mut limit: ConnectionLimit,
    phases: watch::Receiver<Phase>,
) {
    let mut draining = pin!(reached(phases, Phase::Draining));
    let mut turn = workers.iter().cycle();
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut draining => break,
            stream = listener.accept() => stream,
        };
        let Some(permit) = limit.try_acquire() else { continue };
        let Some(worker) = turn.next() else { return };
        if worker.send((stream, permit)).is_err() {
            return;
        }
    }
    // Closed, so that who connects now is refused at once and tries elsewhere.
    drop(listener);
    std::future::pending().await
}

async fn sweep(core: Arc<Core>) {
    let shards = core.shard_count();
    let at_a_time = shards.div_ceil(SWEEP_TICKS).max(1);
    let tick = SWEEP_ROUND / u32::try_from(shards.div_ceil(at_a_time)).unwrap_or(1).max(1);
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = Shortage::default();
    loop {
        ticks.tick().await;
        (0..at_a_time).for_each(|_| {
            core.sweep();
        });
        let now = core.memory().shortage(core.now());
        shortage::log_changes(std::mem::replace(&mut before, now), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Stream;
    use crate::observe::telemetry::Connections;

    /// Long enough for anything that is going to happen; nothing waits for it to pass.
    const BOUND: Duration = Duration::from_secs(10);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// With the port that was free.
    async fn listen() -> (Listener, SocketAddr) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = bind("grpc", &any.into()).await.unwrap();
        let address = listener.address().tcp().unwrap();
        (listener, address)
    }

    fn limit(max: usize) -> ConnectionLimit {
        ConnectionLimit::new(max, Connections::default())
    }

    #[test]
    fn a_listener_whose_workers_are_gone_does_not_pretend_to_live() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (streams, gone) = tokio::sync::mpsc::unbounded_channel();
            drop(gone);
            let (_phase, phases) = watch::channel(Phase::Serving);
            let accepting = tokio::spawn(accept(listener, vec![streams], limit(1), phases));
            let _connection = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::time::timeout(BOUND, accepting).await.unwrap().unwrap();
        });
    }

    #[test]
    fn connections_are_dealt_in_turn() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (first, mut firsts) = tokio::sync::mpsc::unbounded_channel();
            let (second, mut seconds) = tokio::sync::mpsc::unbounded_channel();
            let (_phase, phases) = watch::channel(Phase::Serving);
            tokio::spawn(accept(listener, vec![first, second], limit(4), phases));
            for turn in 0..4 {
                let mine = tokio::net::TcpStream::connect(address).await.unwrap();
                let dealt = if turn % 2 == 0 { &mut firsts } else { &mut seconds };
                let dealt = tokio::time::timeout(BOUND, dealt.recv()).await.unwrap();
                let (Stream::Tcp(dealt), _permit) = dealt.unwrap() else { panic!("not over TCP") };
                assert_eq!(dealt.peer_addr().unwrap(), mine.local_addr().unwrap());
            }
        });
    }

    #[test]
    fn the_drain_delay_lasts_for_its_duration_or_until_it_is_forced() {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        paused.block_on(async {
            let began = tokio::time::Instant::now();
            assert!(!delay(Duration::from_secs(5), pin!(std::future::pending())).await);
            assert_eq!(began.elapsed(), Duration::from_secs(5));
            let force = tokio::time::sleep(Duration::from_secs(2));
            assert!(delay(Duration::from_secs(5), pin!(force)).await);
            assert_eq!(began.elapsed(), Duration::from_secs(7));
        });
    }

    #[test]
    fn a_draining_listener_refuses_at_once() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (streams, _kept) = tokio::sync::mpsc::unbounded_channel();
            let (phase, phases) = watch::channel(Phase::Serving);
            let accepting = tokio::spawn(accept(listener, vec![streams], limit(1), phases));
            phase.send_replace(Phase::Draining);
            tokio::task::yield_now().await;
            let refused =
                tokio::time::timeout(BOUND, tokio::net::TcpStream::connect(address)).await;
            assert!(refused.unwrap().is_err());
            assert!(!accepting.is_finished(), "a drain does not end the task");
        });
    }
}
