//! What is counted, and what it is called. Labels come from the policy, never from a client: the number
//! of series is that of the policy's rows, and of some that other policies had before.
//!
//! Every handle is looked up when a policy is loaded; a request only adds to atomics.

mod known;
mod rows;
mod shared_store;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use self::rows::{PolicyCounters, RequestCounts, RowCounts};
pub use self::shared_store::SharedStore;

use self::rows::Rows;
use crate::clock::{Nanos, Timestamp};
use crate::policy::Policy;
use crate::store::MemoryStore;

/// Requests are timed that arrive in one of so many microseconds: the second reading of the clock costs as
/// much as a bucket.
const TIMED_EVERY: u64 = 64;

/// The program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The compiler that it was built with, as `build.rs` found it.
const RUSTC: &str = env!("TOLLGATE_RUSTC");

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    rustc: &'static str,
}

/// The connections of gRPC.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// How many are open.
    pub open: Gauge,
    /// Connections closed at once because the limit was reached.
    pub rejected: Counter,
}

/// The connections of HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpConnections {
    /// How many are open.
    pub open: Gauge,
    /// How many were closed so that others could be served.
    pub displaced: Counter,
}

/// The policies that were read.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    taken_at: Gauge,
    is_taken: Gauge,
    refused: Counter,
}

impl Reloads {
    /// Notes that they came into force.
    pub fn taken(&self, now: Timestamp) {
        self.taken_at.set(whole_seconds(now));
        self.unchanged();
    }

    /// Notes that they were in force already.
    pub fn unchanged(&self) {
        self.is_taken.set(1);
    }

    /// Notes that they did not; those before stay in force.
    pub fn refused(&self) {
        self.refused.inc();
        self.is_taken.set(0);
    }
}

/// The certificates of TLS, as they are read again.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    are_taken: Gauge,
    refused: Counter,
}

impl Certificates {
    /// Notes of how many sides those that were read last cannot be used.
    pub fn note(&self, refused: usize) {
        self.refused.inc_by(u64::try_from(refused).unwrap_or(u64::MAX));
        self.are_taken.set((refused == 0).into());
    }
}

/// The lines of the log.
#[derive(Debug, Clone, Default)]
pub struct LogLines {
    /// How many were dropped: handed over faster than they were taken, or not to be written.
    pub dropped: Counter,
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
        self.taken_at.set(whole_seconds(now));
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }
}

