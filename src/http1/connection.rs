//! One HTTP connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ServerConfig;
use tower_service::Service;

use super::ClientCertVerified;
use super::timed_io::{Activity, TimedIo};
use crate::listener::Stream;
use crate::tls::Identity;

/// How long a TLS handshake may take; how long a connection may wait for the whole head of its next request; and how
/// long the body and the answer may then take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes, and about the size of the answers that are kept for a client that does not
/// read them: with more, no further request of it is read.
const MAX_BUFFER_BYTES: usize = 64 << 10;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection that is ready for HTTP.
pub(super) struct Opened {
    io: Box<dyn Io>,
    verified: Option<VerifiedClient>,
}

/// A client whose certificate has an allowed name.
struct VerifiedClient {
    tls: Identity,
    /// The configuration that verified its certificate.
    config: Arc<ServerConfig>,
}

impl VerifiedClient {
    /// Whether that configuration is still in force. A connection may outlive it.
    fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.config, &self.tls.config())
    }
}

/// Serves a new connection until it ends, or until `stop` completes and the request in flight is answered. Logs why a
/// connection fails.
pub(super) async fn run(
    stream: Stream,
    activity: Activity,
    tls: Option<Identity>,
    routes: Router,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let opened = tokio::select! {
        // A shutdown does not wait for handshakes.
        () = &mut stop => return,
        opened = accept(stream, activity.clone(), tls) => opened,
    };
    match opened {
        Ok(opened) => {
            if let Err(error) = serve(opened, activity, routes, stop).await {
                tracing::debug!(%error, "an HTTP connection failed");
            }
        }
        Err(error) => tracing::debug!(%error, "the handshake of an HTTP connection failed"),
    }
}

/// Performs the TLS handshake of a new connection, if there is TLS.
///
/// # Errors
/// If the handshake fails or takes too long, or if the client's certificate is not valid.
async fn accept(
    stream: Stream,
    activity: Activity,
    tls: Option<Identity>,
) -> std::io::Result<Opened> {
    match stream {
        Stream::Tcp(stream) => {
            open(TimedIo::new(TcpStream::from_std(stream)?, activity), tls).await
        }
        Stream::Unix(stream) => {
            open(TimedIo::new(UnixStream::from_std(stream)?, activity), tls).await
        }
    }
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<Identity>,
) -> std::io::Result<Opened> {
    let Some(tls) = tls else { return Ok(Opened { io: Box::new(stream), verified: None }) };
    // Read before the handshake: if it is replaced meanwhile, the certificate does not count.
    let config = tls.config();
    let stream = tokio::time::timeout(REQUEST_TIMEOUT, tls.accept(stream)).await??;
    let verified = tls.is_authorized(stream.get_ref().1).then_some(VerifiedClient { tls, config });
    Ok(Opened { io: Box::new(stream), verified })
}

/// Serves HTTP until the connection ends, or until `stop` completes and the request in flight is answered.
async fn serve(
    Opened { io, verified }: Opened,
    activity: Activity,
    routes: Router,
    stop: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if verified.as_ref().is_some_and(VerifiedClient::is_current) {
            request.extensions_mut().insert(ClientCertVerified);
        }
        // While its body is incomplete, the request waits for the client.
        let answering = request.body().is_end_stream().then(|| activity.answering());
        let mut routes = routes.clone();
        async move {
            // Pipelined requests take turns with those of other connections.
            tokio::task::yield_now().await;
            let answer = routes.call(request).await;
            drop(answering);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(io), answer));
    tokio::select! {
        served = &mut connection => return served,
        () = stop => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[cfg(test)]
mod tests;
