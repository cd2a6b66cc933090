//! The variables of the control plane (`CONFIG_TYPE=GRPC_XDS_SOTW`).

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::value::{boolean, count, duration, map, metadata, number};
use super::variables::Variables;
use crate::xds::{Backoff, Server, Settings, Tls};

const URL: &str = "CONFIG_GRPC_XDS_SERVER_URL";

/// How the control plane is reached; `None` if its address has a problem.
pub(super) fn read(of: &mut Variables) -> Option<Settings> {
    let seconds = Duration::from_secs;
    let headers = of.read("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", Vec::new(), headers);
    let backoff = Backoff {
        initial: of.read("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", seconds(10), duration),
        max: of.read("XDS_CLIENT_BACKOFF_MAX_INTERVAL", seconds(60), duration),
        factor: of.read("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", 0.5, number),
        jitter: of.read("XDS_CLIENT_BACKOFF_JITTER", true, boolean),
    };
    let retry = "CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL";
    let connect_retry = of.read(retry, seconds(3), duration);
    let max_message_bytes = match of.read("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", 0, count) {
        0 => Settings::MAX_MESSAGE_BYTES,
        bytes => bytes,
    };
    let tls = tls(of);
    match of.text(URL, "localhost:18000").parse::<Server>() {
        Ok(server) => Some(Settings {
            server,
            node_id: of.text("CONFIG_GRPC_XDS_NODE_ID", "default"),
            node_metadata: metadata(&of.text("CONFIG_GRPC_XDS_NODE_METADATA", "")),
            tls,
            headers,
            backoff,
            connect_retry,
            max_message_bytes,
        }),
        Err(error) => {
            of.unreadable(URL, error);
            None
        }
    }
}

/// The headers of a map. All are sensitive, since one may be a token.
fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(name, value): (String, String)| {
        // gRPC sends names in lower case whatever they are written in.
        let name = name.trim().parse::<HeaderName>().ok()?;
        let mut value = value.parse::<HeaderValue>().ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let pairs = map(text)?.into_iter().enumerate();
    let headers = pairs.map(|(at, pair)| {
        header(pair).ok_or_else(|| format!("pair {} is no header; write name:value", at + 1))
    });
    headers.collect()
}

fn tls(of: &mut Variables) -> Option<Tls> {
    if !of.read("CONFIG_GRPC_XDS_SERVER_USE_TLS", false, boolean) {
        return None;
    }
    let file = |name: &str| of.filled(name).map(PathBuf::from);
    let identity =
        file("CONFIG_GRPC_XDS_CLIENT_TLS_CERT").zip(file("CONFIG_GRPC_XDS_CLIENT_TLS_KEY"));
    let authority = file("CONFIG_GRPC_XDS_SERVER_TLS_CACERT");
    let san = "CONFIG_GRPC_XDS_SERVER_TLS_SAN";
    let name = of.filled(san).map(|name| name.to_owned().try_into()).transpose();
    let name = name.unwrap_or_else(|_| {
        of.unreadable(san, "no name of a certificate; write a DNS name or an IP address");
        None
    });
    Some(Tls { identity, authority, name })
}
