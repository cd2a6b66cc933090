//! Metrics of the shared store.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{register, seconds};
use crate::clock::Nanos;

/// The shared store.
#[derive(Debug, Clone)]
pub struct SharedStore {
    /// 1 while every thread is connected, else 0.
    pub up: Gauge,
    /// How many replicas use it, this one included; 0 until it has told.
    pub replicas: Gauge,
    /// Calls that were answered.
    pub answered: Counter,
    /// Calls that failed.
    pub failed: Counter,
    /// Calls that the store refused, for some keys only.
    pub refused: Counter,
    /// Calls that were not answered within the timeout.
    pub timed_out: Counter,
    /// Requests denied by an earlier answer of the store.
    pub cached_denials: Counter,
    /// Requests decided in memory because the store did not decide them.
    pub local: Counter,
    /// Keys that are kept longer since a limit is slower.
    pub lengthened: Counter,
    /// Times that all keys were gone through to keep those longer.
    pub walks_finished: Counter,
    /// Times that this failed until it was given up.
    pub walks_failed: Counter,
    /// Times that the store's user was not permitted to.
    pub walks_refused: Counter,
    /// Admissions that are charged ahead of the requests.
    pub prepaid: PrepaidAdmissions,
    duration: Histogram,
}

/// Admissions that are charged ahead of the requests.
#[derive(Debug, Clone)]
pub struct PrepaidAdmissions {
    /// Those that were charged.
    pub charged: Counter,
    /// Those that were spent on a request.
    pub spent: Counter,
    /// Those that were given back.
    pub given_back: Counter,
    /// Those that may have been charged without an answer, or whose give-back failed.
    pub lost: Counter,
}

impl SharedStore {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Whether every thread is connected to the shared store";
        let up = register::gauge(registry, "shared_store_up", help);
        let help = "Replicas that use the shared store; 0 until it has told";
        let replicas = register::gauge(registry, "shared_store_replicas", help);
        let calls = Family::<CallLabels, Counter>::default();
        registry.register("shared_store_calls", "Calls to the shared store", calls.clone());
        let outcomes = [
            CallOutcome::answered,
            CallOutcome::failed,
            CallOutcome::refused,
            CallOutcome::timeout,
        ];
        let [answered, failed, refused, timed_out] =
            outcomes.map(|outcome| calls.get_or_create_owned(&CallLabels { outcome }));
        let help = "Requests denied by an earlier answer of the shared store";
        let cached_denials = register::counter(registry, "shared_store_cached_denials", help);
        let help = "Requests decided in memory because the shared store did not decide them";
        let local = register::counter(registry, "shared_store_local_decisions", help);
        let help = "Keys in the shared store that are kept longer because a limit became slower";
        let lengthened = register::counter(registry, "shared_store_lengthened_keys", help);
        let walks = Family::<WalkLabels, Counter>::default();
        let help = "Walks through the keys of the shared store after a limit became slower";
        registry.register("shared_store_walks", help, walks.clone());
        let outcomes = [WalkOutcome::finished, WalkOutcome::failed, WalkOutcome::refused];
        let [walks_finished, walks_failed, walks_refused] =
            outcomes.map(|outcome| walks.get_or_create_owned(&WalkLabels { outcome }));
        let prepaid = Family::<PrepaidLabels, Counter>::default();
        let help = "Admissions charged in the shared store ahead of the requests";
        registry.register("shared_store_prepaid_admissions", help, prepaid.clone());
        let events = [
            PrepaidEvent::charged,
            PrepaidEvent::spent,
            PrepaidEvent::given_back,
            PrepaidEvent::lost,
        ];
        let [charged, spent, given_back, lost] =
            events.map(|event| prepaid.get_or_create_owned(&PrepaidLabels { event }));
        // 50 us to 0.2 s, doubling.
        let buckets = exponential_buckets(50e-6, 2.0, 13);
        let help = "Time from a call to the shared store to its answer";
        let duration = register::duration(registry, "shared_store_duration", help, buckets);
        Self {
            up,
            replicas,
            answered,
            failed,
            refused,
            timed_out,
            cached_denials,
            local,
            lengthened,
            walks_finished,
            walks_failed,
            walks_refused,
            prepaid: PrepaidAdmissions { charged, spent, given_back, lost },
            duration,
        }
    }

    /// Records how long a call took.
    pub fn observe(&self, duration: Nanos) {
        self.duration.observe(seconds(duration));
    }
}

/// Outcome of a call to the shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum CallOutcome {
    answered,
    failed,
    refused,
    timeout,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    outcome: CallOutcome,
}

/// Outcome of a walk through the keys of the shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum WalkOutcome {
    finished,
    failed,
    refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WalkLabels {
    outcome: WalkOutcome,
}

/// What became of admissions that were charged ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum PrepaidEvent {
    charged,
    spent,
    given_back,
    lost,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrepaidLabels {
    event: PrepaidEvent,
}
