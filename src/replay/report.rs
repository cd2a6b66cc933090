//! What a replay tells, as data: `text` and `html` show it, and `--json` prints it as it is. `outcome` makes it of figures.

use serde::Serialize;

use super::suggest::Suggestions;

/// How many of the keys that were denied most are listed.
pub const MAX_DENIED_KEYS: usize = 100;

/// What came of a replay.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this form. It changes if a field is removed or changes its meaning.
    pub version: u32,
    /// The domain of the policy.
    pub domain: String,
    /// What was read.
    pub input: Input,
    /// What the policy does. Requests whose time is told in whole seconds come at the beginning of their second, all at once.
    pub outcome: Outcome,
    /// The same with these requests spread over their second; none if the log tells fractions.
    pub spread: Option<Outcome>,
    /// The difference to another policy; none if there is no other.
    pub against: Option<Against>,
    /// Limits with which most keys would never have been denied; none if they were not asked for.
    pub suggestions: Option<Suggestions>,
}

/// How two policies differ on the same requests.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// What the other policy does.
    pub outcome: Outcome,
    /// The difference.
    pub difference: Difference,
    /// What the other policy does, with requests spread over their second.
    pub spread: Option<Outcome>,
    /// The difference, with requests spread over their second.
    pub spread_difference: Option<Difference>,
}

/// Requests that one policy denies and the other does not.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Requests that both policies deny.
    pub denied_by_both: u64,
    /// Requests that only the policy denies.
    pub newly_denied: u64,
    /// The keys of which most of these are, by the buckets that deny them.
    pub newly_denied_keys: Vec<KeyReport>,
    /// Requests that only the other policy denies.
    pub no_longer_denied: u64,
    /// The keys of which most of these are, by the buckets of the other policy.
    pub no_longer_denied_keys: Vec<KeyReport>,
}

/// The version of [`Report`].
pub const VERSION: u32 = 1;

/// What was read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Input {
    /// The logs, by name.
    pub logs: Vec<String>,
    /// The entry by whose values requests are divided among threads; none if the keys of the tables have none in common, so that
    /// one thread decides.
    pub divided_by: Option<String>,
    /// Their lines, without empty ones.
    pub lines: u64,
    /// Lines that could not be read.
    pub unreadable: u64,
    /// Some of these.
    pub unreadable_examples: Vec<Example>,
    /// The requests in the lines that could be read.
    pub requests: u64,
    /// Requests that were left out, since they came much later than others that began after them.
    pub late: u64,
    /// Requests that were left out by the mapping.
    pub skipped: u64,
    /// Requests that were left out, since they began before or after the time that was asked for.
    pub other_times: u64,
    /// Requests that Envoy would not have asked about, since an entry that their descriptors need is missing.
    pub without_descriptor: u64,
    /// Requests whose hits could not be read.
    pub faulty: u64,
    /// Requests whose time is told in whole seconds.
    pub whole_seconds: u64,
    /// Requests of which the log tells no duration: they hold no slots.
    pub without_duration: u64,
    /// When the first request began, in RFC 3339; none without requests.
    pub first: Option<String>,
    /// When the last one began.
    pub last: Option<String>,
}

/// A line that could not be read.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// The name of the log, and the number of the line.
    pub place: String,
    /// Why it could not be read.
    pub reason: String,
    /// The line, escaped and cut.
    pub line: String,
}

/// What a policy does to the requests.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Requests that were decided.
    pub requests: u64,
    /// Those that were admitted.
    pub admitted: u64,
    /// Those that were denied.
    pub denied: u64,
    /// Those that were denied when the log was written: their status is 429.
    pub denied_in_log: u64,
    /// Those that were denied then and would be denied now.
    pub denied_in_both: u64,
    /// Those that a bypass let pass.
    pub bypassed: u64,
    /// Those that no table has a row for.
    pub unmatched: u64,
    /// The first of these.
    pub unmatched_example: Option<String>,
    /// The keys of all rules that are not in shadow.
    pub keys: u64,
    /// Those of which requests were denied.
    pub keys_denied: u64,
    /// The rows that were met, in the order of the policy.
    pub rows: Vec<RowReport>,
    /// The keys that were denied most, the most denied first.
    pub denied_keys: Vec<KeyReport>,
    /// The requests over time.
    pub series: SeriesReport,
}

/// What a row did.
#[derive(Debug, Clone, Serialize)]
pub struct RowReport {
    /// The table.
    pub table: String,
    /// The row.
    pub row: String,
    /// Whether it is in shadow: it denies nothing, and its denials are those that it would have made.
    pub is_shadow: bool,
    /// The requests that it was asked about; one for each descriptor.
    pub requests: u64,
    /// Those that it denied.
    pub denied: u64,
    /// Its buckets, then those of its overrides.
    pub buckets: Vec<BucketReport>,
}

/// What the buckets of one rule did.
#[derive(Debug, Clone, Serialize)]
pub struct BucketReport {
    /// The limit, for people.
    pub limit: String,
    /// The size of the bucket; the most hits of a window, the slots of a concurrency bucket.
    pub size: u32,
    /// Whether it is a bucket of an override.
    pub is_override: bool,
    /// The requests that it was asked about.
    pub requests: u64,
    /// Those that it denied.
    pub denied: u64,
    /// The keys that it had.
    pub keys: u64,
    /// Those of which requests were denied.
    pub keys_denied: u64,
    /// The size that the keys needed so that, at the rate of the bucket, none of their requests would have been denied.
    pub needed: Needed,
    /// How many keys needed how much of the size.
    pub usage: Vec<UsageClass>,
}

/// The least sizes that parts of the keys needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// Half of the keys needed no more than this.
    pub p50: u32,
    /// 99 % of the keys.
    pub p99: u32,
    /// 99.9 % of the keys.
    pub p999: u32,
    /// All keys.
    pub max: u32,
}

/// The keys that needed more of their bucket than the class before, and no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsageClass {
    /// In percent of the size; none for the last class, which has no end.
    pub up_to_percent: Option<u32>,
    /// How many keys.
    pub keys: u64,
}

/// A key that was denied.
#[derive(Debug, Clone, Serialize)]
pub struct KeyReport {
    /// The table.
    pub table: String,
    /// The row.
    pub row: String,
    /// Whether the row is in shadow.
    pub is_shadow: bool,
    /// The limit that denied it, for people.
    pub limit: String,
    /// The entries that name its bucket. The values come from clients.
    pub key: Vec<[String; 2]>,
    /// Its requests that were denied.
    pub denied: u64,
    /// When the first of them was, in RFC 3339.
    pub first: String,
    /// When the last of them was.
    pub last: String,
    /// How many of its requests were denied on end, at most.
    pub longest_streak: u64,
    /// Its requests from the first denial on.
    pub series: SeriesReport,
}

/// Requests over time.
#[derive(Debug, Clone, Serialize)]
pub struct SeriesReport {
    /// When the first step begins, in RFC 3339.
    pub begin: String,
    /// The length of a step in seconds.
    pub step_seconds: u64,
    /// For each step, how many were admitted and how many denied.
    pub steps: Vec<[u64; 2]>,
}
