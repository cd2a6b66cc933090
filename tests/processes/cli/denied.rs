//! `--log-denied-per-second` and `--log-denied`: which calls were denied, or would have been, in the log.

use serde_json::Value;

use super::run;
use super::serve::Served;

const HOSTILE: &str = "evil\"}\r\n{\"message\": \"started\"} \u{1b}[31m";

/// What a server logs of three calls, of which the first passes.
fn logged(format: &str, more: &[&str]) -> Vec<String> {
    let policy = "domain: d\ntables: [{ name: t, select: kind, key: [k, endpoint_group], rows: { \
                  default: [{ per_day: 1 }] } }]\nendpoint_groups: { things: [GET /things] }\n";
    logged_by(policy, &[0, 1, 1], format, more)
}

/// What a server with this policy logs of calls that end with these codes.
fn logged_by(policy: &str, codes: &[i32], format: &str, more: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let config = path.to_str().unwrap();
    let free = "127.0.0.1:0";
    let args =
        ["serve", "--config", config, "--grpc", free, "--http", free, "--log-format", format];
    let server = Served::start(&[&args, more].concat(), &[]);
    let address = server.grpc.to_string();
    for code in codes {
        let entries = [&format!("k={HOSTILE}{}", "x".repeat(100)), "method=GET", "path=/things"];
        let ended = run(&[&["query", "--addr", &address, "--domain", "d"], &entries[..]].concat());
        assert_eq!(ended.code, Some(*code), "{ended:?}");
    }
    server.stop().1
}

#[test]
fn a_denied_call_is_told_with_its_row_and_values() {
    let log = logged("json", &["--log-denied-per-second", "1000"]);
    let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let denied: Vec<_> = lines.filter(|line| line["fields"]["message"] == "denied").collect();
    assert_eq!(denied.len(), 2, "{log:?}");
    for line in denied {
        let fields = &line["fields"];
        let told = ["domain", "table", "row"].map(|name| fields[name].as_str().unwrap());
        assert_eq!(told, ["d", "t", "default"]);
        let values = fields["values"].as_str().unwrap();
        let begin = "k=evil\\\"}\\r\\n{\\\"message\\\": \\\"started\\\"} \\u{1b}[31mxxx";
        assert!(values.starts_with(begin), "{values}");
        assert!(values.ends_with("xxx… endpoint_group=things"), "{values}");
        assert!(fields["wait"].as_str().unwrap().starts_with("23h 59m "), "{line}");
        assert_eq!(fields["left_out"], 0);
    }
}

#[test]
fn a_line_of_text_holds_nothing_that_a_terminal_acts_on() {
    let log = logged("text", &["--log-denied-per-second", "1000"]);
    let denied: Vec<_> = log.iter().filter(|line| line.contains(" denied ")).collect();
    assert_eq!(denied.len(), 2, "{log:?}");
    for line in denied {
        assert!(line.contains("table=\"t\"") && line.contains("evil"), "{line}");
    }
    assert!(!log.iter().any(|line| line.contains(char::is_control)), "{log:?}");
    assert_eq!(log.iter().filter(|line| line.contains("evil")).count(), 2, "{log:?}");
}

#[test]
fn no_call_is_told_unless_it_is_asked_for() {
    let log = logged("json", &[]);
    assert!(!log.iter().any(|line| line.contains("evil") || line.contains("denied")), "{log:?}");
}

#[test]
fn what_a_row_in_shadow_would_deny_is_told_if_it_is_asked_for() {
    // The second call is over the limit of the row in shadow, the third and fourth over both rows.
    let policy = "domain: d\ntables:
  - { name: trial, key: [k], shadow: true, rows: { all: [{ per_day: 1 }, { per_hour: 1 }] } }
  - { name: t, key: [k], rows: { all: [{ per_day: 2 }] } }\n";
    let table = |line: &Value| {
        let fields = &line["fields"];
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let is_told = text("message").contains("denied");
        is_told.then(|| (text("message"), text("table"), fields["shadow"] == true, text("values")))
    };
    for (which, expected) in [
        ("enforced", &[("denied", "t", false), ("denied", "t", false)][..]),
        ("shadow", &[("would be denied", "trial", true); 3]),
        (
            "all",
            &[
                ("would be denied", "trial", true),
                ("denied", "t", false),
                ("would be denied", "trial", true),
                ("denied", "t", false),
                ("would be denied", "trial", true),
            ],
        ),
    ] {
        let more = ["--log-denied-per-second", "1000", "--log-denied", which];
        let log = logged_by(policy, &[0, 0, 1, 1], "json", &more);
        let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let told: Vec<_> = lines.filter_map(|line| table(&line)).collect();
        let names: Vec<_> = told
            .iter()
            .map(|(message, table, shadow, _)| (&**message, &**table, *shadow))
            .collect();
        assert_eq!(names, expected, "{which}: {log:?}");
        assert!(
            told.iter().all(|(.., values)| values.starts_with("k=evil\\\"}\\r\\n")),
            "{told:?}"
        );
    }
}
