//! `/reset`: makes token buckets full, by what names them or by the name that a list tells.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::buckets::{self, Ids, LISTED, LOOKED_AT};
use crate::admin::{Failed, Shared, answered};
use crate::descriptor::Entry;
use crate::limit::Bucket;
use crate::near::Seen;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::service::Service;
use crate::store::Outcome;

pub(super) async fn reset(
    State(Shared { service, desks, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    desks.changes.work(async move { answered(refill(&service, &body).await) }).await
}

async fn refill(service: &Service, body: &[u8]) -> Result<Value, Failed> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| Failed::bad(format!("no JSON: {error}")))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let seen = text("id").and_then(Fingerprint::parse).and_then(|id| service.seen(id));
    match (seen, text("table")) {
        (Some(seen), _) => of_seen(service, seen).await,
        (None, Some(_)) if body.get("is_cut") == Some(&Value::Bool(true)) => Err(Failed::none(
            "its `key` is cut, and no bucket with its `id` is listed any more: send the whole `key`",
        )),
        (None, Some(table)) => of_table(service, table, &body).await,
        (None, None) if body.get("id").is_some() => Err(Failed::none(
            "no bucket with this `id` is listed (any more): say its `table` and `key`",
        )),
        (None, None) => Err(Failed::bad("say the `table`, or an `id` that /buckets tells")),
    }
}

/// One that was lately seen near its limit. It need not be in the policy: Envoy may have brought it along.
async fn of_seen(service: &Service, seen: Seen) -> Result<Value, Failed> {
    if !is_of_tokens(&seen.bucket) {
        return Err(Failed::bad(SLOTS));
    }
    let bucket = [(seen.fingerprint, &seen.bucket)];
    let looked = service.look_at(&bucket).await;
    let (outcomes, at) = looked.map_err(|error| Failed::store(&error))?;
    service.refill(&bucket).await.map_err(|error| Failed::store(&error))?;
    tracing::info!(
        domain = &*seen.named.domain,
        table = &*seen.named.table,
        buckets = 1,
        "reset by request"
    );
    let is_taken = |outcome: &Outcome| outcome.remaining < seen.bucket.size();
    let taken = outcomes.into_iter().find(is_taken).map(|outcome| Seen { outcome, ..seen });
    let listed = taken.iter().map(|seen| buckets::of_seen_at(seen, at, Ids::Kept)).collect();
    Ok(answer(listed, 1))
}

/// Those of a table that a key names.
async fn of_table(service: &Service, table: &str, body: &Value) -> Result<Value, Failed> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let key = entries(body.get("key"))?;
    let snapshot = service.live().load_full();
    let policy = buckets::policy(&snapshot, text("domain"))?;
    buckets::check(policy, &key)?;
    let mut named = policy.named(&key, service.now());
    named.retain(|of| {
        of.row.table() == table
            && text("row").is_none_or(|row| of.row.name() == row)
            && text("bucket").is_none_or(|bucket| of.bucket.to_string() == bucket)
    });
    if named.is_empty() {
        return Err(Failed::none(no_bucket(policy, table)));
    }
    let are_blocked = named.iter().all(|of| matches!(of.bucket, Bucket::Blocked(_)));
    named.retain(|of| is_of_tokens(of.bucket));
    if named.is_empty() {
        return Err(Failed::bad(if are_blocked { BLOCKED } else { SLOTS }));
    }
    if named.len() > LOOKED_AT {
        return Err(Failed::bad("these are too many at a time: say the `row`"));
    }
    let (outcomes, at) = buckets::stood(service, &named).await?;
    let fill: Vec<_> = named.iter().map(|of| (of.fingerprint, of.bucket)).collect();
    service.refill(&fill).await.map_err(|error| Failed::store(&error))?;
    tracing::info!(domain = policy.domain(), table, buckets = fill.len(), "reset by request");
    let stood = named.iter().zip(&outcomes);
    let taken = stood.filter(|(of, outcome)| outcome.remaining < of.bucket.size());
    let listed = taken.map(|(of, outcome)| buckets::of_named(policy, of, outcome, at, Ids::Kept));
    Ok(answer(listed.collect(), fill.len()))
}

const BLOCKED: &str = "what is blocked stays so until the policy says otherwise";

const SLOTS: &str = "slots come back when their leases are released: see /leases";

const fn is_of_tokens(bucket: &Bucket) -> bool {
    matches!(bucket, Bucket::Tokens(_))
}

fn answer(mut listed: Vec<Value>, filled: usize) -> Value {
    let were_full = filled.saturating_sub(listed.len());
    listed.truncate(LISTED);
    json!({ "reset": listed, "were_full": were_full })
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
        policy.one_for(table),
        keys.join(", ")
    )
}

/// `[["tenant", "acme"], ..]`, as lists of buckets tell it.
fn entries(key: Option<&Value>) -> Result<Vec<Entry<'_>>, Failed> {
    let Some(key) = key else { return Ok(Vec::new()) };
    let entries = key.as_array().and_then(|pairs| pairs.iter().map(entry).collect());
    entries.ok_or_else(|| Failed::bad("a `key` is written as [[\"tenant\", \"acme\"], ..]"))
}

fn entry(pair: &Value) -> Option<Entry<'_>> {
    match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(key), Value::String(value)]) => {
            Some(Entry { key, value: value.as_bytes() })
        }
        _ => None,
    }
}
