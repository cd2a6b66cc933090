//! Suggestions as data.

use serde::Serialize;

/// Limits with which a part of the keys would never have been denied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestions {
    /// The part of the keys of each bucket, in percent.
    pub keys_percent: f64,
    /// Whether the logs had other requests when they were read the second time, so that what limits deny is not exact.
    pub have_logs_changed: bool,
    /// The buckets that were met, in the order of the policy.
    pub buckets: Vec<BucketSuggestion>,
}

/// Limits for the buckets of one rule. Requests whose time is told in whole seconds come at the beginning of their second,
/// all at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketSuggestion {
    /// The table.
    pub table: String,
    /// The row.
    pub row: String,
    /// The limit that the policy has, for people.
    pub limit: String,
    /// Whether it is a bucket of an override.
    pub is_override: bool,
    /// The requests that it was asked about.
    pub requests: u64,
    /// The keys that it had.
    pub keys: u64,
    /// The smallest round size at the rate that it has; of a window the hits, of a concurrency bucket the slots. None if no
    /// bucket is that large.
    pub same_rate: Option<Suggested>,
    /// The smallest round rate with a size that takes as long to fill as that of the policy, rounded up. None if a hundred
    /// times the rate is not enough, and for windows and concurrency buckets.
    pub same_shape: Option<Suggested>,
    /// The sizes that are needed at other rates, the slowest first; empty for windows and concurrency buckets.
    pub curve: Vec<CurvePoint>,
}

impl BucketSuggestion {
    /// The limits that are suggested, each once.
    pub fn limits(&self) -> impl Iterator<Item = &Suggested> {
        let is_another = |of: &&Suggested| {
            self.same_rate.as_ref().is_none_or(|same_rate| same_rate.limit != of.limit)
        };
        self.same_rate.iter().chain(self.same_shape.as_ref().filter(is_another))
    }
}

/// A limit that is suggested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// The limit, for people.
    pub limit: String,
    /// The size; the most hits of a window, the slots of a concurrency bucket.
    pub size: u32,
    /// The rate: tokens in a period; none for a concurrency bucket. Those of a window are its size.
    pub tokens: Option<u32>,
    /// The period in seconds.
    pub period_seconds: Option<u64>,
    /// The keys that it would have denied requests, alone.
    pub keys_denied: u64,
    /// The requests that it would have denied, alone.
    pub denied: u64,
    /// Whether it is the smallest that was tried: a smaller one may be enough.
    pub is_smallest_tried: bool,
    /// The round size that is enough if requests are spread over their second, at the same rate; none for `same_shape`, and
    /// if the log tells fractions.
    pub size_if_spread: Option<u32>,
}

/// The size that is needed at a rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CurvePoint {
    /// The rate, for people.
    pub rate: String,
    /// Tokens in a period.
    pub tokens: u32,
    /// The period in seconds.
    pub period_seconds: u64,
    /// Whether it is the rate of the policy.
    pub is_present: bool,
    /// The least size with which the part of the keys would never have been denied; not rounded.
    pub size: u32,
    /// The least size with which no key would have been denied.
    pub size_for_all: u32,
    /// The two sizes if requests are spread over their second; none if the log tells fractions.
    pub sizes_if_spread: Option<[u32; 2]>,
}
