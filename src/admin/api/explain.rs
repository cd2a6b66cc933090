//! `/explain`: what a request of `/json` meets, table by table, and how every bucket stands. Nothing is charged.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bucket;
use crate::admin::{Shared, axum_json};
use crate::clock::Timestamp;
use crate::decision::{Decided, Verdict};
use crate::descriptor::Query;
use crate::policy::table::{Row, Rule, Table};
use crate::policy::{Explained, Policy};
use crate::service::Service;
use crate::wire;

/// How many descriptors are explained at a time. One asks about one call, or the few of a route; each is told of
/// table by table.
const MOST_DESCRIPTORS: usize = 32;

/// How long it may take to tell of them, once it is known how the buckets stand.
const LONGEST: Duration = Duration::from_millis(500);

pub(super) async fn explain(
    State(Shared { service, desks, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    desks
        .looks
        .work(async move {
            let (status, value) = match answer(&service, &body).await {
                Ok(value) => (StatusCode::OK, value),
                Err((status, error)) => (status, json!({ "error": error })),
            };
            axum_json(status, value.to_string())
        })
        .await
}

async fn answer(service: &Service, body: &[u8]) -> Result<Value, (StatusCode, String)> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let message = wire::json::request(body).map_err(|error| bad(&error))?;
    let mut query = Query::default();
    wire::read(&message, &mut query).map_err(|error| bad(&error))?;
    let count = query.len();
    if count > MOST_DESCRIPTORS {
        let error =
            format!("{count} descriptors; at most {MOST_DESCRIPTORS} are explained together");
        return Err((StatusCode::BAD_REQUEST, error));
    }
    let snapshot = service.live().load_full();
    let Some((policy, _)) = snapshot.of(query.domain()) else {
        let known: Vec<_> = snapshot.policies().into_iter().map(Policy::domain).collect();
        let error = format!(
            "there is no domain `{}`, so that the call passes; there are: {}",
            query.domain().escape_debug(),
            known.join(", ")
        );
        return Err((StatusCode::NOT_FOUND, error));
    };
    let plan = policy.meet(&query, service.now());
    let looked = service.look(policy, &plan).await;
    let (verdict, now) =
        looked.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let told = told(policy, &query, &verdict, now, Instant::now() + LONGEST);
    told.ok_or_else(|| {
        let error = format!("it took over {LONGEST:?}; ask about fewer descriptors at a time");
        (StatusCode::SERVICE_UNAVAILABLE, error)
    })
}

/// Everything about a call, or nothing if it cannot be told until then.
fn told(
    policy: &Policy,
    query: &Query<'_>,
    verdict: &Verdict<'_>,
    now: Timestamp,
    deadline: Instant,
) -> Option<Value> {
    let denies = |of: &&Decided<'_>| !of.met.row.is_shadow() && bucket::is_over(of);
    let mut descriptors = Vec::new();
    for (at, of) in query.descriptors().enumerate() {
        if Instant::now() > deadline {
            return None;
        }
        descriptors.push(descriptor(policy, at, &policy.explain(of, now), verdict, now));
    }
    let asked = query.descriptors().flat_map(|of| of.entries());
    let unknown = asked.filter(|entry| !policy.keys().names().any(|name| name == entry.key));
    Some(json!({
        "domain": policy.domain(),
        "at": bucket::milliseconds(now),
        "admits": verdict.is_bypassed || !verdict.decided.iter().any(|of| denies(&of)),
        "descriptors": descriptors,
        "not_asked_about": unknown.map(|entry| entry.key).collect::<Vec<_>>(),
    }))
}

fn descriptor(
    policy: &Policy,
    at: usize,
    explained: &Explained<'_>,
    verdict: &Verdict<'_>,
    now: Timestamp,
) -> Value {
    // Once: of each table all of them are looked through.
    let of_it = verdict.decided.iter().filter(|decided| decided.met.descriptor == at);
    let of_it: Vec<_> = of_it.collect();
    let of_it = || of_it.iter().copied();
    let tables = explained.tables.iter().map(|(table, met)| match met {
        Ok((row, rules)) => met_row(policy, table, row, rules, of_it(), now),
        Err(miss) => json!({ "table": table.name(), "why": policy.why(*miss) }),
    });
    // What Envoy brings along stands in no table.
    let brought = of_it().filter(|decided| decided.met.denial.is_none()).map(|decided| {
        json!({
            "table": decided.met.row.table(),
            "row": decided.met.row.name(),
            "one_for": "a limit that Envoy brought along, in place of those that are not charged",
            "buckets": [bucket::told(decided.met.bucket, Some(decided), now)],
        })
    });
    json!({
        "endpoint_group": explained.group,
        "bypass": policy.bypass_told(explained),
        "outcome": explained.outcome(),
        "tables": tables.chain(brought).collect::<Vec<_>>(),
    })
}

fn met_row<'v>(
    policy: &Policy,
    table: &Table,
    row: &Row,
    rules: &[Rule],
    decided: impl Iterator<Item = &'v Decided<'v>> + Clone,
    now: Timestamp,
) -> Value {
    let buckets = rules.iter().map(|rule| {
        let same = |of: &&Decided<'_>| std::ptr::eq(of.met.bucket, rule.bucket());
        bucket::told(rule.bucket(), decided.clone().find(same), now)
    });
    json!({
        "table": table.name(),
        "row": row.name(),
        "is_override": !std::ptr::eq(row.rules(), rules),
        "is_shadow": row.is_shadow(),
        "one_for": policy.one_for(table),
        "message": row.message_of(rules),
        "buckets": buckets.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::dashboard::events::tests::service;

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let service = service();
        let snapshot = service.live().load_full();
        let (policy, _) = snapshot.of("d").unwrap();
        let message = br#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}]}]}"#;
        let message = wire::json::request(message).unwrap();
        let mut query = Query::default();
        wire::read(&message, &mut query).unwrap();
        let plan = policy.meet(&query, service.now());
        let (verdict, now) = service.look(policy, &plan).await.unwrap();
        let begun = Instant::now();
        assert!(told(policy, &query, &verdict, now, begun + LONGEST).is_some());
        std::iter::repeat_with(Instant::now).find(|now| *now > begun);
        assert!(told(policy, &query, &verdict, now, begun).is_none());
    }
}
