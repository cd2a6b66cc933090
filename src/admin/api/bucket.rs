//! A bucket and how it stands, so that a page can draw how it fills from then on.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::{Nanos, Timestamp};
use crate::decision::Decided;
use crate::limit::Bucket;
use crate::store::Outcome;

/// What it is; and, where it was looked at, how it stands for the call that was asked about.
pub(in crate::admin) fn told(
    bucket: &Bucket,
    decided: Option<&Decided<'_>>,
    now: Timestamp,
) -> Value {
    let mut told = standing(bucket, decided.map(|decided| (&decided.outcome, now)));
    if let Some(decided) = decided {
        told.insert("is_over".into(), is_over(decided).into());
        told.insert("wait_ms".into(), wait(decided).map(as_milliseconds).into());
    }
    told.into()
}

/// What it is; and how it stood at a time, if that is known: how much was left, and when it is full.
pub(in crate::admin) fn standing(
    bucket: &Bucket,
    stood: Option<(&Outcome, Timestamp)>,
) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("bucket".into(), bucket.to_string().into());
    told.insert("size".into(), bucket.size().into());
    match bucket {
        Bucket::Tokens(tokens) => {
            told.insert("interval_ms".into(), as_milliseconds(tokens.interval()).into());
        }
        Bucket::Concurrency(slots) => {
            told.insert("hold_ms".into(), as_milliseconds(slots.hold()).into());
        }
        Bucket::Blocked(_) => {}
    }
    if let Some((outcome, at)) = stood {
        let reset = full_in(bucket, outcome);
        told.insert("remaining".into(), outcome.remaining.into());
        told.insert("full_at".into(), reset.map(|reset| milliseconds(at.after(reset))).into());
    }
    told
}

/// How long until it is full; what lets nothing pass never is.
pub(in crate::admin) fn full_in(bucket: &Bucket, outcome: &Outcome) -> Option<Nanos> {
    (!matches!(bucket, Bucket::Blocked(_))).then_some(outcome.reset)
}

/// Whether the bucket cannot admit what the call asks, as it stands. It was only looked at.
pub(in crate::admin) fn is_over(decided: &Decided<'_>) -> bool {
    let hits = decided.met.hits;
    hits.given_back() == 0 && u64::from(decided.outcome.remaining) < needed(decided)
}

/// A look asks whether anything is left.
fn needed(decided: &Decided<'_>) -> u64 {
    decided.met.hits.charged().max(1)
}

/// How long until it can, if that is known: slots come back when somebody says so, and what is blocked may be
/// so for good.
fn wait(decided: &Decided<'_>) -> Option<Nanos> {
    if !is_over(decided) {
        return Some(Nanos::ZERO);
    }
    match decided.met.bucket {
        Bucket::Tokens(bucket) => {
            let spared = u64::from(bucket.size().get()).checked_sub(needed(decided))?;
            Some(decided.outcome.reset.minus(bucket.interval().times(spared)))
        }
        Bucket::Concurrency(_) => None,
        Bucket::Blocked(blocked) => blocked.until.map(|_| decided.outcome.reset),
    }
}

/// Since the Unix epoch.
pub(in crate::admin) fn milliseconds(at: Timestamp) -> f64 {
    as_milliseconds(at.since(Timestamp::default()))
}

/// A span as a page counts it.
pub(in crate::admin) fn as_milliseconds(span: Nanos) -> f64 {
    Duration::from(span).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_fraction_of_a_millisecond() {
        assert!((as_milliseconds(Nanos::new(1_500_000)) - 1.5).abs() < 1e-9);
        let at = milliseconds(Timestamp::from_unix_nanos(1_772_323_200_123_500_000));
        assert!((at - 1_772_323_200_123.5).abs() < 0.001, "{at}");
    }
}
