//! Spans of calls, for a collector that speaks OTLP over gRPC.
//!
//! Compiled with the Cargo feature `otlp`, which is on by default. Without it the same types exist, so that no
//! caller needs to know, but no [`Tracer`] can be started: [`Tracer::start`] says why.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use absent::{Span, Tracer, TracerError};
#[cfg(feature = "otlp")]
pub use otlp::{Span, Tracer, TracerError};

/// Where spans are sent.
#[derive(Debug)]
pub struct Collector {
    /// Its URL: `http://` for plain text, `https://` for TLS.
    pub endpoint: String,
    /// The certificates that vouch for it, in PEM; those of the system, if not said.
    pub root: Option<Vec<u8>>,
}
