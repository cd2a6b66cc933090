//! What a person sees and changes of buckets and leases over HTTP, and who may.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Client, TestServer, call, hits, request};
use tollgate::clock::Nanos;

const TOKEN: &str = "0123456789abcdef";

/// So many a day, so that time does not matter.
const POLICY: &str = "domain: d
tables:
  - name: tenant
    select: kind
    key: [tenant]
    rows:
      free: [{ per_day: 10 }, { per_hour: 5 }]
      default: [{ per_day: 20 }]
  - name: paid
    when: { kind: [paid] }
    key: [tenant]
    rows: { all: [{ per_day: 30 }] }
  - name: address
    key: [tenant, remote_address]
    rows: { all: [{ per_day: 10 }] }
  - { name: everybody, key: [], rows: { all: [{ per_day: 1000 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 2, ttl: 1h }] } }
overrides:
  - { table: tenant, row: free, when: { tenant: large }, buckets: [{ per_day: 100 }] }
";

struct Admin {
    server: TestServer,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Admin {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, POLICY).unwrap();
        let server = TestServer::administered(&path, TOKEN);
        let client = server.client();
        Self { server, client, _folder: folder }
    }

    fn spend(&mut self, count: u64, entries: &[(&str, &str)]) {
        assert!(self.client.ask(request("d", &[hits(count, entries)])).is_ok());
    }

    fn take_lease(&mut self, tenant: &str) -> String {
        let answer = self.client.ask(call(&[("tenant", tenant), ("job", "1")]));
        answer.metadata("lease").unwrap().to_owned()
    }

    fn get(&self, path: &str) -> Value {
        let token = format!("authorization: Bearer {TOKEN}\r\n");
        let (status, answer) = ask(&self.server, "GET", path, &token, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let token = format!("authorization: Bearer {TOKEN}\r\n");
        ask(&self.server, "POST", path, &token, &body.to_string())
    }

    /// Table, row, bucket and what is left of each that is listed.
    fn listed(&self, query: &str) -> Vec<String> {
        told(&self.get(&format!("/buckets{query}"))["items"])
    }
}

fn told(listed: &Value) -> Vec<String> {
    let tell = |of: &Value| {
        let text = |name: &str| of[name].as_str().unwrap();
        let key: Vec<_> = of["key"].as_array().unwrap().iter().map(Value::to_string).collect();
        let (table, row, bucket) = (text("table"), text("row"), text("bucket"));
        format!("{table}/{row} {} {bucket}: {} {}", key.concat(), of["remaining"], text("state"))
    };
    listed.as_array().unwrap().iter().map(tell).collect()
}

fn ask(server: &TestServer, method: &str, path: &str, head: &str, body: &str) -> (u16, Value) {
    let head = format!("host: localhost\r\ncontent-type: application/json\r\n{head}");
    ask_as(server, method, path, &head, body)
}

/// The same with all of the head.
fn ask_as(server: &TestServer, method: &str, path: &str, head: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nconnection: close\r\n{head}").unwrap();
    write!(stream, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}")))
}

/// A bucket that no call has met since its limit changed.
#[test]
fn a_changed_limit_is_shown_as_the_next_call_will_meet_it() {
    let mut admin = Admin::start();
    for tenant in ["acme", "b"] {
        admin.spend(20, &[("tenant", tenant)]);
    }
    let hours = |hours: u64| Nanos::from_secs(hours * 3600);
    admin.server.advance(hours(6));
    // Five of the twenty are repaid; from here on, ten in three hours.
    let faster = POLICY.replace("per_day: 20", "per_day: 80");
    admin.server.parts.replace(&support::source(&faster));
    admin.server.advance(hours(3));
    let left = "80 per day: 75 clear";
    let of_acme = format!("tenant/default [\"tenant\",\"acme\"] {left}");
    assert!(admin.listed("?tenant=acme").contains(&of_acme), "{:?}", admin.listed("?tenant=acme"));
    let seen = admin.server.parts.service.recent_buckets();
    let seen: Vec<_> =
        seen.iter().map(|seen| (seen.bucket.to_string(), seen.outcome.remaining)).collect();
    assert_eq!(seen, [("80 per day".to_owned(), 75), ("80 per day".to_owned(), 75)]);
    let peek = request("d", &[hits(0, &[("tenant", "acme")])]);
    assert_eq!(admin.client.ask(peek).remaining(), [75]);
    // What was left before the reset, of a bucket that is named by its key, and of a listed one.
    let (status, reset) = admin.post("/reset", &json!({ "key": [["tenant", "acme"]] }));
    assert_eq!((status, told(&reset["items"])), (200, vec![of_acme.clone()]));
    let listed = admin.get("/buckets?tenant=b");
    let id = &listed["items"][0]["id"];
    assert!(id.is_string(), "{listed}");
    let (status, reset) = admin.post("/reset", &json!({ "id": id }));
    assert_eq!((status, told(&reset["items"])), (200, vec![of_acme.replace("acme", "b")]));
}

