//! The gRPC transport: HTTP/2 connections, and the calls on them.
//!
//! HTTP/2 itself is the crate `unary_h2`, a state machine without I/O; `connection` reads and writes for it.
//! A `ConnectionServer` serves the connections of one worker. A connection is read in turns with the others of its
//! worker, so that none of them waits long for another.

pub(crate) mod builtin_services;
mod call;
mod connection;
mod connection_age;
mod http2;
mod in_flight;
mod refusals;
mod rejection;
mod routed;
mod sampling;

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;
use unary_h2::Budget;

pub use self::connection::ConnectionError;
use self::connection::Services;
pub(crate) use self::in_flight::InFlight;
use self::refusals::Refusals;
use self::sampling::Sampler;
use crate::listener::{Stream, keepalive};
use crate::service::Service;
use crate::tls::Identity;

/// Serves one connection over any stream, in memory or of another runtime's making, until it ends: for programs that
/// accept connections themselves, and for benches. Answers rate-limit calls only.
///
/// # Errors
/// If the peer does not speak HTTP/2, or breaks its rules.
pub async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin,
    service: Arc<Service>,
) -> Result<(), ConnectionError> {
    let config = ConnectionConfig { tls: None, max_age: None };
    let server = ConnectionServer::new(config, service, Routes::default(), InFlight::default());
    connection::serve(io, None, server.services, std::future::pending()).await
}

/// How connections are served.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionConfig {
    /// The server's certificate; plain text if `None`.
    pub(crate) tls: Option<Identity>,
    /// Maximum age of a connection, plus or minus a fifth; unlimited if `None`.
    pub(crate) max_age: Option<Duration>,
}

/// Serves the connections of one worker.
pub(crate) struct ConnectionServer {
    config: ConnectionConfig,
    services: Services,
}

impl ConnectionServer {
    /// Answers rate-limit calls with `rate_limit` and all others with `others`. Calls count in `in_flight`.
    pub(crate) fn new(
        config: ConnectionConfig,
        rate_limit: Arc<Service>,
        others: Routes,
        in_flight: InFlight,
    ) -> Self {
        let http2 = Arc::new(http2::config(rate_limit.is_traced()));
        let (sampler, partial) = (Sampler::default(), Budget::new(http2::MAX_PARTIAL_OF_ALL));
        let refusals = Refusals::new(rate_limit.telemetry().unanswered().clone());
        let services =
            Services { rate_limit, others, in_flight, sampler, http2, partial, refusals };
        Self { config, services }
    }

    /// Serves a connection in a task of its own, which drops `permit` when the connection ends. Once `draining`
    /// completes, or the connection has reached its maximum age, it takes no more calls, and ends when those in
    /// flight are answered.
    pub(crate) fn spawn(
        &self,
        stream: Stream,
        draining: impl Future<Output = ()> + Send + 'static,
        permit: impl Send + 'static,
    ) {
        let ConnectionConfig { tls, max_age } = self.config.clone();
        let services = self.services.clone();
        let draining = async move {
            tokio::select! {
                biased;
                () = draining => {}
                () = connection_age::reached(max_age) => {}
            }
        };
        // A task type for each kind of stream, so that no read asks which kind it is.
        let spawned = match stream {
            Stream::Tcp(stream) => prepare(stream).map(|stream| {
                spawn(connection::serve(stream, tls, services, draining), permit);
            }),
            Stream::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(|stream| {
                spawn(connection::serve(stream, tls, services, draining), permit);
            }),
        };
        if let Err(error) = spawned {
            tracing::debug!(%error, "a gRPC connection ended before it was served");
        }
    }
}

fn spawn(
    connection: impl Future<Output = Result<(), ConnectionError>> + Send + 'static,
    permit: impl Send + 'static,
) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a gRPC connection ended early");
        }
        drop(permit);
    });
}

fn prepare(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nodelay(true)?;
    keepalive::enable(&stream)?;
    tokio::net::TcpStream::from_std(stream)
}
