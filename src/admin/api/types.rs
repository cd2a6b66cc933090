//! What the API takes and returns, as JSON: the server writes these types, and `tollgate admin` reads them.
//!
//! A moment is RFC 3339 text in UTC ([`Time`]); its field is `at` or ends in `_at`. A span of time is a number of
//! milliseconds, which may have a fraction; its field ends in `_ms`. A list that may be shortened is `items`, with
//! the number of the others as `omitted`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Nanos, Timestamp};
use crate::descriptor::{MAX_ENTRIES, MAX_KEY_LENGTH};
use crate::observe::bucket_label::BucketLabel;
use crate::observe::recent_buckets::Standing;
use crate::policy::{HeaderStyle, OnStoreError};

/// A moment: RFC 3339 text in UTC, with as many digits of the second as it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_nanos(self.0.as_unix_nanos());
        let moment = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339(moment).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = moment.duration_since(UNIX_EPOCH).map_err(D::Error::custom)?;
        Ok(Self(Timestamp::default().after(Nanos::from(since))))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A moment: RFC 3339 text in UTC.",
            "type": "string",
            "format": "date-time",
            "pattern": "Z$",
        })
    }
}

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Milliseconds(pub(crate) f64);

impl From<Nanos> for Milliseconds {
    fn from(span: Nanos) -> Self {
        Self(Duration::from(span).as_secs_f64() * 1e3)
    }
}

impl From<Milliseconds> for Duration {
    /// Zero where there is no such span.
    fn from(Milliseconds(span): Milliseconds) -> Self {
        Self::try_from_secs_f64(span / 1e3).unwrap_or_default()
    }
}

/// The key and the value of an entry, in this order.
pub(crate) type KeyEntry = [String; 2];

fn key_entries(_: &mut SchemaGenerator) -> Schema {
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

/// Reads a field that is there: it has a value, and is not null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list, of which some may be omitted.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct List<T> {
    /// Those that are listed.
    pub(crate) items: Vec<T>,
    /// The number of those that are not.
    pub(crate) omitted: usize,
}

impl<T> List<T> {
    /// The first of `count` items.
    pub(crate) fn new(items: Vec<T>, count: usize) -> Self {
        let omitted = count.saturating_sub(items.len());
        Self { items, omitted }
    }
}

/// Why a request failed.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// What is wrong, and what to do, for a person.
    pub(crate) error: String,
}

/// What a bucket is.
#[derive(Debug, Clone, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// As a policy would say it, as in `10 per second`; `blocked` where nothing passes.
    pub(crate) bucket: String,
    /// The most tokens or slots that it holds; 0 where nothing passes.
    pub(crate) size: u32,
    /// The time in which a token bucket gains a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval_ms: Option<Milliseconds>,
    /// How long a lease holds its slots at most, of a concurrency bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<Milliseconds>,
}

/// How a bucket stands between empty and full.
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

/// What a bucket is called.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct BucketName {
    /// The policy's domain.
    pub(crate) domain: String,
    /// The table; `limit override` for a limit override that Envoy sent.
    pub(crate) table: String,
    /// The row.
    pub(crate) row: String,
    /// The entries that name the bucket; empty for one bucket for all calls. Of an address, the network that counts.
    pub(crate) key: Vec<KeyEntry>,
    /// Whether `key` is less than what names the bucket: a text of it has more than 128 characters, there are more
    /// than eight entries, or a value is not UTF-8 (each byte that is not is then written as in `\xff`).
    pub(crate) truncated: bool,
    /// Whether the row is in shadow, so that the bucket denies no call.
    pub(crate) shadow: bool,
}

impl From<&BucketLabel> for BucketName {
    fn from(named: &BucketLabel) -> Self {
        Self {
            domain: named.domain.to_string(),
            table: named.table.to_string(),
            row: named.row.to_string(),
            key: named.key_text().into_iter().map(|entry| entry.map(Cow::into_owned)).collect(),
            truncated: named.is_truncated,
            shadow: named.is_shadow,
        }
    }
}

/// A bucket with its name and how it stands.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Bucket {
    #[serde(flatten)]
    pub(crate) name: BucketName,
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// The tokens or slots that are left.
    pub(crate) remaining: u32,
    /// When the bucket is full if nothing is charged until then; null where nothing passes.
    pub(crate) full_at: Option<Time>,
    /// How it stands.
    pub(crate) state: BucketState,
    /// How long until it is full; null where nothing passes.
    pub(crate) full_in_ms: Option<Milliseconds>,
    /// How long until it admits a call of one hit; null for never, or where that is not known.
    pub(crate) wait_ms: Option<Milliseconds>,
    /// The bucket's name in the store, for callers who may reset it: `/reset` takes it while the bucket is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

/// The answer of `/buckets`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Buckets {
    #[serde(flatten)]
    pub(crate) list: List<Bucket>,
    /// The keys of entries in the question that the policy uses nowhere.
    pub(crate) unknown_keys: Vec<String>,
}

