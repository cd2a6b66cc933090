//! What is counted, and what it is called. Labels come from the policy, never from a client: the number
//! of series is that of the policy's rows.
//!
//! Every handle is looked up when a policy is loaded; a request only adds to atomics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::clock::{Nanos, Timestamp};
use crate::decision::{Decided, Verdict};
use crate::policy::Policy;
use crate::policy::table::RowId;
use crate::store::MemoryStore;

/// Requests are timed that arrive in one of so many microseconds: the second reading of the clock costs as
/// much as a bucket.
const TIMED_EVERY: u64 = 64;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written to the exposition as they stand")]
enum Code {
    ok,
    over_limit,
    bypassed,
    /// No table of the policy had a row for it.
    unmatched,
}

/// What a row did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written to the exposition as they stand")]
enum Outcome {
    admitted,
    over_limit,
    shadow_over_limit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    domain: String,
    code: Code,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    domain: String,
    table: String,
    row: String,
    outcome: Outcome,
}

/// The connections of gRPC.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// How many are open.
    pub open: Gauge,
    /// How many were closed at once, because as many were open as may be.
    pub refused: Counter,
}

/// The store that replicas share.
#[derive(Debug, Clone)]
pub struct SharedStore {
    /// 1 while every thread is connected to it, else 0.
    pub up: Gauge,
    /// Calls that it answered.
    pub answered: Counter,
    /// Calls that failed.
    pub failed: Counter,
    /// Calls that it did not answer in time.
    pub late: Counter,
    /// Requests that were denied by what it had said before.
    pub remembered: Counter,
    /// Requests that were decided in memory without it.
    pub local: Counter,
    duration: Histogram,
}

impl SharedStore {
    fn new(registry: &mut Registry) -> Self {
        let up = Gauge::default();
        registry.register(
            "shared_store_up",
            "Whether every thread is connected to the shared store",
            up.clone(),
        );
        let calls = Family::<CallLabels, Counter>::default();
        registry.register("shared_store_calls", "Calls of the shared store", calls.clone());
        let [answered, failed, late] = [Call::answered, Call::failed, Call::late]
            .map(|outcome| calls.get_or_create_owned(&CallLabels { outcome }));
        let remembered = Counter::default();
        let help = "Requests denied by what the shared store had said before";
        registry.register("shared_store_remembered_denials", help, remembered.clone());
        let local = Counter::default();
        let help = "Requests decided in memory because the shared store was away";
        registry.register("shared_store_local_decisions", help, local.clone());
        // 50 us to 0.2 s, doubling.
        let duration = Histogram::new(exponential_buckets(50e-6, 2.0, 13));
        let help = "Time from a question to the shared store to its answer";
        registry.register_with_unit("shared_store_duration", help, Unit::Seconds, duration.clone());
        Self { up, answered, failed, late, remembered, local, duration }
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
    late,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    outcome: Call,
}

/// The snapshots of the store.
#[derive(Debug, Clone, Default)]
pub struct SnapshotCounters {
    taken_at: Gauge,
    keys: Gauge,
    /// How many could not be written.
    pub failed: Counter,
}

impl SnapshotCounters {
    /// Notes that one was written, of the state at `now`, with so many keys.
    pub fn succeeded(&self, now: Timestamp, keys: usize) {
        let seconds = std::time::Duration::from_nanos(now.as_unix_nanos()).as_secs();
        self.taken_at.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }
}

/// Everything that is counted over the life of the process.
pub struct Telemetry {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    unknown_domain: Counter,
    bad_requests: Counter,
    failures: Counter,
    abandoned: Counter,
    refused_policies: Counter,
    connections: Connections,
    shared_store: SharedStore,
    snapshots: SnapshotCounters,
    latency: Histogram,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Counters at zero, and gauges that read `store` when they are asked.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let unknown_domain = counter(
            "unknown_domain_requests",
            "Requests for a domain without a policy; answered OK",
        );
        let bad_requests = counter("bad_requests", "Requests that were refused as malformed");
        let failures = counter("store_failures", "Requests that the store could not decide");
        let abandoned = counter(
            "leases_abandoned",
            "Leases undone because the call ended before its answer went out",
        );
        let refused = counter(
            "refused_connections",
            "gRPC connections closed at once, because as many were open as may be",
        );
        let refused_policies = counter(
            "config_reload_errors",
            "Policies that were read again and refused; those before stay in force",
        );
        let failed = counter("snapshot_errors", "Snapshots that could not be written");
        let connections = Connections { open: Gauge::default(), refused };
        registry.register("connections", "Open gRPC connections", connections.open.clone());
        let snapshots = SnapshotCounters { failed, ..SnapshotCounters::default() };
        let help = "When the state was taken that the last snapshot holds; 0 before the first";
        let taken_at = snapshots.taken_at.clone();
        registry.register_with_unit(
            "snapshot_last_success_timestamp",
            help,
            Unit::Seconds,
            taken_at,
        );
        let help = "Buckets that were not full, and leases, in the last snapshot";
        registry.register("snapshot_keys", help, snapshots.keys.clone());
        let requests = Family::default();
        registry.register("requests", "Requests by domain and answer", requests.clone());
        let decisions = Family::default();
        let help = "What each row of the policy said to the descriptors that met it";
        registry.register("decisions", help, decisions.clone());
        // 250 ns to 4 ms, doubling.
        let latency = Histogram::new(exponential_buckets(250e-9, 2.0, 15));
        let help = "Time from a decoded request to its reply, of about one request in 64";
        registry.register_with_unit("decision_duration", help, Unit::Seconds, latency.clone());
        let shared_store = SharedStore::new(&mut registry);
        registry.register_collector(Box::new(StoreReader(store)));
        Self {
            registry,
            requests,
            decisions,
            unknown_domain,
            bad_requests,
            failures,
            abandoned,
            refused_policies,
            connections,
            shared_store,
            snapshots,
            latency,
        }
    }

