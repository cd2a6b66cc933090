//! Accepting connections, over gRPC and over HTTP alike.

use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How long to pause when the system refuses a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection. One that its caller gave up is nobody's trouble. Where the system has no more to
/// give, as when files run out, asking again at once would only burn what is left, and saying so each time
/// would fill the log.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error)
                if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "connections cannot be accepted for now");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