const CHANGING: [&str; 3] = ["/reset", "/leases/release", "/reload"];

#[test]
fn what_changes_something_is_off_without_a_token() {
    let server = TestServer::with_policy(POLICY);
    for path in CHANGING {
        let head = format!("authorization: Bearer {TOKEN}\r\n");
        let (status, answer) = ask(&server, "POST", path, &head, "{}");
        assert_eq!(status, 403, "{path}");
        assert!(answer["error"].as_str().unwrap().starts_with("off; start with --admin-token"));
    }
    assert_eq!(ask(&server, "GET", "/buckets", "", "").0, 200);
    assert_eq!(ask(&server, "GET", "/leases", "", "").0, 200);
}

#[test]
fn what_changes_something_needs_the_token_and_a_browser_does_not_send_it_by_itself() {
    let mut admin = Admin::start();
    admin.spend(10, &[("tenant", "acme")]);
    let lease = admin.take_lease("acme");
    for path in CHANGING {
        let bodies = [
            json!({ "table": "tenant", "key": [["tenant", "acme"]] }).to_string(),
            json!({ "lease": lease }).to_string(),
        ];
        for head in [
            "",
            "authorization: Bearer 0123456789abcdeF\r\n",
            "authorization: Basic 0123456789abcdef\r\n",
            "cookie: token=0123456789abcdef\r\n",
            "origin: http://localhost\r\n",
        ] {
            for body in &bodies {
                assert_eq!(ask(&admin.server, "POST", path, head, body).0, 401, "{path} {head}");
            }
        }
    }
    assert_eq!(admin.listed("?tenant=acme").len(), 2, "nothing has changed");
}

/// A question of one descriptor, in JSON.
fn question(entries: &[(&str, &str)], hits: u64, is_given_back: bool) -> Value {
    let entry = |(key, value): &(&str, &str)| json!({ "key": key, "value": value });
    let entries: Vec<_> = entries.iter().map(entry).collect();
    let descriptor =
        json!({ "entries": entries, "hitsAddend": hits, "isNegativeHits": is_given_back });
    json!({ "domain": "d", "descriptors": [descriptor] })
}

/// Ten of a day, so many as are left of them.
fn left_of(server: &TestServer, tenant: &str) -> Value {
    let entries = json!([{ "key": "tenant", "value": tenant }, { "key": "kind", "value": "free" }]);
    let body = json!({ "domain": "d", "descriptors": [{ "entries": entries }] }).to_string();
    let (status, answer) = ask(server, "POST", "/explain", "", &body);
    assert_eq!(status, 200, "{answer}");
    answer["descriptors"][0]["tables"][0]["buckets"][0]["remaining"].clone()
}

#[test]
fn a_call_in_json_is_decided_for_who_may_change_something_and_charges_nobody_elses() {
    let free = [("tenant", "acme"), ("kind", "free")];
    let mut admin = Admin::start();
    let server = TestServer::with_policy(POLICY);
    let (charge, look) = (question(&free, 1, false), question(&free, 0, false));
    let jobs = question(&[("tenant", "acme"), ("job", "1")], 1, false);
    for body in [&charge, &look, &jobs] {
        let json = |server, head: &str| ask(server, "POST", "/json", head, &body.to_string());
        assert_eq!(json(&admin.server, "").0, 401);
        assert_eq!(json(&admin.server, "authorization: Bearer 0123456789abcdeF\r\n").0, 401);
        let (status, answer) = json(&server, &format!("authorization: Bearer {TOKEN}\r\n"));
        assert_eq!(status, 403);
        assert!(answer["error"].as_str().unwrap().contains("--http-json on"), "{answer}");
    }
    for server in [&admin.server, &server] {
        assert_eq!(left_of(server, "acme"), 10);
        assert_eq!(server.parts.store.lease_count(), 0);
    }
    assert_eq!(admin.post("/json", &charge).0, 200);
    assert_eq!(left_of(&admin.server, "acme"), 9);
    assert_eq!(admin.post("/json", &jobs).0, 200);
    assert_eq!(admin.server.parts.store.lease_count(), 1);
    // What they were told of they may give back.
    admin.spend(4, &free);
    assert_eq!(admin.post("/json", &question(&free, 5, true)).0, 200);
    assert_eq!(left_of(&admin.server, "acme"), 10);
    // What is no question is that to who may ask.
    assert_eq!(admin.post("/json", &json!({ "domain": "", "descriptors": [] })).0, 400);
}

