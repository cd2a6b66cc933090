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

/// How long a connection may take to say that it speaks TLS, where it must, and how long a request's head may
/// take to arrive, the time until it begins included, and then its body.
pub(super) const SLOWEST: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes, and about what is kept of answers that are not read: who sends one
/// request behind another and does not read is not read beyond it.
const BUFFER: usize = 64 << 10;

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

/// Answers what is asked on a new connection until it ends, or until `stop` completes and the request in flight is
/// answered. Says in the log why one ended early.
pub(super) async fn run(
    stream: Stream,
    activity: Activity,
    tls: Option<Identity>,
    routes: Router,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let opened = tokio::select! {
        // At the end nobody waits for those that do not speak HTTP yet.
        () = &mut stop => return,
        opened = accepted(stream, activity.clone(), tls) => opened,
    };
    match opened {
        Ok(opened) => {
            if let Err(error) = serve(opened, activity, routes, stop).await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        }
        Err(error) => tracing::debug!(%error, "an HTTP connection did not come about"),
    }
}

/// Has a new connection speak TLS, if there is any.
///
/// # Errors
/// Where it does not, or not in time, or shows a certificate that nobody vouches for.
async fn accepted(
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
    let Some(tls) = tls else { return Ok(Opened { io: Box::new(stream), known: None }) };
    // If others come into force meanwhile, it is not known.
    let config = tls.config();
    let stream = tokio::time::timeout(SLOWEST, tls.accept(stream)).await??;
    let known = tls.knows(stream.get_ref().1).then_some(Known { tls, config });
    Ok(Opened { io: Box::new(stream), known })
}

/// Answers its requests until it ends, or until `stop` completes and the one in flight is answered.
async fn serve(
    Opened { io, known }: Opened,
    activity: Activity,
    routes: Router,
    stop: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if known.as_ref().is_some_and(Known::is_still) {
            request.extensions_mut().insert(ClientCertVerified);
        }
        // What is still to come is the client's to do.
        let answering = request.body().is_end_stream().then(|| activity.answering());
        let mut routes = routes.clone();
        async move {
            // Of many that were sent together, each waits for one of everybody else's.
            tokio::task::yield_now().await;
            let answer = routes.call(request).await;
            drop(answering);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SLOWEST).max_buf_size(BUFFER);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(io), answer));
    tokio::select! {
        served = &mut connection => return served,
        () = stop => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[cfg(test)]
mod tests;
