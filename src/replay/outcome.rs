//! From figures to a report.

use super::comparison::Comparison;
use super::demand::{Demand, Demands};
use super::denied_keys::{DeniedKey, DeniedKeys};
use super::figures::{Counts, Figures, RuleFigures, all_rules};
use super::report::{
    BucketReport, Difference, KeyReport, MAX_DENIED_KEYS, Needed, Outcome, RowReport, SeriesReport,
    UsageClass,
};
use super::series::Series;
use crate::policy::Policy;
use crate::policy::rule::Rule;
use crate::policy::table::Row;

/// The classes of how much of its bucket a key needed, in percent: each is up to its number, the last beyond all.
const CLASSES: [u32; 14] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 500, u32::MAX];

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
