//! The variables of traces.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{boolean, count, number};
use super::variables::Variables;
use crate::observe::traces::{Collector, Protocol};

/// Where spans are sent, and which.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracing {
    /// The URL of the collector.
    pub(super) endpoint: String,
    pub(super) protocol: Protocol,
    /// CA certificates that verify it, in PEM; those of the system if `None`.
    pub(super) root: Option<PathBuf>,
    /// The certificate that it is shown, and its key, in PEM.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    pub(super) timeout: Duration,
    pub(super) service: String,
    pub(super) namespace: String,
    /// Random if `None`.
    pub(super) instance: Option<String>,
    /// The share of the calls without a context that is traced, from 0 to 1.
    pub(super) ratio: f64,
}

/// Where spans are sent; `None` if calls are not traced.
pub(super) fn read(of: &mut Variables) -> Option<Tracing> {
    let is_enabled = of.read("TRACING_ENABLED", false, boolean);
    let ratio = of.read("TRACING_SAMPLING_RATE", 1.0, number);
    if !is_enabled {
        return None;
    }
    let protocols = [("http", Protocol::Http), ("", Protocol::Http), ("grpc", Protocol::Grpc)];
    let protocol = of.choice("TRACING_EXPORTER_PROTOCOL", Protocol::Http, &protocols, false);
    if let Some((name, "gzip")) = otlp(of, "COMPRESSION") {
        of.without_effect(name);
    }
    let file = |name| otlp(of, name).map(|(_, path)| PathBuf::from(path));
    Some(Tracing {
        endpoint: endpoint(of, protocol),
        protocol,
        root: file("CERTIFICATE"),
        client: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
        timeout: timeout(of),
        service: of.text("TRACING_SERVICE_NAME", "RateLimit"),
        namespace: of.text("TRACING_SERVICE_NAMESPACE", ""),
        instance: of.filled("TRACING_SERVICE_INSTANCE_ID").map(str::to_owned),
        ratio: ratio.clamp(0.0, 1.0),
    })
}

/// The name and the value of a variable of OTLP. The variable for traces precedes the one for all signals.
fn otlp<'v>(of: &'v Variables, name: &str) -> Option<(String, &'v str)> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
    let mut names = names.into_iter().map(|prefix| format!("{prefix}{name}"));
    names.find_map(|name| of.filled(&name).map(|value| (name, value)))
}

/// How long the collector may take, in milliseconds.
fn timeout(of: &mut Variables) -> Duration {
    let Some((name, _)) = otlp(of, "TIMEOUT") else { return Collector::TIMEOUT };
    of.read(&name, Collector::TIMEOUT, |text| {
        let millis = u64::try_from(count(text)?).unwrap_or(u64::MAX);
        Ok(Duration::from_millis(millis))
    })
}

/// The URL of the collector, as the specification of OTLP's exporters has it: over HTTP, the variable for traces has the
/// whole of it, and the other one what leads it.
fn endpoint(of: &Variables, protocol: Protocol) -> String {
    const PATH: &str = "/v1/traces";
    let url = match (otlp(of, "ENDPOINT"), protocol) {
        (None, Protocol::Grpc) => "https://localhost:4317".to_owned(),
        (None, Protocol::Http) => format!("https://localhost:4318{PATH}"),
        (Some((name, url)), Protocol::Http) if !name.contains("TRACES") => {
            format!("{}{PATH}", url.trim_end_matches('/'))
        }
        (Some((_, url)), _) => url.to_owned(),
    };
    // Counts above the scheme, as in envoyproxy/ratelimit.
    let scheme = otlp(of, "INSECURE").map(|(_, value)| match value.eq_ignore_ascii_case("true") {
        true => "http",
        false => "https",
    });
    match (scheme, url.split_once("://")) {
        (Some(scheme), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url,
    }
}
