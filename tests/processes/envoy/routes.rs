//! Every endpoint of the policy counts in its group, whoever finds the group: tollgate behind
//! `envoy.yaml`, the routes of `jwt.yaml` and `quota.yaml`.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::http::Message;
use super::lab::{Lab, Sample};
use super::support::SHIPPED;
use super::tokens::bearer;

/// Method and path template to group.
type Endpoints = BTreeMap<String, String>;

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// As the policy lists them.
fn listed() -> Endpoints {
    let policy = yaml(SHIPPED);
    let groups = policy["endpoint_groups"].as_mapping().unwrap().iter();
    let pairs = groups.flat_map(|(group, endpoints)| {
        let endpoints = endpoints.as_sequence().unwrap().iter();
        endpoints.map(|endpoint| (text(endpoint).unwrap(), text(group).unwrap()))
    });
    pairs.collect()
}

/// As the routes of `jwt.yaml` have them, the catch-alls left out.
fn routed() -> Endpoints {
    let sample = yaml("envoy/jwt.yaml");
    let edge = &sample["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let hosts = &edge["typed_config"]["route_config"]["virtual_hosts"];
    let mut endpoints = Endpoints::new();
    for route in hosts[0]["routes"].as_sequence().unwrap() {
        let matched = &route["match"];
        let template = &matched["path_match_policy"]["typed_config"]["path_template"];
        let Some(path) = text(template).or_else(|| text(&matched["path"])) else { continue };
        let group = text(&route["metadata"]["filter_metadata"]["tollgate"]["group"]).unwrap();
        let method = &matched["headers"][0];
        assert_eq!(text(&method["name"]).as_deref(), Some(":method"), "{path}");
        let wanted = &method["string_match"];
        let methods = text(&wanted["exact"]).or_else(|| text(&wanted["safe_regex"]["regex"]));
        for method in methods.unwrap().split('|') {
            let again = endpoints.insert(format!("{method} {path}"), group.clone());
            assert_eq!(again, None, "{method} {path} is routed twice");
        }
    }
    endpoints
}

#[test]
fn the_routes_of_the_sample_repeat_the_policys_groups() {
    let listed = listed();
    assert_eq!(listed.len(), 45);
    assert_eq!(routed(), listed);
}

/// The row that limits a group, and a type of tenant that it applies to.
fn row_of(group: &str) -> (&'static str, String) {
    match group {
        "create_import_users_job" => ("startup", "import users jobs/all".into()),
        "register_dynamic_client" => ("self_service", "dynamic registration/all".into()),
        "verify_custom_domain" | "read_connection_status" | "rotate_signing_keys" => {
            ("startup", format!("every subscription/{group}"))
        }
        _ if group.contains("organization") => ("startup", format!("enterprise endpoints/{group}")),
        _ => ("self_service", format!("self-service endpoints/{group}")),
    }
}

/// Asserts that each endpoint counts in the row of its group, in its tenant's, and nowhere else.
fn assert_each_counts_in_its_row(lab: &Lab, call: impl Fn(&'static str, &str) -> Message) {
    let named = ("GET /api/v2/organizations/name/members", "get_organization_by_name");
    let named = (named.0.to_owned(), named.1.to_owned());
    for (endpoint, group) in listed().into_iter().chain([named]) {
        let path = endpoint.replace(['{', '}'], "");
        let (kind, row) = row_of(&group);
        let (answer, rows) = lab.rows(|| call(kind, &path));
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        let mut expected = vec![format!("{row} admitted"), format!("tenant/{kind} admitted")];
        expected.sort_unstable();
        assert_eq!(rows, expected, "{path}");
    }
}

/// All others combined, for those that have such a row.
const OTHER: [&str; 2] =
    ["self-service endpoints/default admitted", "tenant/self_service admitted"];

const OTHERS: [&str; 5] = [
    "GET /api/v2/roles",
    "PUT /api/v2/users",
    "GET /api/v2/users/u1/logs/l1",
    "GET /api/v2/organizations",
    "GET /",
];

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn behind_a_trusted_front_every_endpoint_counts_in_its_group() {
    let lab = Lab::start(Sample::front().patient());
    let call = |kind: &'static str, endpoint: &str| {
        lab.client().call(endpoint, &[("x-tenant", kind), ("x-tenant-type", kind)])
    };
    assert_each_counts_in_its_row(&lab, call);
    for other in OTHERS {
        assert_eq!(lab.rows(|| call("self_service", other)).1, OTHER, "{other}");
    }
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn behind_tokens_every_endpoint_counts_in_the_group_of_its_route() {
    let lab = Lab::start(Sample::tokens().patient());
    let tokens =
        ["startup", "self_service"].map(|kind| (kind, bearer(&["--tenant", kind, "--type", kind])));
    let call = |kind: &'static str, endpoint: &str| {
        let token = &tokens.iter().find(|token| token.0 == kind).unwrap().1;
        lab.client().call(endpoint, &[("authorization", token)])
    };
    assert_each_counts_in_its_row(&lab, call);
    for other in OTHERS {
        assert_eq!(lab.rows(|| call("self_service", other)).1, OTHER, "{other}");
    }
    // What no template of Envoy's reads goes without a group, and tollgate finds it.
    let read_clients =
        ["self-service endpoints/read_clients admitted", "tenant/self_service admitted"];
    for spelling in ["GET /api/v2/clients/", "GET /api/v2/clients/[c1]", "GET /api/v2/clients/?a=b"]
    {
        assert_eq!(lab.rows(|| call("self_service", spelling)).1, read_clients, "{spelling}");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn behind_shares_every_endpoint_has_the_group_of_its_route() {
    let lab = Lab::start(Sample::quota());
    let mut client = lab.client();
    let others =
        ["GET /api/v2/roles", "PUT /api/v2/users", "GET /api/v2/users/u1/logs/l1", "GET /"];
    let others = others.map(|other| (other.to_owned(), "other".to_owned()));
    for (at, (endpoint, group)) in listed().into_iter().chain(others).enumerate() {
        let path = endpoint.replace(['{', '}'], "");
        for (spelling, end) in
            [path.clone(), format!("{path}/"), format!("{path}?a=/b")].iter().zip(0..)
        {
            // The first request of a bucket id passes.
            let tenant = format!("tenant-{at}-{end}");
            let caller = [("x-tenant", &*tenant), ("x-tenant-type", "startup")];
            let answer = client.call(spelling, &caller);
            assert_eq!(answer.status(), 200, "{spelling}: {answer:?}");
            assert_eq!(answer.json()["group"], *group, "{spelling}");
        }
    }
}