/// Everything that is counted over the life of the process.
pub struct Telemetry {
    registry: Registry,
    /// What every process tells, by the names that Prometheus gives it.
    process: Registry,
    started_at: Gauge<f64, AtomicU64>,
    rows: Rows,
    unknown_domain: Counter,
    invalid_requests: Counter,
    failures: Counter,
    abandoned: Counter,
    reloads: Reloads,
    connections: Connections,
    http_connections: HttpConnections,
    shared_store: SharedStore,
    snapshots: SnapshotCounters,
    certificates: Certificates,
    latency: Histogram,
    call_latency: Histogram,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Counters at zero, and gauges that read `store` when they are asked.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self::with_log(store, &LogLines::default())
    }

    /// The same for who has a log, whose lines may have been counted already.
    pub fn with_log(store: Arc<MemoryStore>, log: &LogLines) -> Self {
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
        let invalid_requests = counter("invalid_requests", "Requests rejected for their content or size");
        let failures = counter("store_failures", "Requests that the store could not decide");
        let abandoned = counter(
            "leases_abandoned",
            "Leases undone because the call ended before its answer went out",
        );
        let rejected = counter(
            "rejected_connections",
            "gRPC connections closed at once because the limit was reached",
        );
        let displaced = counter(
            "http_displaced_connections",
            "HTTP connections closed so that others could be served",
        );
        let refused_policies = counter(
            "config_reload_errors",
            "Policies that were read again and refused; those before stay in force",
        );
        let reloads = Reloads { refused: refused_policies, ..Reloads::default() };
        let failed = counter("snapshot_errors", "Snapshots that could not be written");
        let refused_certificates = counter(
            "tls_reload_errors",
            "Certificates that were read again and cannot be used; those before stay in force",
        );
        let certificates = Certificates { refused: refused_certificates, ..Default::default() };
        let help = "Whether the certificates that were read last are in force";
        certificates.note(0);
        registry.register("tls_last_reload_successful", help, certificates.are_taken.clone());
        let connections = Connections { open: Gauge::default(), rejected };
        registry.register("connections", "Open gRPC connections", connections.open.clone());
        let http_connections = HttpConnections { open: Gauge::default(), displaced };
        registry.register(
            "http_connections",
            "Open HTTP connections",
            http_connections.open.clone(),
        );
        let snapshots = SnapshotCounters { failed, ..SnapshotCounters::default() };
        let mut moment = |name, help, at: &Gauge| {
            registry.register_with_unit(name, help, Unit::Seconds, at.clone());
        };
        moment(
            "snapshot_last_success_timestamp",
            "When the state was taken that the last snapshot holds; 0 before the first",
            &snapshots.taken_at,
        );
        moment(
            "config_last_reload_success_timestamp",
            "When the policies came into force",
            &reloads.taken_at,
        );
        let help = "Buckets that were not full, and leases, in the last snapshot";
        registry.register("snapshot_keys", help, snapshots.keys.clone());
        let help = "Whether the policies that were read last came into force";
        registry.register("config_last_reload_successful", help, reloads.is_taken.clone());
        let help = "Lines of the log that were dropped, because standard error did not take them";
        registry.register("log_lines_dropped", help, log.dropped.clone());
        let rows = Rows::new(&mut registry);
        // 250 ns to 4 ms, doubling.
        let latency = Histogram::new(exponential_buckets(250e-9, 2.0, 15));
        let help = "Time from a decoded request to its reply, of about one request in 64";
        registry.register_with_unit("decision_duration", help, Unit::Seconds, latency.clone());
        // 1 us to 131 ms, doubling: a call may wait for a shared store.
        let call_latency = Histogram::new(exponential_buckets(1e-6, 2.0, 18));
        let help = "Time from a gRPC call whose message has come to its answer, of about one in 64";
        registry.register_with_unit("call_duration", help, Unit::Seconds, call_latency.clone());
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: VERSION, rustc: RUSTC }).set(1);
        registry.register("build_info", "What runs; always 1", build);
        let mut process = Registry::default();
        let started_at = Gauge::default();
        let help = "When the process started";
        process.register_with_unit(
            "process_start_time",
            help,
            Unit::Seconds,
            Gauge::clone(&started_at),
        );
        let shared_store = SharedStore::new(&mut registry);
        registry.register_collector(Box::new(StoreReader(store)));
        Self {
            registry,
            process,
            started_at,
            rows,
            unknown_domain,
            invalid_requests,
            failures,
            abandoned,
            reloads,
            connections,
            http_connections,
            shared_store,
            snapshots,
            certificates,
            latency,
            call_latency,
        }
    }

    /// The handles for the domains and rows of policies, one for each, that are to replace those before. Rows that
    /// are there again go on counting from where they were. Series go that none of the last policies had.
    pub fn for_policies(&self, policies: &[Policy]) -> Vec<PolicyCounters> {
        self.rows.of(policies)
    }

    /// Counts a request for a domain that has no policy.
    pub fn count_unknown_domain(&self) {
        self.unknown_domain.inc();
    }

    /// Counts a request that is none.
    pub fn count_invalid_request(&self) {
        self.invalid_requests.inc();
    }

    /// Counts a request that the store could not decide.
    pub fn count_failure(&self) {
        self.failures.inc();
    }

    /// Counts a lease that was undone.
    pub fn count_abandoned(&self) {
        self.abandoned.inc();
    }

    /// The counters of policies that were read.
    pub const fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Notes when the process started.
    pub fn note_start(&self, at: Timestamp) {
        self.started_at.set(seconds(at.since(Timestamp::default())));
    }

    /// The counters of connections.
    pub const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The counters of HTTP's connections.
    pub const fn http_connections(&self) -> &HttpConnections {
        &self.http_connections
    }

    /// The counters of the store that replicas share.
    pub const fn shared_store(&self) -> &SharedStore {
        &self.shared_store
    }

    /// The counters of snapshots.
    pub const fn snapshots(&self) -> &SnapshotCounters {
        &self.snapshots
    }

    /// The certificates of TLS.
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Whether a request that arrives now is one of those to be timed.
    pub const fn is_timed(now: Timestamp) -> bool {
        (now.as_unix_nanos() / 1_000).is_multiple_of(TIMED_EVERY)
    }

    /// Notes how long a request took.
    pub fn observe(&self, from: Timestamp, to: Timestamp) {
        self.latency.observe(seconds(to.since(from)));
    }

    /// Notes how long a gRPC call took, from the arrival of its message until its answer was handed over.
    pub fn observe_call(&self, from: Timestamp, to: Timestamp) {
        self.call_latency.observe(seconds(to.since(from)));
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: a `String` takes all that is written to it.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn whole_seconds(at: Timestamp) -> i64 {
    let seconds = std::time::Duration::from_nanos(at.as_unix_nanos()).as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn seconds(span: Nanos) -> f64 {
    std::time::Duration::from(span).as_secs_f64()
}

/// Reads the store when the metrics are asked for.
#[derive(Debug)]
struct StoreReader(Arc<MemoryStore>);

impl prometheus_client::collector::Collector for StoreReader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let keys = gauge(self.0.len());
        let help = "Buckets that are not full, and leases, as of the last sweep.";
        keys.encode(encoder.encode_descriptor("keys", help, None, keys.metric_type())?)?;
        let leases = gauge(self.0.lease_count());
        let help = "Leases that hold slots, as of the last sweep.";
        leases.encode(encoder.encode_descriptor("leases", help, None, leases.metric_type())?)?;
        let mut counter = |name, help, count| {
            let counter = ConstCounter::<u64>::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        let help = "Buckets that were not full, forgotten because the key limit was reached.";
        counter("evictions", help, self.0.evicted_live())?;
        let help = "Leases that were not given out, because as many are held as are kept.";
        counter("refused_leases", help, self.0.refused_leases())
    }
}
