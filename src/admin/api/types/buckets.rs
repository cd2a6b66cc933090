//! Buckets: the answers of `/buckets` and `/reset`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{KeyEntry, List, Milliseconds, Time, present};
use crate::descriptor::{MAX_ENTRIES, MAX_KEY_LENGTH};
use crate::observe::bucket_label::BucketLabel;
use crate::observe::recent_buckets::Standing;

pub(super) fn key_entries(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_ENTRIES,
        "items": {
            "type": "array",
            "prefixItems": [
                { "type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH },
                { "type": "string" },
            ],
            "minItems": 2,
            "maxItems": 2,
        },
    })
}

/// The limit of a bucket.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// The limit in words, as in `10 per second`; `blocked` for a block.
    pub(crate) bucket: String,
    /// The most tokens or slots of the bucket; 0 for a block.
    pub(crate) size: u32,
    /// The time in which a token bucket gains one token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval_ms: Option<Milliseconds>,
    /// The longest time for which a lease holds slots of a concurrency bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<Milliseconds>,
}

/// How near a bucket is to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BucketState {
    /// It does not admit a call of one hit.
    Over,
    /// Less than a tenth is left.
    Near,
    /// A tenth is left, or more.
    Clear,
}

impl From<Standing> for BucketState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Over => Self::Over,
            Standing::Near => Self::Near,
            Standing::Clear => Self::Clear,
        }
    }
}

/// The names of a bucket in the policy.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct BucketName {
    /// The policy's domain.
    pub(crate) domain: String,
    /// The table; `limit override` for a limit override from Envoy.
    pub(crate) table: String,
    /// The row.
    pub(crate) row: String,
    /// The entries that name the bucket, an address as the network that counts; empty for a bucket that all calls
    /// share.
    pub(crate) key: Vec<KeyEntry>,
    /// Whether `key` is incomplete: a text in it was longer than 128 characters, there were more than eight entries, or
    /// a value is not UTF-8 (its other bytes are written as `\xff`).
    pub(crate) truncated: bool,
    /// Whether the row is in shadow, so that the bucket denies no call.
    pub(crate) shadow: bool,
}

impl From<&BucketLabel> for BucketName {
    fn from(label: &BucketLabel) -> Self {
        Self {
            domain: label.domain.to_string(),
            table: label.table.to_string(),
            row: label.row.to_string(),
            key: label.key_text().into_iter().map(|entry| entry.map(Cow::into_owned)).collect(),
            truncated: label.is_truncated,
            shadow: label.is_shadow,
        }
    }
}

/// A bucket with its name, its limit and its state.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Bucket {
    #[serde(flatten)]
    pub(crate) name: BucketName,
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// The tokens or slots that are left.
    pub(crate) remaining: u32,
    /// How many of these this process has prepaid in a shared store; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prepaid: Option<u32>,
    /// When the bucket is full if nothing is charged until then; null for a block.
    pub(crate) full_at: Option<Time>,
    /// How near the bucket is to its limit.
    pub(crate) state: BucketState,
    /// The time until the bucket is full; null for a block.
    pub(crate) full_in_ms: Option<Milliseconds>,
    /// The time until the bucket admits a call of one hit; null for never, or if it is not known.
    pub(crate) wait_ms: Option<Milliseconds>,
    /// The bucket's name in the store, for authorized callers: `/reset` takes it while the bucket is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

/// The answer of `/buckets`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Buckets {
    #[serde(flatten)]
    pub(crate) list: List<Bucket>,
    /// The keys in the request that the policy does not use.
    pub(crate) unknown_keys: Vec<String>,
}

/// The buckets that `/reset` refills: the one with this `id`, those of `table` with this `key`, or without `table`
/// those of every table that this `key` names. If no bucket with the `id` is listed any more, `table` and `key` are
/// used. An item of `/buckets` is a valid request.
#[derive(Debug, Default, JsonSchema, Serialize, Deserialize)]
#[schemars(extend("anyOf" = [
    { "required": ["id"] },
    { "required": ["table"] },
    { "required": ["key"], "properties": { "key": { "minItems": 1 } } },
]))]
pub(crate) struct ResetRequest {
    /// The `id` of a listed bucket; the only name of the bucket of a limit override from Envoy.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) id: Option<String>,
    /// Whether `key` is incomplete, so that it names no bucket.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub(crate) truncated: Option<bool>,
    /// The domain; optional if there is only one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) domain: Option<String>,
    /// The table; without it, every table whose key has one of the entries in `key`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) table: Option<String>,
    /// Only buckets of rows with this name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) row: Option<String>,
    /// The entries that name the buckets. An address may be a network, as in `2001:db8::/64`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "key_entries")]
    pub(crate) key: Option<Vec<KeyEntry>>,
    /// Only this bucket of a row, as in `10 per second`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) bucket: Option<String>,
}

/// The answer of `/reset`: the buckets that were not full, with their state before.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Reset {
    #[serde(flatten)]
    pub(crate) list: List<Bucket>,
    /// The number of buckets that were full before.
    pub(crate) already_full: usize,
    /// The numbers of each table.
    pub(crate) tables: Vec<ResetTable>,
    /// The tables whose key has other entries as well. Of their buckets, only those are refilled that this server has
    /// recently seen near their limit.
    pub(crate) incomplete: Vec<IncompleteTable>,
    /// The tables in which the entries name slots, which are not refilled: they are free when their leases are released.
    pub(crate) slots: Vec<String>,
}

/// How many buckets of a table were refilled.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ResetTable {
    /// The table.
    pub(crate) table: String,
    /// The number of buckets that were not full before.
    pub(crate) reset: usize,
    /// The number of buckets that were full before.
    pub(crate) already_full: usize,
}

impl ResetTable {
    /// The counts of a table in which `filled` buckets were refilled; the listed ones were not full before.
    pub(crate) fn of(table: &str, listed: &[Bucket], filled: usize) -> Self {
        let reset = listed.len();
        Self { table: table.to_owned(), reset, already_full: filled.saturating_sub(reset) }
    }
}

/// A table whose buckets the given entries do not name in full.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct IncompleteTable {
    /// The table.
    pub(crate) table: String,
    /// The entries of its key that were not given.
    pub(crate) missing: Vec<String>,
}