/// A server whose `/json` decides for everybody, with the token or without one.
fn deciding(token: Option<&str>) -> TestServer {
    TestServer::with(&support::source(POLICY), |options| {
        options.controls.token = token.map(|token| token.parse().unwrap());
        options.controls.decides_for_all = true;
    })
}

#[test]
fn where_a_call_in_json_is_decided_for_everybody_it_gives_back_for_who_may_change_something() {
    let tenant = [("tenant", "acme"), ("kind", "free")];
    let server = deciding(Some(TOKEN));
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let json = |head: &str, body: &Value| ask(&server, "POST", "/json", head, &body.to_string()).0;
    assert_eq!(json("", &question(&tenant, 5, false)), 200);
    assert_eq!(json("", &question(&tenant, 1, false)), 429);
    let back = question(&tenant, 5, true);
    assert_eq!(json("", &back), 401);
    assert_eq!(json("authorization: Bearer 0123456789abcdeF\r\n", &back), 401);
    // Hidden behind one that charges.
    let mut both = question(&tenant, 0, false);
    both["descriptors"].as_array_mut().unwrap().push(back["descriptors"][0].clone());
    assert_eq!(json("", &both), 401);
    assert_eq!(left_of(&server, "acme"), 5);
    assert_eq!(json(&token, &back), 200);
    assert_eq!(left_of(&server, "acme"), 10);
    let mut client = server.client();
    let lease = client.ask(call(&[("tenant", "acme"), ("job", "1")]));
    let release = question(&[("lease", lease.metadata("lease").unwrap())], 1, true);
    assert_eq!(json("", &release), 401);
    assert_eq!(server.parts.store.lease_count(), 1);
    assert_eq!(json(&token, &release), 200);
    assert_eq!(server.parts.store.lease_count(), 0);
    // What is no question is that, whoever asks.
    assert_eq!(json("", &json!({ "domain": "", "descriptors": back["descriptors"] })), 400);
    let server = deciding(None);
    let (status, answer) = ask(&server, "POST", "/json", &token, &back.to_string());
    assert_eq!(status, 403);
    assert!(answer["error"].as_str().unwrap().starts_with("off; start with --admin-token"));
}

