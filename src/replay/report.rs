//! What a replay tells, as data: `text`, `json` and `html` show it.

use serde::Serialize;

use super::comparison::Comparison;
use super::demand::{Demand, Demands};
use super::denied_keys::{DeniedKey, DeniedKeys};
use super::figures::{Counts, Figures, RuleFigures, all_rules};
use super::series::Series;
use super::suggest::Suggestions;
use crate::policy::Policy;
use crate::policy::rule::Rule;
use crate::policy::table::Row;

/// How many of the keys that were denied most are listed.
pub const MAX_DENIED_KEYS: usize = 100;

/// The classes of how much of its bucket a key needed, in percent: each is up to its number, the last beyond all.
const CLASSES: [u32; 14] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 500, u32::MAX];

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

impl From<&Series> for SeriesReport {
    fn from(series: &Series) -> Self {
        let steps = series.steps().iter().map(|step| [step.admitted, step.denied]);
        Self {
            begin: series.begin().rfc3339(),
            step_seconds: series.step_seconds(),
            steps: steps.collect(),
        }
    }
}

impl Outcome {
    pub(super) fn new(policy: &Policy, mut figures: Figures<'_>) -> Self {
        let Counts { requests, denied, bypassed, unmatched, denied_in_log, denied_in_both } =
            figures.counts;
        let rows = rows(policy, &mut figures);
        let enforced = rows.iter().filter(|row| !row.is_shadow).flat_map(|row| &row.buckets);
        let (keys, keys_denied) = enforced.fold((0, 0), |(keys, denied), bucket| {
            (keys + bucket.keys, denied + bucket.keys_denied)
        });
        Self {
            requests,
            admitted: requests - denied,
            denied,
            denied_in_log,
            denied_in_both,
            bypassed,
            unmatched,
            unmatched_example: figures.unmatched.map(|(_, example)| example),
            keys,
            keys_denied,
            rows,
            denied_keys: most_denied(policy, figures.denied_keys),
            series: SeriesReport::from(&figures.series),
        }
    }
}

impl Difference {
    pub(super) fn new(policy: &Policy, against: &Policy, comparison: Comparison) -> Self {
        let Comparison { both, newly, no_longer } = comparison;
        Self {
            denied_by_both: both,
            newly_denied: newly.requests,
            newly_denied_keys: most_denied(policy, newly.keys),
            no_longer_denied: no_longer.requests,
            no_longer_denied_keys: most_denied(against, no_longer.keys),
        }
    }
}

/// The keys that were denied most, of all parts.
fn most_denied(policy: &Policy, parts: Vec<DeniedKeys>) -> Vec<KeyReport> {
    let mut most: Vec<_> = parts.into_iter().flat_map(|keys| keys.most(MAX_DENIED_KEYS)).collect();
    most.sort_by_key(|(name, key)| (std::cmp::Reverse(key.denied), key.first, *name));
    let limits: Vec<_> = all_rules(policy).map(|(_, rule)| rule).collect();
    let most = most.into_iter().take(MAX_DENIED_KEYS);
    most.map(|(_, key)| key_report(key, &limits)).collect()
}

/// What the keys of one rule needed, and how many of them were denied.
#[derive(Debug, Default)]
struct Keys {
    needed: Vec<u32>,
    denied: u64,
}

/// The keys of each of so many rules, by its number.
fn keys(demands: Demands, rules: usize) -> Vec<Keys> {
    let rule_of = |demand: &Demand| usize::try_from(demand.rule()).unwrap_or(usize::MAX);
    let mut counts = vec![0; rules];
    for demand in demands.iter() {
        if let Some(count) = counts.get_mut(rule_of(demand)) {
            *count += 1;
        }
    }
    // There may be millions: lists that grow would take three times the memory.
    let keys =
        counts.into_iter().map(|count| Keys { needed: Vec::with_capacity(count), denied: 0 });
    let mut keys: Vec<Keys> = keys.collect();
    for demand in demands.into_all() {
        if let Some(keys) = keys.get_mut(rule_of(&demand)) {
            keys.needed.push(demand.needed);
            keys.denied += u64::from(demand.is_denied());
        }
    }
    keys
}

