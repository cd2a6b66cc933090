//! A control plane that is away, ends, or sends too much.

use serde_json::json;

use super::control_plane::{ControlPlane, Tollgate, config, snapshot};
use crate::redis_server::free_address;
use crate::support::eventually;

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn what_is_in_force_stays_while_the_control_plane_is_away() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[config("a", 2)]));
    let tollgate = Tollgate::of(&control_plane);
    control_plane.accepted("1");
    assert!(tollgate.ask("a", "1").unwrap().is_ok());
    // Ended, and there again with other limits.
    let mut control_plane = {
        let address = control_plane.address;
        drop(control_plane);
        eventually("it is not connected", || tollgate.metric("tollgate_xds_connected") == 0);
        assert_eq!(tollgate.admitted("a", "1", 5), 1);
        let (status, text) = tollgate.get("/readyz");
        assert_eq!(status, "200");
        assert!(
            text.contains("policies may be outdated or missing: the control plane at"),
            "{text}"
        );
        let told = &tollgate.config()["control_plane"];
        assert_eq!(told["connected"], false);
        assert!(!told["error"]["error"].as_str().unwrap().is_empty());
        ControlPlane::with(&["-listen", &address.to_string()])
    };
    // A stream begins without a version.
    assert!(control_plane.next("request")["versionInfo"].is_null());
    eventually("it is connected", || tollgate.metric("tollgate_xds_connected") == 1);
    assert_eq!((tollgate.version(), tollgate.domains()), ("1".to_owned(), vec!["a".to_owned()]));
    // The same again is no news; another version is.
    control_plane.set(&snapshot("1", &[config("a", 2)]));
    control_plane.accepted("1");
    assert_eq!(tollgate.metric("tollgate_xds_responses_total{outcome=\"repeated\"}"), 1);
    control_plane.set(&snapshot("2", &[config("a", 7)]));
    control_plane.accepted("2");
    assert_eq!(tollgate.admitted("a", "new", 10), 7);
    assert_eq!(tollgate.get("/readyz").1, "ready\n");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_control_plane_may_come_later_than_tollgate() {
    let address = free_address().to_string();
    let tollgate = Tollgate::at(&address, &[]);
    eventually("an attempt failed", || tollgate.metric("tollgate_xds_disconnects_total") > 0);
    let (status, text) = tollgate.get("/readyz");
    assert_eq!(status, "503");
    assert!(text.contains("not connected since") && text.contains("refused"), "{text}");
    let mut control_plane = ControlPlane::with(&["-listen", &address]);
    control_plane.set(&snapshot("1", &[config("a", 1)]));
    control_plane.accepted("1");
    eventually("it is ready", || tollgate.get("/readyz").0 == "200");
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_response_that_is_too_large_is_told_and_the_stream_is_opened_again() {
    let mut control_plane = ControlPlane::start();
    control_plane.set(&snapshot("1", &[config("d", 1)]));
    let tollgate = Tollgate::with(&control_plane, &["--xds-max-message", "10000"]);
    control_plane.accepted("1");
    let mut many = snapshot("2", &[config("d", 2)]);
    many["copies"] = json!(1000);
    control_plane.set(&many);
    control_plane.next("end");
    eventually("it is told", || {
        let told = tollgate.config()["control_plane"]["error"]["error"].to_string();
        told.contains("a response is larger than 10000 bytes, the maximum")
    });
    assert_eq!((tollgate.version(), tollgate.admitted("d", "1", 5)), ("1".to_owned(), 1));
    control_plane.set(&snapshot("3", &[config("d", 3)]));
    control_plane.accepted("3");
    assert_eq!(tollgate.admitted("d", "new", 5), 3);
}

#[test]
#[ignore = "needs Go; bash tests/run.sh"]
fn a_signal_ends_it_before_the_first_set() {
    let control_plane = ControlPlane::start();
    let tollgate = Tollgate::of(&control_plane);
    control_plane.next("request");
    assert_eq!(tollgate.0.stop().0, Some(0));
}
