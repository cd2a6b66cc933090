//! Reports to make pages of.

use super::suggestions;
use crate::replay::report::{
    Against, BucketReport, Difference, Example, Input, KeyReport, MAX_DENIED_KEYS, Needed, Outcome,
    Report, RowReport, SeriesReport, UsageClass, VERSION,
};
use crate::replay::suggest::BucketSuggestion;

/// What may stand in a log: markup, the ends of attributes and of a style sheet, and what changes how a terminal or a line
/// of text looks.
pub(super) const HOSTILE: &str = "\"'><script>harm()</script><img src=x onerror=harm()></title></style>&lt;\
                                  \u{1b}[2J\r\n\u{202e}\u{2066}\u{200f}\0-->`\\";

const CLASSES: [u32; 13] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 500];

fn usage(keys: [u64; 14]) -> Vec<UsageClass> {
    let ends = CLASSES.map(Some).into_iter().chain([None]);
    ends.zip(keys).map(|(up_to_percent, keys)| UsageClass { up_to_percent, keys }).collect()
}

fn bucket(limit: &str, size: u32, denied: u64, needed: [u32; 4]) -> BucketReport {
    let [p50, p99, p999, max] = needed;
    BucketReport {
        limit: limit.to_owned(),
        size,
        is_override: false,
        requests: 10_049,
        denied,
        keys: 35,
        keys_denied: denied.min(3),
        needed: Needed { p50, p99, p999, max },
        usage: usage([2, 5, 8, 7, 4, 3, 0, 2, 0, 1, 1, 1, 1, 0]),
    }
}

fn row(table: &str, row: &str, denied: u64, buckets: Vec<BucketReport>) -> RowReport {
    let requests = buckets.first().map_or(0, |bucket| bucket.requests);
    RowReport {
        table: table.to_owned(),
        row: row.to_owned(),
        is_shadow: table == "trials",
        requests,
        denied,
        buckets,
    }
}

fn series(steps: &[[u64; 2]]) -> SeriesReport {
    let begin = "2026-03-02T14:00:00Z".to_owned();
    SeriesReport { begin, step_seconds: 60, steps: steps.to_vec() }
}

fn key(table: &str, key: &[(&str, &str)], denied: u64) -> KeyReport {
    KeyReport {
        table: table.to_owned(),
        row: "free".to_owned(),
        is_shadow: table == "trials",
        limit: "10 per second".to_owned(),
        key: key.iter().map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect(),
        denied,
        first: "2026-03-02T14:05:09Z".to_owned(),
        last: "2026-03-02T14:55:00Z".to_owned(),
        longest_streak: 19,
        series: series(&[[10, 19], [9, 0], [0, 0], [10, 5]]),
    }
}

fn outcome() -> Outcome {
    let by_override =
        BucketReport { is_override: true, ..bucket("20 per second", 20, 0, [4, 18, 18, 18]) };
    let blocked = bucket("blocked", 0, 12, [0; 4]);
    Outcome {
        requests: 10_049,
        admitted: 9_969,
        denied: 80,
        denied_in_log: 3,
        denied_in_both: 2,
        bypassed: 30,
        unmatched: 8,
        unmatched_example: Some("tenant=nobody path=/".to_owned()),
        keys: 35,
        keys_denied: 3,
        rows: vec![
            row(
                "tenant",
                "free",
                80,
                vec![bucket("10 per second", 10, 80, [4, 22, 29, 29]), by_override],
            ),
            row("tenant", "banned", 12, vec![blocked]),
            row("trials", "free", 15, vec![bucket("5 per second", 5, 15, [1, 2, 3, 9])]),
        ],
        denied_keys: vec![
            key("tenant", &[("tenant", "acme")], 60),
            key("tenant", &[("tenant", "globex"), ("path", "/a?b=1&c=2")], 15),
            key("tenant", &[], 5),
            key("trials", &[("trial", "t1")], 15),
        ],
        series: series(&[[100, 0], [250, 31], [0, 0], [120, 2]]),
    }
}

/// Some denials, one row in shadow, and some of everything that is left out.
pub(super) fn ordinary() -> Report {
    let example = Example {
        place: "access.log:17".to_owned(),
        reason: "no time".to_owned(),
        line: "GET / nonsense".to_owned(),
    };
    Report {
        version: VERSION,
        domain: "management-api".to_owned(),
        input: Input {
            logs: vec!["access.log".to_owned()],
            lines: 10_093,
            unreadable: 4,
            unreadable_examples: vec![example],
            requests: 10_089,
            late: 7,
            skipped: 12,
            other_times: 5,
            divided_by: Some("tenant".to_owned()),
            without_descriptor: 6,
            faulty: 2,
            whole_seconds: 0,
            without_duration: 9,
            first: Some("2026-03-02T14:00:00Z".to_owned()),
            last: Some("2026-03-02T23:59:00Z".to_owned()),
        },
        outcome: outcome(),
        spread: None,
        against: None,
        suggestions: None,
    }
}

/// The same log with whole seconds: less is denied if its requests are spread.
pub(super) fn with_whole_seconds() -> Report {
    let mut spread = outcome();
    (spread.denied, spread.admitted, spread.keys_denied) = (21, 10_028, 1);
    spread.rows[0].denied = 21;
    spread.rows[0].buckets[0].denied = 21;
    spread.series = series(&[[100, 0], [260, 21], [0, 0], [122, 0]]);
    spread.denied_keys = vec![key("tenant", &[("tenant", "acme")], 2)];
    let mut report = ordinary();
    report.input.whole_seconds = 10_049;
    Report { spread: Some(spread), ..report }
}