/// Where a body is taken, and one that does something there.
fn bodies(lease: &str) -> [(&'static str, Value); 4] {
    let entries = [("tenant", "acme"), ("kind", "free")];
    [
        ("/json", question(&entries, 1, false)),
        ("/explain", question(&entries, 1, false)),
        ("/reset", json!({ "table": "tenant", "key": [["tenant", "acme"]] })),
        ("/leases/release", json!({ "lease": lease })),
    ]
}

/// A page can have a browser send these kinds, and none, to another site without asking whether it may.
#[test]
fn a_body_says_that_it_is_json_or_is_not_taken() {
    let mut admin = Admin::start();
    admin.spend(4, &[("tenant", "acme"), ("kind", "free")]);
    let lease = admin.take_lease("acme");
    let head = format!("host: localhost\r\nauthorization: Bearer {TOKEN}\r\n");
    let server = deciding(None);
    for kind in [
        "",
        "content-type: text/plain\r\n",
        "content-type: text/plain;application/json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
    ] {
        let head = format!("{head}{kind}");
        for (path, body) in bodies(&lease) {
            for server in [&admin.server, &server] {
                let (status, answer) = ask_as(server, "POST", path, &head, &body.to_string());
                assert_eq!(status, 415, "{path} {kind}");
                assert!(answer["error"].as_str().unwrap().contains("application/json"), "{answer}");
            }
        }
    }
    assert_eq!((left_of(&admin.server, "acme"), left_of(&server, "acme")), (6.into(), 10.into()));
    assert_eq!(admin.server.parts.store.lease_count(), 1);
    let head = format!("{head}content-type: Application/JSON; charset=utf-8\r\n");
    for (path, body) in bodies(&lease) {
        assert_eq!(ask_as(&admin.server, "POST", path, &head, &body.to_string()).0, 200, "{path}");
    }
}

#[test]
fn no_page_of_another_site_is_answered_whatever_it_brings() {
    let mut admin = Admin::start();
    admin.spend(4, &[("tenant", "acme"), ("kind", "free")]);
    let lease = admin.take_lease("acme");
    let server = deciding(None);
    let mut posts: Vec<_> =
        bodies(&lease).into_iter().map(|(path, body)| ("POST", path, body.to_string())).collect();
    posts.push(("POST", "/reload", String::new()));
    let gets = ["/", "/config", "/events", "/buckets", "/leases", "/openapi.json"];
    let gets = gets.map(|path| ("GET", path, String::new()));
    for (method, path, body) in posts.iter().chain(&gets) {
        let mut heads = vec!["origin: http://elsewhere\r\n", "origin: null\r\n"];
        if *method == "POST" {
            heads.extend(["sec-fetch-site: cross-site\r\n", "sec-fetch-site: same-site\r\n"]);
        }
        for head in heads {
            let head = format!("authorization: Bearer {TOKEN}\r\n{head}");
            for server in [&admin.server, &server] {
                let (status, answer) = ask(server, method, path, &head, body);
                assert_eq!(status, 403, "{method} {path} {head}");
                assert!(answer["error"].as_str().unwrap().starts_with("a page of another site"));
            }
        }
    }
    assert_eq!((left_of(&admin.server, "acme"), left_of(&server, "acme")), (6.into(), 10.into()));
    assert_eq!(admin.server.parts.store.lease_count(), 1);
    // Its own page, and a link to it from elsewhere.
    let own = "origin: http://localhost\r\nsec-fetch-site: same-origin\r\n";
    let body = question(&[("tenant", "acme")], 1, false).to_string();
    assert_eq!(ask(&server, "POST", "/explain", own, &body).0, 200);
    assert_eq!(ask(&server, "GET", "/config", "sec-fetch-site: cross-site\r\n", "").0, 200);
}

/// Who owns a name can have it lead here: a page under that name is then of the same site, for a browser.
#[test]
fn what_tells_of_clients_or_changes_something_is_asked_under_a_name_of_this_server() {
    let server = TestServer::with(&support::source(POLICY), |options| {
        options.controls.decides_for_all = true;
        options.controls.hosts = vec!["tollgate.example.org".parse().unwrap()];
    });
    let body = question(&[("tenant", "acme"), ("kind", "free")], 1, false).to_string();
    let paths = [
        ("GET", "/"),
        ("GET", "/page.js"),
        ("GET", "/config"),
        ("GET", "/openapi.json"),
        ("GET", "/events"),
        ("GET", "/buckets"),
        ("GET", "/leases"),
        ("POST", "/json"),
        ("POST", "/explain"),
        ("POST", "/reset"),
        ("POST", "/leases/release"),
        ("POST", "/reload"),
        ("GET", "/nowhere"),
    ];
    for (method, path) in paths {
        for host in ["host: evil.example\r\n", "host: localhost\r\nhost: evil.example\r\n", ""] {
            let head =
                format!("{host}content-type: application/json\r\norigin: http://evil.example\r\n");
            let (status, answer) = ask_as(&server, method, path, &head, &body);
            assert_eq!(status, 421, "{method} {path} {host}");
            assert!(answer["error"].as_str().unwrap().contains("--http-host NAME"), "{answer}");
        }
    }
    assert_eq!(left_of(&server, "acme"), 10);
    let asked = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(server.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    let own = server.http.to_string();
    for host in [&*own, "10.1.2.3:8080", "[2001:db8::1]", "localhost:80", "tollgate.example.org"] {
        assert_eq!(asked(host, "/config"), "200", "{host}");
    }
    // Whatever probes and scrapers call it.
    for host in ["tollgate.tollgate.svc:8080", "evil.example", ""] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(asked(host, path), "200", "{host} {path}");
        }
    }
}

#[test]
fn buckets_near_or_over_their_limit_are_listed_and_no_others() {
    let mut admin = Admin::start();
    assert_eq!(admin.listed(""), [""; 0]);
    admin.spend(10, &[("tenant", "calm")]);
    admin.spend(19, &[("tenant", "busy")]);
    admin.spend(20, &[("tenant", "done")]);
    let done = r#"tenant/default ["tenant","done"] 20 per day: 0 over"#;
    let busy = r#"tenant/default ["tenant","busy"] 20 per day: 1 near"#;
    assert_eq!(admin.listed(""), [done, busy]);
    assert_eq!(admin.listed("?domain=other"), [""; 0]);
    // 72 minutes for each.
    admin.server.advance(Nanos::from_secs(72 * 60 + 1));
    assert_eq!(admin.listed(""), [done.replace("0 over", "1 near")], "the other has a tenth");
    let one = &admin.get("/buckets")["items"][0];
    assert_eq!((&one["domain"], &one["shadow"]), (&json!("d"), &json!(false)));
    assert_eq!((&one["interval_ms"], &one["wait_ms"]), (&json!(4_320_000.0), &json!(0.0)));
}

#[test]
fn a_question_that_is_too_long_is_refused() {
    let admin = Admin::start();
    let ask = |length: usize| {
        let path = format!("/buckets?tenant={}", "x".repeat(length - "tenant=".len()));
        ask(&admin.server, "GET", &path, "", "").0
    };
    assert_eq!((ask(4096), ask(4097)), (200, 400));
}

