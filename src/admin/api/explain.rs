//! `/explain`: how a request of `/json` matches the policy, table by table, with the state of every bucket. Nothing is
//! charged. `bucket` has the same for a bucket.

pub(super) mod bucket;

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use tokio::time::Instant;

use super::bucket::{admits, explained as explained_bucket};
use super::types::{
    Charging, ExplainedDescriptor, ExplainedEntry, ExplainedTable, Explanation, MatchedRow,
    MissedTable, Time,
};
use crate::admin::{ApiError, Shared, respond};
use crate::decision::{Decided, Verdict};
use crate::descriptor::Query;
use crate::live::LoadedPolicy;
use crate::policy::descriptor_tree::{self, Walk, describe_mode};
use crate::policy::rule::Rule;
use crate::policy::table::{Row, Table};
use crate::policy::{Explained, Policy};
use crate::service::{Reading, Service};
use crate::text;
use crate::wire;

/// The most descriptors in one request: each is explained for every table of the policy.
pub(super) const MAX_EXPLAINED: usize = 32;

/// How long it may take to write the explanation, after the state of the buckets is read.
const MAX_TIME: Duration = Duration::from_millis(500);

pub(super) async fn explain(
    State(Shared { service, queues, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    queues.reads.run(async move { respond(answer(&service, &body).await) }).await
}

async fn answer(service: &Service, body: &[u8]) -> Result<Explanation, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::bad_request(error.to_string());
    let message = wire::json::decode_request(body).map_err(|error| bad(&error))?;
    let mut query = Query::default();
    wire::decode_into(&message, &mut query).map_err(|error| bad(&error))?;
    let count = query.len();
    if count > MAX_EXPLAINED {
        let error = format!("{count} descriptors; send at most {MAX_EXPLAINED} in one request");
        return Err(ApiError::bad_request(error));
    }
    let snapshot = service.policies().load_full();
    let Some(LoadedPolicy { policy, .. }) = snapshot.get(query.domain()) else {
        let known: Vec<_> = snapshot.policies().into_iter().map(Policy::domain).collect();
        let error = format!(
            "no policy has the domain `{}`, so the call is allowed; the domains are: {}",
            query.domain().as_str().escape_debug(),
            known.join(", ")
        );
        return Err(ApiError::not_found(error));
    };
    policy.check(&query).map_err(|error| bad(error))?;
    let plan = policy.resolve(&query, service.wall_now());
    let peeked = service.peek(policy, &plan).await;
    let (verdict, reading) = peeked.map_err(|error| ApiError::store(&error))?;
    let (admits, deadline) = (admits(&plan, &verdict), Instant::now() + MAX_TIME);
    let explanation = explanation(policy, &query, &verdict, admits, &reading, deadline);
    explanation.ok_or_else(|| {
        ApiError::unavailable(format!(
            "the explanation took over {MAX_TIME:?}; send fewer descriptors in one request"
        ))
    })
}

/// The explanation of a call; none if the deadline passes.
fn explanation(
    policy: &Policy,
    query: &Query<'_>,
    verdict: &Verdict<'_>,
    admits: bool,
    reading: &Reading,
    deadline: Instant,
) -> Option<Explanation> {
    let mut descriptors = Vec::new();
    for (at, of) in query.descriptors().enumerate() {
        if Instant::now() > deadline {
            return None;
        }
        descriptors.push(descriptor(policy, at, &policy.explain(of, reading.at), verdict, reading));
    }
    let asked = query.descriptors().flat_map(|of| of.entries());
    let unknown = asked.filter(|entry| !policy.keys().is_used(entry.key.as_bytes()));
    Some(Explanation {
        domain: policy.domain().to_owned(),
        at: Time(reading.at),
        admits,
        descriptors,
        unknown_keys: unknown.map(|entry| entry.key.as_str().to_owned()).collect(),
    })
}

/// The outcome of a descriptor whose limit another descriptor's replaces.
const REPLACED: &str = "its limit is replaced by that of another descriptor, and counts nothing";

fn descriptor(
    policy: &Policy,
    at: usize,
    explained: &Explained<'_>,
    verdict: &Verdict<'_>,
    reading: &Reading,
) -> ExplainedDescriptor {
    // Selected once for all tables.
    let of_it = verdict.decided.iter().filter(|decided| decided.matched.descriptor == at);
    let of_it: Vec<_> = of_it.collect();
    let of_it = || of_it.iter().copied();
    let tables = explained.tables.iter().map(|(table, matched)| match matched {
        Ok((row, rules)) => {
            ExplainedTable::Matched(matched_row(policy, table, row, rules, of_it(), reading))
        }
        Err(miss) => ExplainedTable::Missed(MissedTable {
            table: table.name().to_owned(),
            miss_reason: policy.miss_reason(*miss),
        }),
    });
    let of_tree = explained.walk.as_ref().map(|walk| in_tree(policy, walk, of_it(), reading));
    // A limit override belongs to no table.
    let overrides = of_it().filter(|decided| decided.matched.rule.is_none()).map(|decided| {
        ExplainedTable::Matched(MatchedRow {
            table: decided.matched.row.table().to_owned(),
            row: decided.matched.row.name().to_owned(),
            is_override: false,
            shadow: false,
            charging: Charging::of(
                Some(decided.matched.bucket),
                decided.matched.row.counting(),
                decided.matched.debt,
            ),
            scope: match policy.is_tree() {
                true => "a limit from Envoy, in place of that of the tree".into(),
                false => {
                    "a limit override from Envoy, in place of the buckets that are not charged"
                        .into()
                }
            },
            message: None,
            buckets: vec![explained_bucket(decided.matched.bucket, Some(decided), reading)],
        })
    });
    let entries = explained.entries.iter().map(|(entry, read_as)| ExplainedEntry {
        key: entry.key.as_str().to_owned(),
        value: text::decode(&text::truncate_value(entry.value)).into_owned(),
        read_as: read_as.map(str::to_owned),
    });
    let limit = explained.walk.as_ref().and_then(Walk::rule);
    let is_replaced = limit.is_some() && of_it().next().is_none();
    ExplainedDescriptor {
        entries: entries.collect(),
        endpoint_group: explained.group.as_ref().map(ToString::to_string),
        bypass: policy.describe_bypass(explained),
        outcome: if is_replaced { REPLACED.to_owned() } else { explained.outcome() },
        tables: tables.chain(of_tree).chain(overrides).collect(),
    }
}

/// What a descriptor matches in a tree: its limit, or why it has none.
fn in_tree<'v>(
    policy: &Policy,
    walk: &Walk<'_>,
    mut decided: impl Iterator<Item = &'v Decided<'v>>,
    reading: &Reading,
) -> ExplainedTable {
    let table = descriptor_tree::TABLE.to_owned();
    let row = match &walk.end {
        Err(reason) => {
            return ExplainedTable::Missed(MissedTable { table, miss_reason: reason.clone() });
        }
        Ok(row) => row,
    };
    let Some(rule) = row.rules().first() else {
        let miss_reason = format!("{} is unlimited", row.name());
        return ExplainedTable::Missed(MissedTable { table, miss_reason });
    };
    let decided = decided.find(|of| std::ptr::eq(of.matched.bucket, rule.bucket()));
    let mut scope = vec![policy.window_scope(row)];
    scope.extend(describe_mode(policy, row));
    ExplainedTable::Matched(MatchedRow {
        table,
        row: row.name().to_owned(),
        is_override: false,
        shadow: row.is_shadow(),
        charging: Charging::of_row(row, Some(rule)),
        scope: scope.join(", "),
        message: None,
        buckets: vec![explained_bucket(rule.bucket(), decided, reading)],
    })
}

