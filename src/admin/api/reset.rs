//! `/reset`: makes token buckets full, those that a key names in a table or the one that a list has.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::buckets::{self, Ids, MAX_EXAMINED, MAX_ITEMS};
use super::types::{self, KeyEntry, List, Reset, ResetRequest};
use crate::admin::{ApiError, Shared, respond};
use crate::descriptor::Entry;
use crate::limit::Bucket;
use crate::observe::recent_buckets::BucketSnapshot;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::service::Service;
use crate::store::Outcome;

pub(super) async fn reset(
    State(Shared { service, queues, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    queues.changes.work(async move { respond(refill(&service, &body).await) }).await
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
        (Some(seen), _) => of_seen(service, seen).await,
        (None, Some(_)) if request.truncated == Some(true) => Err(ApiError::not_found(
            "its `key` is truncated, and no bucket with its `id` is listed any more: send the whole `key`",
        )),
        (None, Some(table)) => of_table(service, table, &request).await,
        (None, None) if id.is_some() => Err(ApiError::not_found(
            "no bucket with this `id` is listed (any more): say its `table` and `key`",
        )),
        (None, None) => {
            Err(ApiError::bad_request("say the `table`, or an `id` that /buckets lists"))
        }
    }
}

/// One that was lately seen near its limit. It need not be in the policy: Envoy may have brought it along.
async fn of_seen(service: &Service, seen: BucketSnapshot) -> Result<Reset, ApiError> {
    if !is_of_tokens(&seen.bucket) {
        return Err(ApiError::bad_request(SLOTS));
    }
    let bucket = [(seen.fingerprint, &seen.bucket)];
    let looked = service.peek_many(&bucket).await;
    let (outcomes, at) = looked.map_err(|error| ApiError::store(&error))?;
    service.refill(&bucket).await.map_err(|error| ApiError::store(&error))?;
    tracing::info!(
        domain = &*seen.label.domain,
        table = &*seen.label.table,
        buckets = 1,
        "reset by request"
    );
    let is_taken = |outcome: &Outcome| outcome.remaining < seen.bucket.size();
    let taken =
        outcomes.into_iter().find(is_taken).map(|outcome| BucketSnapshot { outcome, ..seen });
    let listed = taken.iter().map(|seen| buckets::of_seen_at(seen, at, Ids::Hidden)).collect();
    Ok(answer(listed, 1))
}

/// Those of a table that a key names.
async fn of_table(
    service: &Service,
    table: &str,
    request: &ResetRequest,
) -> Result<Reset, ApiError> {
    let ResetRequest { domain, row, bucket, .. } = request;
    let key: Vec<_> = request.key.iter().flatten().map(entry).collect();
    let snapshot = service.policies().load_full();
    let policy = buckets::policy(&snapshot, domain.as_deref())?;
    buckets::check(policy, &key)?;
    let mut named = policy.buckets_for(&key, service.now());
    named.retain(|of| {
        of.row.table() == table
            && row.as_ref().is_none_or(|row| of.row.name() == row)
            && bucket.as_ref().is_none_or(|bucket| of.bucket.to_string() == *bucket)
    });
    if named.is_empty() {
        return Err(ApiError::not_found(no_bucket(policy, table)));
    }
    let are_blocked = named.iter().all(|of| matches!(of.bucket, Bucket::Blocked(_)));
    named.retain(|of| is_of_tokens(of.bucket));
    if named.is_empty() {
        return Err(ApiError::bad_request(if are_blocked { BLOCKED } else { SLOTS }));
    }
    if named.len() > MAX_EXAMINED {
        return Err(ApiError::bad_request("these are too many at a time: say the `row`"));
    }
    let (outcomes, at) = buckets::stood(service, &named).await?;
    let fill: Vec<_> = named.iter().map(|of| (of.fingerprint, of.bucket)).collect();
    service.refill(&fill).await.map_err(|error| ApiError::store(&error))?;
    tracing::info!(domain = policy.domain(), table, buckets = fill.len(), "reset by request");
    let stood = named.iter().zip(&outcomes);
    let taken = stood.filter(|(of, outcome)| outcome.remaining < of.bucket.size());
    let listed = taken.map(|(of, outcome)| buckets::of_named(policy, of, outcome, at, Ids::Hidden));
    Ok(answer(listed.collect(), fill.len()))
}

const BLOCKED: &str = "what is blocked stays so until the policy says otherwise";

const SLOTS: &str = "slots come back when their leases are released: see /leases";

const fn is_of_tokens(bucket: &Bucket) -> bool {
    matches!(bucket, Bucket::Tokens(_))
}

fn answer(mut items: Vec<types::Bucket>, filled: usize) -> Reset {
    let count = items.len();
    items.truncate(MAX_ITEMS);
    Reset { list: List::new(items, count), already_full: filled.saturating_sub(count) }
}

fn no_bucket(policy: &Policy, table: &str) -> String {
    let Some(table) = policy.tables().iter().find(|of| of.name() == table) else {
        let tables: Vec<_> = policy.tables().iter().map(|of| of.name()).collect();
        return format!("there is no such table; there are: {}", tables.join(", "));
    };
    let set = policy.key_set(table.key());
    let keys = set.map(|set| set.names(policy.keys())).unwrap_or_default();
    format!(
        "table {} has no such bucket; its buckets are {}, its `key` is [{}], and its `row` one that such calls can meet",
        table.name(),
        policy.scope_description(table),
        keys.join(", ")
    )
}

fn entry([key, value]: &KeyEntry) -> Entry<'_> {
    Entry { key, value: value.as_bytes() }
}
