//! What requests to a descriptor tree count. The numbers are worked by hand from the arithmetic of envoyproxy/ratelimit.

use super::*;
use crate::clock::Timestamp;
use crate::decision;
use crate::descriptor::{BroughtLimit, Hits};
use crate::limit::{Counting, Unit};
use crate::policy::descriptor_tree::support::{node, policy};
use crate::policy::descriptor_tree::{NewNode, TreeSettings};
use crate::store::MemoryStore;

const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

/// A descriptor: its entries, its hits, and the limit that it brings.
type Asked<'a> = (&'a [(&'a str, &'a str)], Hits, Option<BroughtLimit>);

/// A tree of a domain `d`, its store and its statistics.
struct Counted {
    policy: Policy,
    store: MemoryStore,
    stats: RatelimitStats,
    of_tree: TreeStats,
}

impl Counted {
    fn new(nodes: Vec<NewNode>) -> Self {
        Self::in_deployment(nodes, &TreeSettings::default())
    }

    fn in_deployment(nodes: Vec<NewNode>, settings: &TreeSettings) -> Self {
        let stats = RatelimitStats::new(StatsSettings::default());
        let policy = policy(nodes, settings);
        let of_tree = handles(&stats, &policy);
        Self { policy, store: MemoryStore::new(1_000), stats, of_tree }
    }

