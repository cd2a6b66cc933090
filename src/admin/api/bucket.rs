//! Limits and the state of buckets. Callers can compute from them how a bucket refills.

use super::types::{ExplainedBucket, ExplainedLevel, Limit, Time};
use crate::clock::{Nanos, Timestamp};
use crate::decision::{Decided, Verdict};
use crate::limit::Bucket;
use crate::policy::Plan;
use crate::service::Reading;
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
    reading: &Reading,
) -> ExplainedBucket {
    let level = decided.map(|decided| ExplainedLevel {
        remaining: decided.outcome.remaining,
        prepaid: reading.unspent.among(decided.matched.fingerprint, &decided.outcome),
        full_at: full_at(bucket, &decided.outcome, reading.at),
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

/// Time until a bucket admits a call of one hit, given the outcome of a look; none for never, or if it is not known.
pub(super) fn wait_for_one(bucket: &Bucket, outcome: &Outcome) -> Option<Nanos> {
    match bucket {
        // For a look, a window is over only beyond its limit.
        Bucket::Window(window) if outcome.remaining == 0 => {
            (window.requests() > 0).then_some(outcome.reset)
        }
        _ => outcome.wait.time(),
    }
}

/// Whether a call is admitted that was not charged. Quotas deny it only if all of them do.
pub(super) fn admits(plan: &Plan<'_>, verdict: &Verdict<'_>) -> bool {
    let denies = |of: &Decided<'_>| !of.matched.row.is_shadow() && is_over(of);
    let is_quota = |of: &&Decided<'_>| of.matched.row.is_quota();
    let (quotas, others): (Vec<_>, Vec<_>) = verdict.decided.iter().partition(is_quota);
    let are_spent = !quotas.is_empty() && !plan.has_open_quota && quotas.into_iter().all(denies);
    verdict.is_bypassed || plan.is_excused || !(are_spent || others.into_iter().any(denies))
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
        // A call of more hits than its limit never passes.
        Bucket::Window(window) => {
            (needed(decided) <= window.requests().into()).then_some(decided.outcome.reset)
        }
        Bucket::Concurrency(_) => None,
        Bucket::Blocked(blocked) => blocked.until.map(|_| decided.outcome.reset),
    }
}
