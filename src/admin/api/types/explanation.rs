//! Explanations: the answer of `/explain`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Limit, Milliseconds, Time};

/// The answer of `/explain`.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Explanation {
    /// The policy's domain.
    pub(crate) domain: String,
    /// The time of the buckets' state.
    pub(crate) at: Time,
    /// Whether the call would be admitted at that time.
    pub(crate) admits: bool,
    /// What each descriptor matches, in the order of the request.
    pub(crate) descriptors: Vec<ExplainedDescriptor>,
    /// The keys in the request that the policy does not use.
    pub(crate) unknown_keys: Vec<String>,
}

/// What one descriptor matches.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedDescriptor {
    /// Its entries, in order.
    pub(crate) entries: Vec<ExplainedEntry>,
    /// The endpoint group of its method and path.
    pub(crate) endpoint_group: Option<String>,
    /// The bypass that it matches, so that it is not limited.
    pub(crate) bypass: Option<String>,
    /// The effect of all its buckets together on the call, in words.
    pub(crate) outcome: String,
    /// Every table of the policy, then the limit override from Envoy, if there is one.
    pub(crate) tables: Vec<ExplainedTable>,
}

/// An entry of a descriptor.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedEntry {
    /// Its key.
    pub(crate) key: String,
    /// Its value, cut after 128 characters; bytes that are not UTF-8 are written as `\xff`.
    pub(crate) value: String,
    /// The name by which the policy reads it: its key or, of several entries with one key, `key[1]` for the second. Null
    /// if the policy does not read it.
    pub(crate) read_as: Option<String>,
}

/// What a descriptor matches in one table.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
pub(crate) enum ExplainedTable {
    /// A row with buckets.
    Matched(MatchedRow),
    /// No bucket.
    Missed(MissedTable),
}

/// A row that a descriptor matches.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct MatchedRow {
    /// The table.
    pub(crate) table: String,
    /// The row.
    pub(crate) row: String,
    /// Whether the buckets are those of an override.
    #[serde(rename = "override")]
    pub(crate) is_override: bool,
    /// Whether the row is in shadow, so that it denies no call.
    pub(crate) shadow: bool,
    /// The calls that share a bucket, as in `one for each tenant`.
    pub(crate) scope: String,
    /// The message to a denied client; null for a limit override from Envoy.
    pub(crate) message: Option<String>,
    /// The buckets.
    pub(crate) buckets: Vec<ExplainedBucket>,
}

/// A table in which a descriptor matches no bucket.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct MissedTable {
    /// The table.
    pub(crate) table: String,
    /// Why it matches none.
    pub(crate) miss_reason: String,
}

/// A bucket that a descriptor matches.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedBucket {
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// Its state for the call; absent if it would not be charged.
    #[serde(flatten)]
    pub(crate) level: Option<ExplainedLevel>,
}

/// The state of a bucket for the call that is explained.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedLevel {
    /// The tokens or slots that are left.
    pub(crate) remaining: u32,
    /// When the bucket is full if nothing is charged until then; null for a block.
    pub(crate) full_at: Option<Time>,
    /// Whether the bucket does not admit the call.
    pub(crate) over_limit: bool,
    /// The time until the bucket admits the call; null for never, or if it is not known.
    pub(crate) wait_ms: Option<Milliseconds>,
}
