//! What a person sees and changes of descriptor trees over HTTP, and what a snapshot keeps of them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tollgate::clock::{Clock, Nanos};
use tollgate::store::memory::snapshot;

use crate::support::{
    Client, Parts, START, TestServer, call, descriptor, hits, limit, request, source,
};

const TOKEN: &str = "0123456789abcdef";

const TREE: &str = "domain: d
descriptors:
  - key: user
    rate_limit: { unit: day, requests_per_unit: 5, name: per user }
    descriptors:
      - { key: path, value: /api/*, rate_limit: { unit: minute, requests_per_unit: 100 } }
      - { key: path, value: /free, rate_limit: { unlimited: true } }
      - key: path
        value: /pool/*
        share_threshold: true
        rate_limit: { unit: hour, requests_per_unit: 3, replaces: [{ name: per user }] }
  - { key: quota, quota_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: other quota, quota_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: trial, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }
  - { key: never, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: open }
";

/// From [`START`], which is midnight.
const DAY_MS: f64 = 86_400_000.0;

struct Lab {
    server: TestServer,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.yaml");
        std::fs::write(&path, TREE).unwrap();
        let server = TestServer::administered(&path, TOKEN);
        let client = server.client();
        Self { server, client, _folder: folder }
    }

    /// Charges a descriptor, whatever the answer is.
    fn charge(&mut self, count: u64, entries: &[(&str, &str)]) -> bool {
        self.client.ask(request("d", &[hits(count, entries)])).is_ok()
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.server.http).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n")
            .unwrap();
        write!(stream, "authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n")
            .unwrap();
        write!(stream, "content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// The explanation of a call with these descriptors.
    fn explain(&self, descriptors: &[&[(&str, &str)]]) -> Value {
        let entry = |(key, value): &(&str, &str)| json!({ "key": key, "value": value });
        let descriptor = |entries: &&[(&str, &str)]| json!({ "entries": entries.iter().map(entry).collect::<Vec<_>>() });
        let descriptors: Vec<_> = descriptors.iter().map(descriptor).collect();
        let (status, answer) =
            self.post("/explain", &json!({ "domain": "d", "descriptors": descriptors }));
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// Path, entries, limit, what is left, state and the time until it admits a call, of each bucket of a list.
fn told(list: &Value) -> Vec<Value> {
    let tell = |of: &Value| {
        json!([of["row"], of["key"], of["bucket"], of["remaining"], of["state"], of["wait_ms"]])
    };
    list["items"].as_array().unwrap().iter().map(tell).collect()
}

#[test]
fn the_limits_of_a_tree_are_listed_in_the_order_of_the_file() {
    let config = Lab::start().get("/config");
    let policy = &config["policies"][0];
    assert_eq!((&policy["domain"], &policy["tables"]), (&json!("d"), &json!([])));
    let limit = |path, limit: Value| {
        json!({
            "path": path, "limit": limit, "name": "", "replaces": [], "shadow": false, "quota": false,
            "charge": "always",
        })
    };
    let with = |mut limit: Value, name: &str, value: Value| {
        limit[name] = value;
        limit
    };
    let quota = |path| with(limit(path, json!("1 each day")), "quota", json!(true));
    let unlimited = with(limit("user.path_/free", json!(null)), "charge", json!("if_admitted"));
    let pool = limit("user.path_/pool/*", json!("3 each hour"));
    let expected = json!([
        with(limit("user", json!("5 each day")), "name", json!("per user")),
        limit("user.path_/api/*", json!("100 each minute")),
        unlimited,
        with(pool, "replaces", json!(["per user"])),
        quota("quota"),
        quota("other quota"),
        with(limit("trial", json!("1 each day")), "shadow", json!(true)),
        limit("never", json!("0 each day")),
    ]);
    assert_eq!(policy["limits"], expected);
}

#[test]
fn windows_are_listed_until_the_next_ones_begin() {
    let mut lab = Lab::start();
    assert!(lab.charge(5, &[("user", "ann")]));
    assert!(lab.charge(3, &[("user", "bob"), ("path", "/pool/1")]));
    assert!(!lab.charge(1, &[("never", "n")]));
    assert!(lab.charge(3, &[("trial", "t")]));
    let mut listed = told(&lab.get("/buckets"));
    listed.sort_by_key(Value::to_string);
    let pool = [["user", "bob"], ["path", "/pool/*"]];
    let expected = [
        json!(["never", [["never", "n"]], "0 each day", 0, "over", null]),
        json!(["trial", [["trial", "t"]], "1 each day", 0, "over", DAY_MS]),
        json!(["user", [["user", "ann"]], "5 each day", 0, "over", DAY_MS]),
        json!(["user.path_/pool/*", pool, "3 each hour", 0, "over", DAY_MS / 24.0]),
    ];
    assert_eq!(listed, expected);
    let of_bob = lab.get("/buckets?user=bob&path=/pool/2");
    assert_eq!(told(&of_bob), expected[3..], "any value that the pattern takes");
    assert_eq!(of_bob["items"][0]["full_at"], "2026-03-01T01:00:00Z");
    assert!(told(&lab.get("/buckets?user=bob")).contains(&expected[3]), "some of its entries");
    assert_eq!(told(&lab.get("/buckets?user=carl")), Vec::<Value>::new());
    let full = json!(["user", [["user", "carl"]], "5 each day", 5, "clear", 0.0]);
    assert_eq!(told(&lab.get("/buckets?user=carl&all=1")), [full]);
    lab.server.advance(Nanos::from_secs(3600));
    assert_eq!(told(&lab.get("/buckets?user=bob&path=/pool/2")), Vec::<Value>::new());
    lab.server.advance(Nanos::from_secs(23 * 3600));
    // A limit of nothing is never full.
    assert_eq!(told(&lab.get("/buckets")), expected[..1]);
}

#[test]
fn an_explanation_says_what_the_limit_does_or_why_there_is_none() {
    let lab = Lab::start();
    let alone = |entries: &[(&str, &str)]| {
        let explained = lab.explain(&[entries]);
        assert_eq!(explained["descriptors"].as_array().unwrap().len(), 1);
        let of = &explained["descriptors"][0];
        assert_eq!(of["tables"].as_array().unwrap().len(), 1);
        let table = &of["tables"][0];
        assert_eq!(table["table"], "descriptors");
        json!([
            explained["admits"],
            of["outcome"],
            table["row"],
            table["scope"],
            table["miss_reason"]
        ])
    };
    let one = "1 window, which must admit";
    let none = "no limit; the call passes";
    for (entries, expected) in [
        (&[("user", "ann")][..], json!([true, one, "user", "one for each user", null])),
        (
            &[("user", "ann"), ("path", "/api/x")],
            json!([true, one, "user.path_/api/*", "one for each user and path", null]),
        ),
        (
            &[("user", "ann"), ("path", "/pool/1")],
            json!([true, one, "user.path_/pool/*", "one for each user, replaces per user", null]),
        ),
        (
            &[("user", "ann"), ("path", "/free")],
            json!([true, "unlimited; the call passes", null, null, "user.path_/free is unlimited"]),
        ),
        (
            &[("trial", "t")],
            json!([
                true,
                "1 window, in shadow: it denies no call",
                "trial",
                "one for each trial, in shadow: never denies",
                null
            ]),
        ),
        (&[("never", "n")], json!([false, one, "never", "one for each never", null])),
        (&[("open", "1")], json!([true, none, null, null, "no limit at open: its values pass"])),
        (
            &[("user", "ann"), ("path", "/x")],
            json!([
                true,
                none,
                null,
                null,
                "no node for path=/x at user: there are path_/api/*, path_/free, path_/pool/*"
            ]),
        ),
        (
            &[("open", "1"), ("x", "\u{1b}")],
            json!([true, none, null, null, "no node for x=\\u{1b} at open: the tree ends there"]),
        ),
    ] {
        assert_eq!(alone(entries), expected, "{entries:?}");
    }
}

#[test]
fn an_explanation_of_several_descriptors_knows_what_they_do_to_each_other() {
    let mut lab = Lab::start();
    lab.charge(9, &[("user", "ann")]);
    lab.charge(1, &[("quota", "q")]);
    let outcome = |explained: &Value, at: usize| explained["descriptors"][at]["outcome"].clone();
    let user: &[_] = &[("user", "ann")];
    let pool: &[_] = &[("user", "ann"), ("path", "/pool/1")];
    assert_eq!(lab.explain(&[user])["admits"], false);
    let replaced = lab.explain(&[user, pool]);
    assert_eq!(replaced["admits"], true);
    assert_eq!(
        outcome(&replaced, 0),
        "its limit is replaced by that of another descriptor, and counts nothing"
    );
    assert_eq!(outcome(&replaced, 1), "1 window, which must admit");
    let (spent, left): (&[_], &[_]) = (&[("quota", "q")], &[("other quota", "q")]);
    for (descriptors, admits) in [
        (&[spent][..], false),
        (&[spent, left], true),
        (&[left], true),
        (&[spent, left, user], false),
        (&[spent, &[("trial", "t")]], false),
    ] {
        let explained = lab.explain(descriptors);
        assert_eq!(explained["admits"], admits, "{descriptors:?}");
        // As a call is answered.
        let asked: Vec<_> = descriptors.iter().map(|entries| descriptor(entries)).collect();
        let mut other = Lab::start();
        other.charge(9, &[("user", "ann")]);
        other.charge(1, &[("quota", "q")]);
        assert_eq!(other.client.ask(request("d", &asked)).is_ok(), admits, "{descriptors:?}");
    }
}

#[test]
fn a_limit_that_envoy_brings_is_listed_and_explained_in_place_of_that_of_the_tree() {
    let mut lab = Lab::start();
    const DAY: i32 = 4;
    let brought = limit(1, DAY, None, &[("user", "ann")]);
    lab.client.ask(request("d", &[brought]));
    let listed = lab.get("/buckets");
    let expected = json!(["request", [["user", "ann"]], "1 each day", 0, "over", DAY_MS]);
    assert_eq!(told(&listed), [expected]);
    let (status, explained) = lab.post("/explain/bucket", &listed["items"][0]);
    assert_eq!((status, &explained["admits"]), (200, &json!(false)));
    let scope = &explained["descriptors"][0]["tables"][0]["scope"];
    assert_eq!(scope, "a limit from Envoy, in place of that of the tree");
    let (status, reset) = lab.post("/reset", &json!({ "id": listed["items"][0]["id"] }));
    assert_eq!((status, reset["items"].as_array().unwrap().len()), (200, 1), "{reset}");
    assert_eq!(told(&lab.get("/buckets")), Vec::<Value>::new());
}

#[test]
fn every_window_of_a_list_is_explained_and_not_contradicted() {
    let mut lab = Lab::start();
    for entries in [
        &[("user", "ann")][..],
        &[("user", "ann"), ("path", "/api/x")],
        &[("user", "ann"), ("path", "/pool/1")],
        &[("quota", "q")],
        &[("trial", "t")],
        &[("never", "n")],
    ] {
        lab.charge(100, entries);
    }
    let listed = lab.get("/buckets");
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 6, "{listed}");
    for item in items {
        let (status, explained) = lab.post("/explain/bucket", item);
        assert_eq!(status, 200, "{item}: {explained}");
        assert_eq!(explained["admits"], item["shadow"], "{item}");
        let table = &explained["descriptors"][0]["tables"][0];
        assert_eq!((&table["row"], &table["shadow"]), (&item["row"], &item["shadow"]));
        let bucket = &table["buckets"][0];
        assert_eq!(bucket["over_limit"], true, "{item}");
        for name in ["bucket", "size", "remaining", "full_at", "wait_ms"] {
            assert_eq!(bucket[name], item[name], "{name} of {item}");
        }
    }
    let unknown = json!({ "table": "descriptors", "key": [["nobody", "ann"]] });
    let (status, answer) = lab.post("/explain/bucket", &unknown);
    let expected = "no limit of the descriptor tree is for a descriptor with these entries";
    assert_eq!((status, &answer["error"]), (404, &json!(expected)));
}

#[test]
fn a_window_is_reset_by_its_entries_or_its_id() {
    let mut lab = Lab::start();
    let pool = [("user", "ann"), ("path", "/pool/1")];
    let spend = |lab: &mut Lab| {
        assert!(!lab.charge(6, &[("user", "ann")]));
        assert!(!lab.charge(4, &pool));
    };
    spend(&mut lab);
    // With a table, exactly these entries.
    let of_user = json!({ "table": "descriptors", "key": [["user", "ann"]] });
    let (status, reset) = lab.post("/reset", &of_user);
    assert_eq!(
        (status, reset["tables"].clone()),
        (200, json!([{ "table": "descriptors", "reset": 1, "already_full": 0 }]))
    );
    assert!(lab.charge(5, &[("user", "ann")]));
    assert!(!lab.charge(1, &pool));
    let of_pool = json!({ "table": "descriptors", "key": [["user", "ann"], ["path", "/pool/9"]] });
    assert_eq!(lab.post("/reset", &of_pool).0, 200);
    assert!(lab.charge(3, &pool));
    // Without one, those that have them, too.
    lab.server.advance(Nanos::from_secs(86_400));
    spend(&mut lab);
    let (status, reset) = lab.post("/reset", &json!({ "key": [["user", "ann"]] }));
    assert_eq!((status, reset["items"].as_array().unwrap().len()), (200, 2), "{reset}");
    assert!(lab.charge(5, &[("user", "ann")]) && lab.charge(3, &pool));
    // By its id, as long as it is listed.
    let listed = lab.get("/buckets?user=ann");
    for item in listed["items"].as_array().unwrap() {
        assert_eq!(lab.post("/reset", &json!({ "id": item["id"] })).0, 200, "{item}");
    }
    assert!(lab.charge(5, &[("user", "ann")]) && lab.charge(3, &pool));
    let unknown = json!({ "table": "descriptors", "key": [["path", "/pool/1"], ["user", "ann"]] });
    let (status, answer) = lab.post("/reset", &unknown);
    let expected = "no limit of the descriptor tree is for a descriptor with exactly these entries, in this order";
    assert_eq!((status, &answer["error"]), (404, &json!(expected)));
}

#[test]
fn counts_outlive_a_restart_until_their_windows_end_and_under_another_number() {
    let before = Parts::new(&source(TREE), 1000);
    let (day, hour) = ([("user", "ann")], [("user", "ann"), ("path", "/pool/1")]);
    let left = |parts: &Parts, entries: &[(&str, &str)]| {
        parts.ask(&request("d", &[hits(0, entries)])).remaining()
    };
    before.ask(&request("d", &[hits(4, &day), hits(9, &hour)]));
    before.ask(&call(&day));
    let bytes = before.snapshot();
    let restarted = |after: u64, tree: &str| {
        let now = START.after(Nanos::from_secs(after));
        let restored = snapshot::read(&*bytes, 1000, now).unwrap();
        Parts::restored(restored, now, &source(tree))
    };
    let soon = restarted(60, TREE);
    assert_eq!((left(&soon, &day), left(&soon, &hour)), (vec![4], vec![0]));
    assert!(!soon.ask(&call(&hour)).is_ok());
    let next_hour = restarted(3600, TREE);
    assert_eq!((left(&next_hour, &day), left(&next_hour, &hour)), (vec![4], vec![3]));
    let raised = restarted(60, &TREE.replace("requests_per_unit: 5,", "requests_per_unit: 9,"));
    assert_eq!(left(&raised, &day), [8]);
    assert_eq!(before.clock.now(), START, "it has stood still");
}
