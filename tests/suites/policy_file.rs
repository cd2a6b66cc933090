//! What a policy file means: conditions, overrides, bypass, shadow, addresses, reload.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::sync::Arc;

use support::{
    Client, Parts, START, TestServer, call, descriptor, give_back, request, server, source,
};
use tollgate::clock::{Clock, Nanos, Timestamp};
use tollgate::policy_files::{PolicyFiles, Reloaded};

#[test]
fn joined_names_and_values_do_not_collide() {
    let (_server, mut client) = server(
        "tables:
           - { name: pair, key: [a, b], rows: { always: [{ per_day: 1 }] } }
           - { name: one, key: [k], rows: { always: [{ per_day: 1 }] } }",
    );
    for (a, b) in [("x_y", "z"), ("x", "y_z"), ("x_", "yz"), ("", "xyz"), ("xyz", "")] {
        assert!(client.ask(call(&[("a", a), ("b", b)])).is_ok(), "{a} {b}");
    }
    for value in ["x", "x ", "X", "x\0", "", "x_y"] {
        assert!(client.ask(call(&[("k", value)])).is_ok(), "{value:?}");
        assert!(!client.ask(call(&[("k", value)])).is_ok(), "{value:?}");
    }
}

#[test]
fn conditions_choose_the_calls_a_table_is_for() {
    let (_server, mut client) = server(
        "tables:
           - { name: equal, when: { e: yes please }, key: [], rows: { always: [{ per_day: 1 }] } }
           - { name: one of, when: { o: [a, b] }, key: [], rows: { always: [{ per_day: 1 }] } }
           - { name: prefix, when: { p: /api/* }, key: [], rows: { always: [{ per_day: 1 }] } }
           - { name: cidr, when: { c: { cidr: [10.0.0.0/8, '2001:db8::/32'] } }, key: [], rows: { always: [{ per_day: 1 }] } }
           - { name: both, when: { x: { present: true }, y: { absent: true } }, key: [], rows: { always: [{ per_day: 1 }] } }",
    );
    let meets = [
        [("e", "yes please")],
        [("o", "b")],
        [("p", "/api/")],
        [("c", "::ffff:10.9.8.7")],
        [("x", "")],
    ];
    for entries in meets {
        assert!(client.ask(call(&entries)).is_ok());
        assert!(!client.ask(call(&entries)).is_ok(), "{entries:?}");
    }
    let misses: [&[(&str, &str)]; 10] = [
        &[("e", "yes")],
        &[("e", "yes please!")],
        &[("o", "ab")],
        &[("o", "a*")],
        &[("p", "/ap")],
        &[("p", "/API/x")],
        &[("c", "11.0.0.1")],
        &[("c", "10.0.0.0.1")],
        &[("x", "1"), ("y", "")],
        &[("unknown", "1")],
    ];
    for entries in misses {
        for _ in 0..2 {
            assert!(client.ask(call(entries)).is_ok(), "{entries:?}");
        }
    }
}

#[test]
fn an_override_counts_until_its_moment_and_not_longer() {
    let (server, mut client) = server(
        "tables: [{ name: t, select: kind, key: [k], rows: { a: [{ per_second: 2 }], otherwise: [{ per_second: 3 }] } }]
overrides:
  - { table: t, when: { k: acme }, until: 2026-03-01T01:00:00Z, buckets: [{ per_second: 7 }] }
  - { table: t, row: otherwise, when: { k: globex }, buckets: unlimited }",
    );
    let admitted =
        |client: &mut Client, entries: &[(&str, &str)]| client.drain(&call(entries), 50).0;
    assert_eq!(admitted(&mut client, &[("k", "acme"), ("kind", "a")]), 7);
    assert_eq!(admitted(&mut client, &[("k", "acme")]), 7);
    assert_eq!(admitted(&mut client, &[("k", "other")]), 3);
    assert_eq!(admitted(&mut client, &[("k", "globex"), ("kind", "a")]), 2);
    for _ in 0..100 {
        assert!(client.ask(call(&[("k", "globex")])).is_ok());
    }
    let until = Timestamp::from_unix_nanos(START.as_unix_nanos() + 3_600_000_000_000);
    server.parts.clock.set(until.before(Nanos::new(1)));
    assert_eq!(admitted(&mut client, &[("k", "acme"), ("kind", "a")]), 7);
    server.parts.clock.set(until);
    assert_eq!(admitted(&mut client, &[("k", "acme")]), 3);
    // Seven were used just now: six are repaid in three seconds.
    assert_eq!(admitted(&mut client, &[("k", "acme"), ("kind", "a")]), 0);
    server.advance(Nanos::from_secs(3));
    assert_eq!(admitted(&mut client, &[("k", "acme"), ("kind", "a")]), 1);
}

#[test]
fn a_bypass_lets_the_whole_request_through_uncharged() {
    let (server, mut client) = server(
        "tables: [{ name: t, key: [k], rows: { always: [{ per_day: 1 }] } }]
bypass:
  - { remote_address: { cidr: [10.0.0.0/8] } }
  - { k: health, user: { absent: true } }",
    );
    let inside =
        request("d", &[descriptor(&[("k", "1")]), descriptor(&[("remote_address", "10.1.1.1")])]);
    for _ in 0..3 {
        let answer = client.ask(inside.clone());
        assert_eq!((answer.is_ok(), answer.0.statuses.len()), (true, 2));
        assert!(client.ask(call(&[("k", "health")])).is_ok());
    }
    assert_eq!(client.drain(&call(&[("k", "1"), ("remote_address", "11.1.1.1")]), 5).0, 1);
    assert_eq!(client.drain(&call(&[("k", "health"), ("user", "")]), 5).0, 1);
    let metrics = server.parts.telemetry.encode().unwrap();
    assert!(
        metrics.contains("tollgate_requests_total{domain=\"d\",code=\"bypassed\"} 6\n"),
        "{metrics}"
    );
}

#[test]
fn a_shadow_row_is_counted_and_reported_and_denies_nobody() {
    let (server, mut client) = server(
        "tables:
           - { name: t, key: [k], rows: { always: [{ per_day: 100 }] } }
           - { name: watched, key: [k], shadow: true, rows: { always: [{ per_day: 2 }] } }
           - { name: some, key: [k], select: kind, rows: { new: { shadow: true, buckets: [{ per_day: 1 }] }, old: [{ per_day: 1 }] } }",
    );
    for turn in 1..=5 {
        let answer = client.ask(call(&[("k", "1"), ("kind", "new")]));
        assert!(answer.is_ok());
        assert_eq!(answer.number("x-ratelimit-limit"), 100, "headers tell of what can deny");
        assert_eq!(answer.0.statuses[0].code, 1);
        let shadow = answer
            .0
            .dynamic_metadata
            .is_some_and(|metadata| metadata.fields.contains_key("shadow"));
        assert_eq!(shadow, turn > 1);
    }
    assert_eq!(client.drain(&call(&[("k", "2"), ("kind", "old")]), 9).0, 1);
    let metrics = server.parts.telemetry.encode().unwrap();
    let counted = |row: &str, outcome: &str, count: u32| {
        let labels = format!("domain=\"d\",{row},outcome=\"{outcome}\"");
        let line = format!("tollgate_decisions_total{{{labels}}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    };
    counted("table=\"watched\",row=\"always\"", "shadow_over_limit", 3);
    counted("table=\"watched\",row=\"always\"", "admitted", 3);
    counted("table=\"some\",row=\"new\"", "shadow_over_limit", 4);
    counted("table=\"some\",row=\"old\"", "over_limit", 1);
    counted("table=\"t\",row=\"always\"", "admitted", 6);
}

#[test]
fn a_descriptor_that_meets_only_shadow_buckets_tells_of_them_and_is_ok() {
    let (_server, mut client) =
        server("tables: [{ name: t, key: [k], shadow: true, rows: { always: [{ per_day: 1 }] } }]");
    for remaining in [0, 0, 0] {
        let answer = client.ask(call(&[("k", "1")]));
        assert_eq!((answer.is_ok(), answer.0.statuses[0].code), (true, 1));
        assert_eq!(answer.remaining(), [remaining]);
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
}

#[test]
fn addresses_count_by_their_prefix() {
    let (_server, mut client) = server(
        "tables:
           - { name: usual, when: { t: '1' }, key: [remote_address], rows: { always: [{ per_day: 1 }] } }
           - { name: wide, when: { t: '2' }, key: [remote_address], prefix: { ipv4: 24, ipv6: 48 }, rows: { always: [{ per_day: 1 }] } }",
    );
    let mut ask = |table: &str, address: &str| {
        client.ask(call(&[("t", table), ("remote_address", address)])).is_ok()
    };
    assert!(ask("1", "192.0.2.1") && ask("1", "192.0.2.2") && !ask("1", "::ffff:192.0.2.1"));
    assert!(
        ask("1", "2001:db8:0:1::1")
            && !ask("1", "2001:db8:0:1:2:3:4:5")
            && ask("1", "2001:db8:0:2::1")
    );
    assert!(ask("2", "192.0.2.1") && !ask("2", "192.0.2.200") && ask("2", "192.0.3.1"));
    assert!(
        ask("2", "2001:db8::1") && !ask("2", "2001:db8:0:ffff::1") && ask("2", "2001:db8:1::1")
    );
    assert!(ask("1", "not an address") && !ask("1", "not an address") && ask("1", "nor this"));
}

#[test]
fn every_spelling_of_an_address_shares_its_bucket_and_its_bypass() {
    let (_server, mut client) = server(
        "tables: [{ name: t, key: [remote_address], rows: { always: [{ per_day: 10 }] } }]
bypass: [{ remote_address: { cidr: [10.0.0.0/8, '2001:db8:ffff::/48'] } }]",
    );
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    let spellings = [
        &["192.0.2.1", "192.0.2.1:51001", "192.0.2.1:51002", " 192.0.2.1", "[::ffff:192.0.2.1]:9"]
            [..],
        &["2001:db8::1", "[2001:db8::1]", "[2001:DB8:0::1]:443", "\"[2001:db8::1]:443\""],
        &["fe80::1", "fe80::1%eth0", "[fe80::1%25eth0]:443", "fe80::1%3\t"],
    ];
    for client in spellings {
        for (spelling, left) in client.iter().zip((0..10).rev()) {
            assert_eq!(ask(spelling), [left], "{spelling}");
        }
    }
    for exempt in ["10.1.2.3", "10.1.2.3:5555", "[2001:db8:ffff::1]:443", " 10.1.2.3"] {
        assert_eq!(ask(exempt), [0], "{exempt}");
        assert_eq!(ask(exempt), [0], "{exempt}");
    }
    for other in ["10.1.2.3:", "10.1.2.3:notaport", "10.1.2.3.4", "10.1.2.3, 10.1.2.4"] {
        assert_eq!(ask(other), [9], "a bucket of its own: {other}");
    }
}

#[test]
fn the_policy_says_which_element_of_a_list_is_the_client() {
    let policy = |addresses: &str| {
        format!(
            "{addresses}
tables: [{{ name: t, key: [remote_address], rows: {{ all: [{{ per_day: 3 }}] }} }}]
bypass: [{{ remote_address: {{ cidr: 10.0.0.0/8 }} }}]"
        )
    };
    let (_server, mut client) = server(&policy("addresses: { trusted_hops: 1 }"));
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    assert_eq!(ask("203.0.113.1, 198.51.100.1"), [2]);
    assert_eq!(ask("10.0.0.1, 203.0.113.1:443, 198.51.100.2"), [1], "a claim exempts nobody");
    assert_eq!(ask("203.0.113.1"), [0]);
    assert_eq!(ask("203.0.113.1, 10.0.0.1, 198.51.100.1"), [0], "bypassed");
    assert_eq!(ask("203.0.113.2, 198.51.100.1"), [2]);
    let (_server, mut client) = server(&policy(""));
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    assert_eq!(ask("203.0.113.1"), [2]);
    assert_eq!(ask("203.0.113.2, 203.0.113.1"), [2], "a text of its own");
}

#[test]
fn addresses_behind_a_translator_count_as_ipv4() {
    let policy = |addresses: &str| {
        format!(
            "{addresses}
tables: [{{ name: t, key: [remote_address], rows: {{ all: [{{ per_day: 3 }}] }} }}]
bypass: [{{ remote_address: {{ cidr: [10.0.0.0/8, 198.51.100.0/24] }} }}]"
        )
    };
    let (_server, mut client) = server(&policy(""));
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    assert_eq!(ask("64:ff9b::192.0.2.1"), [2]);
    assert_eq!(ask("64:ff9b::192.0.2.2"), [2]);
    assert_eq!(ask("192.0.2.1"), [1]);
    assert_eq!(ask("[64:ff9b::c000:201]:443"), [0]);
    assert_eq!(ask("64:ff9b::198.51.100.9"), [0], "bypassed");
    assert_eq!(ask("64:ff9b::10.0.0.1"), [2], "no translator sends this");
    let (_server, mut client) = server(
        "tables: [{ name: t, when: { remote_address: { cidr: \"64:ff9b::/96\" } }, key: [], rows: { all: [{ per_day: 3 }] } }]",
    );
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    assert_eq!(ask("64:ff9b::192.0.2.1"), [2], "as it is written");
    ask("192.0.2.1");
    assert_eq!(ask("64:ff9b::10.0.0.1"), [1], "the plain address does not match");
    let (_server, mut client) = server(&policy("addresses: { nat64: [] }"));
    let mut ask = |address: &str| client.ask(call(&[("remote_address", address)])).remaining();
    assert_eq!(ask("64:ff9b::192.0.2.1"), [2]);
    assert_eq!(ask("64:ff9b::192.0.2.2"), [1]);
}

#[test]
fn what_is_no_address_can_share_one_bucket() {
    let (_server, mut client) = server(
        "tables:
  - { name: address, when: { remote_address: { cidr: [0.0.0.0/0, '::/0'] } }, key: [remote_address], rows: { all: [{ per_day: 2 }] } }
  - { name: no address, when: { remote_address: { not: { cidr: [0.0.0.0/0, '::/0'] } } }, key: [], rows: { all: [{ per_day: 2 }] } }",
    );
    let mut ask = |entries: &[(&str, &str)]| {
        let answer = client.ask(call(entries));
        if answer.is_ok() { "ok".to_owned() } else { answer.denied_by().0.to_owned() }
    };
    assert_eq!(ask(&[("remote_address", "unknown")]), "ok");
    assert_eq!(ask(&[("remote_address", "192.0.2.1:")]), "ok");
    for text in ["", "a", "192.0.2.1, 192.0.2.2", "192.0.2.1:99999"] {
        assert_eq!(ask(&[("remote_address", text)]), "no address", "{text}");
    }
    for text in ["192.0.2.1", "192.0.2.1:443"] {
        assert_eq!(ask(&[("remote_address", text)]), "ok", "{text}");
    }
    assert_eq!(ask(&[("remote_address", "192.0.2.1:444")]), "address");
    assert_eq!(ask(&[("user", "ann")]), "ok", "a missing entry satisfies neither");
}

#[test]
fn a_negated_condition_holds_in_tables_overrides_and_bypasses_and_never_without_its_entry() {
    let (_server, mut client) = server(
        "tables: [{ name: t, when: { scope: { not: internal } }, key: [tenant], rows: { all: [{ per_day: 3 }] } }]
overrides: [{ table: t, when: { tenant: { not: [acme, 'big*'] } }, buckets: [{ per_day: 1 }] }]
bypass: [{ tenant: { present: true }, path: { not: /api/* } }]",
    );
    let mut admitted =
        |entries: &[(&str, &str)]| (0..5).filter(|_| client.ask(call(entries)).is_ok()).count();
    assert_eq!(admitted(&[("scope", "web"), ("tenant", "acme")]), 3);
    assert_eq!(admitted(&[("scope", "web"), ("tenant", "big one")]), 3);
    assert_eq!(admitted(&[("scope", "web"), ("tenant", "small")]), 1);
    assert_eq!(admitted(&[("scope", "internal"), ("tenant", "acme")]), 5, "not this table");
    assert_eq!(admitted(&[("tenant", "acme")]), 5, "a missing entry");
    assert_eq!(admitted(&[("scope", "web"), ("tenant", "small"), ("path", "/health")]), 5);
    assert_eq!(admitted(&[("scope", "web"), ("tenant", "small"), ("path", "/api/a")]), 0);
}

#[test]
fn other_policies_are_put_in_force_as_a_whole_and_keep_what_did_not_change() {
    let policy = |a: u32, b: u32| {
        format!(
            "domain: d\ntables:
  - {{ name: a, key: [k], rows: {{ always: [{{ per_day: {a} }}] }} }}
  - {{ name: b, key: [j], rows: {{ always: [{{ per_day: {b} }}] }} }}"
        )
    };
    let server = TestServer::with_policy(&policy(3, 3));
    let mut client = server.client();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let Parts { policies, key, clock, .. } = &server.parts;
    let files = PolicyFiles::new(path.clone(), *key, Arc::clone(policies));
    let reload = |text: &str| {
        std::fs::write(&path, text).unwrap();
        files.reload(clock.now())
    };
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 3);
    assert_eq!(client.ask(call(&[("j", "1")])).remaining(), [2]);

    let bad = policy(9, 9).replace("per_day: 9 }] } }", "per_dya: 9 }] } }");
    let problems = reload(&bad).unwrap_err().to_string();
    assert!(problems.contains("did you mean `per_day`?"), "{problems}");
    assert!(!client.ask(call(&[("k", "1")])).is_ok(), "the old policy is in force");

    assert_eq!(reload(&policy(3, 6)).unwrap(), Reloaded::Changed);
    assert!(!client.ask(call(&[("k", "1")])).is_ok(), "what did not change keeps its state");
    // One was used: of six a day that leaves five, of which one is taken here.
    assert_eq!(client.ask(call(&[("j", "1")])).remaining(), [4]);
}

#[test]
fn a_shadow_row_denies_in_its_books_what_it_would_deny_if_it_were_enforced() {
    let rows = |shadow: bool| {
        format!(
            "tables: [{{ name: t, key: [k], shadow: {shadow}, rows: {{ always: [{{ per_hour: 1 }}, {{ per_day: 10 }}] }} }}]"
        )
    };
    let counted = |shadow: bool, outcome: &str| {
        let (server, mut client) = server(&rows(shadow));
        for _ in 0..96 {
            client.ask(call(&[("k", "1")]));
            server.advance(Nanos::from_secs(900));
        }
        let metrics = server.parts.telemetry.encode().unwrap();
        let of = |outcome: &str| {
            let start = format!(
                "tollgate_decisions_total{{domain=\"d\",table=\"t\",row=\"always\",outcome=\"{outcome}\"}} "
            );
            let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(&*start));
            lines.next().unwrap().parse::<u32>().unwrap()
        };
        (of("admitted"), of(outcome))
    };
    let enforced = counted(false, "over_limit");
    assert_eq!(enforced.0 + enforced.1, 96, "a row of two buckets is one decision");
    assert_eq!(counted(true, "shadow_over_limit"), enforced);
}

#[test]
fn a_group_that_is_sent_goes_before_the_one_that_method_and_path_give() {
    let (_server, mut client) = server(
        "endpoint_groups: { users: [GET /users], logs: [] }
tables: [{ name: t, select: endpoint_group, key: [k], rows: { users: [{ per_day: 1 }], logs: [{ per_day: 2 }] } }]",
    );
    let users = [("k", "1"), ("method", "GET"), ("path", "/users")];
    let logs = [users[0], users[1], users[2], ("endpoint_group", "logs")];
    assert_eq!(client.drain(&call(&logs), 5).0, 2);
    assert_eq!(client.drain(&call(&users), 5).0, 1);
}

#[test]
fn no_other_spelling_of_a_path_leads_around_the_limit_of_its_group() {
    let policy = |paths: &str| {
        format!(
            "paths: {paths}
endpoint_groups: {{ clients: [GET /v2/clients], one: ['GET /v2/clients/{{id}}'] }}
tables: [{{ name: t, select: endpoint_group, key: [k], rows: {{ clients: [{{ per_day: 2 }}], one: unlimited, default: [{{ per_day: 50 }}] }} }}]"
        )
    };
    let entries = |method, path| call(&[("k", "1"), ("method", method), ("path", path)]);
    let spellings = [
        ("GET", "/v2/clients?page=1"),
        ("GET", "/v2/clients/"),
        ("HEAD", "/v2/clients"),
        ("GET", "/v2/clients;v=1"),
        ("HEAD", "/v2;x/clients"),
        ("GET", "/v2//clients"),
        ("GET", "/v2/%63lients"),
        ("GET", "/v2/./clients"),
        ("GET", "/v2/x/..;y/clients"),
    ];
    let (_server, mut client) = server(&policy("{}"));
    assert_eq!(client.drain(&entries("GET", "/v2/clients"), 5).0, 2);
    for (method, path) in spellings {
        assert!(!client.ask(entries(method, path)).is_ok(), "{method} {path}");
    }
    for (method, path) in
        [("GET", "/v2/Clients"), ("POST", "/v2/clients"), ("GET", "/v2/clients/7")]
    {
        assert!(client.ask(entries(method, path)).is_ok(), "{method} {path}");
    }
    let (_server, mut client) = server(&policy("{ case: insensitive }"));
    assert_eq!(client.drain(&entries("GET", "/V2/%43lients"), 5).0, 2);
    assert!(!client.ask(entries("HEAD", "/v2/Clients")).is_ok());
    let (_server, mut client) = server(&policy(
        "{ merge_slashes: false, ignore_parameters: false, decode_unreserved: false, remove_dots: false }",
    ));
    assert_eq!(client.drain(&entries("GET", "/v2/clients"), 5).0, 2);
    for path in ["/v2/clients;v=1", "/v2//clients", "/v2/%63lients", "/v2/./clients"] {
        assert!(client.ask(entries("GET", path)).is_ok(), "{path}");
    }
}

#[test]
fn a_path_names_a_bucket_without_its_query_unless_the_table_says_otherwise() {
    let policy = |key_path: &str| {
        format!(
            "tables: [{{ name: t, key: [k, path],{key_path} rows: {{ all: [{{ per_day: 1 }}] }} }}]"
        )
    };
    let of = |path| call(&[("k", "1"), ("path", path)]);
    for key_path in ["", " key_path: without_query,"] {
        let (_server, mut client) = server(&policy(key_path));
        assert!(client.ask(of("/a?x=1")).is_ok());
        for same in ["/a?x=2", "/a", "/a?", "/a#b?c"] {
            assert!(!client.ask(of(same)).is_ok(), "{same}");
        }
        assert!(client.ask(of("/b?x=1")).is_ok());
    }
    let (_server, mut client) = server(&policy(" key_path: with_query,"));
    for path in ["/a?x=1", "/a?x=2", "/a"] {
        assert!(client.ask(of(path)).is_ok(), "{path}");
        assert!(!client.ask(of(path)).is_ok(), "{path}");
    }
}

/// The policies of Istio's samples call the entry `PATH`.
#[test]
fn an_entry_is_a_path_by_its_name() {
    let policy = |paths: &str, key: &str| {
        format!(
            "{paths}\ntables: [{{ name: t, key: ['{key}'], rows: {{ all: [{{ per_day: 1 }}] }} }}]"
        )
    };
    let charges_one_bucket = |paths: &str, named: &str, key: &str| {
        let (_server, mut client) = server(&policy(paths, named));
        assert!(client.ask(call(&[(key, "/a")])).is_ok(), "{paths} {key}");
        let other = ["/a?x=1", "/a#b"].map(|value| !client.ask(call(&[(key, value)])).is_ok());
        assert_eq!(other[0], other[1], "{paths} {key}");
        other[0]
    };
    let usual = [
        "path",
        "PATH",
        ":path",
        "Request_Path",
        "request.path",
        "REQUEST_URI",
        "uri",
        "x-envoy-original-path",
    ];
    for key in usual {
        assert!(charges_one_bucket("", key, key), "{key}");
        assert!(!charges_one_bucket("paths: { entries: [] }", key, key), "{key}");
    }
    for key in ["paths", "user", "url", "path_", "generic_key"] {
        assert!(!charges_one_bucket("", key, key), "{key}");
        assert!(charges_one_bucket(&format!("paths: {{ entries: [{key}] }}"), key, key), "{key}");
    }
    let named = "paths: { entries: [Url] }";
    assert!(charges_one_bucket(named, "URL", "URL"));
    // A bucket is described alike whatever the entry is called.
    for (key_path, described) in
        [("without_query", "PATH"), ("with_query", "PATH (with its query)")]
    {
        let table =
            format!("{{ name: t, key: [PATH], key_path: {key_path}, rows: {{ all: unlimited }} }}");
        let parts = Parts::new(&source(&format!("domain: d\ntables: [{table}]")), 1_000);
        let policies = parts.policies.load_full();
        let policy = &policies.get("d").unwrap().policy;
        let scope = policy.scope_description(&policy.tables()[0]);
        assert_eq!(scope, format!("one for each {described}"));
    }
    // Of several entries with one key, the one that is named.
    let numbered = "paths: { entries: ['generic_key[1]'] }";
    let (_server, mut client) = server(&policy(numbered, "generic_key[1]"));
    let second = |value| call(&[("generic_key", "?"), ("generic_key", value)]);
    assert!(client.ask(second("/a")).is_ok());
    assert!(!client.ask(second("/a?b")).is_ok());
}

/// Istio's sample: the front page once a minute, every other page a hundred times.
#[test]
fn a_query_selects_no_other_row_unless_the_table_says_otherwise() {
    let policy = |key_path: &str| {
        format!(
            "tables: [{{ name: t, select: PATH, key: [PATH],{key_path} rows: {{ '/': [{{ per_day: 1 }}], \
             '/a?b': [{{ per_day: 2 }}], default: [{{ per_day: 3 }}] }} }}]"
        )
    };
    let of = |path| call(&[("PATH", path)]);
    let (_server, mut client) = server(&policy(""));
    assert!(client.ask(of("/")).is_ok());
    for same in ["/?a=1", "/?", "/#x", "/"] {
        assert!(!client.ask(of(same)).is_ok(), "{same}");
    }
    // A row that is named with a query takes that one.
    assert_eq!(client.drain(&of("/a?b"), 5).0, 2);
    assert_eq!(client.drain(&of("/a?c"), 5).0, 3);
    let (_server, mut client) = server(&policy(" key_path: with_query,"));
    assert_eq!(client.drain(&of("/?a=1"), 5).0, 3);
    assert_eq!(client.drain(&of("/"), 5).0, 1);
    // No path is in the key.
    let (_server, mut client) = server(
        "tables: [{ name: t, select: path, key: [k], rows: { /login: [{ per_day: 1 }], default: unlimited } }]",
    );
    let of = |path| call(&[("k", "1"), ("path", path)]);
    assert_eq!(client.drain(&of("/login?x"), 5).0, 1);
    assert!(!client.ask(of("/login")).is_ok());
    let (_server, mut client) = server(
        "tables: [{ name: t, select: user, key: [], rows: { /: [{ per_day: 1 }], default: unlimited } }]",
    );
    assert!((0..3).all(|_| client.ask(call(&[("user", "/?")])).is_ok()));
}

#[test]
fn an_unlimited_row_is_a_match_and_a_call_that_no_table_has_a_row_for_is_none() {
    let (server, mut client) =
        server("tables: [{ name: t, select: kind, key: [k], rows: { free: unlimited } }]");
    assert!(client.ask(call(&[("k", "1"), ("kind", "free")])).is_ok());
    assert!(client.ask(call(&[("k", "1"), ("kind", "other")])).is_ok());
    let metrics = server.parts.telemetry.encode().unwrap();
    for (code, count) in [("ok", 1), ("unmatched", 1)] {
        let line = format!("tollgate_requests_total{{domain=\"d\",code=\"{code}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn a_bypassed_request_still_gives_back_its_leases() {
    let (_server, mut client) = server(
        "tables: [{ name: t, key: [k], rows: { always: [{ concurrent: 1, hold: 1h }] } }]
bypass: [{ from: inside }]",
    );
    let lease = client.ask(call(&[("k", "1")])).metadata("lease").unwrap().to_owned();
    let released =
        request("d", &[give_back(1, &[("lease", &lease)]), descriptor(&[("from", "inside")])]);
    assert_eq!(client.ask(released).released(), Some(1));
    assert!(client.ask(call(&[("k", "1")])).is_ok());
}

#[test]
fn an_address_never_counts_as_a_text_of_the_same_bytes() {
    let (_server, mut client) =
        server("tables: [{ name: t, key: [remote_address], rows: { always: [{ per_day: 1 }] } }]");
    for value in ["65.66.67.68", "ABCD"] {
        assert!(client.ask(call(&[("remote_address", value)])).is_ok(), "{value}");
        assert!(!client.ask(call(&[("remote_address", value)])).is_ok(), "{value}");
    }
}

#[test]
fn another_size_is_honoured_at_once_with_what_is_owed() {
    let policy = |size: u32| {
        format!(
            "domain: d\ntables: [{{ name: t, key: [k], rows: {{ always: [{{ size: {size}, per_day: 3 }}] }} }}]"
        )
    };
    let server = TestServer::with_policy(&policy(3));
    let mut client = server.client();
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 3);
    server.parts.replace(&source(&policy(5)));
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 2);
    server.parts.replace(&source(&policy(2)));
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 0);
    // Five tokens are owed, 40 hours; a bucket of two has one when no more than 8 are.
    assert_eq!(client.ask(call(&[("k", "1")])).number("retry-after"), 32 * 3600);
    server.advance(Nanos::from_secs(32 * 3600));
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 1);
}

#[test]
fn a_policy_that_takes_the_new_words_for_old_ones_keeps_the_state_of_its_buckets() {
    let policy = |[default, all, ttl]: [&str; 3]| {
        format!(
            "domain: d\ntables:
  - {{ name: a, select: kind, key: [k], rows: {{ {default}: [{{ per_day: 1 }}] }} }}
  - {{ name: b, key: [j], rows: {{ {all}: [{{ concurrent: 1, {ttl}: 1h }}] }} }}"
        )
    };
    let server = TestServer::with_policy(&policy(["otherwise", "always", "hold"]));
    let mut client = server.client();
    let entries = [("k", "1"), ("j", "1")];
    assert!(client.ask(call(&entries)).is_ok());
    server.parts.replace(&source(&policy(["default", "all", "ttl"])));
    for (entry, name) in entries.into_iter().zip(["a/default", "b/all"]) {
        let denied = client.ask(call(&[entry]));
        assert!(!denied.is_ok(), "{name} has forgotten the first call");
        let limit = denied.0.statuses[0].current_limit.as_ref().unwrap();
        assert_eq!(limit.name, name, "a row is called as it is written");
    }
}
