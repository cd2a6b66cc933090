//! What is counted of the store that replicas share.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::seconds;
use crate::clock::Nanos;

/// The store that replicas share.
#[derive(Debug, Clone)]
pub struct SharedStore {
    /// 1 while every thread is connected to it, else 0.
    pub up: Gauge,
    /// Calls that it answered.
    pub answered: Counter,
    /// Calls that failed.
    pub failed: Counter,
    /// Calls that it refused, while it did what others asked.
    pub refused: Counter,
    /// Calls that it did not answer within the timeout.
    pub timed_out: Counter,
    /// Requests denied by an earlier answer of the store.
    pub cached_denials: Counter,
    /// Requests that were decided in memory without it.
    pub local: Counter,
    duration: Histogram,
}

impl SharedStore {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let up = Gauge::default();
        registry.register(
            "shared_store_up",
            "Whether every thread is connected to the shared store",
            up.clone(),
        );
        let calls = Family::<CallLabels, Counter>::default();
        registry.register("shared_store_calls", "Calls of the shared store", calls.clone());
        let outcomes = [Call::answered, Call::failed, Call::refused, Call::timeout];
        let [answered, failed, refused, timed_out] =
            outcomes.map(|outcome| calls.get_or_create_owned(&CallLabels { outcome }));
        let cached_denials = Counter::default();
        let help = "Requests denied by an earlier answer of the shared store";
        registry.register("shared_store_cached_denials", help, cached_denials.clone());
        let local = Counter::default();
        let help = "Requests decided in memory because the shared store did not decide them";
        registry.register("shared_store_local_decisions", help, local.clone());
        // 50 us to 0.2 s, doubling.
        let duration = Histogram::new(exponential_buckets(50e-6, 2.0, 13));
        let help = "Time from a question to the shared store to its answer";
        registry.register_with_unit("shared_store_duration", help, Unit::Seconds, duration.clone());
        Self { up, answered, failed, refused, timed_out, cached_denials, local, duration }
    }

    /// Notes how long it took to answer.
    pub fn observe(&self, took: Nanos) {
        self.duration.observe(seconds(took));
    }
}

/// What became of a call of the shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written to the exposition as they stand")]
enum Call {
    answered,
    failed,
    refused,
    timeout,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    outcome: Call,
}