#[test]
fn a_tenants_buckets_are_found_in_every_row_that_it_can_meet() {
    let mut admin = Admin::start();
    admin.spend(3, &[("tenant", "acme"), ("kind", "free"), ("remote_address", "10.0.0.7")]);
    let free = [
        r#"tenant/free ["tenant","acme"] 10 per day: 7 clear"#,
        r#"tenant/free ["tenant","acme"] 5 per hour: 2 clear"#,
    ];
    assert_eq!(admin.listed("?tenant=acme"), free);
    assert_eq!(admin.listed("?domain=d&tenant=acme&kind=free"), free);
    assert_eq!(admin.listed("?tenant=acme&kind=paid"), [""; 0]);
    assert_eq!(admin.listed("?tenant=other"), [""; 0]);
    let address =
        r#"address/all ["tenant","acme"]["remote_address","10.0.0.7/32"] 10 per day: 7 clear"#;
    let all = admin.listed("?tenant=acme&remote_address=10.0.0.7");
    assert_eq!(all, [free[0], free[1], &address.replace("/32", "")].map(str::to_owned));
    // Full ones: two rows of one table, that of the paid and the slots.
    assert_eq!(admin.listed("?tenant=acme&all=1").len(), 5);
    assert_eq!(admin.listed("?tenant=acme&kind=free&all=1").len(), 3, "it is not for the paid");
    assert_eq!(
        admin.listed("?tenant=large&kind=free&all=1")[0].split("] ").nth(1).unwrap(),
        "100 per day: 100 clear"
    );
    // What else names a bucket cannot be guessed, but it has been seen.
    admin.spend(7, &[("tenant", "acme"), ("remote_address", "10.0.0.7")]);
    let listed = admin.listed("?tenant=acme");
    assert!(
        listed.iter().any(|told| told.starts_with("address/all ") && told.ends_with("0 over")),
        "{listed:?}"
    );
    assert!(!admin.listed("?tenant=acm").iter().any(|told| told.starts_with("address/")));
    let asked = admin.get("/buckets?tenant=acme&color=red");
    assert_eq!(asked["unknown_keys"], json!(["color"]));
    // To look has charged nothing.
    admin.spend(2, &[("tenant", "acme"), ("kind", "free")]);
}

#[test]
fn a_reset_makes_full_what_the_key_names_in_a_table_and_nothing_else() {
    let mut admin = Admin::start();
    let free = [("tenant", "acme"), ("kind", "free")];
    admin.spend(5, &free);
    admin.spend(5, &[("tenant", "other"), ("kind", "free")]);
    let lease = admin.take_lease("acme");
    assert!(!admin.client.ask(call(&free)).is_ok());
    let near = admin.get("/buckets");
    let is_ours = |of: &&Value| of["key"][0][1] == "acme" && of["bucket"] == "5 per hour";
    let listed = near["items"].as_array().unwrap().iter().find(is_ours).unwrap().clone();
    // As it is listed.
    let (status, answer) = admin.post("/reset", &listed);
    assert_eq!(
        (status, told(&answer["items"]).len(), &answer["already_full"]),
        (200, 1, &json!(0)),
        "{answer}"
    );
    assert_eq!(
        admin.listed("?tenant=acme&kind=free")[0],
        r#"tenant/free ["tenant","acme"] 10 per day: 5 clear"#
    );
    let body = json!({ "table": "tenant", "key": [["tenant", "acme"]] });
    let (status, answer) = admin.post("/reset", &body);
    // One of the other row, which the lease's call has met.
    assert_eq!(
        (status, told(&answer["items"]).len(), &answer["already_full"]),
        (200, 2, &json!(1)),
        "{answer}"
    );
    assert_eq!(told(&answer["items"])[0], r#"tenant/free ["tenant","acme"] 10 per day: 5 clear"#);
    admin.spend(5, &free);
    assert_eq!(admin.listed("?tenant=other&kind=free").len(), 2, "another tenant's");
    let everybody = json!({ "table": "everybody" });
    assert_eq!(told(&admin.post("/reset", &everybody).1["items"]).len(), 1);
    let (status, answer) =
        admin.post("/reset", &json!({ "table": "jobs", "key": [["tenant", "acme"]] }));
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("/leases"));
    assert_eq!(admin.get("/leases")["items"][0]["lease"], lease.as_str());
}

