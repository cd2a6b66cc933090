//! Explanations: the answers of `/explain` and `/explain/bucket`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::buckets::key_entries;
use super::{Charging, KeyEntry, Limit, Milliseconds, Time, present};

/// The answer of `/explain`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
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

/// The bucket that `/explain/bucket` explains. An item of `/buckets` is a valid request.
#[derive(Debug, Default, JsonSchema, Serialize, Deserialize)]
pub(crate) struct BucketRequest {
    /// The domain; optional if there is only one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) domain: Option<String>,
    /// The table; `limit override` for a listed limit override from Envoy.
    pub(crate) table: String,
    /// The row; optional if the table has only one, or if `key` has the entry that selects it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) row: Option<String>,
    /// The entries that name the bucket. An address may be a network, as in `2001:db8::/64`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "key_entries")]
    pub(crate) key: Option<Vec<KeyEntry>>,
    /// The limit, as in `10 per second`: it distinguishes the buckets of a row from those of its overrides.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) bucket: Option<String>,
    /// Whether `key` is incomplete. The bucket is then explained only while it is listed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub(crate) truncated: Option<bool>,
}

/// The answer of `/explain/bucket`: the explanation of a call that matches the bucket.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct BucketExplanation {
    /// The entries of that call: those that name the bucket, and for each condition, and for the choice of the row, one
    /// that satisfies it. Empty if the bucket is explained by itself, since its key is not known in full.
    pub(crate) entries: Vec<KeyEntry>,
    /// What is assumed of the call that its entries do not show.
    pub(crate) assumed: Vec<String>,
    #[serde(flatten)]
    pub(crate) explanation: Explanation,
}

/// What one descriptor matches.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
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
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
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
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ExplainedTable {
    /// A row with buckets.
    Matched(MatchedRow),
    /// No bucket.
    Missed(MissedTable),
}

/// A row that a descriptor matches.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
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
    #[serde(flatten)]
    pub(crate) charging: Charging,
    /// The calls that share a bucket, as in `one for each tenant`.
    pub(crate) scope: String,
    /// The message to a denied client; null for a limit override from Envoy.
    pub(crate) message: Option<String>,
    /// The buckets.
    pub(crate) buckets: Vec<ExplainedBucket>,
}

/// A table in which a descriptor matches no bucket.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct MissedTable {
    /// The table.
    pub(crate) table: String,
    /// Why it matches none.
    pub(crate) miss_reason: String,
}

/// A bucket that a descriptor matches.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ExplainedBucket {
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// Its state for the call; absent if it would not be charged.
    #[serde(flatten)]
    pub(crate) level: Option<ExplainedLevel>,
}

/// The state of a bucket for the call that is explained.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ExplainedLevel {
    /// The tokens or slots that are left.
    pub(crate) remaining: u32,
    /// How many of these this process has prepaid in a shared store; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prepaid: Option<u32>,
    /// When the bucket is full if nothing is charged until then; null for a block.
    pub(crate) full_at: Option<Time>,
    /// Whether the bucket does not admit the call.
    pub(crate) over_limit: bool,
    /// The time until the bucket admits the call; null for never, or if it is not known.
    pub(crate) wait_ms: Option<Milliseconds>,
}
