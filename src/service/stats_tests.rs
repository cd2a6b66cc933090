//! What whole calls count in the statistics of envoyproxy/ratelimit.

use super::*;
use crate::clock::{ManualClock, Nanos};
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
    let store = Arc::new(MemoryStore::new(1_000));
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
    let first = VersionedPolicies {
        policies: Policies::new(policies),
        version: PolicyVersion::new("1".to_owned(), Vec::new()),
        warnings: Vec::new(),
    };
    let policies = ActivePolicies::new(first, Arc::clone(&telemetry), START);
    let clock = Arc::new(ManualClock::at(START));
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
    service.telemetry().observe_call(START, START.after(Nanos::from_secs(1)));
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
    let last =
        "ratelimit_service_response_time_seconds_count{grpc_method=\"ShouldRateLimit\"} 64\n";
    assert!(classic.ends_with(last) && open.ends_with(&format!("{last}# EOF\n")), "{open}");
}

#[test]
fn a_server_of_tables_has_none_of_these_statistics() {
    let service = service(vec![of_tables()]);
    for request in [request("shop", 1), request("elsewhere", 1), "{}".to_owned()] {
        ask(&service, &request);
    }
    service.telemetry().observe_call(START, START.after(Nanos::from_secs(1)));
    assert!(service.telemetry().ratelimit_counters().is_empty());
    let text = service.telemetry().encode_as(TextFormat::Classic).unwrap();
    assert!(!text.contains("ratelimit_service"), "{text}");
}
