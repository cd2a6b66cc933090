//! `/openapi.json` and the HTTP side itself say the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::frames;
use crate::support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use frames::Connection;
use serde_json::Value;
use support::{TestServer, call, eventually};

const POLICY: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ per_day: 1 }] } }
  - { name: jobs, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
";

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// An answer's status, the head and the body.
struct Answer {
    status: String,
    head: String,
    body: String,
}

const TOKEN: &str = "0123456789abcdef";

fn ask(server: &TestServer, method: &str, path: &str, body: &str) -> Answer {
    ask_with(server, TOKEN, method, path, body)
}

fn ask_with(server: &TestServer, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let head = format!("content-type: application/json\r\nauthorization: Bearer {token}");
    ask_as(server, &head, method, path, body)
}

fn ask_as(server: &TestServer, head: &str, method: &str, path: &str, body: &str) -> Answer {
    let path = &of_template(path);
    let mut stream = TcpStream::connect(server.http).unwrap();
    let (method, length) = (method.to_uppercase(), body.len());
    let head = format!("host: localhost\r\nconnection: close\r\n{head}");
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n")
        .unwrap();
    // What is refused by its length need not be read.
    let _ = stream.write_all(body.as_bytes());
    let mut text = String::new();
    if (&*method, &**path) == ("GET", "/events") {
        // It has no end: its head is read, and what came with it.
        let mut some = [0; 4096];
        while !text.contains("\r\n\r\n") {
            let read = stream.read(&mut some).unwrap();
            text += std::str::from_utf8(&some[..read]).unwrap();
        }
    } else {
        stream.read_to_string(&mut text).unwrap();
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {text}"));
    let status = head.split(' ').nth(1).unwrap().to_owned();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A path that this template stands for.
fn of_template(path: &str) -> String {
    path.replace("{module}", "dom.js")
}

fn document(server: &TestServer) -> Value {
    serde_json::from_str(&ask(server, "get", "/openapi.json", "").body).unwrap()
}

/// Every operation, as path and method.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (_, _)| {
        let methods: &'_ Value = methods;
        let path: &'_ String = path;
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (&**path, &**method, operation))
    };
    paths.iter().flat_map(of_path).collect()
}