    /// The handles for a policy's domain and rows.
    pub fn for_policy(&self, policy: &Policy) -> PolicyCounters {
        let domain = policy.domain();
        let request = |code| {
            let labels = RequestLabels { domain: domain.to_owned(), code };
            self.requests.get_or_create_owned(&labels)
        };
        let mut rows: Vec<_> = policy.rows().collect();
        rows.sort_unstable_by_key(|row| row.id());
        let rows = rows.into_iter().map(|row| {
            let decision = |outcome| {
                let labels = DecisionLabels {
                    domain: domain.to_owned(),
                    table: row.table().to_owned(),
                    row: row.name().to_owned(),
                    outcome,
                };
                self.decisions.get_or_create_owned(&labels)
            };
            RowCounters {
                admitted: decision(Outcome::admitted),
                over: decision(if row.is_shadow() {
                    Outcome::shadow_over_limit
                } else {
                    Outcome::over_limit
                }),
            }
        });
        PolicyCounters {
            rows: rows.collect(),
            ok: request(Code::ok),
            over_limit: request(Code::over_limit),
            bypassed: request(Code::bypassed),
            unmatched: request(Code::unmatched),
        }
    }

    /// Counts a request for a domain that has no policy.
    pub fn count_unknown_domain(&self) {
        self.unknown_domain.inc();
    }

    /// Counts a request that is none.
    pub fn count_bad_request(&self) {
        self.bad_requests.inc();
    }

    /// Counts a request that the store could not decide.
    pub fn count_failure(&self) {
        self.failures.inc();
    }

    /// Counts a lease that was undone.
    pub fn count_abandoned(&self) {
        self.abandoned.inc();
    }

    /// Counts policies that were read again and did not come into force.
    pub fn count_refused_policy(&self) {
        self.refused_policies.inc();
    }

    /// The counters of connections.
    pub const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The counters of the store that replicas share.
    pub const fn shared_store(&self) -> &SharedStore {
        &self.shared_store
    }

    /// The counters of snapshots.
    pub const fn snapshots(&self) -> &SnapshotCounters {
        &self.snapshots
    }

