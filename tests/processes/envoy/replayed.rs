//! An access log that the real Envoy wrote, replayed: who was denied is denied.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::lab::{Lab, Sample};
use super::process::eventually;
use super::support::SHIPPED;

/// Five a day: what is spent stays spent, whatever the difference of the clocks.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const OTHER: &str = "GET /api/v2/tenants/settings";

/// Of `meshConfig.accessLogFormat` in Istio's documentation, with what stands there if nothing is configured.
const ISTIO: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
    %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
    %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// The same with `meshConfig.accessLogEncoding: JSON`.
fn istio_json() -> Value {
    json!({
        "start_time": "%START_TIME%",
        "route_name": "%ROUTE_NAME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "protocol": "%PROTOCOL%",
        "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%",
        "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "duration": "%DURATION%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
        "user_agent": "%REQ(USER-AGENT)%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "authority": "%REQ(:AUTHORITY)%",
        "upstream_host": "%UPSTREAM_HOST%",
        "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
        "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "requested_server_name": "%REQUESTED_SERVER_NAME%",
        "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    })
}

/// The fields that config/replay/management-api.yaml reads.
fn own_json() -> Value {
    json!({
        "start_time": "%START_TIME%",
        "duration": "%DURATION%",
        "status": "%RESPONSE_CODE%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "remote_address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "x_tenant": "%REQ(X-TENANT)%",
        "x_tenant_type": "%REQ(X-TENANT-TYPE)%",
    })
}

/// A log of the edge's HTTP connection manager, in Envoy's default text unless there is a format.
fn logged(path: &Path, log_format: Option<&Value>) -> Value {
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": path,
    });
    if let Some(log_format) = log_format {
        config["log_format"] = log_format.clone();
    }
    json!({ "name": "envoy.access_loggers.file", "typed_config": config })
}

fn replay(log: &Path, more: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["replay", "--json", "--config", SHIPPED]).args(more).arg(log);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_log_of_envoy_is_replayed_with_the_verdicts_that_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    // Those that have no tenant have what the client calls itself.
    let of_own = ["--map", "config/replay/management-api.yaml"];
    let of_others = ["--entry", "tenant_type=startup", "--entry", "tenant=$user_agent"];
    let logs = [
        ("own.json", Some(json!({ "json_format": own_json() })), &of_own[..]),
        ("envoy.log", None, &of_others),
        (
            "istio.log",
            Some(json!({ "text_format_source": { "inline_string": ISTIO } })),
            &of_others,
        ),
        ("istio.json", Some(json!({ "json_format": istio_json() })), &of_others),
    ];
    let path = |name: &str| folder.path().join(name);
    let access_log = logs.iter().map(|(name, format, ..)| logged(&path(name), format.as_ref()));
    let access_log = Value::from_iter(access_log);
    let edge = "                stat_prefix: edge\n";
    let logging = format!("{edge}                access_log: {access_log}\n");
    let lab = Lab::start(Sample::front().patient().with(edge, &logging));
    let mut client = lab.client();
    let (mut requests, mut denied) = (0_u64, 0_u64);
    for round in 0..9 {
        for tenant in ["acme", "globex", "initech"] {
            let caller =
                [("x-tenant", tenant), ("x-tenant-type", "startup"), ("user-agent", tenant)];
            let calls = if round % 2 == 0 { &[ROTATE, OTHER][..] } else { &[ROTATE] };
            for call in calls {
                requests += 1;
                denied += u64::from(client.call(call, &caller).status() == 429);
            }
        }
    }
    assert_eq!(denied, 3 * 4, "of nine rotations of each tenant, five are admitted");
    for (name, _, more) in logs {
        let log = path(name);
        eventually("all lines", || {
            let lines = std::fs::read_to_string(&log).ok()?.lines().count();
            (u64::try_from(lines).ok() == Some(requests)).then_some(())
        });
        let report = replay(&log, more);
        assert_eq!(report["input"]["unreadable"], 0);
        let outcome = &report["outcome"];
        assert_eq!(outcome["requests"], requests);
        for told in ["denied", "denied_in_log", "denied_in_both"] {
            assert_eq!(outcome[told], denied, "{told} of {}", log.display());
        }
        assert_eq!(outcome["denied_keys"][0]["limit"], "5 per day");
    }
}
