//! `/config`: the policies in force, told from what was compiled, not from what was written.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::admin::{Shared, axum_json};
use crate::clock::Timestamp;
use crate::limit::Bucket;
use crate::policy::fingerprint::KeySet;
use crate::policy::table::{Override, Row, Rows, Rule, Table};
use crate::policy::{HeaderStyle, Policy};
use crate::reload::{Refused, Snapshot};

pub(super) async fn config(State(Shared { service, desks, .. }): State<Shared>) -> Response {
    desks
        .looks
        .work(async move {
            let snapshot = service.live().load_full();
            let refused = service.live().refused();
            axum_json(StatusCode::OK, of(&snapshot, refused.as_deref()).to_string())
        })
        .await
}

fn of(snapshot: &Snapshot, refused: Option<&Refused>) -> Value {
    json!({
        "refused": refused.map(|Refused { at, problems }| {
            json!({ "at": moment(*at), "problems": problems.lines().collect::<Vec<_>>() })
        }),
        "version": snapshot.content().version(),
        "loaded_at": moment(snapshot.loaded_at()),
        "sources": snapshot.content().sources().collect::<Vec<_>>(),
        "policies": snapshot.policies().into_iter().map(policy).collect::<Vec<_>>(),
    })
}

fn policy(policy: &Policy) -> Value {
    let bypass = policy.bypass().iter().map(|conditions| conditions.describe(policy.keys()));
    json!({
        "domain": policy.domain(),
        "headers": match policy.headers() {
            HeaderStyle::Epoch => "epoch",
            HeaderStyle::Delta => "delta",
            HeaderStyle::Ietf => "ietf",
            HeaderStyle::Off => "off",
        },
        "endpoints": endpoints(policy),
        "tables": policy.tables().iter().map(|of| table(policy, of)).collect::<Vec<_>>(),
        "bypass": bypass.collect::<Vec<_>>(),
    })
}

fn table(policy: &Policy, table: &Table) -> Value {
    let key_set = policy.key_set(table.key());
    let key = key_set.map(|set| set.names(policy.keys()));
    let prefixes = key_set.filter(|set| set.has_address()).map(KeySet::prefixes);
    let mut rows: Vec<_> = table.rows().iter().collect();
    rows.sort_unstable_by_key(|row| row.id());
    json!({
        "name": table.name(),
        "when": table.when().describe(policy.keys()),
        "select": match table.rows() {
            Rows::Always(_) => None,
            Rows::Selected { by, .. } => Some(policy.keys().name(*by)),
        },
        "key": key,
        "prefix": prefixes.map(|bits| json!({ "ipv4": bits.ipv4(), "ipv6": bits.ipv6() })),
        "rows": rows.into_iter().map(|of| row(policy, of)).collect::<Vec<_>>(),
    })
}

fn row(policy: &Policy, row: &Row) -> Value {
    let overrides = row.overrides().iter().map(|of| over_ride(policy, of));
    json!({
        "row": row.name(),
        "buckets": buckets(row.rules()),
        "shadow": row.is_shadow(),
        "message": row.message_of(row.rules()),
        "overrides": overrides.collect::<Vec<_>>(),
    })
}

fn over_ride(policy: &Policy, over_ride: &Override) -> Value {
    json!({
        "when": over_ride.when().describe(policy.keys()),
        "until": over_ride.until().map(moment),
        "buckets": buckets(over_ride.rules()),
    })
}

fn buckets(rules: &[Rule]) -> Vec<String> {
    let told = |rule: &Rule| match rule.bucket() {
        Bucket::Tokens(bucket) => bucket.to_string(),
        Bucket::Concurrency(bucket) => format!("{bucket}, held for {} at most", bucket.hold()),
        Bucket::Blocked(blocked) => blocked.to_string(),
    };
    rules.iter().map(told).collect()
}

/// Each endpoint with its group.
fn endpoints(policy: &Policy) -> Value {
    let endpoints = policy.endpoints().iter();
    Value::Object(endpoints.map(|(endpoint, group)| (endpoint.to_owned(), group.into())).collect())
}

/// RFC 3339, in UTC.
pub(in crate::admin) fn moment(at: Timestamp) -> String {
    at.rfc3339()
}
