//! The buckets that denied most: the answer of `/top`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BucketName, Limit, List, Milliseconds, Time};

/// The answer of `/top`: the buckets that denied most in the last minutes, as this process counted them.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Top {
    /// The time of the list.
    pub(crate) at: Time,
    /// The time before `at` that is counted: four to five minutes, less if the process started later.
    pub(crate) window_ms: Milliseconds,
    /// The buckets that denied calls.
    pub(crate) denied: TopList,
    /// The buckets of rows in shadow that would have denied calls.
    pub(crate) shadow: TopList,
}

/// Buckets by the number of their denials, the highest first.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct TopList {
    #[serde(flatten)]
    pub(crate) list: List<TopBucket>,
    /// No bucket that is not listed denied more often than this.
    pub(crate) others_at_most: u64,
}

/// A bucket, and how often it denied.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct TopBucket {
    #[serde(flatten)]
    pub(crate) name: BucketName,
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// The number of descriptors that the bucket denied; in shadow, would have denied. It is never too low.
    pub(crate) count: u64,
    /// By how much `count` may be too high. 0 unless more buckets deny than are counted.
    pub(crate) at_most_over: u64,
}
