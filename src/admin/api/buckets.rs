//! `/buckets`: the buckets near or over their limit, or the buckets that given entries name.

use axum::extract::{Request, State};
use axum::response::Response;
use hashbrown::HashSet;

use super::bucket;
use super::types::{Bucket, BucketName, Buckets, KeyEntry, List};
use crate::admin::{ApiError, Shared, auth, respond};
use crate::clock::Timestamp;
use crate::descriptor::{Entry, Hits, Query};
use crate::limit;
use crate::live::LoadedPolicies;
use crate::observe::bucket_label::EntryFilter;
use crate::observe::recent_buckets::{BucketSnapshot, Standing};
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::lookup::NamedBucket;
use crate::service::{Inspected, Reading, Service, Unspent};
use crate::store::Outcome;
use crate::text;

/// The most buckets that are listed.
pub(super) const MAX_ITEMS: usize = 1000;

/// The most buckets whose state is read for one list.
pub(super) const MAX_EXAMINED: usize = 10_000;

/// The longest query string, in bytes: each listed bucket repeats its values.
const MAX_QUERY_BYTES: usize = 4096;

/// Whether lists have the names of buckets in the store. Only authorized callers see names: from many of them, a client
/// could find values whose buckets fall into one place of the store.
#[derive(Clone, Copy)]
pub(super) enum Ids<'s> {
    /// Names for which this service has a recent bucket.
    Visible(&'s Service),
    Hidden,
}

impl Ids<'_> {
    fn of(self, name: Fingerprint) -> Option<String> {
        let Self::Visible(service) = self else { return None };
        service.recent_bucket(name).map(|seen| seen.fingerprint.to_string())
    }
}

/// The parameters are entries, as in `?domain=d&tenant=acme`, besides `domain` and `all`.
pub(super) async fn list(State(shared): State<Shared>, request: Request) -> Response {
    let Shared { service, controls, queues, .. } = shared;
    let is_authorized = auth::is_authorized(&controls, request.headers(), request.extensions());
    let query = request.uri().query().unwrap_or_default().to_owned();
    if query.len() > MAX_QUERY_BYTES {
        let error = format!("the query string is too long; send at most {MAX_QUERY_BYTES} bytes");
        return ApiError::bad_request(error).into();
    }
    let queue = if is_authorized { queues.changes } else { queues.reads };
    queue
        .run(async move {
            let ids = if is_authorized { Ids::Visible(&service) } else { Ids::Hidden };
            respond(answer(&service, &query, ids).await)
        })
        .await
}

async fn answer(service: &Service, query: &str, ids: Ids<'_>) -> Result<Buckets, ApiError> {
    let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    let value_of = |name| {
        let (_, value) = pairs.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    };
    let entries = pairs.iter().filter(|(key, _)| key != "domain" && key != "all");
    let entries: Vec<_> =
        entries.map(|(key, value)| Entry { key: (&**key).into(), value }).collect();
    let domain = value_of("domain");
    let with_full = pairs.iter().any(|(key, _)| key == "all");
    if with_full && value_of("all") != Some("1") {
        return Err(ApiError::bad_request("`all` must be written as all=1"));
    }
    if entries.is_empty() {
        return Ok(near_limit(service, domain, ids));
    }
    named(service, domain, &entries, with_full, ids).await
}

/// Decodes `key=value`. A value may have any bytes, as in `%ff`, since values of calls may.
fn pair(pair: &str) -> (String, Vec<u8>) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decoded = |text: &str| -> Vec<u8> {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).collect()
    };
    (String::from_utf8_lossy(&decoded(key)).into_owned(), decoded(value))
}

/// The buckets near or over their limit that this process has seen.
fn near_limit(service: &Service, domain: Option<&str>, ids: Ids<'_>) -> Buckets {
    let mut found = service.recent_buckets();
    found.retain(|seen| {
        seen.standing() != Standing::Clear
            && domain.is_none_or(|domain| *seen.label.domain == *domain)
    });
    let items = from_snapshots(service, found.iter().take(MAX_ITEMS), ids);
    Buckets { list: List::new(items, found.len()), unknown_keys: Vec::new() }
}