    /// Whether a request that arrives now is one of those to be timed.
    pub const fn is_timed(now: Timestamp) -> bool {
        (now.as_unix_nanos() / 1_000).is_multiple_of(TIMED_EVERY)
    }

    /// Notes how long a request took.
    pub fn observe(&self, from: Timestamp, to: Timestamp) {
        self.latency.observe(seconds(to.since(from)));
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: a `String` takes all that is written to it.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn seconds(span: Nanos) -> f64 {
    std::time::Duration::from(span).as_secs_f64()
}

#[derive(Debug)]
struct RowCounters {
    admitted: Counter,
    over: Counter,
}

/// The handles of one policy.
#[derive(Debug)]
pub struct PolicyCounters {
    rows: Box<[RowCounters]>,
    ok: Counter,
    over_limit: Counter,
    bypassed: Counter,
    unmatched: Counter,
}

/// What was counted of a policy's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests that met buckets, and passed; and those that only released a lease.
    pub ok: u64,
    /// Requests that were denied.
    pub over_limit: u64,
    /// Requests that a bypass let pass.
    pub bypassed: u64,
    /// Requests for which no table had a row.
    pub unmatched: u64,
}

/// What was counted of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Descriptors that the row admitted.
    pub admitted: u64,
    /// Descriptors that the row denied, or would have, were it not in shadow.
    pub over: u64,
}

impl PolicyCounters {
    /// What was counted of the requests.
    pub fn requests(&self) -> RequestCounts {
        RequestCounts {
            ok: self.ok.get(),
            over_limit: self.over_limit.get(),
            bypassed: self.bypassed.get(),
            unmatched: self.unmatched.get(),
        }
    }

    /// What was counted of a row of the policy.
    pub fn row(&self, row: RowId) -> RowCounts {
        let counters = self.rows.get(row.get());
        counters.map_or_else(RowCounts::default, |RowCounters { admitted, over }| RowCounts {
            admitted: admitted.get(),
            over: over.get(),
        })
    }

    /// Counts a verdict: the request once, and each row that a descriptor met once. On a denial only the
    /// rows that denied count, since nothing was charged in the others.
    pub fn count(&self, verdict: &Verdict<'_>) {
        let code = match verdict {
            _ if !verdict.is_admitted => &self.over_limit,
            _ if verdict.is_bypassed => &self.bypassed,
            _ if !verdict.is_matched
                && verdict.released.is_none()
                && verdict.decided.is_empty() =>
            {
                &self.unmatched
            }
            _ => &self.ok,
        };
        code.inc();
        // A row of two buckets is one decision.
        let same_row = |a: &Decided<'_>, b: &Decided<'_>| {
            a.met.descriptor == b.met.descriptor && a.met.row.id() == b.met.row.id()
        };
        for decided in verdict.decided.chunk_by(same_row) {
            let row = decided.first().and_then(|first| self.rows.get(first.met.row.id().get()));
            let Some(counters) = row else { continue };
            if decided.iter().any(Decided::is_over) {
                counters.over.inc();
            } else if verdict.is_admitted {
                counters.admitted.inc();
            }
        }
    }
}

/// Reads the store when the metrics are asked for.
#[derive(Debug)]
struct StoreReader(Arc<MemoryStore>);

impl prometheus_client::collector::Collector for StoreReader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let keys = gauge(self.0.len());
        let help = "Buckets that are not full, and leases, as of the last sweep";
        keys.encode(encoder.encode_descriptor("keys", help, None, keys.metric_type())?)?;
        let leases = gauge(self.0.lease_count());
        let help = "Leases that hold slots, as of the last sweep";
        leases.encode(encoder.encode_descriptor("leases", help, None, leases.metric_type())?)?;
        let evicted = ConstCounter::new(self.0.evicted_live());
        let help =
            "Buckets that were not full, and leases, forgotten because the key limit was reached";
        evicted.encode(encoder.encode_descriptor(
            "live_evictions",
            help,
            None,
            evicted.metric_type(),
        )?)
    }
}
