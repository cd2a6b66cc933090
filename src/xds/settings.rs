//! How a control plane is reached, and what it is told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use tokio_rustls::rustls::pki_types::ServerName;

use super::backoff::Backoff;

/// How a control plane is reached, and what it is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub server: Server,
    /// The id of this client, by which the control plane knows it.
    pub node_id: String,
    /// What else the control plane is told of this client.
    pub node_metadata: Vec<(String, String)>,
    /// TLS; plain text if `None`.
    pub tls: Option<Tls>,
    /// Headers that are sent with the stream. Mark secrets as sensitive, so that no log shows them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The pauses after a stream that ended.
    pub backoff: Backoff,
    /// The pause after an attempt to connect that failed, shortened at random to half of it at most.
    pub connect_retry: Duration,
    /// The largest response that is read, in bytes. A larger one ends the stream.
    pub max_message_bytes: usize,
}

/// TLS towards a control plane. The files are read for each connection, so that renewed certificates are used.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The client's certificate, with its intermediate certificates, and its key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// CA certificates that verify the server besides those of the system, in PEM.
    pub authority: Option<PathBuf>,
    /// The name that the server's certificate must have, instead of the server's host.
    pub name: Option<ServerName<'static>>,
}

impl Settings {
    /// The default of [`Self::max_message_bytes`]: what gRPC in Go reads unless told otherwise.
    pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

    /// Settings for a server, with defaults for all others: plain text, the id `default`, and pauses of a second that grow
    /// to a minute.
    pub fn new(server: Server) -> Self {
        Self {
            server,
            node_id: "default".to_owned(),
            node_metadata: Vec::new(),
            tls: None,
            headers: Vec::new(),
            backoff: Backoff {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(60),
                factor: 2.0,
                jitter: true,
            },
            connect_retry: Duration::from_secs(3),
            max_message_bytes: Self::MAX_MESSAGE_BYTES,
        }
    }
}

/// The host and the port of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Authority);

impl Server {
    /// The host as a name that a certificate can have.
    ///
    /// # Errors
    /// If it is neither a DNS name nor an IP address.
    pub(super) fn name(&self) -> Result<ServerName<'static>, String> {
        let host = self.0.host().trim_matches(['[', ']']).to_owned();
        let invalid = |_| format!("no certificate can have the name `{}`", self.0.host());
        ServerName::try_from(host).map_err(invalid)
    }

    pub(super) const fn authority(&self) -> &Authority {
        &self.0
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write HOST:PORT";
        let authority = Authority::from_str(text).map_err(|_| FORM)?;
        let is_whole = !authority.host().is_empty() && !text.contains('@');
        // Port 0 means none.
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        if is_whole && has_port { Ok(Self(authority)) } else { Err(FORM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for text in ["localhost:18000", "127.0.0.1:1", "[::1]:18001", "envoy-gateway:18001"] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.to_string(), text);
            assert!(server.name().is_ok(), "{text}");
        }
        for wrong in
            ["", "localhost", ":1", "localhost:", "a:0", "a:70000", "u@a:1", "a:1/b", "http://a:1"]
        {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }
}
