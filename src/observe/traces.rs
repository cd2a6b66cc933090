//! Spans of calls, sent to a collector by OTLP over gRPC.
//!
//! Compiled with the Cargo feature `otlp`, which is on by default. Without it the same types exist, so that callers
//! are the same, but [`Tracer::start`] fails.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use absent::{Span, Tracer, TracerError};
#[cfg(feature = "otlp")]
pub use otlp::{Span, Tracer, TracerError};

/// The collector that spans are sent to.
#[derive(Debug)]
pub struct Collector {
    /// URL: `http://` for plain text, `https://` for TLS.
    pub endpoint: String,
    /// CA certificates that verify it over TLS, in PEM; the system's if `None`.
    pub root: Option<Vec<u8>>,
    /// Whose spans they are.
    pub origin: Origin,
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
