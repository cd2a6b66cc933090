//! Token buckets in the script: what is asked of them, and what their state there means.

use super::Field;
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::TokenBucket;
use crate::store::{BucketState, gcra};

/// An operation of the script on a bucket whose state is one value, and its two spans or moments, in nanoseconds.
pub(in crate::store) type Operation = (&'static str, [u64; 2]);

/// What hits ask of a bucket; only a look, where the request is denied already.
pub(in crate::store) fn operation(bucket: &TokenBucket, hits: Hits, is_denied: bool) -> Operation {
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

/// What takes back a charge of a bucket that stood so at a time; nothing where nothing was charged. What it has gained
/// since by itself is not given twice.
pub(in crate::store) fn refund(
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

/// The state as the script tells it: when the bucket is full.
pub(in crate::store) fn read(field: Field<'_>) -> BucketState {
    let nanos = match field {
        Field::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    BucketState::until(Timestamp::from_unix_nanos(nanos.unwrap_or(0)))
}
