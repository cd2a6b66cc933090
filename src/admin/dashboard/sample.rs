//! The sample for the page, taken each second: sums of counters, and lists that stay short for a policy of any size.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::api::types::{
    BucketName, ControlPlane, Lease, Limit, List, Milliseconds, Rejected, Share, StoreErrorAction,
    Time, Top,
};
use crate::admin::api::{bucket, config, leases, shares, top};
use crate::clock::{Nanos, Timestamp};
use crate::live::{LoadedPolicies, LoadedPolicy};
use crate::observe::telemetry::RowCounts;
use crate::policy::Policy;
use crate::service::{HeldLeases, Service};

/// The time that the plot covers.
const PLOT_SPAN: Nanos = Nanos::from_secs(300);

/// The window over which the denials of rows are compared. The actual one may be longer by [`STEP`].
const WINDOW: Nanos = Nanos::from_secs(60);

/// How often the counts of rows are recorded.
const STEP: Nanos = Nanos::from_secs(5);

/// The most rows, buckets, leases and problems that are listed.
pub(super) const MAX_ITEMS: usize = 12;

/// One sample of the server's state. Counts are totals since the server started.
#[derive(Debug, JsonSchema, Serialize)]
pub(in crate::admin) struct Sample {
    at: Time,
    /// Whether the server accepts calls.
    ready: bool,
    /// Requests admitted.
    admitted: u64,
    /// Requests denied.
    denied: u64,
    unlimited: Unlimited,
    rows: DenyingRows,
    near: List<NearBucket>,
    /// The buckets that denied most in the last minutes.
    top: Top,
    leases: List<Lease>,
    /// The largest shares of Envoys that limit by themselves.
    shares: List<Share>,
    policy: PolicyState,
    store: StoreState,
    /// gRPC connections that are open.
    connections: i64,
    /// gRPC requests that ended otherwise than by an answer.
    unanswered: u64,
}

/// Requests that passed without a limit.
#[derive(Debug, JsonSchema, Serialize)]
struct Unlimited {
    bypassed: u64,
    unmatched: u64,
}

/// The rows that deny most, ordered by denials within the window, then since the server started.
#[derive(Debug, JsonSchema, Serialize)]
struct DenyingRows {
    /// The length of the window, about a minute at most; null if there is none yet.
    window_ms: Option<Milliseconds>,
    #[serde(flatten)]
    list: List<DenyingRow>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct DenyingRow {
    domain: String,
    table: String,
    row: String,
    shadow: bool,
    /// Descriptors that the row admitted.
    admitted: u64,
    /// Descriptors that it denied, or in shadow would have denied.
    exceeded: u64,
    /// Those within the window.
    exceeded_in_window: u64,
}

/// A bucket that was recently near or over its limit.
#[derive(Debug, JsonSchema, Serialize)]
struct NearBucket {
    #[serde(flatten)]
    name: BucketName,
    #[serde(flatten)]
    limit: Limit,
    remaining: u32,
    /// How many of these this process has prepaid in a shared store; absent if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    prepaid: Option<u32>,
    full_at: Option<Time>,
}

/// The policies in force.
#[derive(Debug, JsonSchema, Serialize)]
struct PolicyState {
    loaded_at: Time,
    version: String,
    sources: Vec<String>,
    /// The control plane that they come from; null if they come from files.
    control_plane: Option<ControlPlane>,
    rejected: Option<Rejected>,
    domains: Vec<Domain>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Domain {
    domain: String,
    /// The keys of entries that its policy uses.
    entry_keys: Vec<String>,
    on_store_error: StoreErrorAction,
}

#[derive(Debug, JsonSchema, Serialize)]
struct StoreState {
    /// Whether replicas share it.
    shared: bool,
    /// Whether the shared store does not answer, so that calls are decided without it.
    degraded: bool,
    /// Buckets and leases in memory.
    keys: usize,
    /// Buckets that were evicted before they were full.
    evicted: u64,
    /// Calls that were decided without the shared store.
    local_decisions: u64,
    /// How many replicas use the shared store, this one included; 0 until it has told.
    replicas: i64,
    prepaid: PrepaidAdmissions,
}

/// Admissions that were charged in a shared store ahead of the requests.
#[derive(Debug, JsonSchema, Serialize)]
struct PrepaidAdmissions {
    charged: u64,
    /// Those that were spent on a request.
    spent: u64,
    /// Those that were given back.
    given_back: u64,
    /// Those that may have been charged without an answer, or whose give-back failed.
    lost: u64,
}

/// The requests admitted and denied until a time.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize)]
pub(in crate::admin) struct Point {
    at: Time,
    admitted: u64,
    denied: u64,
}

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// For each row of the policies `counted_of`, how often it was over its limit, oldest first.
    counted: VecDeque<(Timestamp, Vec<u64>)>,
    counted_of: Weak<LoadedPolicies>,
    /// The oldest leases that are held.
    pub(super) leases: HeldLeases,
}

impl History {
    /// The points of the plot.
    pub(super) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }

    fn add(&mut self, point: Point) {
        let oldest = point.at.0.before(PLOT_SPAN);
        // One older point stays, from which the plot's first step is drawn.
        while self.points.get(1).is_some_and(|second| second.at.0 <= oldest) {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// Records the counts of rows, and returns the recorded counts to compare them with, and their time.
    fn compare(
        &mut self,
        snapshot: &Arc<LoadedPolicies>,
        rows: &[CountedRow<'_>],
        now: Timestamp,
    ) -> Option<&(Timestamp, Vec<u64>)> {
        if !std::ptr::eq(self.counted_of.as_ptr(), Arc::as_ptr(snapshot)) {
            self.counted.clear();
            self.counted_of = Arc::downgrade(snapshot);
        }
        if self.counted.back().is_none_or(|(at, _)| now.since(*at) >= STEP) {
            self.counted.push_back((now, rows.iter().map(|row| row.counts.over).collect()));
        }
        while self.counted.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
            self.counted.pop_front();
        }
        self.counted.front()
    }
}

/// A row with its counts.
struct CountedRow<'a> {
    domain: &'a str,
    table: &'a str,
    name: &'a str,
    is_shadow: bool,
    counts: RowCounts,
}

/// Takes a sample, and records it in `history`.
pub(super) fn take(service: &Service, is_ready: bool, history: &mut History) -> Sample {
    let (now, wall) = (service.now(), service.wall_now());
    let snapshot = service.policies().load_full();
    let policies = snapshot.policies();
    let (point, unlimited) = requests(&snapshot, &policies, wall);
    history.add(point);
    let rows = rows(&snapshot, &policies);
    let before = history.compare(&snapshot, &rows, now);
    let rows = most_denying(&rows, before, now);
    let counters = service.telemetry();
    Sample {
        at: Time(wall),
        ready: is_ready,
        admitted: point.admitted,
        denied: point.denied,
        unlimited,
        rows,
        near: near_limit(service),
        top: top::of(service, None, MAX_ITEMS),
        leases: lease_list(service, &history.leases),
        shares: shares::largest(service, MAX_ITEMS),
        policy: policy(service, &snapshot, &policies),
        store: store(service),
        connections: counters.connections().open.get(),
        unanswered: counters.unanswered().requests(),
    }
}

fn store(service: &Service) -> StoreState {
    let memory = service.core().memory();
    let counters = service.telemetry().shared_store();
    let prepaid = &counters.prepaid;
    StoreState {
        shared: service.is_shared(),
        degraded: service.core().is_degraded(),
        keys: memory.len(),
        evicted: memory.evictions(),
        local_decisions: counters.local.get(),
        replicas: counters.replicas.get(),
        prepaid: PrepaidAdmissions {
            charged: prepaid.charged.get(),
            spent: prepaid.spent.get(),
            given_back: prepaid.given_back.get(),
            lost: prepaid.lost.get(),
        },
    }
}

/// The requests that were admitted and denied, and those that passed without a limit.
fn requests(
    snapshot: &LoadedPolicies,
    policies: &[&Policy],
    wall: Timestamp,
) -> (Point, Unlimited) {
    let (mut admitted, mut denied, mut bypassed, mut unmatched) = (0, 0, 0, 0);
    for LoadedPolicy { counters, .. } in
        policies.iter().filter_map(|policy| snapshot.get(policy.domain()))
    {
        let counts = counters.requests();
        admitted += counts.ok + counts.bypassed + counts.unmatched;
        denied += counts.over_limit;
        bypassed += counts.bypassed;
        unmatched += counts.unmatched;
    }
    (Point { at: Time(wall), admitted, denied }, Unlimited { bypassed, unmatched })
}

fn rows<'a>(snapshot: &'a LoadedPolicies, policies: &[&'a Policy]) -> Vec<CountedRow<'a>> {
    let with_counters = policies.iter().filter_map(|policy| snapshot.get(policy.domain()));
    let of_each = with_counters.flat_map(|LoadedPolicy { policy, counters, .. }| {
        policy.rows().map(|row| CountedRow {
            domain: policy.domain(),
            table: row.table(),
            name: row.name(),
            is_shadow: row.is_shadow(),
            counts: counters.row(row.id()),
        })
    });
    of_each.collect()
}

fn most_denying(
    rows: &[CountedRow<'_>],
    before: Option<&(Timestamp, Vec<u64>)>,
    now: Timestamp,
) -> DenyingRows {
    let counted = before.map(|(_, counted)| &**counted).unwrap_or_default();
    let in_window = |at: usize, row: &CountedRow<'_>| {
        counted.get(at).map_or(0, |before| row.counts.over.saturating_sub(*before))
    };
    let denying = rows.iter().enumerate().filter(|(_, row)| row.counts.over > 0);
    let mut denying: Vec<_> = denying.map(|(at, row)| (in_window(at, row), row)).collect();
    denying.sort_by_key(|(in_window, row)| Reverse((*in_window, row.counts.over)));
    let items = denying.iter().take(MAX_ITEMS).map(|(exceeded_in_window, row)| DenyingRow {
        domain: row.domain.to_owned(),
        table: row.table.to_owned(),
        row: row.name.to_owned(),
        shadow: row.is_shadow,
        admitted: row.counts.admitted,
        exceeded: row.counts.over,
        exceeded_in_window: *exceeded_in_window,
    });
    DenyingRows {
        window_ms: before.map(|(at, _)| now.since(*at).into()),
        list: List::new(items.collect(), denying.len()),
    }
}

/// The emptiest buckets of those recently near their limit.
fn near_limit(service: &Service) -> List<NearBucket> {
    let mut found = service.recent_buckets();
    found.retain(|seen| seen.outcome.remaining < seen.bucket.size());
    let listed = found.iter().take(MAX_ITEMS);
    let unspent = service.unspent(listed.clone().map(|seen| seen.fingerprint));
    let items = listed.map(|seen| NearBucket {
        name: (&*seen.label).into(),
        limit: bucket::limit(&seen.bucket),
        remaining: seen.outcome.remaining,
        prepaid: unspent.among(seen.fingerprint, &seen.outcome),
        full_at: bucket::full_at(&seen.bucket, &seen.outcome, seen.at),
    });
    List::new(items.collect(), found.len())
}

fn lease_list(service: &Service, HeldLeases { items, omitted }: &HeldLeases) -> List<Lease> {
    let items = items.iter().map(|slots| leases::shortened(service, slots));
    List { items: items.collect(), omitted: *omitted }
}

fn policy(service: &Service, snapshot: &LoadedPolicies, policies: &[&Policy]) -> PolicyState {
    let domains = policies.iter().map(|policy| Domain {
        domain: policy.domain().to_owned(),
        entry_keys: policy.keys().sent().map(str::to_owned).collect(),
        on_store_error: policy.on_store_error().into(),
    });
    PolicyState {
        loaded_at: Time(service.to_wall(snapshot.loaded_at())),
        version: snapshot.version().id().to_owned(),
        sources: snapshot.version().sources().map(str::to_owned).collect(),
        control_plane: config::control_plane(service, snapshot),
        rejected: service
            .policies()
            .rejected()
            .map(|policies| config::rejected(service, &policies, MAX_ITEMS)),
        domains: domains.collect(),
    }
}
