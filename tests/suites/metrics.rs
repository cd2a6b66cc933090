//! What `/metrics` tells.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::frames;
use crate::support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use frames::{Connection, DATA};
use prost::Message;
use support::{
    Parts, START, TestServer, call, descriptor, eventually, hits, limit, request, server, source,
};
use tollgate::clock::Nanos;
use tollgate::policy_files::PolicyFiles;
use tollgate::shares::{Inexpressible, Row};

/// The value of a series, as it stands in the text.
fn value(text: &str, series: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}: {text}")).to_owned()
}

/// The kind of every metric, by the name that it is asked for by.
fn kinds(text: &str) -> Vec<(String, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines.map(|(name, kind)| (name.to_owned(), kind)).collect()
}

/// The labels of a metric's series, without those that make a histogram's.
fn labels(text: &str, name: &str) -> BTreeSet<String> {
    let of_name = |line: &&str| {
        let rest = line.strip_prefix(name).map(|rest| rest.trim_start_matches("_bucket"));
        rest.is_some_and(|rest| rest.starts_with('{'))
    };
    let series = text.lines().filter(of_name).flat_map(|line| {
        // No value of a label here has a brace, a comma or an equals sign.
        let pairs = line.split_once('{').unwrap().1.split('}').next().unwrap();
        pairs.split(',').map(|pair| pair.split('=').next().unwrap().to_owned()).collect::<Vec<_>>()
    });
    series.filter(|label| label != "le").collect()
}

#[test]
fn every_metric_is_in_the_docs_with_its_type_and_labels_and_no_other_is() {
    let table = "tables: [{ name: t, charge: always, key: [k], rows: { all: [{ per_hour: 1 }] } }]";
    let (server, _) = server(table);
    // The series of a row are there once an Envoy has reported of it.
    let row = Row { domain: "d".into(), table: "t".into(), row: "all".into() };
    let quotas = server.parts.telemetry.quotas();
    quotas.count_requests(&row, [1, 0]);
    quotas.count_inexpressible(&row, Inexpressible::Concurrency);
    quotas.set_owed([(&row, 1.0)]);
    let text = server.get("/metrics");
    let exposed: BTreeSet<_> = kinds(&text)
        .into_iter()
        .map(|(name, kind)| (name.clone(), kind.to_owned(), labels(&text, &name)))
        .collect();
    let docs = std::fs::read_to_string("docs/metrics.md").unwrap();
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split('`').skip(1).step_by(2).map(str::to_owned);
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), exposed);
    assert_eq!(listed.len(), exposed.len());
}

/// What `promtool check metrics` asks for, and the conventions of Prometheus on top.
#[test]
fn names_and_helps_follow_prometheus() {
    let (server, _) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    let text = server.get("/metrics");
    let kinds = kinds(&text);
    assert!(kinds.len() > 20, "{text}");
    for (name, kind) in kinds {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_plain) && name.starts_with(char::is_alphabetic), "{name}");
        let whole = name.strip_suffix("_total");
        assert_eq!(whole.is_some(), kind == "counter", "{name}");
        let help = text
            .lines()
            .find_map(|line| line.strip_prefix("# HELP ")?.strip_prefix(&*name)?.strip_prefix(' '));
        let whole = whole.unwrap_or(&name);
        let help = help.unwrap_or_else(|| panic!("{name} has no help"));
        assert!(help.ends_with('.') && !help.ends_with(".."), "{name}: {help}");
        assert!(help.starts_with(|c: char| c.is_uppercase() || c == 'g'), "{name}: {help}");
        let words: Vec<_> = whole.split('_').collect();
        for not_base in ["ms", "us", "millis", "milliseconds", "microseconds", "nanos", "percent"] {
            assert!(!words.contains(&not_base), "{name}");
        }
        for of_others in ["count", "sum", "bucket", "histogram", "gauge", "counter", "total"] {
            assert_ne!(words.last(), Some(&of_others), "{name}");
        }
        let is_time = words.contains(&"duration") || words.contains(&"timestamp");
        assert!(!is_time || words.last() == Some(&"seconds"), "{name}");
        assert_eq!(kind == "histogram", words.contains(&"duration"), "{name}");
    }
}

