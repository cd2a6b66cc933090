//! `/reset`: refills token buckets, those that a key names in a table or in all tables, or a listed one.

mod entries;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::buckets::{self, Ids, MAX_EXAMINED, MAX_ITEMS};
use super::types::{self, List, Reset, ResetRequest, ResetTable};
use crate::admin::{ApiError, Shared, respond};
use crate::limit::Bucket;
use crate::observe::recent_buckets::BucketSnapshot;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::service::{Inspected, Service};
use crate::store::Outcome;

pub(super) async fn reset(
    State(Shared { service, queues, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    queues.changes.run(async move { respond(refill(&service, &body).await) }).await
}

async fn refill(service: &Service, body: &[u8]) -> Result<Reset, ApiError> {
    let request: ResetRequest = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "not a reset request: {error}; a `key` is written as [[\"tenant\", \"acme\"], ..]"
        ))
    })?;
    let id = request.id.as_deref();
    let seen = id.and_then(Fingerprint::parse).and_then(|id| service.recent_bucket(id));
    match (seen, &request.table) {
        (Some(seen), _) => refill_listed(service, seen).await,
        (None, _) if request.truncated == Some(true) => Err(ApiError::not_found(
            "`key` is truncated, and no bucket with this `id` is listed any more; send the whole `key`",
        )),
        (None, Some(table)) => refill_table(service, table, &request).await,
        (None, None) if id.is_some() => Err(ApiError::not_found(
            "no bucket with this `id` is listed; send its `table` and `key`",
        )),
        (None, None) => match request.key.as_deref() {
            Some(key) if !key.is_empty() => entries::refill(service, &request, key).await,
            _ => Err(ApiError::bad_request(
                "send a `key`, a `table`, or an `id` that /buckets lists",
            )),
        },
    }
}

/// Refills a recent bucket. It may be that of a limit override, which no policy has.
async fn refill_listed(service: &Service, seen: BucketSnapshot) -> Result<Reset, ApiError> {
    if !can_be_refilled(&seen.bucket) {
        return Err(ApiError::bad_request(SLOTS));
    }
    let bucket = [Inspected::from(&seen)];
    let peeked = service.peek_many(&bucket).await;
    let (outcomes, reading) = peeked.map_err(|error| ApiError::store(&error))?;
    service.refill(&bucket).await.map_err(|error| ApiError::store(&error))?;
    tracing::info!(
        domain = &*seen.label.domain,
        table = &*seen.label.table,
        buckets = 1,
        "buckets refilled by a request"
    );
    let table = seen.label.table.clone();
    let was_charged = |outcome: &Outcome| outcome.remaining < seen.bucket.size();
    let charged =
        outcomes.into_iter().find(was_charged).map(|outcome| BucketSnapshot { outcome, ..seen });
    let listed = charged
        .iter()
        .map(|seen| buckets::from_snapshot(seen, reading.at, &reading.unspent, Ids::Hidden));
    let listed: Vec<_> = listed.collect();
    let tables = vec![ResetTable::of(&table, &listed, 1)];
    Ok(answer(listed, tables))
}

/// Refills the buckets of a table that a key names.
async fn refill_table(
    service: &Service,
    table: &str,
    request: &ResetRequest,
) -> Result<Reset, ApiError> {
    let ResetRequest { domain, row, bucket, .. } = request;
    let key: Vec<_> = request.key.iter().flatten().map(buckets::entry).collect();
    let snapshot = service.policies().load_full();
    let policy = buckets::policy(&snapshot, domain.as_deref())?;
    buckets::check(policy, &key)?;
    let mut named = policy.buckets_for(&key, service.wall_now());
    named.retain(|of| {
        of.row.table() == table
            && row.as_ref().is_none_or(|row| of.row.name() == row)
            && bucket.as_ref().is_none_or(|bucket| of.bucket().to_string() == *bucket)
    });
    if named.is_empty() {
        return Err(ApiError::not_found(no_bucket(policy, table)));
    }
    let are_blocked = named.iter().all(|of| matches!(of.bucket(), Bucket::Blocked(_)));
    named.retain(|of| can_be_refilled(of.bucket()));
    if named.is_empty() {
        return Err(ApiError::bad_request(if are_blocked { BLOCKED } else { SLOTS }));
    }
    if named.len() > MAX_EXAMINED {
        return Err(ApiError::bad_request(format!(
            "the key names over {MAX_EXAMINED} buckets; send a `row` as well"
        )));
    }
    let (outcomes, reading) = buckets::peek(service, &named).await?;
    let fill: Vec<_> = named.iter().map(Inspected::from).collect();
    service.refill(&fill).await.map_err(|error| ApiError::store(&error))?;
    tracing::info!(
        domain = policy.domain(),
        table,
        buckets = fill.len(),
        "buckets refilled by a request"
    );
    let before = named.iter().zip(&outcomes);
    let charged = before.filter(|(of, outcome)| outcome.remaining < of.bucket().size());
    let listed = charged
        .map(|(of, outcome)| buckets::from_named(policy, of, outcome, &reading, Ids::Hidden));
    let listed: Vec<_> = listed.collect();
    let tables = vec![ResetTable::of(table, &listed, fill.len())];
    Ok(answer(listed, tables))
}

const BLOCKED: &str = "a blocked row has no tokens to refill; change the policy to unblock it";

const NO_LIMIT: &str =
    "no limit of the descriptor tree is for a descriptor with exactly these entries, in this order";

const SLOTS: &str = "slots are not refilled; release their leases, which /leases lists";

/// Whether it has tokens or hits that are given back as a whole.
const fn can_be_refilled(bucket: &Bucket) -> bool {
    matches!(bucket, Bucket::Tokens(_) | Bucket::Window(_))
}

/// The answer about the buckets that were not full, and the numbers of each table.
fn answer(mut items: Vec<types::Bucket>, tables: Vec<ResetTable>) -> Reset {
    let count = items.len();
    items.truncate(MAX_ITEMS);
    Reset {
        list: List::new(items, count),
        already_full: tables.iter().map(|of| of.already_full).sum(),
        tables,
        incomplete: Vec::new(),
        slots: Vec::new(),
    }
}

fn no_bucket(policy: &Policy, table: &str) -> String {
    if policy.is_tree() {
        return NO_LIMIT.to_owned();
    }
    let Some(table) = policy.tables().iter().find(|of| of.name() == table) else {
        let tables: Vec<_> = policy.tables().iter().map(|of| of.name()).collect();
        return format!("no table has this name; the tables are: {}", tables.join(", "));
    };
    let set = policy.key_set(table.key());
    let keys = set.map(|set| set.names(policy.keys())).unwrap_or_default();
    format!(
        "table {} has no such bucket: it has {}, its `key` is [{}], and calls with this key must be able to match the `row`",
        table.name(),
        policy.scope_description(table),
        keys.join(", ")
    )
}
