//! The variables of traces.

use std::path::PathBuf;

use super::value::{boolean, number};
use super::variables::Variables;

/// Where spans are sent, and which.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracing {
    /// The URL of the collector.
    pub(super) endpoint: String,
    /// CA certificates that verify it, in PEM; those of the system if `None`.
    pub(super) root: Option<PathBuf>,
    pub(super) service: String,
    pub(super) namespace: String,
    /// Random if `None`.
    pub(super) instance: Option<String>,
    /// The share of the calls without a context that is traced, from 0 to 1.
    pub(super) ratio: f64,
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// Where spans are sent; `None` if calls are not traced, or if they would be sent over HTTP, which is named among the
/// variables without effect.
pub(super) fn read(of: &mut Variables) -> Option<Tracing> {
    let is_enabled = of.read("TRACING_ENABLED", false, boolean);
    let ratio = of.read("TRACING_SAMPLING_RATE", 1.0, number);
    if !is_enabled {
        return None;
    }
    let protocols = [("http", Protocol::Http), ("", Protocol::Http), ("grpc", Protocol::Grpc)];
    let protocol = of.choice("TRACING_EXPORTER_PROTOCOL", Protocol::Http, &protocols, false);
    if protocol == Protocol::Http {
        of.without_effect(
            "TRACING_ENABLED (spans are sent with TRACING_EXPORTER_PROTOCOL=grpc only)",
        );
        return None;
    }
    Some(Tracing {
        endpoint: endpoint(of),
        root: otlp(of, "CERTIFICATE").map(PathBuf::from),
        service: of.text("TRACING_SERVICE_NAME", "RateLimit"),
        namespace: of.text("TRACING_SERVICE_NAMESPACE", ""),
        instance: of.filled("TRACING_SERVICE_INSTANCE_ID").map(str::to_owned),
        ratio: ratio.clamp(0.0, 1.0),
    })
}

/// A variable of OTLP, of which the one for traces comes first.
fn otlp<'v>(of: &'v Variables, name: &str) -> Option<&'v str> {
    let of_traces = of.filled(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
    of_traces.or_else(|| of.filled(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

/// The URL of the collector.
fn endpoint(of: &Variables) -> String {
    otlp(of, "ENDPOINT").unwrap_or("https://localhost:4317").to_owned()
}
