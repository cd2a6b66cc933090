//! The gRPC transport: HTTP/2 connections, and the calls on them.
//!
//! It stands on `h2` itself: hyper would spawn a task for each call, and tonic would box its future and bodies.
//! A `ConnectionServer` serves the connections of one worker. A connection is read in turns with the others of its
//! worker, so that none of them waits long for another.

mod arriving;
mod bounded;
pub(crate) mod builtin_services;
mod call;
mod connection;
mod connection_age;
mod http2_settings;
mod in_flight;
mod keepalive;
mod request_check;
mod routed;
mod sampling;
mod turn;

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;

use self::arriving::Arriving;
use self::connection::{ConnectionError, Services};
pub(crate) use self::in_flight::InFlight;
use self::sampling::Sampler;
use crate::listener::Stream;
use crate::service::Service;
use crate::tls::Identity;

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
        let (arriving, timing) = (Arriving::default(), Sampler::default());
        Self { config, services: Services { rate_limit, others, in_flight, arriving, timing } }
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
