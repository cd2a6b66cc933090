//! One thread that serves gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::arriving::Arriving;
use super::connection::{self, ConnectionError, Services};
use super::connection_age;
use super::connection_limit::ConnectionPermit;
use super::in_flight::InFlight;
use super::sampling::Sampler;
use super::{Phase, ServerError, reached};
use crate::listener::Stream;
use crate::service::Core;
use crate::tls::Identity;
use crate::wire;

/// The full name of the health service.
const HEALTH: &str = "grpc.health.v1.Health";

/// The full names of the reflection service, as it is and as older clients ask for it.
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Passes connections to a worker, each with its permit.
pub(super) type ConnectionSender = mpsc::UnboundedSender<(Stream, ConnectionPermit)>;

/// TCP keepalive: how long a connection is idle before the first probe, the interval of probes, and how many
/// unanswered probes close it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 2;

/// How long sent bytes may stay unacknowledged, in milliseconds: as long as keepalive takes to close a connection.
#[cfg(target_os = "linux")]
const USER_TIMEOUT_MS: u32 = 80_000;

/// A drain ends early when no call waits and none has arrived for this long: a peer that has not closed its
/// connection by then is not going to.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// How connections are served.
#[derive(Debug, Clone)]
pub(super) struct ConnectionConfig {
    /// The server's certificate; plain text if `None`.
    pub(super) tls: Option<Identity>,
    /// Maximum age of a connection, plus or minus a fifth; unlimited if `None`.
    pub(super) max_age: Option<Duration>,
}

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    connections: ConnectionSender,
    exited: oneshot::Receiver<()>,
    in_flight: InFlight,
}

impl Worker {
    pub(super) fn start(
        at: usize,
        core: Arc<Core>,
        health: HealthServer<impl Health>,
        config: ConnectionConfig,
        phases: &watch::Receiver<Phase>,
    ) -> Result<Self, ServerError> {
        let (connections, incoming) = mpsc::unbounded_channel();
        let (exiting, exited) = oneshot::channel();
        let in_flight = InFlight::default();
        let (others, counting) = (others(health)?, in_flight.clone());
        let phases = phases.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("grpc-{at}")).spawn(move || {
            // Dropped when the thread ends, by a panic too; the runtime before that, and with it what was in
            // flight, whose leases are given back.
            let _exiting: oneshot::Sender<()> = exiting;
            let runtime: Runtime = runtime;
            runtime.block_on(async {
                let serving = async {
                    let services = Services {
                        rate_limit: core.connect().await,
                        others,
                        in_flight: counting,
                        arriving: Arriving::default(),
                        timing: Sampler::default(),
                    };
                    serve(incoming, config, services, phases.clone()).await;
                };
                tokio::select! {
                    () = serving => {}
                    () = reached(phases.clone(), Phase::Stopped) => {}
                }
            });
        })?;
        Ok(Self { connections, exited, in_flight })
    }

    pub(super) fn connections(&self) -> ConnectionSender {
        self.connections.clone()
    }
}

/// Everything but the calls themselves: what people and probes ask.
fn others(health: HealthServer<impl Health>) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = |name| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Only what is served is listed.
            .with_service_name(wire::SERVICE)
            .with_service_name(HEALTH)
            .with_service_name(name)
    };
    Ok(Routes::new(health)
        .add_service(reflection(REFLECTION).build_v1()?)
        .add_service(reflection(REFLECTION_ALPHA).build_v1alpha()?))
}

