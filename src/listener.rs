//! Accepting connections, over gRPC and over HTTP alike.

use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How long to pause when the system refuses a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection. One that its caller gave up is nobody's trouble. Where the system has no more to
/// give, as when files run out, asking again at once would only burn what is left.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error)
                if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