fn matched_row<'v>(
    policy: &Policy,
    table: &Table,
    row: &Row,
    rules: &[Rule],
    decided: impl Iterator<Item = &'v Decided<'v>> + Clone,
    reading: &Reading,
) -> MatchedRow {
    let buckets = rules.iter().map(|rule| {
        let same = |of: &&Decided<'_>| std::ptr::eq(of.matched.bucket, rule.bucket());
        explained_bucket(rule.bucket(), decided.clone().find(same), reading)
    });
    let is_own = |rule: &Rule| row.rules().iter().any(|own| std::ptr::eq(own, rule));
    MatchedRow {
        table: table.name().to_owned(),
        row: row.name().to_owned(),
        is_override: !rules.iter().any(is_own),
        shadow: row.is_shadow(),
        charging: Charging::of_row(row, rules.first()),
        scope: policy.scope_description(table),
        message: Some(row.message_of(rules)),
        buckets: buckets.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::dashboard::events::tests::service;

    #[tokio::test]
    async fn an_explanation_that_takes_too_long_is_abandoned() {
        let service = service();
        let snapshot = service.policies().load_full();
        let policy = &snapshot.get("d").unwrap().policy;
        let message = br#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}]}]}"#;
        let message = wire::json::decode_request(message).unwrap();
        let mut query = Query::default();
        wire::decode_into(&message, &mut query).unwrap();
        let plan = policy.resolve(&query, service.now());
        let (verdict, reading) = service.peek(policy, &plan).await.unwrap();
        let begun = Instant::now();
        assert!(explanation(policy, &query, &verdict, true, &reading, begun + MAX_TIME).is_some());
        std::iter::repeat_with(Instant::now).find(|now| *now > begun);
        assert!(explanation(policy, &query, &verdict, true, &reading, begun).is_none());
    }
}
