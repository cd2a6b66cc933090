//! Token buckets in the script: their operations, and their state.

use super::field::Field;
use super::{BucketState, gcra};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Debt, TokenBucket};

/// An operation of the script on a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Its letter.
    pub(crate) letter: &'static str,
    /// Its two arguments: spans or moments, in nanoseconds.
    pub(crate) spans: [u64; 2],
    /// The interval between two tokens, in nanoseconds; of a window, the limit, or when the window ended that counted the
    /// hits, in seconds since the Unix epoch.
    pub(crate) interval: u64,
    /// Of a charge that is always made, the longest time until the bucket is full, in nanoseconds.
    pub(crate) longest: Option<u64>,
}

/// The operation for these hits; it only peeks if the request is denied already.
pub(super) fn operation(bucket: &TokenBucket, hits: Hits, is_denied: bool) -> Operation {
    let (charged, given) = (hits.charged(), hits.given_back());
    let (letter, hits) = match (charged, given) {
        (_, 1..) if is_denied => ("l", 0),
        (_, 1..) => ("g", given),
        (0, 0) => ("l", 1),
        _ if charged > u64::from(bucket.size().get()) => ("n", 0),
        _ if is_denied => ("l", charged),
        _ => ("c", charged),
    };
    let interval = bucket.interval();
    let spans = [interval.times(hits).get(), bucket.fill_time().get()];
    Operation { letter, spans, interval: interval.get(), longest: None }
}

/// The operation for these hits on a bucket whose charges are always made, also if the request is denied.
pub(super) fn operation_on_debt(bucket: &TokenBucket, debt: Debt, hits: Hits) -> Operation {
    let (charged, given) = (hits.charged(), hits.given_back());
    let (letter, hits) = match (charged, given) {
        (_, 1..) => ("r", given),
        (0, 0) => ("l", 1),
        _ => ("a", charged),
    };
    let interval = bucket.interval();
    let spans = [interval.times(hits).get(), bucket.fill_time().get()];
    let longest = (letter == "a").then(|| debt.longest_reset(bucket).get());
    Operation { letter, spans, interval: interval.get(), longest }
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
    (cost > Nanos::ZERO).then(|| Operation {
        letter: "u",
        spans: [cost.get(), from.as_unix_nanos()],
        interval: bucket.interval().get(),
        longest: None,
    })
}

/// When the bucket is full, from a field of the reply.
pub(super) fn read(field: Field<'_>) -> Timestamp {
    let nanos = match field {
        Field::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    Timestamp::from_unix_nanos(nanos.unwrap_or(0))
}