/// Which buckets `/reset` makes full: the one with this `id`, or those of `table` with this `key`. Where no bucket
/// with the `id` is listed any more, `table` and `key` count. An item of `/buckets` is such a request as it is.
#[derive(Debug, Default, JsonSchema, Serialize, Deserialize)]
#[schemars(extend("anyOf" = [{ "required": ["id"] }, { "required": ["table"] }]))]
pub(crate) struct ResetRequest {
    /// The `id` of a listed bucket: the one way to name that of a limit override that Envoy sent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) id: Option<String>,
    /// Whether `key` is not whole, so that it names no bucket.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub(crate) truncated: Option<bool>,
    /// The domain; may be left out where there is only one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) domain: Option<String>,
    /// The table.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) table: Option<String>,
    /// Only buckets of this row.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) row: Option<String>,
    /// The entries that name the buckets. An address stands alone or with the length of its network.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "key_entries")]
    pub(crate) key: Option<Vec<KeyEntry>>,
    /// Only this bucket of a row, as in `10 per second`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) bucket: Option<String>,
}

/// The answer of `/reset`: the buckets that were not full, as they were before.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Reset {
    #[serde(flatten)]
    pub(crate) list: List<Bucket>,
    /// The number of buckets that were full before.
    pub(crate) already_full: usize,
}

/// What a lease holds in one bucket.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The 32 digits of the lease for callers who may release it; else the first eight, since whoever knows all of
    /// them can release it.
    pub(crate) lease: String,
    #[serde(flatten)]
    pub(crate) bucket: BucketName,
    /// How many slots it holds.
    pub(crate) slots: u64,
    /// When they were taken.
    pub(crate) taken_at: Time,
    /// When they come back by themselves.
    pub(crate) expires_at: Time,
}

/// The answer of `/leases`: the oldest first. Leases whose names are not known are among those omitted; with a shared
/// store, so may be leases that were released elsewhere.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Leases {
    /// When this was so.
    pub(crate) at: Time,
    #[serde(flatten)]
    pub(crate) list: List<Lease>,
}

/// What `/leases/release` takes.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ReleaseRequest {
    /// The 32 hexadecimal digits that the acquiring call returned.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{32}$"))]
    pub(crate) lease: String,
}

/// The answer of `/leases/release`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Released {
    /// The lease.
    pub(crate) released: String,
}

/// What came of reading the policies again.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReloadResult {
    /// Others are in force.
    Changed,
    /// The files say what they said.
    Unchanged,
}

/// The answer of `/reload` where the policies are right.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// What came of it.
    pub(crate) result: ReloadResult,
    /// The version of the policies in force, as in `/config`.
    pub(crate) version: String,
}

/// The answer of `/reload` where they are wrong.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ReloadRejected {
    /// That they were rejected.
    pub(crate) error: String,
    /// Everything that is wrong with them, one problem each.
    pub(crate) problems: Vec<String>,
    /// The version of the policies in force, as in `/config`.
    pub(crate) version: String,
}

/// Policies that were read last and did not come into force.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Rejected {
    /// When they were read.
    pub(crate) at: Time,
    /// Everything that is wrong with them, one line each.
    pub(crate) problems: Vec<String>,
}

/// The answer of `/config`: the policies in force, as they were compiled.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Config {
    /// The policies that were read last, if they are wrong.
    pub(crate) rejected: Option<Rejected>,
    /// SHA-256 of the files, in the order of their names.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub(crate) version: String,
    /// When the policies came into force.
    pub(crate) loaded_at: Time,
    /// The files that they were read from.
    pub(crate) sources: Vec<String>,
    /// The policies, ordered by domain.
    pub(crate) policies: Vec<Policy>,
}

/// Which headers tell clients what is left.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Headers {
    /// `x-ratelimit-*`, the reset in seconds since the Unix epoch.
    Epoch,
    /// `x-ratelimit-*`, the reset in seconds from now.
    Delta,
    /// `ratelimit` and `ratelimit-policy`.
    Ietf,
    /// None.
    Off,
}

impl From<HeaderStyle> for Headers {
    fn from(style: HeaderStyle) -> Self {
        match style {
            HeaderStyle::Epoch => Self::Epoch,
            HeaderStyle::Delta => Self::Delta,
            HeaderStyle::Ietf => Self::Ietf,
            HeaderStyle::Off => Self::Off,
        }
    }
}

/// What becomes of a call while the shared store does not answer.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreErrorAction {
    /// It passes.
    Allow,
    /// It is denied.
    Deny,
    /// It is decided in this process's memory.
    Local,
}

impl From<OnStoreError> for StoreErrorAction {
    fn from(action: OnStoreError) -> Self {
        match action {
            OnStoreError::Allow => Self::Allow,
            OnStoreError::Deny => Self::Deny,
            OnStoreError::Local => Self::Local,
        }
    }
}

/// The policy of one domain.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Policy {
    /// The domain.
    pub(crate) domain: String,
    /// Which headers tell clients what is left.
    pub(crate) headers: Headers,
    /// What becomes of a call while the shared store does not answer.
    pub(crate) on_store_error: StoreErrorAction,
    /// The entry whose value says on which node of a shared store's cluster a bucket is, where its key has it.
    pub(crate) partition: String,
    /// The endpoint group of each endpoint.
    pub(crate) endpoints: BTreeMap<String, String>,
    /// The tables, in the order of the file.
    pub(crate) tables: Vec<Table>,
    /// The conditions under which a call passes whatever else it would meet.
    pub(crate) bypass: Vec<String>,
}

