//! A thread that serves gRPC connections.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::connection_limit::ConnectionPermit;
use super::options::ServerError;
use super::shutdown::{Phase, reached};
use crate::grpc::{ConnectionConfig, ConnectionServer, InFlight, builtin_services};
use crate::listener::Stream;
use crate::rlqs::QuotaService;
use crate::service::Core;

/// Passes connections to a worker, each with its permit.
pub(super) type ConnectionSender = mpsc::UnboundedSender<(Stream, ConnectionPermit)>;

/// A drain ends early when no call waits and none has arrived for this long: a peer that has not closed its
/// connection by then is not going to.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a thread may take to give back what is prepaid in a shared store. The supervisor waits longer for its end.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_millis(500);

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    connections: ConnectionSender,
    exited: oneshot::Receiver<()>,
    in_flight: InFlight,
}

impl Worker {
    /// Starts the thread with this index, on a runtime of its own.
    ///
    /// # Errors
    /// [`ServerError::Thread`] or [`ServerError::Reflection`].
    pub(super) fn start(
        index: usize,
        core: Arc<Core>,
        health: HealthServer<impl Health>,
        quotas: Option<QuotaService>,
        config: ConnectionConfig,
        phases: &watch::Receiver<Phase>,
    ) -> Result<Self, ServerError> {
        let (connections, incoming) = mpsc::unbounded_channel();
        let (exiting, exited) = oneshot::channel();
        let in_flight = InFlight::default();
        let (others, calls) = (builtin_services::routes(health, quotas)?, in_flight.clone());
        let phases = phases.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("grpc-{index}")).spawn(move || {
            // Declared first, dropped last when the thread exits or panics: after the runtime, which drops the calls
            // in flight, and so releases their leases.
            let _exiting: oneshot::Sender<()> = exiting;
            let runtime: Runtime = runtime;
            runtime.block_on(async {
                let service = tokio::select! {
                    service = core.connect() => service,
                    () = reached(phases.clone(), Phase::Stopped) => return,
                };
                let server = ConnectionServer::new(config, Arc::clone(&service), others, calls);
                tokio::select! {
                    () = serve(incoming, server, phases.clone()) => {}
                    () = reached(phases.clone(), Phase::Stopped) => {}
                }
                if timeout(GIVE_BACK_TIMEOUT, service.give_back_all_prepaid()).await.is_err() {
                    tracing::warn!("exiting before all prepaid admissions are given back");
                }
            });
        })?;
        Ok(Self { connections, exited, in_flight })
    }

    pub(super) fn connections(&self) -> ConnectionSender {
        self.connections.clone()
    }
}

/// Serves new connections until the server drains, then waits until all connections are closed.
async fn serve(
    mut incoming: mpsc::UnboundedReceiver<(Stream, ConnectionPermit)>,
    server: ConnectionServer,
    phases: watch::Receiver<Phase>,
) {
    // Every open connection holds a clone of `open`; the receiver completes when the last one is dropped.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    let start = |(stream, permit)| {
        let draining = reached(phases.clone(), Phase::Draining);
        server.spawn(stream, draining, (open.clone(), permit));
    };
    let mut draining = pin!(reached(phases.clone(), Phase::Draining));
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            connection = incoming.recv() => match connection {
                Some(connection) => start(connection),
                None => break,
            },
        }
    }
    // A connection in the channel was accepted, and may have a call in flight.
    while let Ok(connection) = incoming.try_recv() {
        start(connection);
    }
    drop(open);
    let _ = all_closed.recv().await;
}

/// Waits until a worker exits, which none does by itself.
pub(super) async fn first_exit(workers: &mut [Worker]) -> ServerError {
    let exited = std::future::poll_fn(|context| {
        let has_exited =
            workers.iter_mut().any(|worker| Pin::new(&mut worker.exited).poll(context).is_ready());
        if has_exited { Poll::Ready(()) } else { Poll::Pending }
    });
    exited.await;
    ServerError::Stopped("a thread that serves gRPC")
}

/// Waits until all connections are closed, until the workers are idle, until `timeout` has passed, or until `force`
/// completes.
pub(super) async fn drain(
    workers: &mut [Worker],
    timeout: Duration,
    force: impl Future<Output = ()>,
) {
    let in_flight: Vec<_> = workers.iter().map(|worker| worker.in_flight.clone()).collect();
    tokio::select! {
        () = all_exited(workers) => {}
        () = idle(&in_flight) => tracing::info!("closing gRPC connections that have no calls"),
        () = force => tracing::warn!("second signal: abandoning the calls in flight"),
        () = tokio::time::sleep(timeout) => {
            tracing::warn!(?timeout, "drain timed out: abandoning the calls in flight");
        }
    }
}

/// Waits until all workers have exited.
pub(super) async fn all_exited(workers: &mut [Worker]) {
    for worker in workers {
        if !worker.exited.is_terminated() {
            let _ = (&mut worker.exited).await;
        }
    }
}

/// Waits until no worker was active for [`IDLE_INTERVAL`].
async fn idle(in_flight: &[InFlight]) {
    // Asks every worker, without stopping at the first active one: each answer is about the time since the last.
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