/// The `content-type` of `/metrics`, and the metrics, for these headers.
fn scraped(server: &TestServer, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (kind.to_owned(), text.to_owned())
}

#[test]
fn a_scraper_gets_the_format_that_it_asks_for_and_the_classic_one_without_asking() {
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
    let (server, mut client) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    client.ask(call(&[("k", "1")]));
    let counted = "tollgate_requests_total{domain=\"d\",code=\"ok\"} 1\n";
    for (headers, expected) in [
        ("", CLASSIC),
        ("accept: */*\r\n", CLASSIC),
        ("accept: text/plain;version=0.0.4\r\n", CLASSIC),
        ("accept: application/openmetrics-text;q=0.4\r\naccept: text/plain;q=0.5\r\n", CLASSIC),
        ("accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n", OPEN),
    ] {
        let (kind, text) = scraped(&server, headers);
        assert_eq!(kind, expected, "{headers}");
        assert!(text.contains(counted), "{headers}: {text}");
        let is_open = expected == OPEN;
        assert_eq!(text.ends_with("# EOF\n"), is_open, "{headers}");
        assert_eq!(text.contains("# UNIT "), is_open, "{headers}");
        assert_eq!(text.contains("# TYPE tollgate_requests counter\n"), is_open, "{headers}");
        assert_eq!(
            text.contains("# TYPE tollgate_requests_total counter\n"),
            !is_open,
            "{headers}"
        );
    }
}

/// Whichever format, a scraper finds the same series.
#[test]
fn both_formats_have_the_same_series() {
    let (server, _) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    // Without their values: connections come and go.
    let series = |accept: &str| {
        let (_, text) = scraped(&server, accept);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<_> =
            samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        series.sort_unstable();
        series
    };
    let classic = series("");
    assert!(classic.len() > 80, "{classic:?}");
    assert_eq!(series("accept: application/openmetrics-text\r\n"), classic);
}

#[test]
fn hits_are_counted_where_decisions_are() {
    let parts = Parts::new(
        &source(
            "domain: d\ntables:\n  - { name: t, key: [k], rows: { all: [{ per_minute: 10 }, \
             { per_hour: 100 }] } }\n  - { name: s, key: [k], shadow: true, rows: { all: [{ \
             per_minute: 5 }] } }\n",
        ),
        1000,
    );
    let ask = |count| parts.ask(&request("d", &[hits(count, &[("k", "1")])])).is_ok();
    assert!(ask(4) && ask(3) && !ask(20) && !ask(4) && ask(0));
    let text = parts.telemetry.encode().unwrap();
    let told = |metric, table, outcome| {
        let labels = format!("domain=\"d\",table=\"{table}\",row=\"all\",outcome=\"{outcome}\"");
        value(&text, &format!("tollgate_{metric}_total{{{labels}}}"))
    };
    for (table, outcome, decisions, hits) in [
        ("t", "admitted", "3", "7"),
        ("t", "over_limit", "2", "24"),
        ("s", "admitted", "2", "4"),
        ("s", "shadow_over_limit", "3", "27"),
    ] {
        assert_eq!(told("decisions", table, outcome), decisions, "{table} {outcome}");
        assert_eq!(told("hits", table, outcome), hits, "{table} {outcome}");
    }
}

const CALLS: &str = "tollgate_call_duration_seconds";

