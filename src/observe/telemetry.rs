//! The metrics, and their names. Label values come from the policies, never from a client: the number of series is
//! bounded by the rows of the policies in force, and some of earlier ones.
//!
//! Every handle is looked up when a policy is loaded; a request only increments atomics.

mod classic;
mod connections;
mod control_plane;
mod owners;
mod process;
mod quotas;
pub mod ratelimit_stats;
mod register;
mod reloads;
mod rows;
mod shared_store;
mod snapshots;
mod store_reader;
mod unanswered;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use self::connections::{Connections, HttpConnections};
pub use self::control_plane::ControlPlaneCounters;
pub use self::quotas::{Ignored, Quotas};
pub use self::reloads::{Certificates, Reloads};
pub use self::rows::{PolicyCounters, RequestCounts, RowCounts};
pub use self::shared_store::SharedStore;
pub use self::snapshots::SnapshotCounters;
pub use self::unanswered::Unanswered;

use self::process::ProcessReader;
use self::ratelimit_stats::{RatelimitStats, StatsSettings};
use self::rows::Rows;
use self::store_reader::StoreReader;
use crate::clock::{Nanos, Timestamp};
use crate::policy::Policy;
use crate::store::MemoryStore;

/// A request is timed if it arrives in one of this many microseconds: the second reading of the clock costs as much
/// as a bucket.
const SAMPLE_INTERVAL: u64 = 64;

/// Version of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version of the compiler, found by `build.rs`.
const RUSTC: &str = env!("TOLLGATE_RUSTC");

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    rustc: &'static str,
}

/// The lines of the log.
#[derive(Debug, Clone, Default)]
pub struct LogLines {
    /// Lines dropped because their reader is too slow, or because writing failed.
    pub dropped: Counter,
}