fn rows(policy: &Policy, figures: &mut Figures<'_>) -> Vec<RowReport> {
    let mut keys = keys(std::mem::take(&mut figures.demands), figures.rules.len());
    let mut met = |row: &Row| {
        let counts = figures.rows.get(row.id().get()).filter(|counts| counts.requests > 0)?;
        let buckets = all_rules_of(row).filter_map(|(rule, is_override)| {
            let of_rule = figures.rules.get(rule.id().get()).filter(|of| of.requests > 0)?;
            let keys = keys.get_mut(rule.id().get()).map(std::mem::take).unwrap_or_default();
            Some(bucket_report(rule, is_override, of_rule, keys))
        });
        Some(RowReport {
            table: row.table().to_owned(),
            row: row.name().to_owned(),
            is_shadow: row.is_shadow(),
            requests: counts.requests,
            denied: counts.denied,
            buckets: buckets.collect(),
        })
    };
    policy.rows().filter_map(&mut met).collect()
}

/// The rules of a row, and of its overrides.
fn all_rules_of(row: &Row) -> impl Iterator<Item = (&Rule, bool)> {
    let of_overrides = row.overrides().iter().flat_map(|of| of.rules());
    let own = row.rules().iter().map(|rule| (rule, false));
    own.chain(of_overrides.map(|rule| (rule, true)))
}

fn bucket_report(
    rule: &Rule,
    is_override: bool,
    figures: &RuleFigures,
    Keys { mut needed, denied }: Keys,
) -> BucketReport {
    let size = rule.bucket().size();
    BucketReport {
        limit: rule.bucket().to_string(),
        size,
        is_override,
        requests: figures.requests,
        denied: figures.denied,
        keys: count(needed.len()),
        keys_denied: denied,
        usage: usage(&needed, size),
        needed: Needed {
            p50: quantile(&mut needed, 500),
            p99: quantile(&mut needed, 990),
            p999: quantile(&mut needed, 999),
            max: quantile(&mut needed, 1_000),
        },
    }
}

/// The least number than which no more are greater than a part of all, in thousandths, leaves; 0 of none.
fn quantile(numbers: &mut [u32], per_mille: usize) -> u32 {
    let rank = (numbers.len() * per_mille).div_ceil(1_000).max(1);
    if numbers.is_empty() {
        return 0;
    }
    let (_, number, _) = numbers.select_nth_unstable(rank - 1);
    *number
}

fn usage(needed: &[u32], size: u32) -> Vec<UsageClass> {
    let mut classes = CLASSES
        .map(|up_to| UsageClass { up_to_percent: (up_to != u32::MAX).then_some(up_to), keys: 0 });
    for needed in needed {
        let is_in = |class: &&mut UsageClass| {
            class
                .up_to_percent
                .is_none_or(|up_to| u64::from(*needed) * 100 <= u64::from(up_to) * u64::from(size))
        };
        if let Some(class) = classes.iter_mut().find(is_in) {
            class.keys += 1;
        }
    }
    classes.to_vec()
}

fn key_report(key: DeniedKey, limits: &[&Rule]) -> KeyReport {
    let limit = limits.iter().find(|rule| rule.id().get() == key.rule);
    KeyReport {
        table: key.label.table.to_string(),
        row: key.label.row.to_string(),
        is_shadow: key.label.is_shadow,
        limit: limit.map(|rule| rule.bucket().to_string()).unwrap_or_default(),
        key: key.label.key_text().into_iter().map(|pair| pair.map(Into::into)).collect(),
        denied: key.denied,
        first: key.first.rfc3339(),
        last: key.last.rfc3339(),
        longest_streak: key.longest_streak,
        series: SeriesReport::from(&key.series),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
