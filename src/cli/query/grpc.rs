//! A gRPC client for one request to a server.

use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::super::Failure;
use super::super::address::ServerAddress;
use super::super::connection::{ClientTls, Connection, NoAnswer, Protocol};
use crate::wire::{RateLimitRequest, RateLimitResponse, RateLimitServiceClient};

/// The timeout of connecting, and of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Calls a server once.
///
/// # Errors
/// If there is no server at the address, no agreement with it, or if it refuses the request.
pub(super) async fn call(
    address: &ServerAddress,
    tls: &ClientTls,
    request: RateLimitRequest,
) -> Result<RateLimitResponse, Failure> {
    let hint = "set --addr to the address of `tollgate serve --grpc`";
    let no_server =
        |error: NoAnswer| error.after(&format!("no server at {address}")).or_advise(hint);
    let opened =
        tokio::time::timeout(TIMEOUT, Connection::open(address, tls, Protocol::Http2)).await;
    let late = |_| NoAnswer::plain(format!("no answer within {TIMEOUT:?}"));
    let connection = opened.map_err(late).and_then(|opened| opened).map_err(no_server)?;
    let faults = connection.faults();
    let channel = channel(address, connection).await;
    let channel = channel.map_err(|error| no_server(faults.or(causes(&*error))))?;
    let response = RateLimitServiceClient::new(channel).should_rate_limit(request).await;
    let response = response.map_err(|status| match faults.fault() {
        Some(fault) => no_server(fault),
        // Escaped, since it comes from the network.
        None => format!("{}: {}", status.code(), status.message().escape_debug()),
    })?;
    Ok(response.into_inner())
}

async fn channel(address: &ServerAddress, connection: Connection) -> Result<Channel, Failure> {
    let origin = format!("{}://{}", address.scheme(), address.host()).parse()?;
    // The connection is there already, and this address is not used.
    let endpoint = Endpoint::from_static("http://localhost").origin(origin).timeout(TIMEOUT);
    Ok(endpoint.connect_with_connector(Opened(Some(connection))).await?)
}

/// Hands over a connection that is open, once.
struct Opened(Option<Connection>);

impl Service<Uri> for Opened {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Connection>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.0.take().map(TokioIo::new);
        ready(connection.ok_or_else(|| io::Error::other("the connection was closed")))
    }
}

/// An error and its causes, down to that of the system.
fn causes(error: &dyn Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}
