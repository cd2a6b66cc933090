//! A bucket and how it stands, so that a client can tell how it fills from then on.

use super::types::{ExplainedBucket, ExplainedLevel, Limit, Time};
use crate::clock::{Nanos, Timestamp};
use crate::decision::Decided;
use crate::limit::Bucket;
use crate::store::Outcome;

/// What a bucket is.
pub(in crate::admin) fn limit(bucket: &Bucket) -> Limit {
    let (interval, ttl) = match bucket {
        Bucket::Tokens(tokens) => (Some(tokens.interval()), None),
        Bucket::Concurrency(slots) => (None, Some(slots.ttl())),
        Bucket::Blocked(_) => (None, None),
    };
    Limit {
        bucket: bucket.to_string(),
        size: bucket.size(),
        interval_ms: interval.map(Into::into),
        ttl_ms: ttl.map(Into::into),
    }
}

/// What a bucket is; and, where it was looked at, how it stands for the call that is explained.
pub(super) fn explained(
    bucket: &Bucket,
    decided: Option<&Decided<'_>>,
    now: Timestamp,
) -> ExplainedBucket {
    let level = decided.map(|decided| ExplainedLevel {
        remaining: decided.outcome.remaining,
        full_at: full_at(bucket, &decided.outcome, now),
        over_limit: is_over(decided),
        wait_ms: wait(decided).map(Into::into),
    });
    ExplainedBucket { limit: limit(bucket), level }
}

/// How long until a bucket is full; none for one that lets nothing pass.
pub(super) fn full_in(bucket: &Bucket, outcome: &Outcome) -> Option<Nanos> {
    (!matches!(bucket, Bucket::Blocked(_))).then_some(outcome.reset)
}

/// When a bucket is full that stood so at a time; none for one that lets nothing pass.
pub(in crate::admin) fn full_at(bucket: &Bucket, outcome: &Outcome, at: Timestamp) -> Option<Time> {
    full_in(bucket, outcome).map(|reset| Time(at.after(reset)))
}

/// Whether the bucket, as it stands, cannot admit what the call asks. Nothing was charged.
pub(super) fn is_over(decided: &Decided<'_>) -> bool {
    let hits = decided.matched.hits;
    hits.given_back() == 0 && u64::from(decided.outcome.remaining) < needed(decided)
}

/// A call of no hits asks whether anything is left.
fn needed(decided: &Decided<'_>) -> u64 {
    decided.matched.hits.charged().max(1)
}

/// How long until the bucket can admit the call, if that is known: slots come back when their holder releases
/// them, and what is blocked may stay so for good.
fn wait(decided: &Decided<'_>) -> Option<Nanos> {
    if !is_over(decided) {
        return Some(Nanos::ZERO);
    }
    match decided.matched.bucket {
        Bucket::Tokens(bucket) => {
            let spared = u64::from(bucket.size().get()).checked_sub(needed(decided))?;
            Some(decided.outcome.reset.minus(bucket.interval().times(spared)))
        }
        Bucket::Concurrency(_) => None,
        Bucket::Blocked(blocked) => blocked.until.map(|_| decided.outcome.reset),
    }
}
