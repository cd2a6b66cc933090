//! `/top`: who was denied most in the last minutes.

use serde_json::{Value, json};
use tollgate::clock::Nanos;

use crate::support::{Client, START, TestServer, call, descriptor, hits, request};

const HOSTILE: &str = "<b>\u{1b}[31m\"\r\n";

const POLICY: &str = "domain: d
tables:
  - { name: calls, key: [who], rows: { all: [{ per_day: 2 }] } }
  - { name: trial, key: [who], shadow: true, rows: { all: [{ per_day: 1 }] } }
  - { name: banned, when: { who: outlaw }, key: [who], rows: { all: blocked } }
";

fn ask(client: &mut Client, who: &str, count: usize) {
    for _ in 0..count {
        client.ask(call(&[("who", who)]));
    }
}

fn top(server: &TestServer, query: &str) -> (String, Value) {
    let answer = server.get(&format!("/top{query}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), serde_json::from_str(body).unwrap())
}

/// Table, row, key, limit, count and its error, of each listed bucket.
fn told(list: &Value) -> Vec<String> {
    let tell = |of: &Value| {
        let text = |name: &str| of[name].as_str().unwrap();
        let key: Vec<_> = of["key"].as_array().unwrap().iter().map(Value::to_string).collect();
        let (table, row, bucket) = (text("table"), text("row"), text("bucket"));
        let key = key.concat();
        format!("{table}/{row} {key} {bucket}: {} {}", of["count"], of["at_most_over"])
    };
    list["items"].as_array().unwrap().iter().map(tell).collect()
}

#[test]
fn denials_are_counted_by_key_and_those_of_shadow_rows_apart() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    ask(&mut client, "a", 2 + 3);
    ask(&mut client, HOSTILE, 2 + 5);
    ask(&mut client, "outlaw", 4);
    ask(&mut client, "polite", 1);
    let (status, answer) = top(&server, "");
    assert_eq!(status, "200", "{answer}");
    let hostile = json!(["who", HOSTILE]).to_string();
    let denied = [
        format!("calls/all {hostile} 2 per day: 5 0"),
        r#"banned/all ["who","outlaw"] blocked: 4 0"#.to_owned(),
        r#"calls/all ["who","a"] 2 per day: 3 0"#.to_owned(),
    ];
    assert_eq!(told(&answer["denied"]), denied);
    // A denied call charges no row in shadow either, so that `outlaw` is not over its limit there.
    let shadow = [
        format!("trial/all {hostile} 1 per day: 6 0"),
        r#"trial/all ["who","a"] 1 per day: 4 0"#.to_owned(),
    ];
    assert_eq!(told(&answer["shadow"]), shadow);
    for (list, is_shadow) in [("denied", false), ("shadow", true)] {
        let items = answer[list]["items"].as_array().unwrap();
        assert!(items.iter().all(|of| of["shadow"] == is_shadow && of["domain"] == "d"));
        assert_eq!(
            (&answer[list]["omitted"], &answer[list]["others_at_most"]),
            (&json!(0), &json!(0))
        );
    }
    assert_eq!(
        (&answer["at"], &answer["window_ms"]),
        (&json!("2026-03-01T00:00:00Z"), &json!(240_000.0))
    );
    let (_, one) = top(&server, "?limit=1&domain=d");
    assert_eq!(told(&one["denied"]), denied[..1]);
    assert_eq!(
        (&one["denied"]["omitted"], &one["denied"]["others_at_most"]),
        (&json!(2), &json!(4))
    );
}

#[test]
fn a_denied_descriptor_counts_once_whatever_its_hits() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    client.ask(request("d", &[hits(3, &[("who", "a")])]));
    client.ask(request("d", &[descriptor(&[("who", "b")]), hits(3, &[("who", "a")])]));
    let (_, answer) = top(&server, "");
    assert_eq!(told(&answer["denied"]), [r#"calls/all ["who","a"] 2 per day: 2 0"#]);
}

#[test]
fn denials_are_forgotten_after_five_minutes() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    ask(&mut client, "a", 3);
    server.advance(Nanos::from_secs(60));
    ask(&mut client, "b", 4);
    server.advance(Nanos::from_secs(3 * 60 + 59));
    let (_, answer) = top(&server, "");
    let b = r#"calls/all ["who","b"] 2 per day: 2 0"#;
    assert_eq!(told(&answer["denied"]), [b, r#"calls/all ["who","a"] 2 per day: 1 0"#]);
    assert_eq!(answer["window_ms"], json!(299_000.0));
    server.advance(Nanos::from_secs(1));
    assert_eq!(told(&top(&server, "").1["denied"]), [b]);
    server.advance(Nanos::from_secs(60));
    assert_eq!(told(&top(&server, "").1["denied"]), [""; 0]);
    assert!(START.as_unix_nanos().is_multiple_of(60_000_000_000), "it begins with a minute");
}

#[test]
fn what_cannot_be_listed_is_refused() {
    let server = TestServer::with_policy(POLICY);
    for (query, status) in [
        ("?domain=other", "404"),
        ("?limit=0", "400"),
        ("?limit=1001", "400"),
        ("?limit=x", "400"),
        ("?limit=", "400"),
        ("?limit=1000&domain=d", "200"),
    ] {
        let (answered, answer) = top(&server, query);
        assert_eq!(answered, status, "{query} {answer}");
        assert_eq!(answer["error"].is_string(), status != "200", "{query} {answer}");
    }
}
