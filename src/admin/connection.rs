//! One HTTP connection.

use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::Certified;
use crate::tls::Identity;

/// How long a connection may take to say that it speaks TLS, where it must, and how long a request's head may
/// take to arrive, and then its body.
pub(super) const SLOWEST: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection on which HTTP can be spoken.
pub(super) struct Opened {
    io: Box<dyn Io>,
    certified: Option<Certified>,
}

/// Has a new connection speak TLS, if there is any.
///
/// # Errors
/// Where it does not, or not in time, or shows a certificate that nobody vouches for.
pub(super) async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<Identity>,
) -> std::io::Result<Opened> {
    let Some(tls) = tls else { return Ok(Opened { io: Box::new(stream), certified: None }) };
    let stream = tokio::time::timeout(SLOWEST, tls.accept(stream)).await??;
    let certified = tls.knows(stream.get_ref().1).then_some(Certified);
    Ok(Opened { io: Box::new(stream), certified })
}

/// Answers its requests until it ends, or until `watcher` says that the one in flight is the last.
pub(super) async fn serve(
    Opened { io, certified }: Opened,
    routes: Router,
    watcher: Watcher,
) -> hyper::Result<()> {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if let Some(certified) = certified {
            request.extensions_mut().insert(certified);
        }
        routes.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SLOWEST);
    watcher.watch(http.serve_connection(TokioIo::new(io), answer)).await
}

#[cfg(test)]
mod tests;
