//! Metrics of connections.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The gRPC connections.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// Open connections.
    pub open: Gauge,
    /// Connections closed at once because the limit was reached.
    pub rejected: Counter,
}

impl Connections {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "gRPC connections closed at once because the limit was reached";
        let rejected = register::counter(registry, "rejected_connections", help);
        let open = register::gauge(registry, "connections", "Open gRPC connections");
        Self { open, rejected }
    }
}

/// The HTTP connections.
#[derive(Debug, Clone, Default)]
pub struct HttpConnections {
    /// Open connections.
    pub open: Gauge,
    /// Connections closed to make room for others.
    pub displaced: Counter,
}

impl HttpConnections {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "HTTP connections closed to make room for others";
        let displaced = register::counter(registry, "http_displaced_connections", help);
        let open = register::gauge(registry, "http_connections", "Open HTTP connections");
        Self { open, displaced }
    }
}