/// A table.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// The conditions under which it applies.
    pub(crate) when: String,
    /// The entry whose value selects the row; null where there is one row for every call.
    pub(crate) select: Option<String>,
    /// The entries that name its buckets.
    pub(crate) key: Vec<String>,
    /// How much of an address counts; null where the key has none.
    pub(crate) prefix: Option<Prefix>,
    /// The rows, in the order of the file.
    pub(crate) rows: Vec<Row>,
}

/// The length of the networks that share a bucket, in bits.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Prefix {
    /// Of IPv4 addresses.
    pub(crate) ipv4: u8,
    /// Of IPv6 addresses.
    pub(crate) ipv6: u8,
}

/// A row of a table.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its buckets; empty where it is unlimited.
    pub(crate) buckets: Vec<String>,
    /// Whether it is in shadow, so that it denies no call.
    pub(crate) shadow: bool,
    /// What a denied client reads.
    pub(crate) message: String,
    /// The overrides of the row.
    pub(crate) overrides: Vec<Override>,
}

/// Other buckets in place of a row's.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Override {
    /// The conditions under which they count.
    pub(crate) when: String,
    /// Until when they count; null for no end.
    pub(crate) until: Option<Time>,
    /// The buckets; empty for none, so that calls are unlimited.
    pub(crate) buckets: Vec<String>,
}

/// The answer of `/explain`.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Explanation {
    /// The policy's domain.
    pub(crate) domain: String,
    /// When the buckets were looked at.
    pub(crate) at: Time,
    /// Whether the call would be admitted at that time.
    pub(crate) admits: bool,
    /// What each descriptor meets, in the order of the question.
    pub(crate) descriptors: Vec<ExplainedDescriptor>,
    /// The keys of entries in the question that the policy uses nowhere.
    pub(crate) unknown_keys: Vec<String>,
}

/// What one descriptor meets.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedDescriptor {
    /// The endpoint group of its method and path.
    pub(crate) endpoint_group: Option<String>,
    /// The condition by which it passes whatever else it would meet.
    pub(crate) bypass: Option<String>,
    /// What all of its buckets together mean for the call, in words.
    pub(crate) outcome: String,
    /// Every table of the policy, and then a limit override that Envoy sent.
    pub(crate) tables: Vec<ExplainedTable>,
}

/// What a descriptor meets in one table.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(untagged)]
pub(crate) enum ExplainedTable {
    /// A row with buckets.
    MatchedBucket(MetRow),
    /// No bucket.
    Missed(MissedTable),
}

/// A row that a descriptor meets.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct MetRow {
    /// The table.
    pub(crate) table: String,
    /// The row.
    pub(crate) row: String,
    /// Whether the buckets are those of an override.
    #[serde(rename = "override")]
    pub(crate) is_override: bool,
    /// Whether the row is in shadow, so that it denies no call.
    pub(crate) shadow: bool,
    /// Which calls share a bucket, as in `one for each tenant`.
    pub(crate) scope: String,
    /// What a denied client reads; null for a limit override that Envoy sent.
    pub(crate) message: Option<String>,
    /// The buckets.
    pub(crate) buckets: Vec<ExplainedBucket>,
}

/// A table in which a descriptor meets no bucket.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct MissedTable {
    /// The table.
    pub(crate) table: String,
    /// Why it meets none.
    pub(crate) miss_reason: String,
}

/// A bucket that a descriptor meets.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedBucket {
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// How it stands for the call; absent where it is not charged.
    #[serde(flatten)]
    pub(crate) level: Option<ExplainedLevel>,
}

/// How a bucket stands for the call that is explained.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExplainedLevel {
    /// The tokens or slots that are left.
    pub(crate) remaining: u32,
    /// When the bucket is full if nothing is charged until then; null where nothing passes.
    pub(crate) full_at: Option<Time>,
    /// Whether it does not admit what the call asks.
    pub(crate) over_limit: bool,
    /// How long until it does; null for never, or where that is not known.
    pub(crate) wait_ms: Option<Milliseconds>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_text_that_keeps_every_digit() {
        for (nanos, text) in [
            (1_772_323_200_000_000_000, "2026-03-01T00:00:00Z"),
            (1_772_323_200_123_500_000, "2026-03-01T00:00:00.123500000Z"),
            (0, "1970-01-01T00:00:00Z"),
        ] {
            let time = Time(Timestamp::from_unix_nanos(nanos));
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
        }
        for wrong in ["1772323200", "\"1772323200\"", "\"1969-12-31T23:59:59Z\"", "null"] {
            assert!(serde_json::from_str::<Time>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_keeps_its_fraction_of_a_millisecond() {
        let span = Milliseconds::from(Nanos::new(1_500_000));
        assert_eq!(serde_json::to_string(&span).unwrap(), "1.5");
        assert_eq!(Duration::from(span), Duration::from_micros(1500));
    }
}