/// Serves connections until told to drain, and then those that are open until they are done.
async fn serve(
    mut incoming: mpsc::UnboundedReceiver<(Stream, ConnectionPermit)>,
    ConnectionConfig { tls, max_age }: ConnectionConfig,
    services: Services,
    phases: watch::Receiver<Phase>,
) {
    // Every open connection holds the sender; when the last is gone, the receiver is told.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    let start = |(stream, permit)| {
        let phases = phases.clone();
        let draining = async move {
            tokio::select! {
                biased;
                () = reached(phases, Phase::Draining) => {}
                () = connection_age::reached(max_age) => {}
            }
        };
        let (tls, services, held) = (tls.clone(), services.clone(), (open.clone(), permit));
        // A task of its own for each kind, so that no read asks which it is.
        let started = match stream {
            Stream::Tcp(stream) => opened(stream).map(|stream| {
                spawn(connection::serve(stream, tls, services, draining), held);
            }),
            Stream::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(|stream| {
                spawn(connection::serve(stream, tls, services, draining), held);
            }),
        };
        if let Err(error) = started {
            tracing::debug!(%error, "a gRPC connection was gone at once");
        }
    };
    let mut draining = std::pin::pin!(reached(phases.clone(), Phase::Draining));
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            stream = incoming.recv() => match stream {
                Some(stream) => start(stream),
                None => break,
            },
        }
    }
    // What was dealt and not yet taken may have a call under way.
    while let Ok(stream) = incoming.try_recv() {
        start(stream);
    }
    drop(open);
    let _ = all_closed.recv().await;
}

/// Serves a connection, which holds its permit until it ends.
fn spawn(
    connection: impl Future<Output = Result<(), ConnectionError>> + Send + 'static,
    held: impl Send + 'static,
) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a gRPC connection ended early");
        }
        drop(held);
    });
}

fn opened(stream: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Has the system find out that the other end is gone: Envoy does not ask, and HTTP/2's own pings would
/// cost every call two readings of the clock.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    // While an answer is under way the system does not probe, and by itself sends it again for a quarter of
    // an hour.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Completes with the first worker that ends.
pub(super) async fn first_exit(workers: &mut [Worker]) -> ServerError {
    let exited = std::future::poll_fn(|context| {
        let has_exited =
            workers.iter_mut().any(|worker| Pin::new(&mut worker.exited).poll(context).is_ready());
        if has_exited { Poll::Ready(()) } else { Poll::Pending }
    });
    exited.await;
    ServerError::Stopped("a thread that serves gRPC")
}

/// Waits until all connections are closed, or until no call is in flight and those that have not closed
/// by then are not going to, or until the time is up.
pub(super) async fn drain(
    workers: &mut [Worker],
    deadline: Duration,
    force: impl Future<Output = ()>,
) {
    let in_flight: Vec<_> = workers.iter().map(|worker| worker.in_flight.clone()).collect();
    tokio::select! {
        () = all_exited(workers) => {}
        () = idle(&in_flight) => tracing::info!("some connections stayed open, without a call"),
        () = force => tracing::warn!("told twice to stop: calls in flight are given up"),
        () = tokio::time::sleep(deadline) => {
            tracing::warn!(?deadline, "calls were still in flight when the time to drain was over");
        }
    }
}

/// Waits until every worker's thread is done.
pub(super) async fn all_exited(workers: &mut [Worker]) {
    for worker in workers {
        if !worker.exited.is_terminated() {
            let _ = (&mut worker.exited).await;
        }
    }
}

async fn idle(in_flight: &[InFlight]) {
    // Asks every worker, without stopping at the first active one: the answer covers the time since the last one.
    let active = || in_flight.iter().filter(|worker| worker.take_activity()).count();
    let mut ticks = tokio::time::interval(IDLE_INTERVAL);
    ticks.tick().await;
    active();
    loop {
        ticks.tick().await;
        if active() == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_vanished_is_noticed_by_the_system() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        keep_alive(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEPALIVE_COUNT);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), USER_TIMEOUT_MS);
    }

    #[test]
    fn a_worker_that_exits_is_noticed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let worker = || {
            let (connections, _) = mpsc::unbounded_channel();
            let (exiting, exited) = oneshot::channel();
            (exiting, Worker { connections, exited, in_flight: InFlight::default() })
        };
        let ((running, first), (exiting, second)) = (worker(), worker());
        drop(exiting);
        let mut workers = [first, second];
        let error = runtime.block_on(first_exit(&mut workers));
        assert!(matches!(error, ServerError::Stopped(_)), "{error}");
        drop(running);
        // A worker that has exited is not waited for again.
        runtime.block_on(drain(&mut workers, Duration::ZERO, std::future::pending()));
    }
}
