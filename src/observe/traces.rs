//! Spans of calls, sent to a collector by OTLP over gRPC or HTTP.
//!
//! Compiled with the Cargo feature `otlp`, which is on by default. Without it the same types exist, so that callers
//! are the same, but [`Tracer::start`] fails.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod otlp;

use std::time::Duration;

#[cfg(not(feature = "otlp"))]
pub use absent::{Span, Tracer, TracerError};
#[cfg(feature = "otlp")]
pub use otlp::{Span, Tracer, TracerError};

/// The collector that spans are sent to. Further headers of requests, such as a token, are those of the standard variable
/// `OTEL_EXPORTER_OTLP_HEADERS`.
#[derive(Debug)]
pub struct Collector {
    /// URL: `http://` for plain text, `https://` for TLS; for [`Protocol::Http`] with the path that spans are posted to.
    pub endpoint: String,
    /// How spans are sent.
    pub protocol: Protocol,
    /// CA certificates that verify it over TLS, in PEM; the system's if `None`.
    pub root: Option<Vec<u8>>,
    /// The certificate that it is shown over TLS, and its key, in PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// How long it may take to answer a batch.
    pub timeout: Duration,
    /// Whose spans they are.
    pub origin: Origin,
}

impl Collector {
    /// How long a collector may take to answer by default: 10 seconds, as the specification of OTLP's exporters has it.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Calls of gRPC.
    Grpc,
    /// Requests of HTTP/1.1 with a body in protobuf.
    Http,
}

/// Whose spans they are, by the names of OpenTelemetry's semantic conventions for resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `service.name`.
    pub service: String,
    /// `service.namespace`; none if empty.
    pub namespace: String,
    /// `service.instance.id`, if there is one.
    pub instance: Option<String>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { service: "tollgate".to_owned(), namespace: String::new(), instance: None }
    }
}
