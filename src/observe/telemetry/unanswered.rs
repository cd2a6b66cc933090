//! Metrics of what ended otherwise than by an answer.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Requests and gRPC connections that ended otherwise than by an answer, by reason. A reason is one of a few words in
/// the program, and nothing that a peer sends.
#[derive(Debug, Clone)]
pub struct Unanswered {
    requests: Family<ReasonLabels, Counter>,
    connections: Family<ReasonLabels, Counter>,
    total: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Unanswered {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let requests = Family::<ReasonLabels, Counter>::default();
        let help = "gRPC requests that ended otherwise than by an answer";
        registry.register("unanswered_requests", help, requests.clone());
        let connections = Family::<ReasonLabels, Counter>::default();
        let help = "gRPC connections that ended because their peer broke a rule or did not speak";
        registry.register("failed_connections", help, connections.clone());
        Self { requests, connections, total: Counter::default() }
    }

    /// Has these reasons in the metrics from the start, so that the first occurrence is an increase.
    pub fn expect(&self, requests: &[&'static str], connections: &[&'static str]) {
        for reason in requests {
            drop(self.requests.get_or_create(&ReasonLabels { reason }));
        }
        for reason in connections {
            drop(self.connections.get_or_create(&ReasonLabels { reason }));
        }
    }

    /// Counts requests.
    pub fn count_requests(&self, reason: &'static str, requests: u64) {
        self.requests.get_or_create(&ReasonLabels { reason }).inc_by(requests);
        self.total.inc_by(requests);
    }

    /// Counts a connection.
    pub fn count_connection(&self, reason: &'static str) {
        self.connections.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// The number of requests, of all reasons.
    pub fn requests(&self) -> u64 {
        self.total.get()
    }
}
