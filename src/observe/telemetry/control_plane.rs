//! Metrics of the control plane that policies come from.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The connection to a control plane, and its responses.
#[derive(Debug, Clone)]
pub struct ControlPlaneCounters {
    /// 1 while the connection is open, else 0.
    pub connected: Gauge,
    /// Connections that ended or could not be opened.
    pub disconnects: Counter,
    /// Responses that were accepted as a whole.
    pub accepted: Counter,
    /// Responses of which some domains were refused.
    pub partly_refused: Counter,
    /// Responses that were refused as a whole.
    pub refused: Counter,
    /// Responses with the content of the one before, which were not compiled again.
    pub repeated: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the label's value")]
enum Outcome {
    accepted,
    partly_refused,
    refused,
    repeated,
}

impl ControlPlaneCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Whether the control plane that policies come from is connected";
        let connected = register::gauge(registry, "xds_connected", help);
        let help = "Connections to the control plane that ended or could not be opened";
        let disconnects = register::counter(registry, "xds_disconnects", help);
        let responses = Family::<ResponseLabels, Counter>::default();
        registry.register("xds_responses", "Responses of the control plane", responses.clone());
        let outcomes =
            [Outcome::accepted, Outcome::partly_refused, Outcome::refused, Outcome::repeated];
        let [accepted, partly_refused, refused, repeated] =
            outcomes.map(|outcome| responses.get_or_create_owned(&ResponseLabels { outcome }));
        Self { connected, disconnects, accepted, partly_refused, refused, repeated }
    }
}
