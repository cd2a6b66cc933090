//! What `deploy/` asks Prometheus about is what a running server tells.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::quotas::report_to;
use super::reload::get;
use super::serve::{QUIET, Served};
use crate::support::eventually;
use crate::tool;

const DASHBOARD: &str = "deploy/grafana-dashboard.json";
const ALERTS: &str = "deploy/alerts.yaml";

/// What Prometheus adds to every series that it scrapes, and to a histogram's buckets.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// The words of PromQL that stand where a metric could.
const WORDS: [&str; 17] = [
    "sum",
    "min",
    "max",
    "count",
    "topk",
    "rate",
    "increase",
    "absent",
    "time",
    "by",
    "without",
    "on",
    "and",
    "or",
    "unless",
    "histogram_quantile",
    "label_values",
];

/// The labels of every series, by its name.
fn series(exposition: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut series: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = split(line.rsplit_once(' ').unwrap().0);
        series.entry(name.to_owned()).or_default().extend(labels);
    }
    series
}

/// A series' name and the names of its labels.
fn split(series: &str) -> (&str, Vec<String>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    // A value may hold whatever a policy's name may.
    let outside = labels.split('"').step_by(2);
    let names = outside.filter_map(|between| between.trim_start_matches(',').strip_suffix('='));
    (name, names.map(str::to_owned).collect())
}

/// The metrics that an expression asks for, each with the labels that it asks of any.
fn asked(expression: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut metrics, mut labels) = (BTreeSet::new(), BTreeSet::new());
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    // What stands between braces, or between parentheses right behind `by` or `on`, are labels.
    let (mut is_in_braces, mut is_behind_by, mut is_in_by) = (false, false, false);
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        if length == 0 {
            match first {
                '{' => is_in_braces = true,
                '}' => is_in_braces = false,
                '(' => is_in_by = is_behind_by,
                ')' => is_in_by = false,
                _ => {}
            }
            is_behind_by &= first == ' ';
            let quoted = first == '"' || first == '[';
            let end = if first == '[' { ']' } else { '"' };
            let skipped = if quoted { rest[1..].find(end).unwrap() + 2 } else { first.len_utf8() };
            rest = &rest[skipped..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        rest = after;
        if is_in_braces || is_in_by {
            labels.insert(word.to_owned());
        } else if !WORDS.contains(&word) && !word.starts_with(|c: char| c.is_ascii_digit()) {
            metrics.insert(word.to_owned());
        }
        is_behind_by = matches!(word, "by" | "without" | "on");
    }
    (metrics, labels)
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(DASHBOARD).unwrap()).unwrap()
}

fn alerts() -> Vec<Value> {
    let text = std::fs::read_to_string(ALERTS).unwrap();
    let rules: Value = serde_yaml::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every expression, by where it stands.
fn expressions() -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dashboard = dashboard();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            // The last argument is a label.
            let query = text(&variable["query"]["query"]);
            let (series, label) = query.rsplit_once(", ").unwrap();
            assert!(ADDED.contains(&label.trim_end_matches(')')), "{query}");
            found.push((text(&variable["name"]), format!("{series})")));
        }
    }
    found.extend(alerts().iter().map(|alert| (text(&alert["alert"]), text(&alert["expr"]))));
    found
}

#[test]
fn every_expression_asks_for_what_is_told() {
    let server = Served::start(&QUIET, &[]);
    // The series of rows that Envoys share are there once one has a stream, and those of a debt once there is one.
    let id = [("tenant_type", "free"), ("tenant", "acme")];
    let _stream = report_to(&server, "management-api", 1_000_000, &[&id]);
    eventually("it is told", || get(&server, "/metrics").contains("tollgate_quota_owed_tokens{"));
    let told = series(&get(&server, "/metrics"));
    let expressions = expressions();
    assert!(expressions.len() > 30, "{expressions:?}");
    for (place, expression) in &expressions {
        let (metrics, labels) = asked(expression);
        assert!(!metrics.is_empty(), "{place}: {expression}");
        let mut known: BTreeSet<_> = ADDED.iter().map(|&label| label.to_owned()).collect();
        for metric in &metrics {
            let labels = told.get(metric);
            known.extend(labels.unwrap_or_else(|| panic!("{place}: no {metric}")).iter().cloned());
        }
        let unknown: Vec<_> = labels.difference(&known).collect();
        assert!(unknown.is_empty(), "{place}: no label {unknown:?}: {expression}");
    }
    // What is told and asked for nowhere would be noticed by nobody.
    let asked: BTreeSet<_> = expressions.iter().flat_map(|(_, text)| asked(text).0).collect();
    for metric in told.keys().filter(|name| !name.ends_with("_count") && !name.ends_with("_sum")) {
        let is_in_file =
            metric == "tollgate_snapshot_keys" || metric.starts_with("tollgate_snapshot_errors");
        assert!(asked.contains(metric) || is_in_file, "nobody asks for {metric}");
    }
}

#[test]
fn an_expression_is_read_as_promql_reads_it() {
    let (metrics, labels) = asked(
        "topk(20, sum by (a, b) (rate(m_total{c=~\"x{d}\",e!=\"\"}[5m]))) / on (f) n > 0.5 and o",
    );
    assert_eq!(metrics.into_iter().collect::<Vec<_>>(), ["m_total", "n", "o"]);
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e", "f"]);
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_on() {
    let alerts = alerts();
    assert!(alerts.len() > 5);
    let told = std::fs::read_to_string("docs/operations.md").unwrap();
    let headings = told.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    let headings: BTreeSet<_> = headings.map(anchor).collect();
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(name.starts_with("Tollgate") && names.insert(name.to_owned()), "{name}");
        let span = humantime::parse_duration(alert["for"].as_str().unwrap()).unwrap();
        assert!(span.as_secs() >= 60, "{name}");
        assert!(["page", "ticket"].contains(&alert["labels"]["severity"].as_str().unwrap()));
        for part in ["summary", "description"] {
            assert!(!alert["annotations"][part].as_str().unwrap().is_empty(), "{name}: {part}");
        }
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        let section =
            runbook.strip_prefix("docs/operations.md#").unwrap_or_else(|| panic!("{name}"));
        let is_anchor = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(!section.is_empty() && section.chars().all(is_anchor), "{name}: {section}");
        assert!(headings.contains(section), "{name}: docs/operations.md has no {section}");
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(
        (&variables[0]["name"], &variables[0]["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]) {
            assert_eq!(source["uid"], "${datasource}", "{panel}");
        }
    }
}

/// What Prometheus itself says, where `promtool` is at hand.
#[test]
#[ignore = "needs promtool; bash tests/run.sh"]
fn promtool_takes_the_alerts_and_the_names_of_metrics() {
    let promtool = tool("TOLLGATE_PROMTOOL", "bin/promtool");
    let checked = Command::new(&promtool).args(["check", "rules", ALERTS]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let server = Served::start(&QUIET, &[]);
    // It reads the classic format, which is for all that do not ask for another.
    let text = get(&server, "/metrics");
    assert!(text.contains("# TYPE tollgate_requests_total counter\n"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, text).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let checked = Command::new(&promtool).args(["check", "metrics"]).stdin(input).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
