//! One thread that serves gRPC.

use std::future::Future;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::ServerError;
use super::answered::Answered;
use crate::service::{Grpc, Service};
use crate::wire::{self, RateLimitServiceServer};

/// What Envoy opens at most on one connection.
const CONCURRENT_STREAMS: u32 = 1024;

/// The largest request, in bytes. Envoy's are a few hundred.
const LARGEST_REQUEST: usize = 1 << 20;

/// The full name of the health service.
const HEALTH: &str = "grpc.health.v1.Health";

/// Where connections for a worker go.
pub(super) type Streams = mpsc::UnboundedSender<TcpStream>;

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    streams: Streams,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    pub(super) fn start(
        at: usize,
        service: Arc<Service>,
        health: HealthServer<impl Health>,
        drained: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, ServerError> {
        let (streams, incoming) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("grpc-{at}")).spawn(move || {
            // Dropped when the thread ends, by a panic too.
            let _ending: oneshot::Sender<()> = ending;
            if let Err(error) = runtime.block_on(serve(incoming, service, health, drained)) {
                tracing::error!(%error, worker = at, "gRPC stopped");
            }
        })?;
        Ok(Self { streams, ended })
    }

    pub(super) fn streams(&self) -> Streams {
        self.streams.clone()
    }
}

async fn serve(
    incoming: mpsc::UnboundedReceiver<TcpStream>,
    service: Arc<Service>,
    health: HealthServer<impl Health>,
    drained: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The protos declare more than is served.
            .with_service_name(wire::SERVICE)
            .with_service_name(HEALTH)
    };
    let rate_limit =
        RateLimitServiceServer::new(Grpc(service)).max_decoding_message_size(LARGEST_REQUEST);
    let incoming = UnboundedReceiverStream::new(incoming).map(|stream| {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        tokio::net::TcpStream::from_std(stream)
    });
    tonic::transport::Server::builder()
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .add_service(Answered::new(rate_limit))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, drained)
        .await?;
    Ok(())
}

/// Completes with the first worker that ends.
pub(super) async fn first_to_die(workers: &mut [Worker]) -> ServerError {
    let ended = std::future::poll_fn(|context| {
        let is_any = workers
            .iter_mut()
            .any(|worker| std::pin::Pin::new(&mut worker.ended).poll(context).is_ready());
        if is_any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    ended.await;
    ServerError::Died("a thread that serves gRPC")
}

/// Waits until all workers have finished their calls, or the time is up.
pub(super) async fn join(workers: Vec<Worker>, deadline: Duration) {
    let all = async {
        for worker in workers {
            // Ends the stream of connections; those that are open finish.
            drop(worker.streams);
            let _ = worker.ended.await;
        }
    };
    if tokio::time::timeout(deadline, all).await.is_err() {
        tracing::warn!(?deadline, "calls were still in flight when the time to drain was over");
    }
}
