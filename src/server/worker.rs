//! One thread that serves gRPC.

use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::answered::{Answered, InFlight};
use super::bounded::Bounded;
use super::coalesced::Coalesced;
use super::limits;
use super::places::Place;
use super::routed::Routed;
use super::{Phase, ServerError, reached};
use crate::service::{Grpc, Service};
use crate::wire::{self, RateLimitServiceServer};

/// The largest request, in bytes. Envoy's are a few hundred.
const LARGEST_REQUEST: usize = 1 << 20;

/// The full name of the health service.
const HEALTH: &str = "grpc.health.v1.Health";

/// The full names of the reflection service, as it is and as older clients ask for it.
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Where connections for a worker go, each with the place that it takes.
pub(super) type Streams = mpsc::UnboundedSender<(TcpStream, Place)>;

/// With no call in flight for so long, whoever has not closed its connection is not going to.
const QUIET: Duration = Duration::from_secs(1);

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    streams: Streams,
    ended: oneshot::Receiver<()>,
    in_flight: InFlight,
}

impl Worker {
    pub(super) fn start(
        at: usize,
        service: Arc<Service>,
        health: HealthServer<impl Health>,
        phases: &watch::Receiver<Phase>,
    ) -> Result<Self, ServerError> {
        let (streams, incoming) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let in_flight = InFlight::default();
        let calls = Answered::new(rate_limit(service), in_flight.clone());
        let routed = Routed::new(calls, others(health)?);
        let draining = reached(phases.clone(), Phase::Draining);
        let over = reached(phases.clone(), Phase::Over);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("grpc-{at}")).spawn(move || {
            // Dropped when the thread ends, by a panic too.
            let _ending: oneshot::Sender<()> = ending;
            runtime.block_on(async {
                tokio::select! {
                    () = serve(incoming, routed, draining) => {}
                    () = over => {}
                }
            });
        })?;
        Ok(Self { streams, ended, in_flight })
    }

    pub(super) fn streams(&self) -> Streams {
        self.streams.clone()
    }
}

fn rate_limit(service: Arc<Service>) -> RateLimitServiceServer<Grpc> {
    RateLimitServiceServer::new(Grpc(service)).max_decoding_message_size(LARGEST_REQUEST)
}

/// Everything but the calls themselves: what people and probes ask.
fn others(health: HealthServer<impl Health>) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = |name| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The protos declare more than is served.
            .with_service_name(wire::SERVICE)
            .with_service_name(HEALTH)
            .with_service_name(name)
    };
    Ok(Routes::new(health)
        .add_service(reflection(REFLECTION).build_v1()?)
        .add_service(reflection(REFLECTION_ALPHA).build_v1alpha()?))
}

/// Serves connections until told to drain, and then those that are open until they are done.
///
/// On hyper itself: tonic's transport would put a router, a timeout and several boxes around every call.
async fn serve(
    mut incoming: mpsc::UnboundedReceiver<(TcpStream, Place)>,
    routed: Routed,
    draining: impl Future<Output = ()>,
) {
    let http = limits::http2();
    let graceful = GracefulShutdown::new();
    let open = |(stream, place)| match coalesced(stream) {
        Ok(stream) => {
            let connection = http.serve_connection(
                TokioIo::new(Bounded::new(stream)),
                routed.clone().of_a_connection(),
            );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a gRPC connection ended early");
                }
                drop::<Place>(place);
            });
        }
        Err(error) => tracing::debug!(%error, "a gRPC connection was gone at once"),
    };
    let mut draining = std::pin::pin!(draining);
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            stream = incoming.recv() => match stream {
                Some(stream) => open(stream),
                None => break,
            },
        }
    }
    // What was dealt and not yet taken may have a call under way.
    while let Ok(stream) = incoming.try_recv() {
        open(stream);
    }
    graceful.shutdown().await;
}

fn coalesced(stream: TcpStream) -> std::io::Result<Coalesced> {
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream).map(Coalesced)
}

/// Completes with the first worker that ends.
pub(super) async fn first_to_die(workers: &mut [Worker]) -> ServerError {
    let ended = std::future::poll_fn(|context| {
        let is_any =
            workers.iter_mut().any(|worker| Pin::new(&mut worker.ended).poll(context).is_ready());
        if is_any { Poll::Ready(()) } else { Poll::Pending }
    });
    ended.await;
    ServerError::Died("a thread that serves gRPC")
}

/// Waits until all connections are closed, or until no call is in flight and those that have not closed
/// by then are not going to, or until the time is up.
pub(super) async fn drain(
    workers: &mut [Worker],
    deadline: Duration,
    hurry: impl Future<Output = ()>,
) {
    let in_flight: Vec<_> = workers.iter().map(|worker| worker.in_flight.clone()).collect();
    tokio::select! {
        () = all_ended(workers) => {}
        () = quiet(&in_flight) => tracing::info!("some connections stayed open, without a call"),
        () = hurry => tracing::warn!("told twice to stop: calls in flight are given up"),
        () = tokio::time::sleep(deadline) => {
            tracing::warn!(?deadline, "calls were still in flight when the time to drain was over");
        }
    }
}

async fn all_ended(workers: &mut [Worker]) {
    for worker in workers {
        if !worker.ended.is_terminated() {
            let _ = (&mut worker.ended).await;
        }
    }
}

async fn quiet(in_flight: &[InFlight]) {
    let mut ticks = tokio::time::interval(QUIET);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if in_flight.iter().all(InFlight::is_none) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_is_noticed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let worker = || {
            let (streams, _) = mpsc::unbounded_channel();
            let (ending, ended) = oneshot::channel();
            (ending, Worker { streams, ended, in_flight: InFlight::default() })
        };
        let ((alive, first), (dies, second)) = (worker(), worker());
        drop(dies);
        let mut workers = [first, second];
        let death = runtime.block_on(first_to_die(&mut workers));
        assert!(matches!(death, ServerError::Died(_)), "{death}");
        drop(alive);
        // What has ended once is not waited for again.
        runtime.block_on(drain(&mut workers, Duration::ZERO, std::future::pending()));
    }
}
