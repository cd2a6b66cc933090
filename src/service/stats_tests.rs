//! What whole calls count in the statistics of envoyproxy/ratelimit.

use super::*;
use crate::clock::ManualClock;
use crate::config::{self, Source};
use crate::live::{PolicyVersion, VersionedPolicies};
use crate::observe::telemetry::TextFormat;
use crate::policy::descriptor_tree::TreeSettings;
use crate::policy::descriptor_tree::support::{node, policy};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};

const START: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

fn of_tables() -> Policy {
    let text = "domain: shop\ntables: [{ name: t, key: [a], rows: { all: [{ per_hour: 1 }] } }]";
    let source = Source { name: "shop.yaml".into(), text: text.into() };
    let policies = config::compile(&[source], FingerprintKey::fixed(7)).unwrap();
    policies.into_policies().next().unwrap()
}

fn service(policies: Vec<Policy>) -> Arc<Service> {
    service_at(Arc::new(ManualClock::at(START)), policies)
}

fn service_at(clock: Arc<dyn Clock>, policies: Vec<Policy>) -> Arc<Service> {
    let store = Arc::new(MemoryStore::new(1_000));
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
    let first = VersionedPolicies {
        policies: Policies::new(policies),
        version: PolicyVersion::new("1".to_owned(), Vec::new()),
        warnings: Vec::new(),
    };
    let policies = ActivePolicies::new(first, Arc::clone(&telemetry), START);
    Service::in_memory(clock, Arc::new(policies), store, telemetry)
}

fn ask(service: &Arc<Service>, json: &str) {
    let message = wire::json::decode_request(json.as_bytes()).unwrap();
    let Response::Ready(_) = service.handle(&message, None) else { panic!("not in memory") };
}

/// A request of so many hits, for one descriptor.
fn request(domain: &str, hits: u32) -> String {
    let descriptor = r#"{"entries":[{"key":"a","value":"x"}]}"#;
    format!(r#"{{"domain":"{domain}","descriptors":[{descriptor}],"hits_addend":{hits}}}"#)
}

#[test]
fn calls_count_by_the_tree_and_not_by_tables() {
    let tree = policy(vec![node("a", "").per_minute(2)], &TreeSettings::default());
    let service = service(vec![tree, of_tables()]);
    ask(&service, &request("d", 3));
    ask(&service, &request("shop", 1));
    ask(&service, &request("elsewhere", 1));
    ask(&service, r#"{"domain":"d"}"#);
    let counters = service.telemetry().ratelimit_counters();
    let told: Vec<_> = counters.iter().map(|(name, value)| (&**name, *value)).collect();
    let expected = [
        ("ratelimit.service.call.should_rate_limit.service_error", 1),
        ("ratelimit.service.config_load_success", 1),
        ("ratelimit.service.rate_limit.d.a.near_limit", 1),
        ("ratelimit.service.rate_limit.d.a.over_limit", 1),
        ("ratelimit.service.rate_limit.d.a.total_hits", 3),
        ("ratelimit.service.rate_limit.elsewhere.domain_not_found", 1),
        ("ratelimit_server.ShouldRateLimit.total_requests", 3),
    ];
    assert_eq!(told, expected);
    let classic = service.telemetry().encode_as(TextFormat::Classic).unwrap();
    let open = service.telemetry().encode().unwrap();
    let series = r#"ratelimit_service_rate_limit_total_hits{domain="d",key1="a"} 3"#;
    assert!(classic.contains(series) && open.contains(series), "{classic}");
    let last = "ratelimit_service_response_time_seconds_count{grpc_method=\"ShouldRateLimit\"} 3\n";
    assert!(classic.ends_with(last) && open.ends_with(&format!("{last}# EOF\n")), "{open}");
}

/// What a scrape tells of this metric.
fn scraped(service: &Service, metric: &str) -> Option<f64> {
    let text = service.telemetry().encode_as(TextFormat::Classic).unwrap();
    let labels = r#"{grpc_method="ShouldRateLimit"} "#;
    let values = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix(labels));
    values.map(|value| value.parse().unwrap()).next()
}

#[test]
fn every_call_is_timed_that_is_counted() {
    let tree = policy(vec![node("a", "").per_minute(2)], &TreeSettings::default());
    let service = service(vec![tree, of_tables()]);
    // A number that is no multiple of any sample.
    for _ in 0..101 {
        ask(&service, &request("d", 1));
        ask(&service, &request("shop", 1));
        ask(&service, &request("elsewhere", 1));
    }
    for metric in ["total_requests", "response_time_seconds_count"] {
        assert_eq!(scraped(&service, &format!("ratelimit_service_{metric}")), Some(202.0));
    }
}

#[test]
fn a_call_counts_with_the_time_until_its_answer() {
    /// Each reading is a second later.
    struct Ticking(ManualClock);
    impl Clock for Ticking {
        fn read(&self) -> Now {
            self.0.advance(Nanos::from_secs(1));
            self.0.read()
        }
    }
    let tree = policy(vec![node("a", "").per_minute(2)], &TreeSettings::default());
    let service = service_at(Arc::new(Ticking(ManualClock::at(START))), vec![tree]);
    ask(&service, &request("d", 1));
    ask(&service, &request("d", 1));
    let sum = scraped(&service, "ratelimit_service_response_time_seconds_sum");
    assert_eq!(sum, Some(2.0));
}

#[test]
fn a_server_of_tables_has_none_of_these_statistics() {
    let service = service(vec![of_tables()]);
    for request in [request("shop", 1), request("elsewhere", 1), "{}".to_owned()] {
        ask(&service, &request);
    }
    assert!(service.telemetry().ratelimit_counters().is_empty());
    let text = service.telemetry().encode_as(TextFormat::Classic).unwrap();
    assert!(!text.contains("ratelimit_service"), "{text}");
}
