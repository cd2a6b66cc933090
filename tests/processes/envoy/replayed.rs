//! An access log that the real Envoy wrote, replayed: who was denied is denied.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::lab::{Lab, Sample};
use super::process::eventually;
use super::support::SHIPPED;

/// Five a day: what is spent stays spent, whatever the difference of the clocks.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const OTHER: &str = "GET /api/v2/tenants/settings";

/// Two logs of the edge's HTTP connection manager: one with the fields that config/replay/management-api.yaml reads, and one in
/// Envoy's default text.
fn logged(json: &Path, text: &Path) -> String {
    format!(
        "                stat_prefix: edge
                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {}
                      log_format:
                        json_format:
                          start_time: \"%START_TIME%\"
                          duration: \"%DURATION%\"
                          status: \"%RESPONSE_CODE%\"
                          method: \"%REQ(:METHOD)%\"
                          path: \"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\"
                          remote_address: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\"
                          x_tenant: \"%REQ(X-TENANT)%\"
                          x_tenant_type: \"%REQ(X-TENANT-TYPE)%\"
                  - name: envoy.access_loggers.file
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {}
",
        json.display(),
        text.display()
    )
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
    let [json, text] = ["access.json", "access.log"].map(|name| folder.path().join(name));
    let edge = "                stat_prefix: edge\n";
    let lab = Lab::start(Sample::front().patient().with(edge, &logged(&json, &text)));
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
    // The default text has no tenant, but what the client calls itself.
    let of_json = ["--map", "config/replay/management-api.yaml"];
    let of_text = ["--entry", "tenant_type=startup", "--entry", "tenant=$user_agent"];
    for (log, more) in [(&json, &of_json[..]), (&text, &of_text)] {
        eventually("all lines", || {
            let lines = std::fs::read_to_string(log).ok()?.lines().count();
            (u64::try_from(lines).ok() == Some(requests)).then_some(())
        });
        let report = replay(log, more);
        assert_eq!(report["input"]["unreadable"], 0);
        let outcome = &report["outcome"];
        assert_eq!(outcome["requests"], requests);
        for told in ["denied", "denied_in_log", "denied_in_both"] {
            assert_eq!(outcome[told], denied, "{told} of {}", log.display());
        }
        assert_eq!(outcome["denied_keys"][0]["limit"], "5 per day");
    }
}