/// All metrics of the process.
pub struct Telemetry {
    registry: Registry,
    /// Metrics of any process, without the prefix, under the names of Prometheus.
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
    unanswered: Unanswered,
    shared_store: SharedStore,
    quotas: Quotas,
    snapshots: SnapshotCounters,
    certificates: Certificates,
    control_plane: ControlPlaneCounters,
    decision_duration: Histogram,
    call_duration: Histogram,
    ratelimit: RatelimitStats,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Counters at zero; the metrics of `store` are read when they are encoded.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self::with_log(store, &LogLines::default())
    }

    /// As [`Self::new`], with the metrics of a log, which may have counted lines already.
    pub fn with_log(store: Arc<MemoryStore>, log: &LogLines) -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let to = &mut registry;
        let help = "Requests for a domain without a policy; answered OK";
        let unknown_domain = register::counter(to, "unknown_domain_requests", help);
        let help = "Requests rejected for their content, or denied for their size";
        let invalid_requests = register::counter(to, "invalid_requests", help);
        let help = "Requests that could not be decided: the store failed, or policies are awaited";
        let failures = register::counter(to, "store_failures", help);
        let help = "Leases undone because their answer was not delivered";
        let abandoned = register::counter(to, "leases_abandoned", help);
        let help = "Log lines that could not be written to standard error";
        to.register("log_lines_dropped", help, log.dropped.clone());
        // 250 ns to 4 ms, doubling.
        let buckets = exponential_buckets(250e-9, 2.0, 15);
        let help = "Time from the decoded request to the reply, of about one request in 64";
        let decision_duration = register::duration(to, "decision_duration", help, buckets);
        // 1 us to 131 ms, doubling: a call may wait for a shared store.
        let buckets = exponential_buckets(1e-6, 2.0, 18);
        let help = "Time from the last byte of a gRPC call to its answer, of about one call in 64";
        let call_duration = register::duration(to, "call_duration", help, buckets);
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: VERSION, rustc: RUSTC }).set(1);
        to.register("build_info", "Versions of the program and its compiler; always 1", build);
        let rows = Rows::new(to);
        let reloads = Reloads::new(to);
        let certificates = Certificates::new(to);
        let control_plane = ControlPlaneCounters::new(to);
        let connections = Connections::new(to);
        let http_connections = HttpConnections::new(to);
        let unanswered = Unanswered::new(to);
        let snapshots = SnapshotCounters::new(to);
        let shared_store = SharedStore::new(to);
        let quotas = Quotas::new(to);
        to.register_collector(Box::new(StoreReader(store)));
        let mut process = Registry::default();
        let (started_at, help) = (Gauge::default(), "When the process started");
        let gauge = Gauge::clone(&started_at);
        process.register_with_unit("process_start_time", help, Unit::Seconds, gauge);
        process.register_collector(Box::new(ProcessReader));
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
            unanswered,
            shared_store,
            quotas,
            snapshots,
            certificates,
            control_plane,
            decision_duration,
            call_duration,
            ratelimit: RatelimitStats::new(StatsSettings::default()),
        }
    }

    /// The same metrics, with the statistics of envoyproxy/ratelimit from the start: the server stands in its place.
    #[must_use]
    pub fn with_ratelimit_stats(self, settings: StatsSettings) -> Self {
        Self { ratelimit: RatelimitStats::new(settings).on(), ..self }
    }

    /// The statistics of envoyproxy/ratelimit.
    pub const fn ratelimit(&self) -> &RatelimitStats {
        &self.ratelimit
    }

    /// Their counters that have risen, by their names in statsd.
    pub fn ratelimit_counters(&self) -> BTreeMap<String, u64> {
        self.ratelimit.counters(self.reloads.counts())
    }

    /// The handles of policies that replace the previous ones, one for each policy. A row that was there before
    /// continues its counters. Series that none of the latest policies has are removed, see `owners`.
    pub fn for_policies(&self, policies: &[Policy]) -> Vec<PolicyCounters> {
        self.rows.of(policies)
    }

    /// Counts a request for a domain that has no policy.
    pub fn count_unknown_domain(&self) {
        self.unknown_domain.inc();
    }

    /// Counts a request that is rejected for its content, or denied for its size.
    pub fn count_invalid_request(&self) {
        self.invalid_requests.inc();
    }

    /// Counts a request that the store could not decide, or for which policies are still awaited.
    pub fn count_failure(&self) {
        self.failures.inc();
    }

    /// Counts a lease that is undone because its answer was not delivered.
    pub fn count_abandoned(&self) {
        self.abandoned.inc();
    }

    /// The metrics of policy loads.
    pub const fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Records when the process started.
    pub fn record_start(&self, at: Timestamp) {
        self.started_at.set(seconds(at.since(Timestamp::default())));
    }

    /// The metrics of gRPC connections.
    pub const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The metrics of what ended otherwise than by an answer.
    pub const fn unanswered(&self) -> &Unanswered {
        &self.unanswered
    }

    /// The metrics of HTTP connections.
    pub const fn http_connections(&self) -> &HttpConnections {
        &self.http_connections
    }

    /// The metrics of the shared store.
    pub const fn shared_store(&self) -> &SharedStore {
        &self.shared_store
    }

    /// The metrics of the quota service.
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The metrics of snapshots.
    pub const fn snapshots(&self) -> &SnapshotCounters {
        &self.snapshots
    }

    /// The metrics of certificate reloads.
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The metrics of the control plane that policies come from.
    pub const fn control_plane(&self) -> &ControlPlaneCounters {
        &self.control_plane
    }

    /// Whether to time a request that arrives at `now`.
    pub const fn should_sample(now: Timestamp) -> bool {
        (now.as_unix_nanos() / 1_000).is_multiple_of(SAMPLE_INTERVAL)
    }

    /// Records how long a request took, from its decoded message to its reply.
    pub fn observe(&self, from: Timestamp, to: Timestamp) {
        self.decision_duration.observe(seconds(to.since(from)));
    }

    /// Records how long a gRPC call took, from the last byte of its message to the end of its answer.
    pub fn observe_call(&self, from: Timestamp, to: Timestamp) {
        self.call_duration.observe(seconds(to.since(from)));
    }

    /// All metrics in a text format.
    ///
    /// # Errors
    /// None in practice: writing to a `String` does not fail.
    pub fn encode_as(&self, format: TextFormat) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.process)?;
        if format == TextFormat::Classic {
            text = classic::from_openmetrics(&text);
        }
        self.ratelimit.encode(self.reloads.counts(), format, &mut text)?;
        if format == TextFormat::OpenMetrics {
            encode_eof(&mut text)?;
        }
        Ok(text)
    }

    /// All metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// As [`Self::encode_as`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.encode_as(TextFormat::OpenMetrics)
    }
}

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Version 1.0.0 of OpenMetrics.
    OpenMetrics,
    /// Version 0.0.4 of Prometheus's own.
    Classic,
}

fn whole_seconds(at: Timestamp) -> i64 {
    let seconds = std::time::Duration::from_nanos(at.as_unix_nanos()).as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn seconds(span: Nanos) -> f64 {
    std::time::Duration::from(span).as_secs_f64()
}
