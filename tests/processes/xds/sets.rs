//! Sets that are right: the first one, updates, removals, many.

use serde_json::{Value, json};
use tonic_health::pb::health_check_response::ServingStatus;

use super::control_plane::{ControlPlane, Tollgate, config, snapshot};
use crate::support::eventually;

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn calls_fail_until_the_first_set_then_it_decides() {
    let mut control_plane = ControlPlane::start();
    let tollgate = Tollgate::of(&control_plane);
    let first = control_plane.next("request");
    let type_url = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";
    // Neither a version nor a nonce nor names.
    assert_eq!(first, json!({ "node": { "id": "default" }, "typeUrl": type_url }));
    eventually("it is connected", || tollgate.metric("tollgate_xds_connected") == 1);
    let (status, text) = tollgate.get("/readyz");
    assert_eq!(status, "503");
    let begin = format!(
        "not ready: no policies have come from the control plane at {}, connected since ",
        control_plane.address
    );
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(tollgate.get("/healthz").0, "200");
    assert_eq!(tollgate.health(), ServingStatus::NotServing);
    assert_eq!(tollgate.ask("d", "1").unwrap_err().code(), tonic::Code::Unknown);
    assert_eq!(tollgate.metric("tollgate_store_failures_total"), 1);
    control_plane.set(&snapshot("1", &[config("d", 2)]));
    let second = control_plane.next("request");
    assert_eq!((&second["versionInfo"], &second["errorDetail"]), (&json!("1"), &Value::Null));
    assert_eq!(second["node"]["id"], "default");
    assert!(!second["responseNonce"].as_str().unwrap().is_empty());
    eventually("it is ready", || tollgate.get("/readyz") == ("200".into(), "ready\n".into()));
    assert_eq!(tollgate.health(), ServingStatus::Serving);
    assert_eq!(tollgate.admitted("d", "1", 10), 2);
    let config = tollgate.config();
    assert_eq!((&config["version"], &config["rejected"]), (&json!("1"), &Value::Null));
    let told = &config["control_plane"];
    assert_eq!(told["server"], control_plane.address.to_string());
    assert_eq!((&told["connected"], &told["awaited"]), (&json!(true), &json!(false)));
    assert_eq!(tollgate.metric("tollgate_xds_responses_total{outcome=\"accepted\"}"), 1);
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn the_control_plane_is_told_the_node_and_gets_the_headers() {
    let control_plane = ControlPlane::start();
    let node = ["--xds-node", "envoy-ratelimit", "--xds-metadata", "zone=a,rack=b=c"];
    let headers = ["--xds-header", "X-Tenant: acme", "--xds-header", "authorization:Bearer secret"];
    let tollgate = Tollgate::with(&control_plane, &[node, headers].concat());
    let stream = control_plane.next("stream");
    assert_eq!(stream["headers"]["x-tenant"], json!(["acme"]));
    assert_eq!(stream["headers"]["authorization"], json!(["Bearer secret"]));
    assert_eq!(stream["headers"][":authority"], json!([control_plane.address.to_string()]));
    let node = json!({ "id": "envoy-ratelimit", "metadata": { "zone": "a", "rack": "b=c" } });
    assert_eq!(control_plane.next("request")["node"], node);
    let (_, log) = tollgate.0.stop();
    assert!(!log.concat().contains("secret"), "{log:?}");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn each_set_replaces_the_one_before_and_may_be_empty() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[config("a", 1), config("b", 1)]));
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("1");
    assert_eq!(tollgate.domains(), ["a", "b"]);
    assert_eq!(tollgate.admitted("b", "1", 5), 1);
    // An update of one, and the other is removed.
    control_plane.set(&snapshot("2", &[config("a", 3)]));
    control_plane.accepted("2");
    assert_eq!((tollgate.domains(), tollgate.admitted("a", "new", 5)), (vec!["a".to_owned()], 3));
    assert_eq!(tollgate.admitted("b", "1", 5), 5);
    control_plane.set(&snapshot("3", &[]));
    control_plane.accepted("3");
    assert_eq!((tollgate.domains(), tollgate.version()), (Vec::new(), "3".to_owned()));
    assert_eq!(tollgate.admitted("a", "new", 5), 5);
    assert_eq!(tollgate.get("/readyz").1, "ready\n");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn an_empty_set_is_a_first_set() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("none", &[]));
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("none");
    eventually("it is ready", || tollgate.get("/readyz").0 == "200");
    assert!(tollgate.ask("a", "1").unwrap().is_ok());
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_flood_of_updates_ends_at_the_last() {
    let mut control_plane = ControlPlane::start();
    let tollgate = Tollgate::of(&control_plane);
    for version in 1..=200 {
        control_plane.set(&snapshot(&version.to_string(), &[config("d", version)]));
    }
    control_plane.accepted("200");
    assert_eq!((tollgate.version(), tollgate.admitted("d", "1", 300)), ("200".to_owned(), 200));
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn thousands_of_resources_come_into_force_as_one_set() {
    let mut control_plane = ControlPlane::start();
    let mut many = snapshot("1", &[config("d", 2)]);
    many["copies"] = json!(3000);
    control_plane.set(&many);
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("1");
    assert_eq!(tollgate.domains().len(), 3001);
    assert_eq!(tollgate.admitted("d-2999", "1", 5), 2);
    control_plane.set(&snapshot("2", &[config("d", 2)]));
    control_plane.accepted("2");
    assert_eq!(tollgate.domains(), ["d"]);
}
