//! What the page is told each second: sums of counters, and lists that are short whatever the policy's size.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use serde_json::{Value, json};

use crate::admin::api::{bucket, config, leases};
use crate::clock::{Nanos, Timestamp};
use crate::policy::Policy;
use crate::policy::table::Rows;
use crate::reload::{Live, Snapshot};
use crate::service::{HeldLeases, Service};
use crate::telemetry::RowCounts;

/// How far back the plot goes.
const SHOWN: Nanos = Nanos::from_secs(300);

/// Rows are compared with what they had counted this long ago, or longer.
const WINDOW: Nanos = Nanos::from_secs(60);

/// How often that is noted.
const STEP: Nanos = Nanos::from_secs(5);

/// How many rows and buckets are listed.
pub(super) const LISTED: usize = 12;

/// How many requests had been admitted and denied.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: Timestamp,
    admitted: u64,
    denied: u64,
}

/// What is known of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Past {
    points: VecDeque<Point>,
    /// What each row had counted as over its limit, of the policies of `counted_of`, oldest first.
    counted: VecDeque<(Timestamp, Vec<u64>)>,
    counted_of: Weak<Snapshot>,
    /// The oldest that are held.
    pub(super) leases: HeldLeases,
}

impl Past {
    /// The points of the plot, each as `[at, admitted, denied]`.
    pub(super) fn points(&self) -> Value {
        let told = self.points.iter();
        told.map(|of| json!([bucket::milliseconds(of.at), of.admitted, of.denied])).collect()
    }