#[test]
fn a_reset_without_a_table_makes_full_what_the_entries_name_in_every_table() {
    let mut admin = Admin::start();
    let near = [("tenant", "acme"), ("kind", "paid"), ("remote_address", "10.0.0.1")];
    let clear = [("tenant", "acme"), ("kind", "paid"), ("remote_address", "10.0.0.2")];
    let other = [("tenant", "other"), ("kind", "paid"), ("remote_address", "10.0.0.1")];
    admin.spend(10, &near);
    admin.spend(3, &clear);
    admin.spend(10, &other);
    let lease = admin.take_lease("acme");
    let whole = admin.listed("?remote_address=10.0.0.2&tenant=acme");
    assert!(
        whole.iter().any(|told| told.contains("10.0.0.2") && told.contains(": 7 ")),
        "{whole:?}"
    );
    let (status, answer) = admin.post("/reset", &json!({ "key": [["tenant", "acme"]] }));
    assert_eq!(status, 200, "{answer}");
    let mut reset = told(&answer["items"]);
    reset.sort();
    assert_eq!(
        reset,
        [
            // It was near its limit, so that the server knows its name.
            r#"address/all ["tenant","acme"]["remote_address","10.0.0.1"] 10 per day: 0 over"#,
            r#"paid/all ["tenant","acme"] 30 per day: 17 clear"#,
            r#"tenant/default ["tenant","acme"] 20 per day: 6 clear"#,
        ]
    );
    assert_eq!(
        answer["tables"],
        json!([
            { "table": "tenant", "reset": 1, "already_full": 2 },
            { "table": "paid", "reset": 1, "already_full": 0 },
            { "table": "address", "reset": 1, "already_full": 0 },
        ])
    );
    assert_eq!(answer["already_full"], 2);
    assert_eq!(
        answer["incomplete"],
        json!([{ "table": "address", "missing": ["remote_address"] }])
    );
    assert_eq!(answer["slots"], json!(["jobs"]));
    assert_eq!(admin.get("/leases")["items"][0]["lease"], lease.as_str());
    // What was not near its limit is as it was, and so is what belongs to others or to all.
    let left = |address: &str| {
        let mut left = admin.listed(&format!("?tenant=acme&remote_address={address}"));
        left.retain(|told| !told.starts_with("jobs/"));
        left
    };
    assert_eq!(left("10.0.0.1"), [""; 0]);
    let left = left("10.0.0.2");
    assert!(left.len() == 1 && left[0].ends_with(" 10 per day: 7 clear"), "{left:?}");
    assert_eq!(admin.listed("?tenant=other&kind=paid&remote_address=10.0.0.1").len(), 3);
    let everybody = admin.post("/reset", &json!({ "table": "everybody" })).1;
    assert_eq!(told(&everybody["items"]).len(), 1);
    // With all entries of its key, the rest of the table is named, too.
    let key = json!([["tenant", "acme"], ["remote_address", "10.0.0.2"]]);
    let (_, answer) = admin.post("/reset", &json!({ "key": key }));
    assert_eq!((told(&answer["items"]).len(), &answer["incomplete"]), (1, &json!([])), "{answer}");
    // A row's name and a bucket's narrow it.
    let row = json!({ "key": [["tenant", "acme"]], "row": "free", "bucket": "5 per hour" });
    let (_, answer) = admin.post("/reset", &row);
    let free = json!([{ "table": "tenant", "reset": 0, "already_full": 1 }]);
    assert_eq!((&answer["tables"], &answer["slots"]), (&free, &json!([])), "{answer}");
    // Entries outside of keys narrow it, too.
    let key = json!([["tenant", "acme"], ["kind", "free"]]);
    let (_, answer) = admin.post("/reset", &json!({ "key": key }));
    let tables: Vec<_> =
        answer["tables"].as_array().unwrap().iter().map(|of| &of["table"]).collect();
    assert_eq!(tables, ["tenant"], "{answer}");
}

impl Admin {
    /// What is listed first, whose token buckets are then made full as it is listed.
    fn reset_first(&self, query: &str) -> (Value, u16, Value) {
        let first = self.get(&format!("/buckets{query}"))["items"][0].clone();
        let (status, answer) = self.post("/reset", &first);
        (first, status, answer)
    }
}

