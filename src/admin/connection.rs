//! One HTTP connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ServerConfig;
use tower_service::Service;

use super::Certified;
use crate::listener::Stream;
use crate::tls::Identity;

/// How long a connection may take to say that it speaks TLS, where it must, and how long a request's head may
/// take to arrive, and then its body.
pub(super) const SLOWEST: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection on which HTTP can be spoken.
pub(super) struct Opened {
    io: Box<dyn Io>,
    known: Option<Known>,
}

/// A caller that has shown a certificate with an allowed name.
struct Known {
    tls: Identity,
    /// By which it was known.
    config: Arc<ServerConfig>,
}

impl Known {
    /// Whether it would be known today. A connection may outlive what vouches for it.
    fn is_still(&self) -> bool {
        Arc::ptr_eq(&self.config, &self.tls.config())
    }
}

/// Has a new connection speak TLS, if there is any.
///
/// # Errors
/// Where it does not, or not in time, or shows a certificate that nobody vouches for.
pub(super) async fn accepted(stream: Stream, tls: Option<Identity>) -> std::io::Result<Opened> {
    match stream {
        Stream::Tcp(stream) => open(TcpStream::from_std(stream)?, tls).await,
        Stream::Unix(stream) => open(UnixStream::from_std(stream)?, tls).await,
    }
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<Identity>,
) -> std::io::Result<Opened> {
    let Some(tls) = tls else { return Ok(Opened { io: Box::new(stream), known: None }) };
    // If others come into force meanwhile, it is not known.
    let config = tls.config();
    let stream = tokio::time::timeout(SLOWEST, tls.accept(stream)).await??;
    let known = tls.knows(stream.get_ref().1).then_some(Known { tls, config });
    Ok(Opened { io: Box::new(stream), known })
}

/// Answers its requests until it ends, or until `watcher` says that the one in flight is the last.
pub(super) async fn serve(
    Opened { io, known }: Opened,
    routes: Router,
    watcher: Watcher,
) -> hyper::Result<()> {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if known.as_ref().is_some_and(Known::is_still) {
            request.extensions_mut().insert(Certified);
        }
        routes.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SLOWEST);
    watcher.watch(http.serve_connection(TokioIo::new(io), answer)).await
}

#[cfg(test)]
mod tests;
