//! `/buckets`: those near their limit or over it, or those that some entries name; and `/reset`.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use super::{Failed, Shared, answered, bucket};
use crate::clock::Timestamp;
use crate::descriptor::{Entry, Hits, Query};
use crate::limit::Bucket;
use crate::near::{Asked, Seen, Standing};
use crate::policy::Policy;
use crate::policy::named::NamedBucket;
use crate::reload::Snapshot;
use crate::service::Service;
use crate::store::{Outcome, Wait};

/// The most buckets that are listed.
const LISTED: usize = 1000;

/// The most buckets that are looked at for one list.
const LOOKED_AT: usize = 10_000;

/// The longest query, in bytes: every bucket of a list tells its values.
const LONGEST_QUERY: usize = 4096;

/// `?domain=d&tenant=acme`: entries by their keys, beside two words of our own.
pub(super) async fn list(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > LONGEST_QUERY {
        return answered(Err(Failed::bad(format!("ask in {LONGEST_QUERY} bytes at most"))));
    }
    let _turn = shared.looking.lock().await;
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let value_of = |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    let entries = pairs.iter().filter(|(key, _)| key != "domain" && key != "all");
    let entries: Vec<_> = entries.map(|(key, value)| Entry { key, value }).collect();
    let domain = value_of("domain");
    let service = &shared.service;
    answered(if entries.is_empty() {
        Ok(near(service, domain))
    } else {
        named(service, domain, &entries, value_of("all") == Some("1")).await
    })
}

/// Those near their limit or over it that this process has seen.
fn near(service: &Service, domain: Option<&str>) -> Value {
    let mut near = service.near();
    near.retain(|seen| {
        seen.standing() != Standing::Clear
            && domain.is_none_or(|domain| *seen.named.domain == *domain)
    });
    let listed = near.iter().take(LISTED).map(|seen| of_seen(seen, service));
    listing(listed.collect(), near.len(), &[])
}

fn listing(listed: Vec<Value>, count: usize, not_asked_about: &[&str]) -> Value {
    let left_off = count.saturating_sub(listed.len());
    json!({ "listed": listed, "left_off": left_off, "not_asked_about": not_asked_about })
}

/// Those that the entries name, and of those that they name in part, what was seen near its limit.
async fn named(
    service: &Service,
    domain: Option<&str>,
    entries: &[Entry<'_>],
    with_full: bool,
) -> Result<Value, Failed> {
    let snapshot = service.live().load_full();
    let policy = policy(&snapshot, domain)?;
    check(policy, entries)?;
    let mut named = policy.named(entries, service.now());
    // A bucket for all calls is nobody's.
    named.retain(|of| !of.key.is_empty());
    let count = named.len();
    named.truncate(LOOKED_AT);
    let stood = stood(service, &named).await?;
    let is_listed =
        |outcome: &Outcome, bucket: &Bucket| with_full || outcome.remaining < bucket.size().get();
    let mut found: Vec<_> = named.iter().zip(&stood.0).collect();
    found.retain(|(of, outcome)| is_listed(outcome, of.bucket));
    let known: HashSet<_> = named.iter().map(|of| of.fingerprint).collect();
    let asked = Asked::new(entries);
    let mut others = service.near();
    others.retain(|seen| {
        *seen.named.domain == *policy.domain()
            && seen.named.is_for(&asked)
            && !known.contains(&seen.fingerprint)
            && is_listed(&seen.outcome, &seen.bucket)
    });
    let all = found.len() + others.len() + (count - named.len());
    let found = found.iter().map(|(of, outcome)| of_named(policy, of, outcome, stood.1));
    let others = others.iter().map(|seen| of_seen(seen, service));
    let listed: Vec<_> = found.chain(others).take(LISTED).collect();
    let unknown = entries.iter().map(|entry| entry.key);
    let unknown: Vec<_> =
        unknown.filter(|key| !policy.keys().names().any(|name| name == *key)).collect();
    Ok(listing(listed, all, &unknown))
}

/// `/reset`: fills the token buckets of one table that a key names.
pub(super) async fn reset(State(shared): State<Shared>, body: Bytes) -> Response {
    answered(refill(&shared.service, &body).await)
}

async fn refill(service: &Service, body: &[u8]) -> Result<Value, Failed> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| Failed::bad(format!("no JSON: {error}")))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let table = text("table").ok_or_else(|| Failed::bad("say the `table`"))?;
    let key = entries(body.get("key"))?;
    let snapshot = service.live().load_full();
    let policy = policy(&snapshot, text("domain"))?;
    check(policy, &key)?;
    let mut named = policy.named(&key, service.now());
    named.retain(|of| {
        of.row.table() == table
            && text("row").is_none_or(|row| of.row.name() == row)
            && text("bucket").is_none_or(|bucket| of.bucket.to_string() == bucket)
    });
    if named.is_empty() {
        return Err(Failed::none(no_bucket(policy, table)));
    }
    named.retain(|of| matches!(of.bucket, Bucket::Tokens(_)));
    if named.is_empty() {
        let error = "slots come back when their leases are released: see /leases";
        return Err(Failed::bad(error));
    }
    if named.len() > LOOKED_AT {
        return Err(Failed::bad("these are too many at a time: say the `row`"));
    }
    let (outcomes, at) = stood(service, &named).await?;
    let fill: Vec<_> = named.iter().map(|of| (of.fingerprint, of.bucket)).collect();
    service.refill(&fill).await.map_err(|error| Failed::store(&error))?;
    tracing::info!(domain = policy.domain(), table, buckets = fill.len(), "reset by request");
    let stood = named.iter().zip(&outcomes);
    let taken = stood.filter(|(of, outcome)| outcome.remaining < of.bucket.size().get());
    let listed: Vec<_> = taken.map(|(of, outcome)| of_named(policy, of, outcome, at)).collect();
    let full = fill.len() - listed.len();
    Ok(json!({ "reset": listed.into_iter().take(LISTED).collect::<Vec<_>>(), "were_full": full }))
}

