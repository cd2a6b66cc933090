//! Limits and the state of buckets. Callers can compute from them how a bucket refills.

use super::types::{ExplainedBucket, ExplainedLevel, Limit, Time};
use crate::clock::{Nanos, Timestamp};
use crate::decision::Decided;
use crate::limit::Bucket;
use crate::store::Outcome;

/// The limit of a bucket.
pub(in crate::admin) fn limit(bucket: &Bucket) -> Limit {
    let (interval, ttl) = match bucket {
        Bucket::Tokens(tokens) => (Some(tokens.interval()), None),
        Bucket::Concurrency(slots) => (None, Some(slots.ttl())),
        Bucket::Window(_) | Bucket::Blocked(_) => (None, None),
    };
    Limit {
        bucket: bucket.to_string(),
        size: bucket.size(),
        interval_ms: interval.map(Into::into),
        ttl_ms: ttl.map(Into::into),
    }
}

/// A bucket of an explanation, with its state if it was read.
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

/// Time until a bucket is full; none for a block.
pub(super) fn full_in(bucket: &Bucket, outcome: &Outcome) -> Option<Nanos> {
    (!matches!(bucket, Bucket::Blocked(_))).then_some(outcome.reset)
}

/// When a bucket with this outcome at `at` is full; none for a block.
pub(in crate::admin) fn full_at(bucket: &Bucket, outcome: &Outcome, at: Timestamp) -> Option<Time> {
    full_in(bucket, outcome).map(|reset| Time(at.after(reset)))
}

/// Whether the bucket denies the call, which was not charged.
pub(super) fn denies(decided: &Decided<'_>) -> bool {
    !decided.matched.row.is_shadow() && is_over(decided)
}

/// Whether the bucket cannot admit the call, which was not charged.
fn is_over(decided: &Decided<'_>) -> bool {
    let hits = decided.matched.hits;
    hits.given_back() == 0 && u64::from(decided.outcome.remaining) < needed(decided)
}

/// How much must be left to admit the call. A call of 0 hits needs one, as does any call of a bucket that may owe.
fn needed(decided: &Decided<'_>) -> u64 {
    match (decided.matched.debt, decided.matched.bucket) {
        (Some(_), Bucket::Tokens(_)) => 1,
        _ => decided.matched.hits.charged().max(1),
    }
}

/// Time until the bucket can admit the call, if known: a slot is free again when its holder releases it, and a block
/// may have no end.
fn wait(decided: &Decided<'_>) -> Option<Nanos> {
    if !is_over(decided) {
        return Some(Nanos::ZERO);
    }
    match decided.matched.bucket {
        Bucket::Tokens(bucket) => {
            let spare = u64::from(bucket.size().get()).checked_sub(needed(decided))?;
            Some(decided.outcome.reset.minus(bucket.interval().times(spare)))
        }
        Bucket::Window(_) => Some(decided.outcome.reset),
        Bucket::Concurrency(_) => None,
        Bucket::Blocked(blocked) => blocked.until.map(|_| decided.outcome.reset),
    }
}
