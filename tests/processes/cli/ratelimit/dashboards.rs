//! The series that dashboards and alerts for envoyproxy/ratelimit ask for: those of Envoy Gateway's dashboard and of its
//! tests, and what others sum up and rate.

use std::collections::BTreeMap;

use super::*;
use crate::support::{Client, call, hits, request};

/// As Envoy Gateway names a rule, and as people write limits by hand.
const CONFIG: &str = "domain: default/eg/http
descriptors:
  - key: httproute/default/web/rule/0/match/0/*
    value: httproute/default/web/rule/0/match/0/*
    descriptors:
      - { key: rule-0-match-0, value: rule-0-match-0, rate_limit: { unit: year, requests_per_unit: 5 } }
      - { key: masked_remote_address, value: 0.0.0.0/0, rate_limit: { unit: year, requests_per_unit: 5 } }
  - { key: plan, value: free, rate_limit: { unit: year, requests_per_unit: 2 } }
  - { key: trial, shadow_mode: true, rate_limit: { unit: year, requests_per_unit: 1 } }
";

const ROUTE: &str = "httproute/default/web/rule/0/match/0/*";

/// A metric, the labels that a query compares, and the value of all series that it finds.
type Query = (&'static str, &'static [(&'static str, &'static str)], f64);

const DOMAIN: (&str, &str) = ("domain", "default/eg/http");
const KEY_1: (&str, &str) =
    ("key1", "httproute/default/web/rule/0/match/0/*_httproute/default/web/rule/0/match/0/*");
const RULE: [(&str, &str); 3] = [DOMAIN, KEY_1, ("key2", "rule-0-match-0_rule-0-match-0")];
const METHOD: (&str, &str) = ("grpc_method", "ShouldRateLimit");

const QUERIES: &[Query] = &[
    ("ratelimit_service_rate_limit_total_hits", &RULE, 7.0),
    ("ratelimit_service_rate_limit_within_limit", &RULE, 5.0),
    ("ratelimit_service_rate_limit_near_limit", &RULE, 1.0),
    ("ratelimit_service_rate_limit_over_limit", &RULE, 2.0),
    (
        "ratelimit_service_rate_limit_over_limit",
        &[("key2", "masked_remote_address_0_0_0_0/0")],
        1.0,
    ),
    ("ratelimit_service_rate_limit_over_limit", &[DOMAIN], 6.0),
    ("ratelimit_service_rate_limit_over_limit", &[DOMAIN, ("key1", "plan_free")], 1.0),
    ("ratelimit_service_rate_limit_shadow_mode", &[("key1", "trial")], 2.0),
    ("ratelimit_service_total_requests", &[METHOD], 7.0),
    ("ratelimit_service_should_rate_limit_error", &[("err_type", "service_error")], 1.0),
    ("ratelimit_service_config_load_success", &[], 1.0),
    ("ratelimit_service_config_load_error", &[], 1.0),
];

/// The labels of a series, and its value.
type Series = (BTreeMap<String, String>, f64);

/// The series of each metric.
fn scraped(text: &str) -> BTreeMap<&str, Vec<Series>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap().split("\",").filter(|of| !of.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        all.entry(name).or_default().push((labels.collect(), value.parse().unwrap()));
    }
    all
}

#[test]
fn the_series_that_dashboards_ask_for_are_there() {
    let folder = Folder::new(CONFIG);
    let set = [("USE_PROMETHEUS", "true"), ("PROMETHEUS_ADDR", "127.0.0.1:0")];
    let started = Started::new(&folder, &set);
    let mut client = Client::connect(started.address("grpc"));
    let domain = "default/eg/http";
    let rule = [(ROUTE, ROUTE), ("rule-0-match-0", "rule-0-match-0")];
    let address = [(ROUTE, ROUTE), ("masked_remote_address", "0.0.0.0/0")];
    for (count, entries) in [
        (5, &rule[..]),
        (2, &rule),
        (6, &address),
        (2, &[("plan", "free")]),
        (1, &[("plan", "free")]),
        (3, &[("trial", "t")]),
    ] {
        client.ask(request(domain, &[hits(count, entries)]));
    }
    client
        .try_ask(tollgate::wire::RateLimitRequest { domain: String::new(), ..call(&rule) })
        .unwrap_err();
    folder.write("domain: d\ndescriptors: [{ key: '' }]\n");
    let mut text = String::new();
    eventually("the wrong configuration is refused", || {
        started.get("metrics", "/metrics").1.contains("ratelimit_service_config_load_error 1\n")
    });
    text.push_str(&started.get("metrics", "/metrics").1);
    let all = scraped(&text);
    for (metric, labels, expected) in QUERIES {
        let series = all.get(metric).unwrap_or_else(|| panic!("no {metric}: {text}"));
        let has = |of: &Series| {
            labels.iter().all(|(name, value)| of.0.get(*name).is_some_and(|own| own == value))
        };
        let found: f64 = series.iter().filter(|of| has(of)).map(|of| of.1).sum();
        assert_eq!(found, *expected, "{metric} {labels:?}");
    }
    // Quantiles are taken of its buckets, by `le`.
    let buckets = &all["ratelimit_service_response_time_seconds_bucket"];
    assert!(buckets.iter().all(|of| of.0.contains_key("le") && of.0["grpc_method"] == METHOD.1));
    // Its dashboards have a panel of the process beside those of limits.
    for metric in ["process_resident_memory_bytes", "process_virtual_memory_bytes"] {
        assert!(all[metric].iter().all(|of| of.1 > 1e6), "{metric}: {text}");
    }
    assert!(buckets.len() > 5 && buckets.iter().any(|of| of.0["le"] == "+Inf" && of.1 > 0.0));
}