/// The same beside another policy, which knows neither `banned` nor trials.
pub(super) fn against() -> Report {
    let mut other = outcome();
    (other.denied, other.admitted) = (50, 9_999);
    other.rows.truncate(1);
    other.rows[0].denied = 50;
    other.rows.push(row("old", "all", 1, vec![bucket("1 per day", 1, 1, [1, 1, 2, 2])]));
    let difference = |newly_denied, no_longer_denied| Difference {
        denied_by_both: 48,
        newly_denied,
        newly_denied_keys: vec![key("tenant", &[("tenant", "initech")], newly_denied)],
        no_longer_denied,
        no_longer_denied_keys: vec![key("old", &[("tenant", "umbrella")], no_longer_denied)],
    };
    let against = Against {
        outcome: other,
        difference: difference(32, 2),
        spread: Some(outcome()),
        spread_difference: Some(difference(6, 3)),
    };
    Report { against: Some(against), ..with_whole_seconds() }
}

/// The same with suggestions.
pub(super) fn suggested() -> Report {
    Report { suggestions: Some(suggestions::suggestions()), ..ordinary() }
}

/// Nothing could be read.
pub(super) fn nothing() -> Report {
    let outcome = Outcome {
        requests: 0,
        admitted: 0,
        denied: 0,
        denied_in_log: 0,
        denied_in_both: 0,
        bypassed: 0,
        unmatched: 0,
        unmatched_example: None,
        keys: 0,
        keys_denied: 0,
        rows: Vec::new(),
        denied_keys: Vec::new(),
        series: series(&[]),
    };
    let input = Input { logs: vec!["empty.log".to_owned()], ..Input::default() };
    Report { input, outcome, ..ordinary() }
}

/// The same report with hostile text wherever it has text but in the times of series, which are read.
pub(super) fn hostile(mut report: Report) -> Report {
    harm(&mut report.domain);
    report.input.logs.iter_mut().for_each(harm);
    report.input.first.iter_mut().chain(&mut report.input.last).for_each(harm);
    for example in &mut report.input.unreadable_examples {
        [&mut example.place, &mut example.reason, &mut example.line].into_iter().for_each(harm);
    }
    let against = report.against.iter_mut();
    let mut others = Vec::new();
    for against in against {
        let Against { outcome, difference, spread, spread_difference } = against;
        others.push(outcome);
        others.extend(spread);
        for difference in [difference].into_iter().chain(spread_difference) {
            let Difference { newly_denied_keys, no_longer_denied_keys, .. } = difference;
            newly_denied_keys.iter_mut().chain(no_longer_denied_keys).for_each(harm_key);
        }
    }
    for outcome in [&mut report.outcome].into_iter().chain(&mut report.spread).chain(others) {
        outcome.unmatched_example.iter_mut().for_each(harm);
        for row in &mut outcome.rows {
            [&mut row.table, &mut row.row].into_iter().for_each(harm);
            row.buckets.iter_mut().for_each(|bucket| harm(&mut bucket.limit));
        }
        outcome.denied_keys.iter_mut().for_each(harm_key);
    }
    for bucket in report.suggestions.iter_mut().flat_map(|of| &mut of.buckets) {
        let BucketSuggestion { table, row, limit, same_rate, same_shape, curve, .. } = bucket;
        [table, row, limit].into_iter().for_each(harm);
        same_rate.iter_mut().chain(same_shape).for_each(|of| harm(&mut of.limit));
        curve.iter_mut().for_each(|point| harm(&mut point.rate));
    }
    report
}

fn harm(text: &mut String) {
    text.push_str(HOSTILE);
}

fn harm_key(key: &mut KeyReport) {
    let KeyReport { table, row, limit, first, last, .. } = key;
    [table, row, limit, first, last].into_iter().for_each(harm);
    key.key.iter_mut().flatten().for_each(harm);
}

/// As much of everything as a report has.
pub(super) fn many() -> Report {
    let steps = |number: u64| -> SeriesReport {
        // No two steps are alike.
        let steps: Vec<_> =
            (0..number).map(|at| [100_000 + at * 7_919 % 99_991, at * 6_007 % 9_973]).collect();
        series(&steps)
    };
    let value = "0123456789abcdef".repeat(8);
    let named = |at: usize| {
        let entries: Vec<_> = (0..8).map(|_| (&*value, &*value)).collect();
        KeyReport { series: steps(240), denied: 1_000 - at as u64, ..key("tenant", &entries, 0) }
    };
    let rows = (0..300).map(|at| {
        row("tenant", &format!("row-{at}"), at, vec![bucket("10 per second", 10, at, [9; 4])])
    });
    let mut report = with_whole_seconds();
    for outcome in [&mut report.outcome].into_iter().chain(&mut report.spread) {
        outcome.rows = rows.clone().collect();
        outcome.denied_keys = (0..MAX_DENIED_KEYS).map(named).collect();
        outcome.series = steps(1_440);
    }
    report.input.logs = vec![format!("{value}.log"); 1_000];
    report.suggestions = Some(suggestions::many());
    report
}