#[test]
fn whatever_is_listed_can_be_reset_as_it_is_listed() {
    let mut admin = Admin::start();
    // A network, what has to be escaped, what is too long to be listed, and what no table has.
    let address = [("tenant", "acme"), ("remote_address", "2001:db8:1:2:3::4")];
    let quoted = "Zoë \"a\"\r\n\u{202e}\\";
    let long = "ë".repeat(200);
    let cases: [&[(&str, &str)]; 3] = [&address, &[("tenant", quoted)], &[("tenant", &long)]];
    for entries in cases {
        let hits = if entries.len() == 2 { 10 } else { 20 };
        admin.spend(hits, entries);
        assert!(!admin.client.ask(call(entries)).is_ok());
        let (first, status, answer) = admin.reset_first("");
        assert_eq!((status, &answer["already_full"]), (200, &json!(0)), "{first}: {answer}");
        assert_eq!(answer["items"][0]["remaining"], 0);
        assert!(admin.client.ask(call(entries)).is_ok(), "{first}");
        assert_eq!(admin.listed(""), [""; 0]);
    }
    let brought = request("d", &[support::limit(1, 4, None, &[("k", "1")])]);
    assert!(admin.client.ask(brought.clone()).is_ok());
    assert!(!admin.client.ask(brought.clone()).is_ok());
    let (first, status, answer) = admin.reset_first("");
    assert_eq!((&first["table"], &first["key"]), (&json!("limit override"), &json!([["k", "1"]])));
    assert_eq!(
        (status, &answer["items"][0]["remaining"], &answer["already_full"]),
        (200, &json!(0), &json!(0))
    );
    assert!(admin.client.ask(brought).is_ok());
    // It is listed again; slots are not given back this way.
    (0..2).for_each(|_| drop(admin.take_lease("slots")));
    let jobs = admin.get("/buckets?tenant=slots");
    let jobs = jobs["items"].as_array().unwrap().iter().find(|of| of["table"] == "jobs").unwrap();
    assert_eq!(admin.post("/reset", &json!({ "id": jobs["id"] })).0, 400);
}

#[test]
fn a_bucket_is_named_by_its_id_only_to_who_may_reset_it() {
    let mut admin = Admin::start();
    admin.spend(20, &[("tenant", "acme")]);
    for query in ["", "?tenant=acme"] {
        let path = format!("/buckets{query}");
        let (_, seen) = ask(&admin.server, "GET", &path, "", "");
        assert_eq!(seen["items"][0].get("id"), None);
        let id = admin.get(&path)["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 32);
        assert_eq!(
            ask(&admin.server, "POST", "/reset", "", &json!({ "id": id }).to_string()).0,
            401
        );
    }
    let id = admin.get("/buckets")["items"][0]["id"].clone();
    let (status, answer) = admin.post("/reset", &json!({ "id": id }));
    assert_eq!((status, &answer["already_full"]), (200, &json!(0)), "{answer}");
    assert_eq!(admin.post("/reset", &json!({ "id": id })).0, 404, "it is not listed any more");
}

#[test]
fn a_truncated_key_resets_nothing() {
    let mut admin = Admin::start();
    let long = "x".repeat(200);
    admin.spend(20, &[("tenant", &long)]);
    let mut first = admin.get("/buckets")["items"][0].clone();
    assert_eq!(
        (&first["truncated"], &first["key"][0][1]),
        (&json!(true), &json!("x".repeat(128) + "…"))
    );
    first.as_object_mut().unwrap().remove("id");
    let (status, answer) = admin.post("/reset", &first);
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().ends_with("send the whole `key`"), "{answer}");
    let whole = json!({ "table": "tenant", "row": "default", "key": [["tenant", long]] });
    assert_eq!(admin.post("/reset", &whole).1["already_full"], 0);
}

#[test]
fn an_address_behind_a_translator_is_asked_for_in_both_spellings() {
    let mut admin = Admin::start();
    admin.spend(10, &[("tenant", "acme"), ("remote_address", "64:ff9b::192.0.2.1")]);
    let told = r#"address/all ["tenant","acme"]["remote_address","192.0.2.1"] 10 per day: 0 over"#;
    for of in ["192.0.2.1", "64:ff9b::192.0.2.1", "64:ff9b::c000:201"] {
        let both = admin.listed(&format!("?tenant=acme&remote_address={of}"));
        assert_eq!(both.last().unwrap(), told, "computed from {of}");
        assert_eq!(admin.listed(&format!("?remote_address={of}")), [told], "seen: {of}");
    }
    assert_eq!(admin.listed("?remote_address=64:ff9b::/96"), [""; 0]);
}

#[test]
fn an_address_is_asked_for_alone_or_with_a_network_that_counts_as_one() {
    let mut admin = Admin::start();
    admin.spend(10, &[("tenant", "acme"), ("remote_address", "2001:db8:1:2:3::4")]);
    let told =
        r#"address/all ["tenant","acme"]["remote_address","2001:db8:1:2::/64"] 10 per day: 0 over"#;
    for of in ["2001:db8:1:2::/64", "2001:db8:1:2::5", "2001:db8:1:2:3::/80"] {
        let both = admin.listed(&format!("?tenant=acme&remote_address={of}"));
        assert_eq!(both.last().unwrap(), told, "computed from {of}");
        assert_eq!(admin.listed(&format!("?remote_address={of}")), [told], "seen: {of}");
    }
    for other in ["2001:db8:1:2::/63", "2001:db8:1:3::/64", "2001:db8::", "10.0.0.7"] {
        let both = admin.listed(&format!("?tenant=acme&remote_address={other}"));
        assert!(!both.contains(&told.to_owned()), "{other}");
        assert_eq!(admin.listed(&format!("?remote_address={other}")), [""; 0]);
    }
}

