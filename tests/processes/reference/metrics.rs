//! The counters of limits, by the names under which dashboards ask Prometheus for them.

use std::collections::BTreeMap;

use super::http::curl;
use super::process::eventually;
use super::sides::{Deployment, Sides};
use super::support::{descriptor, hits, limit, request};

pub(super) const CONFIG: &str = "domain: d
descriptors:
  - { key: k, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: k, value: v, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: w, value: a*, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: metric, value_to_metric: true, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: pattern, value: a*, value_to_metric: true, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: shared, value: a*, value_to_metric: true, share_threshold: true, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: detailed, value: a*, detailed_metric: true, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: year, requests_per_unit: 2 } }
  - { key: free, rate_limit: { unlimited: true } }
  - key: two
    descriptors:
      - key: levels
        value: v
        rate_limit: { unit: year, requests_per_unit: 10 }
        descriptors:
          - { key: three, rate_limit: { unit: year, requests_per_unit: 10 } }
          - { key: other, rate_limit: { unit: year, requests_per_unit: 10 } }
  - { key: address, value_to_metric: true, rate_limit: { unit: year, requests_per_unit: 10 } }
";

/// What is counted of each of these limits.
const NAMES: [&str; 5] = ["total_hits", "within_limit", "near_limit", "over_limit", "shadow_mode"];

/// A limit's labels, and its counters in the order of [`NAMES`].
const EXPECTED: &[(&str, [u64; 5])] = &[
    (r#"domain="d",key1="k""#, [16, 9, 2, 6, 0]),
    (r#"domain="d",key1="k_v""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="w_a*""#, [2, 2, 0, 0, 0]),
    (r#"domain="d",key1="metric_x""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="metric_y""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="pattern_ab""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="shared_a*""#, [2, 2, 0, 0, 0]),
    (r#"domain="d",key1="detailed_ab""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="tried""#, [5, 2, 1, 3, 3]),
    (r#"domain="d",key1="two",key2="levels_v""#, [6, 6, 0, 0, 0]),
    (r#"domain="d",key1="brought_x",key2="more_y""#, [1, 1, 0, 0, 0]),
    (r#"domain="d",key1="address_10_0_0_1""#, [1, 1, 0, 0, 0]),
];

/// Of all limits, as a scrape tells them.
fn scraped(text: &str) -> BTreeMap<String, u64> {
    let of_limits = text.lines().filter(|line| line.starts_with("ratelimit_service_rate_limit_"));
    let series = of_limits.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    series.collect()
}

/// How often [`ask`] asks.
pub(super) const REQUESTS: u64 = 24;

/// Asks for limits of all kinds, and once without a domain.
pub(super) fn ask(sides: &Sides) {
    let of = |count, entries: &[(&str, &str)]| vec![hits(count, entries)];
    for asked in [
        of(7, &[("k", "x")]),
        of(2, &[("k", "x")]),
        of(3, &[("k", "x")]),
        of(4, &[("k", "x")]),
        of(0, &[("k", "y")]),
        of(1, &[("k", "v")]),
        of(1, &[("w", "ab")]),
        of(1, &[("w", "ac")]),
        of(1, &[("metric", "x")]),
        of(1, &[("metric", "y")]),
        of(1, &[("pattern", "ab")]),
        of(1, &[("shared", "ab")]),
        of(1, &[("shared", "ac")]),
        of(1, &[("detailed", "ab")]),
        of(2, &[("tried", "x")]),
        of(3, &[("tried", "x")]),
        of(9, &[("free", "x")]),
        of(9, &[("unmatched", "x")]),
        of(1, &[("two", "x"), ("levels", "v")]),
        of(2, &[("two", "x"), ("levels", "v"), ("three", "x")]),
        of(3, &[("two", "x"), ("levels", "v"), ("other", "x")]),
        vec![limit(9, 6, None, &[("brought", "x"), ("more", "y")])],
        of(1, &[("address", "10.0.0.1")]),
    ] {
        sides.ask(&request("d", &asked));
    }
    sides.ask(&request("", &[descriptor(&[("k", "x")])]));
}

#[test]
#[ignore = "needs the reference, Redis and curl; bash tests/run.sh"]
fn dashboards_find_their_counters() {
    let on = [("USE_PROMETHEUS", "true"), ("STATS_FLUSH_INTERVAL", "100ms")];
    let mut sides = Sides::all(&Deployment::of(&[("a.yaml", CONFIG)], &on));
    ask(&sides);
    let mut expected = BTreeMap::new();
    for (labels, counts) in EXPECTED {
        for (name, count) in NAMES.into_iter().zip(counts) {
            // A counter appears with its first increase.
            if *count > 0 {
                let series = format!("ratelimit_service_rate_limit_{name}{{{labels}}}");
                expected.insert(series, *count);
            }
        }
    }
    for service in sides.services() {
        let mut last = BTreeMap::new();
        eventually(service.name, || {
            let text = curl(service.prometheus, "/metrics", &[]).1;
            let now = scraped(&text);
            let is_over = text.contains("ratelimit_service_should_rate_limit_error{err_type=\"service_error\"} 1\n")
                && text.contains("ratelimit_service_config_load_success 1\n")
                && text.contains("ratelimit_service_total_requests{grpc_method=\"ShouldRateLimit\"} 24\n")
                && text.contains("ratelimit_service_response_time_seconds_count{grpc_method=\"ShouldRateLimit\"} 24\n");
            // The counters of one flush are not scraped halfway for ever.
            let is_still = now == last;
            last = now;
            (is_over && is_still).then_some(())
        });
        assert_eq!(last, expected, "{}", service.name);
    }
}
