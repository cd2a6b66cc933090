//! Sets with problems: what the control plane is told, and what stays in force.

use serde_json::json;

use super::control_plane::{ControlPlane, Tollgate, bad_config, config, snapshot};
use crate::support::eventually;

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_set_with_a_problem_is_refused_and_its_good_domains_come_into_force() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[config("a", 1), config("b", 1)]));
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("1");
    control_plane.set(&snapshot("2", &[bad_config("a"), config("b", 2), bad_config("c")]));
    let refusal = control_plane.until(|request| !request["errorDetail"].is_null());
    // What was accepted last, and not what is refused.
    assert_eq!(refusal["versionInfo"], "1");
    assert!(!refusal["responseNonce"].as_str().unwrap().is_empty());
    let message = refusal["errorDetail"]["message"].as_str().unwrap();
    for resource in ["config of a", "config of c"] {
        let mut lines = message.lines();
        let is_told = lines.any(|line| line.starts_with(resource) && line.contains("key"));
        assert!(is_told, "{message}");
    }
    assert!(!message.contains("config of b"), "{message}");
    assert_eq!(
        (tollgate.domains(), tollgate.version()),
        (vec!["a".into(), "b".into()], "2, in part".into())
    );
    assert_eq!((tollgate.admitted("a", "new", 5), tollgate.admitted("b", "new", 5)), (1, 2));
    let rejected = &tollgate.config()["rejected"]["problems"];
    assert_eq!(*rejected, json!(message.lines().collect::<Vec<_>>()));
    assert!(tollgate.get("/readyz").1.contains("config of a"));
    assert_eq!(tollgate.metric("tollgate_xds_responses_total{outcome=\"partly_refused\"}"), 1);
    assert_eq!(tollgate.metric("tollgate_config_last_reload_successful"), 0);
    // A correction is accepted.
    control_plane.set(&snapshot("3", &[config("a", 3), config("b", 2), config("c", 1)]));
    control_plane.accepted("3");
    assert_eq!((tollgate.version(), tollgate.admitted("a", "newer", 5)), ("3".into(), 3));
    assert_eq!(tollgate.get("/readyz").1, "ready\n");
    assert_eq!(tollgate.metric("tollgate_config_last_reload_successful"), 1);
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_first_set_without_a_good_domain_is_none() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[bad_config("a")]));
    let tollgate = Tollgate::of(&control_plane);
    let refusal = control_plane.until(|request| !request["errorDetail"].is_null());
    assert!(refusal["versionInfo"].is_null(), "{refusal}");
    assert_eq!(tollgate.get("/readyz").0, "503");
    assert_eq!(tollgate.ask("a", "1").unwrap_err().code(), tonic::Code::Unknown);
    assert_eq!(tollgate.metric("tollgate_xds_responses_total{outcome=\"refused\"}"), 1);
    control_plane.set(&snapshot("2", &[config("a", 1)]));
    control_plane.accepted("2");
    eventually("it is ready", || tollgate.get("/readyz").0 == "200");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn resources_of_another_type_are_refused_and_remove_nothing() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[config("a", 1)]));
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("1");
    let mut wrapped = snapshot("2", &[config("b", 1)]);
    wrapped["wrapped"] = json!(true);
    control_plane.set(&wrapped);
    let refusal = control_plane.until(|request| !request["errorDetail"].is_null());
    let message = refusal["errorDetail"]["message"].as_str().unwrap();
    let begin = "resource 1: it is a `type.googleapis.com/envoy.service.discovery.v3.Resource`; ";
    assert!(message.starts_with(begin), "{message}");
    assert_eq!((tollgate.domains(), tollgate.version()), (vec!["a".to_owned()], "1".to_owned()));
}

mod wall_clock {
    use std::time::Duration;

    use super::*;

    /// A control plane on go-control-plane answers each refusal at once with what was refused.
    #[test]
    #[ignore = "needs Go and measures time; bash tests/run.sh clock"]
    fn refusals_of_the_same_set_are_held_back() {
        let mut control_plane = ControlPlane::start();
        control_plane.set(&snapshot("1", &[config("a", 1)]));
        let tollgate = Tollgate::of(&control_plane);
        control_plane.accepted("1");
        control_plane.set(&snapshot("2", &[bad_config("a")]));
        let requests = control_plane.requests_within(Duration::from_secs(6));
        // At once, and after pauses of 0.5 to 1 s, 1 to 2 s, 2 to 4 s.
        assert!((3..=4).contains(&requests.len()), "{requests:#?}");
        assert!(requests.iter().all(|request| !request["errorDetail"].is_null()));
        // It was compiled once.
        assert_eq!(tollgate.metric("tollgate_config_reload_errors_total"), 1);
        assert_eq!(tollgate.admitted("a", "1", 5), 1);
    }
}
