//! `deploy/istio`: the values of its patches, which Istio puts into Envoy's configuration, under the real Envoy, with its
//! limits in tollgate.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::http::Client;
use super::lab;
use super::process::{Tollgate, free_port};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

fn documents(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap()).collect()
}

/// The value of the only patch of an EnvoyFilter, and what it is applied to.
fn patch(filter: &Value) -> (&str, Value) {
    let patches = filter["spec"]["configPatches"].as_array().unwrap();
    assert_eq!(patches.len(), 1);
    (patches[0]["applyTo"].as_str().unwrap(), patches[0]["patch"]["value"].clone())
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

fn listener(name: &str, address: SocketAddr, filters: &[Value], virtual_host: &Value) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
    });
    let connections = json!({
        "@type": format!(
            "{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": name,
        "http_filters": filters.iter().chain([&router]).collect::<Vec<_>>(),
        "route_config": { "virtual_hosts": [virtual_host] },
    });
    let manager = "envoy.filters.network.http_connection_manager";
    let filters = json!([{ "name": manager, "typed_config": connections }]);
    json!({ "name": name, "address": socket(address), "filter_chains": [{ "filters": filters }] })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoints = json!([{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }]);
    json!({ "name": name, "load_assignment": { "cluster_name": name, "endpoints": endpoints } })
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn the_patches_limit_requests_as_the_config_map_says() {
    let envoy = lab::envoy();
    let folder = tempfile::tempdir().unwrap();
    let [grpc, edge, admin, upstream] =
        std::array::from_fn(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));

    let limits = documents("deploy/istio/ratelimit.yaml")[0]["data"]["config.yaml"].clone();
    let limits = limits.as_str().unwrap();
    let policy = folder.path().join("config.yaml");
    std::fs::write(&policy, limits).unwrap();
    let _tollgate = Tollgate::serve(policy.to_str().unwrap(), grpc, folder.path(), &[]);

    let filters = documents("deploy/istio/envoyfilter.yaml");
    let ("HTTP_FILTER", mut filter) = patch(&filters[0]) else { panic!("{filters:?}") };
    let ("VIRTUAL_HOST", mut host) = patch(&filters[1]) else { panic!("{filters:?}") };
    // A busy machine is not taken for an outage.
    filter["typed_config"]["timeout"] = "20s".into();
    let service = &filter["typed_config"]["rate_limit_service"]["grpc_service"]["envoy_grpc"];
    // Istio has the cluster under this name.
    let mut tollgate = cluster(service["cluster_name"].as_str().unwrap(), grpc);
    let http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    tollgate["typed_extension_protocol_options"][http] = json!({
        "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": { "http2_protocol_options": {} },
    });
    // What Istio merges the patch into.
    host["name"] = "gateway".into();
    host["domains"] = json!(["*"]);
    host["routes"] = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }]);
    let answer = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } });
    let service = json!({ "name": "upstream", "domains": ["*"], "routes": [answer] });
    let config = json!({
        "admin": { "address": socket(admin) },
        "static_resources": {
            "listeners": [
                listener("gateway", edge, &[filter], &host),
                listener("upstream", upstream, &[], &service),
            ],
            "clusters": [tollgate, cluster("upstream", upstream)],
        },
    });
    let envoy = lab::start_envoy(&envoy, &config.to_string(), admin, folder.path());

    let limits: Value = serde_yaml::from_str(limits).unwrap();
    let limit = |at: usize| limits["descriptors"][at]["rate_limit"]["requests_per_unit"].as_u64();
    let [of_client, of_login] = [0, 1].map(|at| u32::try_from(limit(at).unwrap()).unwrap());
    let mut client = Client::connect(edge);
    let other = client.call("GET /", &[]);
    assert_eq!(other.status(), 200, "{other:?}");
    // Envoy's header, with the window behind the number.
    let told = other.header("x-ratelimit-limit").unwrap();
    assert!(told.starts_with(&format!("{of_client}, {of_client};w=60")), "{told}");

    // An hour may end meanwhile.
    let (passed, denied) = client.drain("POST /login?then=home", &[], 2 * of_login + 1);
    assert!((of_login..=2 * of_login).contains(&passed), "{passed}: {denied:?}");
    assert_eq!((denied.status(), denied.number("x-ratelimit-remaining")), (429, 0), "{denied:?}");
    assert_eq!(client.call("GET /login", &[]).status(), 429);
    assert_eq!(client.call("GET /", &[]).status(), 200);
    assert!(!envoy.log().to_lowercase().contains("deprecated"), "{}", envoy.log());
}