    fn add(&mut self, point: Point) {
        let oldest = point.at.before(SHOWN);
        // One that is older stays: what was counted from then on is drawn from the edge.
        while self.points.get(1).is_some_and(|second| second.at <= oldest) {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// What each row had counted, and when; nothing where other policies are in force since. Notes `now`.
    fn compare(
        &mut self,
        snapshot: &Arc<Snapshot>,
        rows: &[RowOf<'_>],
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

/// A row with what was counted of it.
struct RowOf<'a> {
    domain: &'a str,
    table: &'a str,
    name: &'a str,
    is_shadow: bool,
    counts: RowCounts,
}

/// Takes a sample, and keeps in `past` what the next ones are compared with.
pub(super) fn take(service: &Service, is_ready: bool, past: &mut Past) -> Value {
    let now = service.now();
    let snapshot = service.live().load_full();
    let policies = snapshot.policies();
    let (point, others) = requests(&snapshot, &policies, now);
    past.add(point);
    let rows = rows(&snapshot, &policies);
    let before = past.compare(&snapshot, &rows, now);
    let store = service.store();
    let counters = service.telemetry();
    json!({
        "at": bucket::milliseconds(now),
        "is_ready": is_ready,
        "admitted": point.admitted,
        "denied": point.denied,
        "passed_without": others,
        "rows": most_denying(&rows, before, now),
        "near": near(service, &snapshot),
        "leases": leases(&past.leases),
        "policy": policy(service.live(), &snapshot, &policies),
        "store": {
            "is_shared": service.is_shared(),
            "is_degraded": service.is_degraded(),
            "keys": store.len(),
            "evicted": store.evicted_live(),
            "decided_alone": counters.shared_store().local.get(),
        },
        "connections": counters.connections().open.get(),
    })
}

/// What was admitted and denied; and what passed without a bucket.
fn requests(snapshot: &Snapshot, policies: &[&Policy], now: Timestamp) -> (Point, Value) {
    let (mut admitted, mut denied, mut bypassed, mut unmatched) = (0, 0, 0, 0);
    for (_, counters) in policies.iter().filter_map(|policy| snapshot.of(policy.domain())) {
        let counts = counters.requests();
        admitted += counts.ok + counts.bypassed + counts.unmatched;
        denied += counts.over_limit;
        bypassed += counts.bypassed;
        unmatched += counts.unmatched;
    }
    let others = json!({ "bypassed": bypassed, "unmatched": unmatched });
    (Point { at: now, admitted, denied }, others)
}

fn rows<'a>(snapshot: &'a Snapshot, policies: &[&'a Policy]) -> Vec<RowOf<'a>> {
    let with_counters = policies.iter().filter_map(|policy| snapshot.of(policy.domain()));
    let of_each = with_counters.flat_map(|(policy, counters)| {
        policy.rows().map(|row| RowOf {
            domain: policy.domain(),
            table: row.table(),
            name: row.name(),
            is_shadow: row.is_shadow(),
            counts: counters.row(row.id()),
        })
    });
    of_each.collect()
}

/// The rows that deny most: lately, and then ever.
fn most_denying(
    rows: &[RowOf<'_>],
    before: Option<&(Timestamp, Vec<u64>)>,
    now: Timestamp,
) -> Value {
    let counted = before.map(|(_, counted)| &**counted).unwrap_or_default();
    let lately = |at: usize, row: &RowOf<'_>| {
        counted.get(at).map_or(0, |before| row.counts.over.saturating_sub(*before))
    };
    let denying = rows.iter().enumerate().filter(|(_, row)| row.counts.over > 0);
    let mut denying: Vec<_> = denying.map(|(at, row)| (lately(at, row), row)).collect();
    denying.sort_by(|(a_lately, a), (b_lately, b)| {
        let (a, b) = ((a_lately, a.counts.over), (b_lately, b.counts.over));
        b.cmp(&a)
    });
    let listed = denying.iter().take(LISTED).map(|(lately, row)| {
        json!({
            "domain": row.domain,
            "table": row.table,
            "row": row.name,
            "is_shadow": row.is_shadow,
            "lately": lately,
            "over": row.counts.over,
            "admitted": row.counts.admitted,
        })
    });
    json!({
        "lately_ms": before.map(|(at, _)| bucket::as_milliseconds(now.since(*at))),
        "count": rows.len(),
        "denying": denying.len(),
        "listed": listed.collect::<Vec<_>>(),
    })
}

/// The buckets that have least left, of those seen near their limit lately.
fn near(service: &Service, snapshot: &Snapshot) -> Value {
    let mut near = service.near();
    near.retain(|seen| seen.outcome.remaining < seen.bucket.size());
    let listed = near.iter().take(LISTED).map(|seen| {
        let named = &*seen.named;
        // A shared store's bucket is told as it was seen; one in memory as it stands.
        let at = if service.is_shared() { seen.at } else { service.now() };
        let mut told = bucket::standing(&seen.bucket, Some((&seen.outcome, at)));
        told.insert("domain".into(), json!(named.domain));
        told.insert("table".into(), json!(named.table));
        told.insert("row".into(), json!(named.row));
        told.insert("key".into(), json!(named.key_text()));
        told.insert("is_shadow".into(), named.is_shadow.into());
        told.insert("picked_by".into(), picked_by(snapshot, &named.domain, &named.table).into());
        told
    });
    json!({ "count": near.len(), "listed": listed.collect::<Vec<_>>() })
}

/// The entry whose value picks a row of the table.
fn picked_by<'a>(snapshot: &'a Snapshot, domain: &str, table: &str) -> Option<&'a str> {
    let (policy, _) = snapshot.of(domain)?;
    match policy.tables().iter().find(|of| of.name() == table)?.rows() {
        Rows::Always(_) => None,
        Rows::Selected { by, .. } => Some(policy.keys().name(*by)),
    }
}

fn leases(HeldLeases { listed, left_off }: &HeldLeases) -> Value {
    let told: Vec<_> = listed.iter().map(leases::told).collect();
    json!({ "count": told.len() + left_off, "listed": told })
}

fn policy(live: &Live, snapshot: &Snapshot, policies: &[&Policy]) -> Value {
    let refused = live.refused().map(|refused| {
        let problems: Vec<_> = refused.problems.lines().take(LISTED).collect();
        json!({ "at": bucket::milliseconds(refused.at), "problems": problems })
    });
    let domains = policies.iter().map(|policy| {
        json!({ "domain": policy.domain(), "keys": policy.keys().names().collect::<Vec<_>>() })
    });
    json!({
        "loaded_at": bucket::milliseconds(snapshot.loaded_at()),
        "loaded": config::moment(snapshot.loaded_at()),
        "version": snapshot.content().version(),
        "sources": snapshot.content().sources().collect::<Vec<_>>(),
        "refused": refused,
        "domains": domains.collect::<Vec<_>>(),
    })
}
