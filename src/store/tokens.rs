//! Token buckets in the script: their operations, and their state.

use super::field::Field;
use super::{BucketState, gcra};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::TokenBucket;

/// An operation of the script on a counter, and its two arguments: spans or moments, in nanoseconds.
pub(super) type Operation = (&'static str, [u64; 2]);

/// The operation for these hits; it only peeks if the request is denied already.
pub(super) fn operation(bucket: &TokenBucket, hits: Hits, is_denied: bool) -> Operation {
    let (charged, given) = (hits.charged(), hits.given_back());
    let (op, hits) = match (charged, given) {
        (_, 1..) if is_denied => ("l", 0),
        (_, 1..) => ("g", given),
        (0, 0) => ("l", 1),
        _ if charged > u64::from(bucket.size().get()) => ("n", 0),
        _ if is_denied => ("l", charged),
        _ => ("c", charged),
    };
    (op, [bucket.interval().times(hits).get(), bucket.fill_time().get()])
}

/// The operation that refunds these hits, charged at `at` in this state; `None` if nothing was charged. It does not
/// refund the part that the bucket has refilled since.
pub(super) fn refund(
    bucket: &TokenBucket,
    state: BucketState,
    at: Timestamp,
    hits: Hits,
) -> Option<Operation> {
    let full_at = state.moment();
    let (_, next) = gcra::decide(bucket, full_at, at, hits);
    let from = full_at.max(at);
    let cost = next?.since(from);
    (cost > Nanos::ZERO).then(|| ("u", [cost.get(), from.as_unix_nanos()]))
}

/// The state from a field of the reply: when the bucket is full.
pub(super) fn read(field: Field<'_>) -> BucketState {
    let nanos = match field {
        Field::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    BucketState::until(Timestamp::from_unix_nanos(nanos.unwrap_or(0)))
}
