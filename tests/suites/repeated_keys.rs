//! Descriptors with several entries of one key: which of them a policy reads, and who learns of the others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a failure is a panic")]

use crate::support;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Parts, TestServer, call, descriptor, request, server, source};

/// A route's descriptor, as two `generic_key` actions of Envoy make it.
fn route<'a>(shop: &'a str, route: &'a str) -> [(&'a str, &'a str); 2] {
    [("generic_key", shop), ("generic_key", route)]
}

#[test]
fn a_key_names_a_bucket_by_the_second_entry_of_two() {
    let (_server, mut client) = server(
        "tables:
  - { name: shop, key: [generic_key], rows: { all: [{ per_day: 10 }] } }
  - { name: route, key: [\"generic_key[0]\", \"generic_key[1]\"], rows: { all: [{ per_day: 2 }] } }",
    );
    let mut ask = |entries: &[(&str, &str)]| {
        let answer = client.ask(call(entries));
        (answer.is_ok(), answer.remaining())
    };
    assert_eq!(ask(&route("shop", "checkout")), (true, vec![1]));
    assert_eq!(ask(&route("shop", "checkout")), (true, vec![0]));
    assert_eq!(ask(&route("shop", "checkout")), (false, vec![0]));
    assert_eq!(ask(&route("shop", "catalogue")), (true, vec![1]));
    assert_eq!(ask(&route("bank", "checkout")), (true, vec![1]));
    assert_eq!(ask(&[("generic_key", "shop")]), (true, vec![6]), "no second entry, no route");
}

#[test]
fn conditions_rows_overrides_and_bypasses_test_the_entry_that_they_number() {
    let (_server, mut client) = server(
        "tables:
  - name: routes
    when: { \"header_value_match[2]\": { present: true } }
    select: header_value_match[1]
    key: []
    rows: { checkout: [{ per_day: 10 }], default: [{ per_day: 100 }] }
overrides:
  - table: routes
    row: checkout
    when: { \"header_value_match[2]\": gold }
    buckets: [{ per_day: 1000 }]
bypass:
  - header_value_match[1]: health",
    );
    let mut left = |values: &[&str]| {
        let entries: Vec<_> = values.iter().map(|value| ("header_value_match", *value)).collect();
        let answer = client.ask(call(&entries));
        answer.0.statuses[0].current_limit.is_some().then(|| answer.remaining()[0])
    };
    assert_eq!(left(&["shop", "checkout", "silver"]), Some(9));
    assert_eq!(left(&["shop", "checkout", "gold"]), Some(999));
    assert_eq!(left(&["checkout", "shop", "gold"]), Some(99), "the default row");
    assert_eq!(left(&["shop", "checkout"]), None, "the condition is on the third");
    assert_eq!(left(&["shop", "health", "gold"]), None, "bypassed");
    assert_eq!(left(&["health", "shop", "gold"]), Some(98));
}

#[test]
fn entries_that_no_table_can_read_are_counted_by_domain() {
    let policy = |domain: &str, key: &str| {
        let tables = format!("tables: [{{ name: t, key: [{key}], rows: {{ all: unlimited }} }}]");
        source(&format!("domain: {domain}\n{tables}")).remove(0)
    };
    let sources = [policy("d", "generic_key"), policy("e", "\"generic_key[1]\"")];
    let parts = Parts::new(&sources, 100);
    let ask = |domain: &str, descriptors: &[&[(&str, &str)]]| {
        let descriptors: Vec<_> = descriptors.iter().map(|entries| descriptor(entries)).collect();
        parts.ask(&request(domain, &descriptors));
        let text = parts.telemetry.encode().unwrap();
        ["d", "e"].map(|domain| {
            let series = format!("tollgate_repeated_entries_total{{domain=\"{domain}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&*series)).unwrap().to_owned()
        })
    };
    assert_eq!(ask("d", &[&[("generic_key", "a"), ("tenant", "b")]]), ["0", "0"]);
    assert_eq!(ask("d", &[&route("a", "b")]), ["1", "0"]);
    assert_eq!(ask("d", &[&route("a", "b"), &route("a", "a")]), ["3", "0"]);
    assert_eq!(ask("d", &[&[("other", "a"), ("other", "b")]]), ["3", "0"], "nobody asks for it");
    assert_eq!(ask("e", &[&route("a", "b")]), ["3", "0"], "the policy names both");
    let three = [("generic_key", "a"), ("generic_key", "b"), ("generic_key", "c")];
    assert_eq!(ask("e", &[&three]), ["3", "1"]);
}

fn ask(server: &TestServer, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn an_explanation_says_how_each_entry_is_read() {
    let (server, _) = server(
        "tables: [{ name: t, key: [\"generic_key[1]\"], rows: { all: [{ per_day: 10 }] } }]",
    );
    let values = [("generic_key", "a"), ("other", "x"), ("generic_key", "b"), ("generic_key", "c")];
    let entries = values.map(|(key, value)| json!({ "key": key, "value": value }));
    let asked = json!({ "domain": "d", "descriptors": [{ "entries": entries }] });
    let answer = ask(&server, "POST", "/explain", &asked.to_string());
    let told = &answer["descriptors"][0];
    let read = [json!("generic_key"), Value::Null, json!("generic_key[1]"), Value::Null];
    let expected: Vec<_> = values
        .iter()
        .zip(read)
        .map(|((key, value), name)| json!({ "key": key, "value": value, "read_as": name }))
        .collect();
    assert_eq!(told["entries"], json!(expected));
    assert_eq!(told["tables"][0]["scope"], "one for each generic_key[1]");
    assert_eq!(answer["unknown_keys"], json!(["other"]));
}

#[test]
fn a_bucket_is_found_by_its_entries_in_order_or_by_their_names() {
    let (server, mut client) = server(
        "tables: [{ name: t, key: [generic_key, \"generic_key[1]\"], rows: { all: [{ per_day: 10 }] } }]",
    );
    client.ask(call(&route("shop", "checkout")));
    client.ask(call(&route("shop", "catalogue")));
    let listed = |query: &str| {
        let answer = ask(&server, "GET", &format!("/buckets?{query}"), "");
        let items = answer["items"].as_array().unwrap().iter();
        (items.map(|of| of["key"].clone()).collect::<Vec<_>>(), answer["unknown_keys"].clone())
    };
    let key = json!([["generic_key", "shop"], ["generic_key[1]", "checkout"]]);
    let expected = (vec![key], json!([]));
    assert_eq!(listed("generic_key=shop&generic_key=checkout"), expected);
    assert_eq!(listed("generic_key=shop&generic_key[1]=checkout"), expected);
    assert_eq!(listed("generic_key[1]=checkout&generic_key=shop"), expected);
    assert_eq!(listed("generic_key=bank&generic_key=checkout").0, [Value::Null; 0]);
}
