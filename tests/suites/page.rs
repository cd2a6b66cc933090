//! The page for a person: what it is served with, what it is told, and that looking costs nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::{TestServer, call, eventually, hits, request, server, shipped};
use tollgate::clock::Nanos;

/// So many a day, so that time does not matter.
const POLICY: &str = "tables: [{ name: t, key: [k], rows: { all: [{ per_day: 10 }] } }]";

const HOSTILE: &str = "<img src=x onerror=\"alert(1)\">\r\n\r\ndata: x\u{202e}";

/// A page that watches.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    fn open(server: &TestServer) -> Self {
        let mut stream = TcpStream::connect(server.http).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut viewer = Self(BufReader::new(stream));
        assert_eq!(viewer.line(), "HTTP/1.1 200 OK");
        viewer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The data of the next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        while self.line() != format!("event: {kind}") {}
        let line = self.line();
        serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()
    }
}

fn post(server: &TestServer, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").unwrap();
    write!(stream, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn explain(server: &TestServer, domain: &str, entries: &[(&str, &str)]) -> Value {
    let entries: Vec<_> =
        entries.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let body = json!({ "domain": domain, "descriptors": [{ "entries": entries }] });
    let (status, answer) = post(server, "/explain", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn the_page_is_served_whole_and_allows_nothing_inline_and_nothing_from_elsewhere() {
    let (server, _) = server(POLICY);
    let page = server.get("/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<!doctype html>"));
    let wanted = [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page/dom.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/page.svg", "image/svg+xml"),
    ];
    for (path, kind) in wanted {
        let answer = server.get(path);
        let header = |name: &str| {
            let start = format!("{name}: ");
            answer.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
        };
        assert!(header("content-type").starts_with(kind), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }
}

#[test]
fn a_viewer_is_told_what_was_decided() {
    let (server, mut client) = server(POLICY);
    client.drain(&call(&[("k", HOSTILE)]), 20);
    let mut viewer = Viewer::open(&server);
    assert_eq!(viewer.event("begin")["points"], json!([]), "nobody has looked before");
    let sample = viewer.event("sample");
    assert_eq!((&sample["admitted"], &sample["denied"]), (&json!(10), &json!(1)), "{sample}");
    let row = &sample["rows"]["items"][0];
    assert_eq!((&row["table"], &row["row"]), (&json!("t"), &json!("all")));
    assert_eq!((&row["admitted"], &row["exceeded"]), (&json!(10), &json!(1)));
    assert_eq!(sample["store"]["keys"], 1);
    let near = &sample["near"]["items"][0];
    assert_eq!((&near["remaining"], &near["size"]), (&json!(0), &json!(10)), "{near}");
    assert_eq!(near["key"][0][1], HOSTILE, "the page escapes it");
    assert_eq!(sample["policy"]["domains"][0]["domain"], "d");
    assert_eq!(sample["ready"], true);
    client.ask(call(&[("k", HOSTILE)]));
    let next = viewer.event("sample");
    assert_eq!(
        (&next["denied"], &next["rows"]["items"][0]["exceeded_in_window"]),
        (&json!(2), &json!(1))
    );
    // Who comes later sees what was before.
    let points = Viewer::open(&server).event("begin")["points"].clone();
    assert!(points.as_array().unwrap().len() >= 2, "{points}");
}

#[test]
fn a_denial_is_explained_by_the_bucket_that_denies_and_when_it_does_not_any_more() {
    let tables = "tables:
  - { name: t, key: [k], rows: { all: [{ per_minute: 60, size: 2 }, { per_day: 10 }] } }
  - { name: try, key: [k], rows: { all: { shadow: true, buckets: [{ per_day: 1 }] } } }
  - { name: other, key: [absent], rows: { all: [{ per_day: 1 }] } }";
    let (server, mut client) = server(tables);
    assert_eq!(client.drain(&call(&[("k", "1")]), 20).0, 2);
    let denied = explain(&server, "d", &[("k", "1"), ("color", "red")]);
    assert_eq!(denied["admits"], false);
    assert_eq!(denied["unknown_keys"], json!(["color"]));
    let [table, shadow, other] = denied["descriptors"][0]["tables"].as_array().unwrap().as_slice()
    else {
        panic!("{denied}");
    };
    assert_eq!((&table["table"], &table["scope"]), (&json!("t"), &json!("one for each k")));
    let [fast, slow] = table["buckets"].as_array().unwrap().as_slice() else { panic!("{table}") };
    assert_eq!(fast["bucket"], "2 at 60 per minute");
    assert_eq!((&fast["over_limit"], &fast["remaining"]), (&json!(true), &json!(0)));
    assert_eq!((&fast["wait_ms"], &fast["interval_ms"]), (&json!(1000.0), &json!(1000.0)));
    assert_eq!((&slow["over_limit"], &slow["remaining"]), (&json!(false), &json!(8)));
    assert_eq!(
        (&shadow["shadow"], &shadow["buckets"][0]["over_limit"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(other["miss_reason"], "does not apply: no entry `absent` to name the bucket");
    server.advance(Nanos::from_secs(1));
    assert_eq!(explain(&server, "d", &[("k", "1")])["admits"], true, "its shadow denies nobody");
    assert_eq!(explain(&server, "d", &[("k", "2")])["admits"], true);
}

#[test]
fn to_look_charges_nothing_and_counts_nothing() {
    let (server, mut client) = server(POLICY);
    for _ in 0..50 {
        assert_eq!(explain(&server, "d", &[("k", "1")])["admits"], true);
    }
    assert_eq!(server.parts.store.len(), 0);
    let metrics = server.get("/metrics");
    assert!(metrics.contains("tollgate_requests_total{domain=\"d\",code=\"ok\"} 0"), "{metrics}");
    assert_eq!(client.drain(&call(&[("k", "1")]), 20).0, 10);
}

#[test]
fn a_limit_that_envoy_brought_along_is_explained_as_well() {
    let (server, _) = server(POLICY);
    let body = json!({ "domain": "d", "descriptors": [{
        "entries": [{ "key": "k", "value": "1" }],
        "limit": { "requests_per_unit": 3, "unit": "HOUR" },
    }] });
    let (status, answer) = post(&server, "/explain", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    let tables = answer["descriptors"][0]["tables"].as_array().unwrap();
    let bucket = &tables.last().unwrap()["buckets"][0];
    assert_eq!((&bucket["bucket"], &bucket["remaining"]), (&json!("3 per hour"), &json!(3)));
    assert_eq!(tables[0]["buckets"][0].get("remaining"), None, "it is replaced");
}

#[test]
fn a_call_that_asks_for_more_than_there_is_is_explained_as_denied() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let facts = [("tenant", "acme"), ("tenant_type", "free"), ("endpoint_group", "read_users")];
    client.ask(request("management-api", &[hits(8, &facts)]));
    let body = |count: u32| {
        let entries = facts.map(|(key, value)| json!({ "key": key, "value": value }));
        let descriptor = json!({ "entries": entries, "hits_addend": count });
        json!({ "domain": "management-api", "descriptors": [descriptor] }).to_string()
    };
    assert_eq!(post(&server, "/explain", &body(2)).1["admits"], true);
    assert_eq!(post(&server, "/explain", &body(3)).1["admits"], false);
    assert!(client.ask(shipped(&facts)).is_ok());
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let (server, _) = server(POLICY);
    assert_eq!(post(&server, "/explain", "{").0, 400);
    let (status, answer) = post(
        &server,
        "/explain",
        r#"{ "domain": "x", "descriptors": [{ "entries": [{ "key": "k", "value": "1" }] }] }"#,
    );
    assert_eq!(status, 404, "{answer}");
    let explain = |count: usize| {
        let descriptor = json!({ "entries": [{ "key": "k", "value": "1" }] });
        let body = json!({ "domain": "d", "descriptors": vec![descriptor; count] });
        post(&server, "/explain", &body.to_string())
    };
    assert_eq!(explain(32).0, 200);
    let (status, answer) = explain(33);
    assert_eq!(status, 400);
    assert_eq!(answer["error"], "33 descriptors; send at most 32 in one request");
}

#[test]
fn open_pages_do_not_hold_the_server_up() {
    let (mut server, client) = server(POLICY);
    let mut viewers: Vec<_> = (0..3).map(|_| Viewer::open(&server)).collect();
    viewers.iter_mut().for_each(|viewer| {
        viewer.event("sample");
    });
    drop(client);
    server.begin_stop();
    for mut viewer in viewers {
        let mut rest = String::new();
        viewer.0.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut, not ended: {rest:?}");
    }
    eventually("it has ended", || server.has_ended());
}