fn no_bucket(policy: &Policy, table: &str) -> String {
    let Some(table) = policy.tables().iter().find(|of| of.name() == table) else {
        let tables: Vec<_> = policy.tables().iter().map(|of| of.name()).collect();
        return format!("there is no such table; there are: {}", tables.join(", "));
    };
    let keys = policy.key_set(table.key()).map(|set| set.names(policy.keys())).unwrap_or_default();
    format!(
        "table {} has no such bucket; its `key` is [{}], and its `row` one that such calls can meet",
        table.name(),
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
        Some([Value::String(key), Value::String(value)]) => Some(Entry { key, value }),
        _ => None,
    }
}

/// What entries of calls are held to.
fn check(policy: &Policy, entries: &[Entry<'_>]) -> Result<(), Failed> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut query = Query::default();
    let begun = query.begin(policy.domain(), 1);
    entries.iter().for_each(|entry| query.entry(entry.key, entry.value));
    begun
        .and_then(|()| query.close(Hits::LOOK, None))
        .map_err(|error| Failed::bad(error.to_string()))
}

/// The policy of a domain, or the only one.
fn policy<'s>(snapshot: &'s Snapshot, domain: Option<&str>) -> Result<&'s Policy, Failed> {
    let all = snapshot.policies();
    let found = match (domain, &*all) {
        (Some(domain), _) => snapshot.of(domain).map(|(policy, _)| policy),
        (None, [only]) => Some(*only),
        (None, _) => None,
    };
    let known = || all.iter().map(|policy| policy.domain()).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| match domain {
        Some(_) => Failed::none(format!("there is no such domain; there are: {}", known())),
        None => Failed::bad(format!("say the `domain`, one of: {}", known())),
    })
}

async fn stood(
    service: &Service,
    named: &[NamedBucket<'_>],
) -> Result<(Vec<Outcome>, Timestamp), Failed> {
    let buckets: Vec<_> = named.iter().map(|of| (of.fingerprint, of.bucket)).collect();
    service.look_at(&buckets).await.map_err(|error| Failed::store(&error))
}

fn of_named(policy: &Policy, of: &NamedBucket<'_>, outcome: &Outcome, at: Timestamp) -> Value {
    let place = json!({
        "domain": policy.domain(),
        "table": of.row.table(),
        "row": of.row.name(),
        "key": of.key.iter().map(|(name, value)| [*name, value]).collect::<Vec<_>>(),
        "is_shadow": of.row.is_shadow(),
    });
    told(place, of.bucket, outcome, at)
}

fn of_seen(seen: &Seen, service: &Service) -> Value {
    let named = &*seen.named;
    let place = json!({
        "domain": named.domain,
        "table": named.table,
        "row": named.row,
        "key": named.key,
        "is_shadow": named.is_shadow,
    });
    // A shared store's bucket is told as it was seen; one in memory as it stands.
    let at = if service.is_shared() { seen.at } else { service.now() };
    told(place, &seen.bucket, &seen.outcome, at)
}

fn told(place: Value, bucket: &Bucket, outcome: &Outcome, at: Timestamp) -> Value {
    let mut told = match place {
        Value::Object(place) => place,
        _ => Map::new(),
    };
    told.extend(bucket::standing(bucket, Some((outcome, at))));
    told.insert("standing".into(), Standing::of(bucket, outcome).word().into());
    let reset = bucket::as_milliseconds(outcome.reset);
    told.insert("full_in_ms".into(), reset.into());
    let wait = match outcome.wait {
        Wait::No => Some(0.0),
        Wait::For(wait) => Some(bucket::as_milliseconds(wait)),
        Wait::Forever => None,
    };
    told.insert("wait_ms".into(), wait.into());
    told.into()
}
