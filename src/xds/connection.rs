//! A connection to a control plane, over TCP or TLS.

use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::settings::Settings;
use super::tls;
use crate::listener::keepalive;
use crate::reading::Reader;

/// How long connecting may take, with the handshakes.
const TIMEOUT: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Connects to a control plane. `reader` reads the files of TLS.
///
/// # Errors
/// Why there is no connection.
pub(super) async fn connect(settings: &Settings, reader: &Reader) -> Result<Channel, String> {
    let connected = tokio::time::timeout(TIMEOUT, open(settings, reader)).await;
    let late = |_| Err(format!("no connection within {}", humantime::format_duration(TIMEOUT)));
    connected.unwrap_or_else(late)
}

async fn open(settings: &Settings, reader: &Reader) -> Result<Channel, String> {
    let server = &settings.server;
    let stream = TcpStream::connect(server.authority().as_str()).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let prepared = stream.set_nodelay(true).and_then(|()| keepalive::enable(&stream));
    prepared.map_err(|error| error.to_string())?;
    let (io, scheme): (Box<dyn Io>, _) = match &settings.tls {
        None => (Box::new(stream), "http"),
        Some(of) => {
            let files = of.clone();
            let config = reader.read(
                move || tls::config(&files),
                |read| read.unwrap_or_else(|error| Err(format!("the certificates: {error}"))),
            );
            let connector = TlsConnector::from(Arc::new(config.await?));
            let name = of.name.clone().map_or_else(|| server.name(), Ok)?;
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|error| format!("the TLS handshake failed: {error}"))?;
            (Box::new(stream), "https")
        }
    };
    let origin = Uri::builder().scheme(scheme).authority(server.authority().clone());
    let origin = origin.path_and_query("/").build().map_err(|error| error.to_string())?;
    // The connection is there already, and this address is not used.
    let endpoint = Endpoint::from_static("http://localhost").origin(origin);
    let channel = endpoint.connect_with_connector(Opened(Some(io))).await;
    channel.map_err(|error| causes(&error))
}

/// Hands over a connection that is open, once.
struct Opened(Option<Box<dyn Io>>);

impl Service<Uri> for Opened {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

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
    with_causes(error.to_string(), error.source())
}

/// What is said of an error, and its causes from `next` on. Some errors tell their cause themselves: it is not told again.
pub(super) fn with_causes(mut said: String, mut next: Option<&dyn Error>) -> String {
    while let Some(error) = next {
        let cause = error.to_string();
        if !said.ends_with(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        next = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::{causes, with_causes};

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Failure {
        said: &'static str,
        source: Option<Box<Self>>,
    }

    fn failure(said: &'static str, source: Option<Failure>) -> Failure {
        Failure { said, source: source.map(Box::new) }
    }

    #[test]
    fn each_cause_is_told_once() {
        let pipe = failure("broken pipe", None);
        let body = failure("error reading a body: broken pipe", Some(pipe));
        let transport = failure("transport error", Some(body));
        assert_eq!(causes(&transport), "transport error: error reading a body: broken pipe");
    }

    #[test]
    fn a_cause_that_a_message_repeats_is_told_once() {
        let body = failure("error reading a body", Some(failure("broken pipe", None)));
        let told = with_causes("h2 error: error reading a body".into(), Some(&body));
        assert_eq!(told, "h2 error: error reading a body: broken pipe");
    }
}