#[test]
fn a_call_is_timed_from_its_last_byte_until_its_answer_has_gone_out() {
    let (server, _) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    let mut connection = Connection::open(server.grpc);
    connection.send(&frames::room_of_answers(3));
    let [begun, rest] = frames::halves(1, &call(&[("k", "1")]));
    connection.send(&begun);
    // Calls are begun once all is read that has come, be it a ping.
    connection.settle();
    connection.settle();
    server.advance(Nanos::from_secs(100));
    connection.send(&rest);
    connection.wait_for(DATA, 1).unwrap();
    server.advance(Nanos::from_secs(2));
    connection.send(&frames::more_room(1, 1000));
    connection.wait_for_answer(1);
    eventually("it is counted", || {
        let text = server.parts.telemetry.encode().unwrap();
        value(&text, &format!("{CALLS}_count")) == "1"
    });
    let text = server.parts.telemetry.encode().unwrap();
    assert_eq!(value(&text, &format!("{CALLS}_sum")), "2.0");
}

#[test]
fn some_calls_are_timed() {
    let (server, mut client) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    // The first of a worker is.
    for (calls, timed) in [(1, "1"), (60, "1"), (1, "2"), (61, "3")] {
        for _ in 0..calls {
            client.ask(call(&[("k", "1")]));
        }
        let text = server.get("/metrics");
        assert_eq!(value(&text, &format!("{CALLS}_count")), timed);
    }
}

#[test]
fn a_reload_tells_when_it_was_and_whether_it_came_into_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let good = "domain: d\ntables: [{ name: t, key: [k], rows: { all: unlimited } }]\n";
    let server = TestServer::with_policy(good);
    let parts = &server.parts;
    let files = PolicyFiles::new(path.clone(), parts.key, Arc::clone(&parts.policies));
    let told = || {
        let text = server.get("/metrics");
        ["last_reload_successful", "last_reload_success_timestamp_seconds", "reload_errors_total"]
            .map(|name| value(&text, &format!("tollgate_config_{name}")).parse::<u64>().unwrap())
    };
    let start = START.as_unix_secs_ceil();
    assert_eq!(told(), [1, start, 0]);
    for (after, text, expected) in [
        (1, "domain: [", [0, start, 1]),
        (2, good, [1, start + 2, 1]),
        // It says what it said: in force since then.
        (3, good, [1, start + 2, 1]),
        (4, "tables: 1", [0, start + 2, 2]),
        (5, good, [1, start + 2, 2]),
    ] {
        std::fs::write(&path, text).unwrap();
        let now = START.after(Nanos::from_secs(after));
        assert_eq!(files.reload(now).is_ok(), expected[0] == 1);
        assert_eq!(told(), expected);
    }
}

/// Values, keys, domains and limits that a client makes up: a million of them.
#[test]
fn no_series_is_made_by_what_a_client_sends() {
    let parts = Parts::new(
        &source(
            "domain: d\ntables:\n  - { name: t, select: kind, key: [k], rows: { a: [{ per_minute: \
             1 }], default: [{ per_minute: 1 }] } }\n",
        ),
        10_000,
    );
    let series = || {
        let text = parts.telemetry.encode().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    // A limit that Envoy brings has a row of its own.
    let brought = limit(1, 2, None, &[("k", "1")]);
    parts.ask(&request("d", &[brought]));
    let before = series();
    let together = 250;
    for round in 0..1_000_000 / together {
        let descriptors = (0..together).map(|at| {
            let made_up = format!("{round}.{at}");
            let own_key = format!("key {made_up}");
            let entries = [("kind", &*made_up), ("k", &made_up), (&*own_key, &made_up)];
            if at % 2 == 0 { descriptor(&entries) } else { limit(at, 2, None, &entries) }
        });
        let message = request("d", &descriptors.collect::<Vec<_>>());
        assert!(parts.answer(&message.encode_to_vec()).is_ok());
        for at in 0..together / 10 {
            let domain = format!("domain {round}.{at}");
            let message = request(&domain, &[descriptor(&[("k", "1")])]).encode_to_vec();
            assert!(parts.answer(&message).is_ok());
        }
    }
    assert_eq!(series(), before);
    let text = parts.telemetry.encode().unwrap();
    assert_eq!(value(&text, "tollgate_unknown_domain_requests_total"), "100000");
}