    fn ask(&self, descriptors: &[Asked<'_>]) {
        let mut query = Query::default();
        query.begin("d", descriptors.len()).unwrap();
        for (entries, hits, limit) in descriptors {
            entries.iter().for_each(|(key, value)| query.entry(*key, *value));
            query.close(*hits, *limit).unwrap();
        }
        let plan = self.policy.resolve(&query, NOW);
        let verdict = decision::decide(&plan, &self.store, NOW).unwrap();
        self.stats.count(&self.of_tree, &self.policy, &query, &plan, &verdict);
    }

    /// Asks for hits on one descriptor after another, each in a request of its own.
    fn hit(&self, entries: &[(&str, &str)], hits: &[u64]) {
        hits.iter().for_each(|hits| self.ask(&[(entries, Hits::charge(*hits), None)]));
    }

    /// What has risen below the domain, and in shadow of all.
    fn told(&self) -> Vec<(String, u64)> {
        let counters = self.stats.counters(Loads::default()).into_iter();
        let told = counters.filter_map(|(name, value)| {
            let name = name.strip_prefix("ratelimit.service.")?;
            Some((name.strip_prefix("rate_limit.d.").unwrap_or(name).to_owned(), value))
        });
        told.collect()
    }
}

fn handles(stats: &RatelimitStats, policy: &Policy) -> TreeStats {
    stats.for_policies(std::slice::from_ref(policy)).pop().flatten().unwrap()
}

fn named(counters: &[(&str, u64)]) -> Vec<(String, u64)> {
    let mut named: Vec<_> =
        counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    named.sort_unstable();
    named
}

const ONE: Hits = Hits::ONE;

#[test]
fn requests_one_after_another_count_within_near_and_over() {
    let counted = Counted::new(vec![node("a", "").per_minute(10)]);
    // Near from 8 on: 7 are not; of 2 the second is; 9 + 3 fill it near with 1 and are over by 2; the last is over.
    counted.hit(&[("a", "x")], &[7, 2, 3, 1]);
    let expected = [
        ("a.total_hits", 13),
        ("a.within_limit", 9),
        ("a.near_limit", 1 + 1),
        ("a.over_limit", 2 + 1),
    ];
    assert_eq!(counted.told(), named(&expected));
}

#[test]
fn equal_descriptors_of_one_request_each_count_from_where_the_one_before_ends() {
    let counted = Counted::new(vec![node("a", "").per_minute(5)]);
    let twice = |hits| {
        let asked: Asked<'_> = (&[("a", "x")], Hits::charge(hits), None);
        counted.ask(&[asked, asked]);
    };
    // Near from 4 on: 0 to 2 and 2 to 4, both within; then 4 to 6, near by 1 and over by 1, and 6 to 8, over.
    twice(2);
    assert_eq!(counted.told(), named(&[("a.total_hits", 4), ("a.within_limit", 4)]));
    twice(2);
    let expected =
        [("a.total_hits", 8), ("a.within_limit", 4), ("a.near_limit", 1), ("a.over_limit", 1 + 2)];
    assert_eq!(counted.told(), named(&expected));
}

#[test]
fn hits_over_a_limit_in_shadow_count_twice() {
    let counted = Counted::new(vec![node("a", "1").per_minute(2).in_shadow()]);
    counted.hit(&[("a", "1")], &[3, 2]);
    // Near from 1 on.
    let expected = [
        ("a_1.total_hits", 5),
        ("a_1.near_limit", 1),
        ("a_1.over_limit", 1 + 2),
        ("a_1.shadow_mode", 1 + 2),
    ];
    assert_eq!(counted.told(), named(&expected));
}

#[test]
fn looks_and_unlimited_unmatched_and_replaced_descriptors_count_nothing() {
    let counted = Counted::new(vec![
        node("a", "").per_minute(1),
        node("free", "").unlimited(),
        node("old", "").per_minute(1).named("old"),
        node("new", "").per_minute(9).replacing(&["old"]),
    ]);
    counted.ask(&[
        (&[("a", "x")], Hits::PEEK, None),
        (&[("a", "x")], Hits::give_back(3), None),
        (&[("free", "x")], ONE, None),
        (&[("unknown", "x")], ONE, None),
        (&[("old", "x")], ONE, None),
        (&[("new", "x")], ONE, None),
    ]);
    assert_eq!(counted.told(), named(&[("new.total_hits", 1), ("new.within_limit", 1)]));
}

#[test]
fn a_limit_that_envoy_brings_counts_at_the_path_of_its_values() {
    let counted = Counted::new(vec![node("a", "x*").unlimited()]);
    let brought = BroughtLimit::new(1, 1, Unit::Minute);
    counted.ask(&[(&[("a", "xyz:1"), ("ip", "10.0.0.1")], Hits::charge(3), Some(brought))]);
    let expected = [
        ("a_xyz_1.ip_10_0_0_1.total_hits", 3),
        ("a_xyz_1.ip_10_0_0_1.near_limit", 1),
        ("a_xyz_1.ip_10_0_0_1.over_limit", 2),
    ];
    assert_eq!(counted.told(), named(&expected));
}

#[test]
fn a_request_that_only_the_deployments_shadow_lets_pass_is_counted() {
    let settings = TreeSettings { is_shadow: true, ..TreeSettings::default() };
    let limits = || {
        vec![
            node("a", "").per_minute(1),
            node("shadow", "").per_minute(0).in_shadow(),
            node("quota", "").per_minute(0).into_quota(),
        ]
    };
    let excused = |settings: &TreeSettings, asked: &[&str]| {
        let counted = Counted::in_deployment(limits(), settings);
        let entries: Vec<_> = asked.iter().map(|key| [(*key, "x")]).collect();
        let asked: Vec<Asked<'_>> =
            entries.iter().map(|entry| (&entry[..], Hits::charge(2), None)).collect();
        counted.ask(&asked);
        counted.told().iter().any(|counter| *counter == ("global_shadow_mode".to_owned(), 1))
    };
    assert!(excused(&settings, &["a"]) && excused(&settings, &["quota"]));
    assert!(!excused(&settings, &["shadow"]));
    assert!(!excused(&TreeSettings::default(), &["a"]));
}

#[test]
fn what_is_spared_counts_as_if_it_were_charged() {
    for counting in [Counting::SpareOthers, Counting::AllOrNone] {
        let settings = TreeSettings { counting, ..TreeSettings::default() };
        let limits = vec![node("wide", "").per_minute(10), node("narrow", "").per_minute(1)];
        let counted = Counted::in_deployment(limits, &settings);
        counted.hit(&[("wide", "x")], &[7]);
        let both: [Asked<'_>; 2] = [
            (&[("wide", "x")], Hits::charge(2), None),
            (&[("narrow", "x")], Hits::charge(2), None),
        ];
        counted.ask(&both);
        counted.ask(&both);
        // The wide one stands at 7 both times, and is near from 8 on. The narrow one is near at once; only what is
        // over stays in its count if others are spared.
        let (near, over) = match counting {
            Counting::AllOrNone => (2, 2),
            _ => (1, 1 + 2),
        };
        let expected = [
            ("wide.total_hits", 11),
            ("wide.within_limit", 11),
            ("wide.near_limit", 1 + 1),
            ("narrow.total_hits", 4),
            ("narrow.near_limit", near),
            ("narrow.over_limit", over),
        ];
        assert_eq!(counted.told(), named(&expected), "{counting:?}");
    }
}

#[test]
fn paths_of_requests_are_bounded_and_further_ones_count_together() {
    let nodes = vec![node("user", "").per_minute(1_000).detailed(), node("all", "").per_minute(9)];
    let counted = Counted::new(nodes);
    let users: Vec<_> = (0..paths::MAX_OF_REQUESTS + 7).map(|user| format!("u{user}")).collect();
    users.iter().for_each(|user| counted.hit(&[("user", user)], &[1]));
    // Those that are known go on, and paths of the configuration are no part of the bound.
    counted.hit(&[("user", "u0")], &[5]);
    counted.hit(&[("all", "x")], &[1]);
    let told = counted.told();
    let of = |name: &str| told.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    assert_eq!((of("user_u0.total_hits"), of("user_u9999.total_hits")), (Some(6), Some(1)));
    assert_eq!((of("user_u10000.total_hits"), of("other.total_hits")), (None, Some(7)));
    assert_eq!((of("other.within_limit"), of("all.total_hits")), (Some(7), Some(1)));
    counted.stats.count_unknown_domain("made up".into(), 2);
    let found = counted.stats.counters(Loads::default());
    assert_eq!(found.get("ratelimit.service.rate_limit.other.domain_not_found"), Some(&2));
}

#[test]
fn statistics_begin_with_the_first_tree_and_a_reload_continues_them() {
    let stats = RatelimitStats::new(StatsSettings::default());
    let loads = Loads { successful: 1, failed: 2 };
    stats.count_unknown_domain("shop".into(), 1);
    stats.count_service_error();
    assert!(stats.for_policies(&[]).is_empty());
    assert!(stats.counters(loads).is_empty());
    let mut text = String::new();
    stats.observe(Nanos::from_secs(1));
    stats.encode(loads, TextFormat::Classic, &mut text).unwrap();
    assert_eq!(text, "");
    let counted = Counted::new(vec![node("a", "").per_minute(9), node("b", "").per_minute(9)]);
    counted.hit(&[("a", "x")], &[2]);
    let settings = TreeSettings::default();
    let policy = policy(vec![node("a", "").per_minute(3)], &settings);
    let of_tree = handles(&counted.stats, &policy);
    let counted = Counted { policy, of_tree, ..counted };
    counted.hit(&[("a", "x")], &[1]);
    // Of 3 now, and near from 2 on: the count is kept.
    let expected = [("a.total_hits", 3), ("a.within_limit", 3), ("a.near_limit", 1)];
    assert_eq!(counted.told(), named(&expected));
}

#[test]
fn the_ratio_and_the_unit_are_those_of_the_deployment() {
    let of = |sink, near_limit_ratio| {
        let (flush_interval, extra_tags) = (std::time::Duration::from_secs(10), vec![]);
        StatsSettings::from(&Statistics { near_limit_ratio, sink, flush_interval, extra_tags })
    };
    assert_eq!(of(Sink::Log, 0.8), StatsSettings::default());
    let in_milliseconds = Sink::Prometheus { is_in_milliseconds: true };
    let settings = of(in_milliseconds, 0.5);
    assert_eq!(settings.time_unit, TimeUnit::Milliseconds);
    let stats = RatelimitStats::new(settings);
    let policy = policy(vec![node("a", "").per_minute(10)], &TreeSettings::default());
    let (of_tree, store) = (handles(&stats, &policy), MemoryStore::new(100));
    let counted = Counted { policy, store, stats, of_tree };
    counted.hit(&[("a", "x")], &[7]);
    let expected = [("a.total_hits", 7), ("a.within_limit", 7), ("a.near_limit", 2)];
    assert_eq!(counted.told(), named(&expected));
}

/// The metrics and labels that the queries of public dashboards name: those of the add-ons of Envoy Gateway, whose keys are
/// names of routes, and those of its tests; and what alerts for deployments of envoyproxy/ratelimit ask for.
#[test]
fn queries_of_public_dashboards_find_their_series() {
    let route = "httproute/default/http-ratelimit/rule/0/match/0/ratelimit_example";
    let (rule, network) = ("rule-0-match-0", "masked_remote_address");
    let limits = [node(rule, rule).per_minute(2), node(network, "0.0.0.0/0").per_minute(2)];
    let counted = Counted::new(vec![
        node(route, route).with(limits),
        node("shadow", "").per_minute(1).in_shadow(),
    ]);
    for [key, value] in [[rule, rule], [network, "0.0.0.0/0"]] {
        counted.hit(&[(route, route), (key, value)], &[2, 1]);
    }
    counted.hit(&[("shadow", "x")], &[2]);
    counted.stats.count_service_error();
    counted.stats.observe(Nanos::from_secs(1));
    let mut text = String::new();
    let loads = Loads { successful: 1, failed: 1 };
    counted.stats.encode(loads, TextFormat::Classic, &mut text).unwrap();
    let of_limits = ["total_hits", "over_limit", "near_limit", "within_limit"];
    let of_limits = of_limits.iter().flat_map(|name| {
        ["rule-0-match-0_rule-0-match-0", "masked_remote_address_0_0_0_0/0"].map(|key2| {
            format!(
                "ratelimit_service_rate_limit_{name}{{domain=\"d\",key1=\"{route}_{route}\",\
                 key2=\"{key2}\"}} "
            )
        })
    });
    let others = [
        "ratelimit_service_rate_limit_shadow_mode{domain=\"d\",key1=\"shadow\"} ",
        "ratelimit_service_should_rate_limit_error{err_type=\"service_error\"} ",
        "ratelimit_service_total_requests{grpc_method=\"ShouldRateLimit\"} ",
        "ratelimit_service_response_time_seconds_bucket{grpc_method=\"ShouldRateLimit\",le=\"1\"} ",
        "ratelimit_service_response_time_seconds_sum{grpc_method=\"ShouldRateLimit\"} ",
        "ratelimit_service_response_time_seconds_count{grpc_method=\"ShouldRateLimit\"} ",
        "ratelimit_service_config_load_success ",
        "ratelimit_service_config_load_error ",
    ];
    for series in of_limits.chain(others.map(str::to_owned)) {
        assert!(text.lines().any(|line| line.starts_with(&series)), "no {series}: {text}");
    }
    let docs = std::fs::read_to_string("docs/metrics.md").unwrap();
    for metric in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = metric.split_once(' ').unwrap();
        assert!(docs.contains(&format!("| {kind} | `{name}` |")), "{metric} is not in the docs");
    }
}