#[test]
fn a_reset_of_nothing_says_what_there_is() {
    let admin = Admin::start();
    let address = |of: &str| json!({ "table": "address", "key": [["tenant", "acme"], ["remote_address", of]] });
    for (body, status, says) in [
        (json!({}), 400, "send a `key`, a `table`"),
        (json!({ "key": [] }), 400, "send a `key`, a `table`"),
        (json!({ "truncated": true, "key": [["tenant", "acme"]] }), 404, "send the whole `key`"),
        (
            json!({ "key": [["tenant", "acme"], ["usr", "u1"]] }),
            404,
            "the policy does not ask about `usr`",
        ),
        (
            json!({ "key": [["kind", "free"]] }),
            404,
            "the keys of the tables have: tenant, remote_address",
        ),
        (
            json!({ "table": "tenant", "key": { "tenant": "acme" } }),
            400,
            "[[\"tenant\", \"acme\"], ..]",
        ),
        (json!({ "table": "tenant", "key": [["", "acme"]] }), 400, "key must not be empty"),
        (
            json!({ "table": "tennant" }),
            404,
            "the tables are: tenant, paid, address, everybody, jobs",
        ),
        (json!({ "table": "tenant" }), 404, "its `key` is [tenant]"),
        (json!({ "table": "tenant", "row": "fre", "key": [["tenant", "acme"]] }), 404, "`row`"),
        (json!({ "table": "tenant", "domain": "e" }), 404, "the domains are: d"),
        (json!({ "id": "0".repeat(32) }), 404, "send its `table` and `key`"),
        (json!({ "id": 7 }), 400, "not a reset request: invalid type: integer `7`"),
        (address("10.0.0.0/31"), 404, "remote_address (/32 of IPv4, /64 of IPv6)"),
        (address("2001:db8::/63"), 404, "remote_address (/32 of IPv4, /64 of IPv6)"),
    ] {
        let (got, answer) = admin.post("/reset", &body);
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
}

#[test]
fn leases_are_listed_by_age_and_released_once() {
    let mut admin = Admin::start();
    let first = admin.take_lease("<img src=x>\u{202e}");
    admin.server.advance(Nanos::from_secs(60));
    let second = admin.take_lease("acme");
    let answer = admin.get("/leases");
    let leases: Vec<_> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["lease"].as_str().unwrap())
        .collect();
    assert_eq!(leases, [&first, &second]);
    // Who may not release them does not learn what it takes.
    for head in ["", "authorization: Bearer 0123456789abcdeF\r\n"] {
        let (_, seen) = ask(&admin.server, "GET", "/leases", head, "");
        assert_eq!(seen["items"][0]["lease"], format!("{}…", &first[..8]));
        assert!(!seen.to_string().contains(&first) && !seen.to_string().contains(&second));
    }
    let of = &answer["items"][0];
    let at = |of: &Value| humantime::parse_rfc3339(of.as_str().unwrap()).unwrap();
    let since_taken = |to: &Value| at(to).duration_since(at(&of["taken_at"])).unwrap().as_secs();
    assert_eq!((since_taken(&answer["at"]), since_taken(&of["expires_at"])), (60, 3600));
    assert_eq!(
        (&of["table"], &of["row"], &of["slots"]),
        (&json!("jobs"), &json!("all"), &json!(1))
    );
    assert_eq!(of["key"], json!([["tenant", "<img src=x>\u{202e}"]]));
    assert_eq!(admin.post("/leases/release", &json!({ "lease": first })).0, 200);
    assert_eq!(admin.post("/leases/release", &json!({ "lease": first })).0, 404);
    assert_eq!(admin.post("/leases/release", &json!({ "lease": "first" })).0, 400);
    assert_eq!(admin.get("/leases")["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.server.parts.store.lease_count(), 1);
    // Released by its holder, and expired.
    admin.client.ask(request("d", &[support::give_back(1, &[("lease", &second)])]));
    assert_eq!(admin.get("/leases")["items"], json!([]));
    admin.take_lease("acme");
    admin.server.advance(Nanos::from_secs(3600));
    assert_eq!(admin.get("/leases")["items"], json!([]));
}

#[test]
fn a_call_that_takes_no_slot_is_no_lease() {
    let mut admin = Admin::start();
    admin.spend(1, &[("tenant", "acme")]);
    for _ in 0..2 {
        admin.take_lease("acme");
    }
    assert!(!admin.client.ask(call(&[("tenant", "acme"), ("job", "1")])).is_ok());
    admin.client.ask(request("d", &[hits(0, &[("tenant", "other"), ("job", "1")])]));
    assert_eq!(admin.get("/leases")["items"].as_array().unwrap().len(), 2);
}