/// The bodies with which every status of an operation can be had, beside those of a server that stops.
fn bodies(server: &TestServer, path: &str, method: &str) -> Vec<String> {
    match (path, method) {
        ("/json", "post") => {
            let request = r#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}]}]}"#;
            vec![request.into(), request.into(), "{}".into(), " ".repeat((1 << 20) + 1)]
        }
        ("/explain", "post") => {
            let of = |domain| {
                format!(
                    r#"{{"domain":"{domain}","descriptors":[{{"entries":[{{"key":"k","value":"1"}}]}}]}}"#
                )
            };
            vec![of("d"), of("other"), "{".into(), " ".repeat((1 << 20) + 1)]
        }
        ("/explain/bucket", "post") => {
            let of = |table| format!(r#"{{"table":"{table}","key":[["k","1"]]}}"#);
            vec![of("t"), of("other"), "{".into(), " ".repeat((1 << 20) + 1)]
        }
        ("/reset", "post") => {
            let of = |table| format!(r#"{{"table":"{table}","key":[["k","1"]]}}"#);
            let of_all = r#"{"key":[["k","1"]]}"#.into();
            vec![of("t"), of("other"), of_all, "{".into(), " ".repeat((1 << 20) + 1)]
        }
        ("/leases/release", "post") => {
            let of = |lease: &str| format!(r#"{{"lease":"{lease}"}}"#);
            let held = server.parts.ask(&call(&[("job", "1")]));
            let (held, other) = (of(held.metadata("lease").unwrap()), of(&"0".repeat(32)));
            vec![held, other, of("mine"), " ".repeat((1 << 20) + 1)]
        }
        ("/reload", "post") => vec![String::new()],
        (_, "get") => vec![String::new()],
        _ => panic!("this test does not know how to ask {method} {path}"),
    }
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let to = document.pointer(reference.strip_prefix('#').unwrap());
            to.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => schema,
    }
}

#[test]
fn metrics_are_described_in_both_formats() {
    let document = document(&TestServer::with_policy(POLICY));
    let content = &document["paths"]["/metrics"]["get"]["responses"]["200"]["content"];
    let kinds: Vec<_> = content.as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["text/plain", "application/openmetrics-text"]);
}

/// What came is of a kind that the document names, and has the fields that it names.
fn assert_is_as_said(document: &Value, said: &Value, answer: &Answer) {
    let kinds = said["content"].as_object().unwrap();
    let kind = kinds.keys().find(|kind| answer.head.contains(&format!("content-type: {kind}")));
    let kind = kind.unwrap_or_else(|| panic!("another content-type: {}", answer.head));
    if kind != "application/json" {
        return;
    }
    for (name, header) in said["headers"].as_object().into_iter().flatten() {
        let is_there = answer.head.contains(&format!("\r\n{}: ", name.to_lowercase()));
        assert!(is_there || header["required"] != true, "{name}: {}", answer.head);
    }
    let schema = resolved(document, &kinds[kind]["schema"]);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let fields: BTreeSet<_> = body.as_object().unwrap().keys().cloned().collect();
    let names = |names: &Value| match names {
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        Value::Object(names) => names.keys().cloned().collect(),
        _ => BTreeSet::new(),
    };
    assert!(names(&schema["required"]).is_subset(&fields), "{schema}: {fields:?}");
    if schema.get("properties").is_some() {
        assert!(fields.is_subset(&names(&schema["properties"])), "{schema}: {fields:?}");
    }
}

#[test]
fn every_operation_answers_as_the_document_says_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let mut server = TestServer::administered(&file, TOKEN);
    let without_files = TestServer::with(&support::source(POLICY), |options| {
        options.controls.token = Some(TOKEN.parse().unwrap());
    });
    let document = document(&server);
    let mut left = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let statuses = responses.keys().filter(|status| !takes_a_busy_server(path, status));
        left.extend(statuses.map(|status| (path, method, status.clone())));
        for body in bodies(&server, path, method) {
            let answer = ask(&server, method, path, &body);
            let said = responses.get(&answer.status);
            let said = said.unwrap_or_else(|| panic!("{method} {path}: {}", answer.status));
            assert_is_as_said(&document, said, &answer);
            left.remove(&(path, method, answer.status));
        }
        let mut others = Vec::new();
        if responses.contains_key("401") {
            let back = r#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}],"isNegativeHits":true}]}"#;
            others.push(ask_with(&server, "another", method, path, back));
        }
        if responses.contains_key("421") {
            for head in ["host: evil.example", "origin: http://evil.example"] {
                let head = format!("content-type: application/json\r\n{head}");
                others.push(ask_as(&server, &head, method, path, "{}"));
            }
        }
        if responses.contains_key("415") {
            others.push(ask_as(&server, "content-type: text/plain", method, path, "{}"));
        }
        match path {
            "/buckets" => {
                others.push(ask(&server, method, "/buckets?domain=other&k=1", ""));
                others.push(ask(&server, method, "/buckets?=1", ""));
            }
            "/top" => {
                others.push(ask(&server, method, "/top?domain=other", ""));
                others.push(ask(&server, method, "/top?limit=0", ""));
            }
            "/page/{module}" => others.push(ask(&server, method, "/page/other.js", "")),
            "/reload" => {
                others.push(ask(&without_files, method, path, ""));
                std::fs::write(&file, "domain: 1").unwrap();
                others.push(ask(&server, method, path, ""));
            }
            _ => {}
        }
        for answer in others {
            assert_is_as_said(&document, &responses[&answer.status], &answer);
            left.remove(&(path, method, answer.status));
        }
        for other in METHODS {
            if document["paths"][path].get(other).is_none() {
                assert_eq!(ask(&server, other, path, "").status, "405", "{other} {path}");
            }
        }
    }
    // With a call in flight it stops slowly.
    let mut connection = Connection::open(server.grpc);
    connection.send(&frames::halves(1, &call(&[("k", "1")]))[0]);
    connection.settle();
    connection.settle();
    server.begin_stop();
    eventually("it stops", || ask(&server, "get", "/readyz", "").status != "200");
    for (path, method, operation) in operations(&document) {
        let said = operation["responses"].get("503");
        if let Some(said) = said.filter(|_| !takes_a_busy_server(path, "503")) {
            let answer = ask(&server, method, path, "");
            assert_is_as_said(&document, said, &answer);
            left.remove(&(path, method, answer.status));
        }
    }
    server.hurry();
    assert!(left.is_empty(), "never answered: {left:?}");
}

/// Whether a status is for a server that is slow, or has too much to do: `tests/bounds/http.rs` has these.
fn takes_a_busy_server(path: &str, status: &str) -> bool {
    status == "408" || (status == "503" && path != "/readyz")
}

fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            *found += &std::fs::read_to_string(path).unwrap();
        }
    }
}

/// axum does not tell the routes of a router.
#[test]
fn every_route_is_in_the_document() {
    let server = TestServer::with_policy(POLICY);
    let document = document(&server);
    let mut text = std::fs::read_to_string("src/admin.rs").unwrap();
    sources(Path::new("src/admin"), &mut text);
    let mut routes = 0;
    for route in text.split(".route(").skip(1) {
        let (path, handler) =
            route.trim_start().strip_prefix('"').unwrap().split_once('"').unwrap();
        let methods =
            document["paths"].get(path).unwrap_or_else(|| panic!("{path} is not told of"));
        let handler = handler.split(".layer(").next().unwrap();
        let handler = handler.split(".route_layer(").next().unwrap();
        let is_method = |method: &&&str| handler.contains(&format!("{method}("));
        for method in METHODS.iter().filter(is_method) {
            assert!(methods.get(*method).is_some(), "{method} {path} is not told of");
        }
        routes += 1;
    }
    assert_eq!(routes, document["paths"].as_object().unwrap().len());
}

#[test]
fn the_document_is_openapi_3_1_of_this_version() {
    let server = TestServer::with_policy(POLICY);
    let document = document(&server);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(path.starts_with('/') && METHODS.contains(&method), "{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{path}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{path}");
        for (status, said) in operation["responses"].as_object().unwrap() {
            assert!(status.parse::<u16>().is_ok(), "{path}: {status}");
            assert!(!said["description"].as_str().unwrap().is_empty(), "{path}: {status}");
        }
    }
    let mut parts = vec![&document];
    while let Some(part) = parts.pop() {
        resolved(&document, part);
        match part {
            Value::Array(inner) => parts.extend(inner),
            Value::Object(inner) => parts.extend(inner.values()),
            _ => {}
        }
    }
}