/// The buckets that the entries name, and of those that they name in part, the ones recently near their limit.
async fn named(
    service: &Service,
    domain: Option<&str>,
    entries: &[Entry<'_>],
    with_full: bool,
    ids: Ids<'_>,
) -> Result<Buckets, ApiError> {
    let snapshot = service.policies().load_full();
    let policy = policy(&snapshot, domain)?;
    check(policy, entries)?;
    let mut named = policy.buckets_for(entries, service.wall_now());
    // A bucket that all calls share is not named by the entries.
    named.retain(|of| !of.key.is_empty());
    let count = named.len();
    named.truncate(MAX_EXAMINED);
    let (outcomes, reading) = peek(service, &named).await?;
    let is_listed = |outcome: &Outcome, bucket: &limit::Bucket| {
        with_full || outcome.remaining < bucket.size().max(1)
    };
    let mut found: Vec<_> = named.iter().zip(&outcomes).collect();
    found.retain(|(of, outcome)| is_listed(outcome, of.bucket()));
    let known: HashSet<_> = named.iter().map(|of| of.fingerprint).collect();
    let filter = EntryFilter::new(entries, policy.addresses());
    let mut others = service.recent_buckets();
    others.retain(|seen| {
        *seen.label.domain == *policy.domain()
            && seen.label.matches(&filter)
            && !known.contains(&seen.fingerprint)
            && is_listed(&seen.outcome, &seen.bucket)
    });
    let all = found.len() + others.len() + (count - named.len());
    let found = found.iter().map(|(of, outcome)| from_named(policy, of, outcome, &reading, ids));
    let others = from_snapshots(service, others.iter().take(MAX_ITEMS), ids);
    let items = found.chain(others).take(MAX_ITEMS).collect();
    let unknown = entries.iter().map(|entry| entry.key.as_str());
    let unknown = unknown.filter(|key| !policy.keys().names().any(|name| name == *key));
    Ok(Buckets { list: List::new(items, all), unknown_keys: unknown.map(str::to_owned).collect() })
}

/// An entry as text.
pub(super) fn entry([key, value]: &KeyEntry) -> Entry<'_> {
    Entry { key: (&**key).into(), value: value.as_bytes() }
}

/// Checks entries against the bounds of a query.
pub(super) fn check(policy: &Policy, entries: &[Entry<'_>]) -> Result<(), ApiError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut query = Query::default();
    let begun = query.begin(policy.domain(), 1);
    entries.iter().for_each(|entry| query.entry(entry.key, entry.value));
    begun
        .and_then(|()| query.close(Hits::PEEK, None))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    policy.check(&query).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The policy of a domain, or the only one.
pub(super) fn policy<'s>(
    snapshot: &'s LoadedPolicies,
    domain: Option<&str>,
) -> Result<&'s Policy, ApiError> {
    let all = snapshot.policies();
    let found = match (domain, &*all) {
        (Some(domain), _) => snapshot.get(domain).map(|loaded| &loaded.policy),
        (None, [only]) => Some(*only),
        (None, _) => None,
    };
    let known = || all.iter().map(|policy| policy.domain()).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| match domain {
        Some(_) => {
            ApiError::not_found(format!("no policy has this domain; the domains are: {}", known()))
        }
        None => ApiError::bad_request(format!("send a `domain`, one of: {}", known())),
    })
}

pub(super) async fn peek(
    service: &Service,
    named: &[NamedBucket<'_>],
) -> Result<(Vec<Outcome>, Reading), ApiError> {
    let buckets: Vec<_> = named.iter().map(Inspected::from).collect();
    service.peek_many(&buckets).await.map_err(|error| ApiError::store(&error))
}

pub(super) fn from_named(
    policy: &Policy,
    of: &NamedBucket<'_>,
    outcome: &Outcome,
    reading: &Reading,
    ids: Ids<'_>,
) -> Bucket {
    let key =
        of.key.iter().map(|(name, value)| [(*name).to_owned(), text::decode(value).into_owned()]);
    let name = BucketName {
        domain: policy.domain().to_owned(),
        table: of.row.table().to_owned(),
        row: of.row.name().to_owned(),
        key: key.collect(),
        truncated: of.key.iter().any(|(_, value)| std::str::from_utf8(value).is_err()),
        shadow: of.row.is_shadow(),
    };
    let prepaid = reading.unspent.among(of.fingerprint, outcome);
    bucket_item(name, of.bucket(), outcome, reading.at, prepaid, ids.of(of.fingerprint))
}

/// Buckets with the state that was recorded: it has what this process had prepaid.
fn from_snapshots<'a>(
    service: &Service,
    seen: impl Iterator<Item = &'a BucketSnapshot> + Clone,
    ids: Ids<'_>,
) -> Vec<Bucket> {
    let unspent = service.unspent(seen.clone().map(|seen| seen.fingerprint));
    seen.map(|seen| from_snapshot(seen, seen.at, &unspent, ids)).collect()
}

/// A bucket with its state at `at`.
pub(super) fn from_snapshot(
    seen: &BucketSnapshot,
    at: Timestamp,
    unspent: &Unspent,
    ids: Ids<'_>,
) -> Bucket {
    let name = BucketName::from(&*seen.label);
    let prepaid = unspent.among(seen.fingerprint, &seen.outcome);
    bucket_item(name, &seen.bucket, &seen.outcome, at, prepaid, ids.of(seen.fingerprint))
}

fn bucket_item(
    name: BucketName,
    bucket: &limit::Bucket,
    outcome: &Outcome,
    at: Timestamp,
    prepaid: Option<u32>,
    id: Option<String>,
) -> Bucket {
    Bucket {
        name,
        limit: bucket::limit(bucket),
        remaining: outcome.remaining,
        prepaid,
        full_at: bucket::full_at(bucket, outcome, at),
        state: Standing::of(bucket, outcome).into(),
        full_in_ms: bucket::full_in(bucket, outcome).map(Into::into),
        wait_ms: bucket::wait_for_one(bucket, outcome).map(Into::into),
        id,
    }
}
