//! `/explain/bucket`: what a call that a bucket limits would match, with the state of every bucket. The call is made
//! from the name of the bucket, so that the answer never contradicts the list that the name comes from.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::descriptor;
use crate::admin::api::bucket;
use crate::admin::api::buckets::{check, entry, policy};
use crate::admin::api::types::{BucketExplanation, BucketRequest, Explanation, KeyEntry, Time};
use crate::admin::{ApiError, Shared, respond};
use crate::descriptor::{Entry, Hits, Query};
use crate::observe::recent_buckets::BucketSnapshot;
use crate::policy::example::BucketPlace;
use crate::policy::{Explained, Plan, Policy};
use crate::service::Service;
use crate::text;

const TRUNCATED: &str = "\
the bucket's key is not known in full, and no bucket with this name is listed any more; send the whole `key`, or the \
entries of a call to /explain";

/// The assumption about a bucket whose key is not known in full.
const MATCHES: &str =
    "it matches this bucket; its entries are not known in full, so no other bucket is explained";

pub(in crate::admin::api) async fn explain(
    State(Shared { service, queues, .. }): State<Shared>,
    body: Bytes,
) -> Response {
    queues.reads.run(async move { respond(answer(&service, &body).await) }).await
}

async fn answer(service: &Service, body: &[u8]) -> Result<BucketExplanation, ApiError> {
    let request: BucketRequest = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "not the name of a bucket: {error}; a `key` is written as [[\"tenant\", \"acme\"], ..]"
        ))
    })?;
    let snapshot = service.policies().load_full();
    let policy = policy(&snapshot, request.domain.as_deref())?;
    let key: Vec<_> = request.key.iter().flatten().map(entry).collect();
    check(policy, &key)?;
    let seen = service.recent_buckets().into_iter().find(|seen| is_named(seen, policy, &request));
    let is_of_a_table = policy.tables().iter().any(|table| table.name() == request.table);
    let is_override = !is_of_a_table && policy.is_limit_override(&request.table);
    if request.truncated == Some(true) || is_override {
        let seen = seen.ok_or_else(|| ApiError::not_found(TRUNCATED))?;
        return listed(service, policy, &seen).await;
    }
    if policy.is_tree() {
        return in_tree(service, policy, &key).await;
    }
    let place = BucketPlace {
        table: &request.table,
        row: request.row.as_deref(),
        key: &key,
        limit: request.bucket.as_deref(),
        fingerprint: seen.filter(|seen| !seen.label.is_truncated).map(|seen| seen.fingerprint),
    };
    by_example(service, policy, &place).await
}

/// Whether a listed bucket has the name that is asked for.
fn is_named(seen: &BucketSnapshot, policy: &Policy, request: &BucketRequest) -> bool {
    let label = &*seen.label;
    let is_key = || {
        let (own, asked) = (label.key_text(), request.key.as_deref().unwrap_or_default());
        own.len() == asked.len() && own.iter().zip(asked).all(|(own, asked)| own == asked)
    };
    *label.domain == *policy.domain()
        && *label.table == *request.table
        && request.row.as_ref().is_none_or(|row| *label.row == **row)
        && request.bucket.as_ref().is_none_or(|bucket| seen.bucket.to_string() == *bucket)
        && is_key()
}

/// The explanation of a listed bucket by itself.
async fn listed(
    service: &Service,
    policy: &Policy,
    seen: &BucketSnapshot,
) -> Result<BucketExplanation, ApiError> {
    let place = [&*seen.label.table, &*seen.label.row];
    let explained = policy.explain_bucket(place, &seen.bucket, seen.fingerprint);
    let (explained, plan) = explained
        .ok_or_else(|| ApiError::not_found("the policy in force has no such bucket any more"))?;
    let mut explanation = explanation(service, policy, &explained, &plan).await?;
    for descriptor in &mut explanation.descriptors {
        "this bucket, which must admit".clone_into(&mut descriptor.outcome);
    }
    Ok(BucketExplanation { entries: Vec::new(), assumed: vec![MATCHES.to_owned()], explanation })
}

/// The explanation of the call with these entries, which names the bucket.
async fn in_tree(
    service: &Service,
    policy: &Policy,
    key: &[Entry<'_>],
) -> Result<BucketExplanation, ApiError> {
    let mut query = Query::default();
    let begun = query.begin(policy.domain(), 1);
    key.iter().for_each(|entry| query.entry(entry.key, entry.value));
    begun
        .and_then(|()| query.close(Hits::ONE, None))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let now = service.wall_now();
    let plan = policy.resolve(&query, now);
    if plan.matched.is_empty() {
        let error = "no limit of the descriptor tree is for a descriptor with these entries";
        return Err(ApiError::not_found(error));
    }
    let descriptor = query.descriptors().next();
    let descriptor =
        descriptor.ok_or_else(|| ApiError::internal(&"a call without a descriptor"))?;
    let explained = policy.explain(descriptor, now);
    let explanation = explanation(service, policy, &explained, &plan).await?;
    let told = |Entry { key, value }: &Entry<'_>| -> KeyEntry {
        [key.as_str().to_owned(), text::decode(value).into_owned()]
    };
    let entries = key.iter().map(told).collect();
    Ok(BucketExplanation { entries, assumed: Vec::new(), explanation })
}

/// The explanation of an example of the calls that a bucket limits.
async fn by_example(
    service: &Service,
    policy: &Policy,
    place: &BucketPlace<'_>,
) -> Result<BucketExplanation, ApiError> {
    let now = service.wall_now();
    let example = policy.example(place, now);
    let example = example.map_err(|error| ApiError::not_found(error.to_string()))?;
    let mut query = Query::default();
    let begun = query.begin(policy.domain(), 1);
    example.entries.iter().for_each(|(key, value)| query.entry(*key, &**value));
    if example.entries.is_empty() {
        // A descriptor has at least one entry. No policy asks about this one.
        query.entry("any", "any");
    }
    begun
        .and_then(|()| query.close(Hits::ONE, None))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let descriptor = query.descriptors().next();
    let descriptor =
        descriptor.ok_or_else(|| ApiError::internal(&"a call without a descriptor"))?;
    let (explained, plan) = policy.explain_example(&example, descriptor, now);
    let explanation = explanation(service, policy, &explained, &plan).await?;
    let told = |Entry { key, value }: &Entry<'_>| -> KeyEntry {
        [key.as_str().to_owned(), text::decode(value).into_owned()]
    };
    let entries = descriptor.entries().iter().map(told).collect();
    Ok(BucketExplanation { entries, assumed: example.assumed, explanation })
}

async fn explanation(
    service: &Service,
    policy: &Policy,
    explained: &Explained<'_>,
    plan: &Plan<'_>,
) -> Result<Explanation, ApiError> {
    let peeked = service.peek(policy, plan).await;
    let (verdict, reading) = peeked.map_err(|error| ApiError::store(&error))?;
    Ok(Explanation {
        domain: policy.domain().to_owned(),
        at: Time(reading.at),
        admits: bucket::admits(plan, &verdict),
        descriptors: vec![descriptor(policy, 0, explained, &verdict, &reading)],
        unknown_keys: Vec::new(),
    })
}
