//! `/buckets`: those near their limit or over it, or those that some entries name.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::Response;
use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use super::bucket;
use crate::admin::{Failed, Shared, answered, auth};
use crate::clock::Timestamp;
use crate::descriptor::{Entry, Hits, Query, as_text};
use crate::limit::Bucket;
use crate::near::{Asked, Seen, Standing};
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::named::NamedBucket;
use crate::reload::Snapshot;
use crate::service::Service;
use crate::store::{Outcome, Wait};

/// The most buckets that are listed.
pub(super) const LISTED: usize = 1000;

/// The most buckets that are looked at for one list.
pub(super) const LOOKED_AT: usize = 10_000;

/// The longest query, in bytes: every bucket of a list tells its values.
const LONGEST_QUERY: usize = 4096;

/// Whether lists tell the names that buckets have in the store. These are for who may reset buckets: whoever
/// sees many of them could choose values whose buckets crowd into one place of the store.
#[derive(Clone, Copy)]
pub(super) enum Ids<'s> {
    /// Those by which this service finds a bucket.
    Of(&'s Service),
    Kept,
}

impl Ids<'_> {
    fn of(self, name: Fingerprint) -> Option<String> {
        let Self::Of(service) = self else { return None };
        service.seen(name).map(|seen| seen.fingerprint.to_string())
    }
}

/// `?domain=d&tenant=acme`: entries by their keys, beside two words of our own.
pub(super) async fn list(State(shared): State<Shared>, request: Request) -> Response {
    let Shared { service, controls, desks, .. } = shared;
    let may_reset = auth::may_change(&controls, request.headers(), request.extensions());
    let query = request.uri().query().unwrap_or_default().to_owned();
    if query.len() > LONGEST_QUERY {
        return answered(Err(Failed::bad(format!("ask in {LONGEST_QUERY} bytes at most"))));
    }
    let desk = if may_reset { desks.changes } else { desks.looks };
    desk.work(async move {
        let ids = if may_reset { Ids::Of(&service) } else { Ids::Kept };
        answered(asked(&service, &query, ids).await)
    })
    .await
}

async fn asked(service: &Service, query: &str, ids: Ids<'_>) -> Result<Value, Failed> {
    let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    let value_of = |name| {
        let (_, value) = pairs.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    };
    let entries = pairs.iter().filter(|(key, _)| key != "domain" && key != "all");
    let entries: Vec<_> = entries.map(|(key, value)| Entry { key, value }).collect();
    let domain = value_of("domain");
    if entries.is_empty() {
        return Ok(near(service, domain, ids));
    }
    named(service, domain, &entries, value_of("all") == Some("1"), ids).await
}

/// A key and a value of `?key=value`, which may hold any bytes, as in `%ff`: entries of calls do.
fn pair(pair: &str) -> (String, Vec<u8>) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decoded = |text: &str| -> Vec<u8> {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).collect()
    };
    (String::from_utf8_lossy(&decoded(key)).into_owned(), decoded(value))
}

/// Those near their limit or over it that this process has seen.
fn near(service: &Service, domain: Option<&str>, ids: Ids<'_>) -> Value {
    let mut near = service.near();
    near.retain(|seen| {
        seen.standing() != Standing::Clear
            && domain.is_none_or(|domain| *seen.named.domain == *domain)
    });
    let listed = near.iter().take(LISTED).map(|seen| of_seen(seen, service, ids));
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
    ids: Ids<'_>,
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
        |outcome: &Outcome, bucket: &Bucket| with_full || outcome.remaining < bucket.size().max(1);
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
    let found = found.iter().map(|(of, outcome)| of_named(policy, of, outcome, stood.1, ids));
    let others = others.iter().map(|seen| of_seen(seen, service, ids));
    let listed: Vec<_> = found.chain(others).take(LISTED).collect();
    let unknown = entries.iter().map(|entry| entry.key);
    let unknown: Vec<_> =
        unknown.filter(|key| !policy.keys().names().any(|name| name == *key)).collect();
    Ok(listing(listed, all, &unknown))
}

/// What entries of calls are held to.
pub(super) fn check(policy: &Policy, entries: &[Entry<'_>]) -> Result<(), Failed> {
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
pub(super) fn policy<'s>(
    snapshot: &'s Snapshot,
    domain: Option<&str>,
) -> Result<&'s Policy, Failed> {
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

pub(super) async fn stood(
    service: &Service,
    named: &[NamedBucket<'_>],
) -> Result<(Vec<Outcome>, Timestamp), Failed> {
    let buckets: Vec<_> = named.iter().map(|of| (of.fingerprint, of.bucket)).collect();
    service.look_at(&buckets).await.map_err(|error| Failed::store(&error))
}

pub(super) fn of_named(
    policy: &Policy,
    of: &NamedBucket<'_>,
    outcome: &Outcome,
    at: Timestamp,
    ids: Ids<'_>,
) -> Value {
    let key = of.key.iter().map(|(name, value)| [Cow::Borrowed(*name), as_text(value)]);
    let place = json!({
        "domain": policy.domain(),
        "table": of.row.table(),
        "row": of.row.name(),
        "key": key.collect::<Vec<_>>(),
        "is_cut": of.key.iter().any(|(_, value)| std::str::from_utf8(value).is_err()),
        "is_shadow": of.row.is_shadow(),
    });
    told(place, of.bucket, outcome, at, of.fingerprint, ids)
}

fn of_seen(seen: &Seen, service: &Service, ids: Ids<'_>) -> Value {
    // A shared store's bucket is told as it was seen; one in memory as it stands.
    let at = if service.is_shared() { seen.at } else { service.now() };
    of_seen_at(seen, at, ids)
}

/// One that was seen to stand as it says at that time.
pub(super) fn of_seen_at(seen: &Seen, at: Timestamp, ids: Ids<'_>) -> Value {
    let named = &*seen.named;
    let place = json!({
        "domain": named.domain,
        "table": named.table,
        "row": named.row,
        "key": named.key_text(),
        "is_cut": named.is_cut,
        "is_shadow": named.is_shadow,
    });
    told(place, &seen.bucket, &seen.outcome, at, seen.fingerprint, ids)
}

fn told(
    place: Value,
    bucket: &Bucket,
    outcome: &Outcome,
    at: Timestamp,
    name: Fingerprint,
    ids: Ids<'_>,
) -> Value {
    let mut told = match place {
        Value::Object(place) => place,
        _ => Map::new(),
    };
    told.extend(bucket::standing(bucket, Some((outcome, at))));
    told.insert("standing".into(), Standing::of(bucket, outcome).word().into());
    let reset = bucket::full_in(bucket, outcome).map(bucket::as_milliseconds);
    told.insert("full_in_ms".into(), reset.into());
    let wait = match outcome.wait {
        Wait::No => Some(0.0),
        Wait::For(wait) => Some(bucket::as_milliseconds(wait)),
        Wait::Forever => None,
    };
    told.insert("wait_ms".into(), wait.into());
    if let Some(id) = ids.of(name) {
        told.insert("id".into(), id.into());
    }
    told.into()
}
