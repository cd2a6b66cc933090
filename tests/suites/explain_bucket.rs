//! `/explain/bucket`: a bucket of a list is explained by a call that it limits, and never contradicted.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tollgate::clock::{Clock, Nanos};
use tollgate::descriptor::{Entry, Hits, Query};
use tollgate::policy::Policy;
use tollgate::policy::example::{BucketPlace, NoSuchBucket};

use crate::support::{self, Parts, START, TestServer, call, hits, request, source};

const POLICY: &str = r#"domain: d
endpoint_groups: { login: [POST /login], users: ["GET /users/{id}"] }
tables:
  - { name: logins, when: { action: login, method: [PUT, POST] }, key: [remote_address], rows: { all: [{ per_day: 3 }] } }
  - name: tenants
    select: kind
    key: [tenant]
    rows: { free: [{ per_day: 5 }, { per_hour: 5 }], default: [{ per_day: 5 }] }
  - { name: inside, when: { remote_address: { cidr: [10.0.0.0/8] } }, key: [tenant], rows: { all: [{ per_day: 4 }] } }
  - name: outside
    when: { remote_address: { not: { cidr: [10.0.0.0/8] } }, agent: { not: any }, path: /api/* }
    key: [agent]
    rows: { all: [{ per_day: 4 }] }
  - { name: half, when: { remote_address: { cidr: [192.0.2.128/25] } }, key: [remote_address], prefix: { ipv4: 24 }, rows: { all: [{ per_day: 4 }] } }
  - { name: groups, select: endpoint_group, key: [method, path], rows: { users: [{ per_day: 4 }] } }
  - { name: group, when: { endpoint_group: login }, key: [tenant], rows: { all: [{ per_day: 4 }] } }
  - { name: kinds, when: { kind: [free, paid] }, select: kind, key: [job], rows: { free: [{ per_day: 2 }], default: { shadow: true, buckets: [{ per_day: 1 }] } } }
  - { name: pages, select: PATH, key: [PATH], rows: { /: [{ per_day: 4 }] } }
  - { name: everybody, key: [], rows: { all: [{ per_day: 1000 }] } }
overrides:
  - { table: tenants, row: free, when: { tenant: large }, buckets: [{ per_day: 50 }] }
  - { table: tenants, row: free, when: { region: "eu-*", scope: { present: true } }, buckets: [{ per_day: 5 }] }
  - { table: tenants, when: { late: { absent: true }, tenant: late }, until: 2026-03-01T00:01:00Z, buckets: [{ per_day: 6 }] }
bypass:
  - { job: { present: true }, kind: paid }
"#;

type Pairs = Vec<(String, Vec<u8>)>;

fn query<'a>(entries: &'a [(String, Vec<u8>)]) -> Query<'a> {
    let mut query = Query::default();
    query.begin("d", 1).unwrap();
    entries.iter().for_each(|(key, value)| query.entry(&**key, value));
    query.close(Hits::ONE, None).unwrap();
    query
}

fn pairs(entries: &[(&str, &str)]) -> Pairs {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn with_policy<T>(parts: &Parts, check: impl FnOnce(&Policy) -> T) -> T {
    check(&parts.policies.load_full().get("d").unwrap().policy)
}

/// Every bucket that these calls match is matched by the example that is made from its name alone.
#[test]
fn an_example_matches_the_bucket_that_it_is_made_from() {
    let parts = Parts::new(&source(POLICY), 1000);
    let calls = [
        &[("action", "login"), ("method", "POST"), ("remote_address", "198.51.100.77")][..],
        &[("action", "login"), ("method", "PUT"), ("remote_address", "2001:db8::1")],
        &[("kind", "free"), ("tenant", "acme")],
        &[("kind", "paid"), ("tenant", "acme")],
        &[("tenant", "acme")],
        &[("kind", "free"), ("tenant", "large")],
        &[("kind", "free"), ("tenant", "acme"), ("region", "eu-1"), ("scope", "x")],
        &[("kind", "free"), ("tenant", "late")],
        &[("tenant", "acme"), ("remote_address", "10.1.2.3")],
        &[("agent", "b\"<ot"), ("remote_address", "unknown"), ("path", "/api/v2?x")],
        &[("remote_address", "192.0.2.200")],
        &[("method", "GET"), ("path", "/users/7")],
        &[("method", "GET"), ("path", "/elsewhere"), ("endpoint_group", "users")],
        &[("method", "POST"), ("path", "/login"), ("tenant", "acme")],
        &[("kind", "free"), ("job", "1")],
        &[("PATH", "/?page=1")],
    ];
    let mut tables = std::collections::BTreeSet::new();
    with_policy(&parts, |policy| {
        for call in calls {
            let call = pairs(call);
            let call = query(&call);
            for matched in &policy.resolve(&call, START).matched {
                let key = policy.bucket_key(call.descriptors().next().unwrap(), matched.row);
                let key: Vec<_> =
                    key.iter().map(|(key, value)| Entry { key: (*key).into(), value }).collect();
                let limit = matched.bucket.to_string();
                for fingerprint in [None, Some(matched.fingerprint)] {
                    let (table, row) = (matched.row.table(), Some(matched.row.name()));
                    let place =
                        BucketPlace { table, row, key: &key, limit: Some(&limit), fingerprint };
                    let example = policy.example(&place, START).unwrap();
                    assert_eq!(example.assumed, [""; 0], "{table} {key:?}");
                    let again: Pairs = example
                        .entries
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
                        .collect();
                    let again = if again.is_empty() { pairs(&[("any", "any")]) } else { again };
                    let found = query(&again);
                    let found = policy.resolve(&found, START);
                    // Two buckets of one row with one limit differ in an override's conditions only.
                    let is_same = |of: &tollgate::policy::MatchedBucket<'_>| match fingerprint {
                        Some(name) => of.fingerprint == name,
                        None => of.row.id() == matched.row.id() && of.bucket == matched.bucket,
                    };
                    assert!(found.matched.iter().any(is_same), "{table} {key:?} {again:?}");
                    tables.insert(table.to_owned());
                }
            }
        }
        assert_eq!(tables.len(), policy.tables().len(), "{tables:?}");
    });
}

fn example(
    policy: &Policy,
    table: &str,
    row: Option<&str>,
    key: &[(&str, &str)],
    limit: Option<&str>,
) -> Result<(Pairs, Vec<String>), NoSuchBucket> {
    let key = pairs(key);
    let key: Vec<_> =
        key.iter().map(|(key, value)| Entry { key: (&**key).into(), value }).collect();
    let place = BucketPlace { table, row, key: &key, limit, fingerprint: None };
    let found = policy.example(&place, START)?;
    let entries = found.entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec()));
    Ok((entries.collect(), found.assumed))
}

#[test]
fn conditions_and_the_row_are_filled_in() {
    let parts = Parts::new(&source(POLICY), 1000);
    with_policy(&parts, |policy| {
        for (table, row, key, limit, entries) in [
            (
                "logins",
                None,
                &[("remote_address", "198.51.100.77")][..],
                None,
                &[("remote_address", "198.51.100.77"), ("action", "login"), ("method", "POST")][..],
            ),
            (
                "logins",
                None,
                &[("remote_address", "2001:db8:1:2::/64")],
                None,
                &[("remote_address", "2001:db8:1:2::"), ("action", "login"), ("method", "POST")],
            ),
            (
                "tenants",
                Some("free"),
                &[("tenant", "acme")],
                None,
                &[("tenant", "acme"), ("kind", "free")],
            ),
            ("tenants", Some("default"), &[("tenant", "acme")], None, &[("tenant", "acme")]),
            ("tenants", Some("otherwise"), &[("tenant", "acme")], None, &[("tenant", "acme")]),
            (
                "tenants",
                Some("free"),
                &[("tenant", "large")],
                Some("50 per day"),
                &[("tenant", "large"), ("kind", "free")],
            ),
            (
                "inside",
                None,
                &[("tenant", "acme")],
                None,
                &[("tenant", "acme"), ("remote_address", "10.0.0.1")],
            ),
            (
                "half",
                None,
                &[("remote_address", "192.0.2.0/24")],
                None,
                &[("remote_address", "192.0.2.255")],
            ),
            (
                "outside",
                None,
                &[("agent", "bot")],
                None,
                &[("agent", "bot"), ("remote_address", "192.0.2.1"), ("path", "/api/")],
            ),
            (
                "groups",
                Some("users"),
                &[("method", "GET"), ("path", "/x")],
                None,
                &[("method", "GET"), ("path", "/x"), ("endpoint_group", "users")],
            ),
            (
                "groups",
                None,
                &[("method", "GET"), ("path", "/users/7")],
                None,
                &[("method", "GET"), ("path", "/users/7")],
            ),
            ("everybody", None, &[], None, &[]),
        ] {
            assert_eq!(
                example(policy, table, row, key, limit),
                Ok((pairs(entries), vec![])),
                "{table}"
            );
        }
    });
}

#[test]
fn what_cannot_be_filled_in_is_told_as_assumed() {
    let policy = "domain: d
tables:
  - { name: t, when: { a: { not: a* } , b: { not: { cidr: [0.0.0.0/0, \"::/0\"] } } }, key: [k], rows: { all: [{ per_day: 1 }] } }
  - { name: paid, when: { kind: [free, paid] }, select: kind, key: [k], rows: { free: unlimited, paid: unlimited, default: [{ per_day: 1 }] } }
bypass: [{ k: vip, kind: { absent: true } }]
";
    let parts = Parts::new(&source(policy), 1000);
    with_policy(&parts, |policy| {
        let (entries, assumed) = example(policy, "t", None, &[("k", "1")], None).unwrap();
        assert_eq!(entries, pairs(&[("k", "1"), ("a", "other"), ("b", "any")]));
        assert_eq!(assumed, [""; 0]);
        let (entries, assumed) =
            example(policy, "paid", Some("default"), &[("k", "1")], None).unwrap();
        assert_eq!(entries, pairs(&[("k", "1")]));
        assert_eq!(assumed, [r#"kind is one of ["free", "paid"]"#]);
        let (_, assumed) = example(policy, "t", None, &[("k", "vip")], None).unwrap();
        assert_eq!(assumed, [r#"it is not bypassed, although k is "vip" and kind is absent"#]);
    });
}

#[test]
fn a_bucket_that_no_call_has_is_told_with_the_reason() {
    let parts = Parts::new(&source(POLICY), 1000);
    with_policy(&parts, |policy| {
        let error = |table, row, key, limit| {
            example(policy, table, row, key, limit).unwrap_err().to_string()
        };
        let tenant = &[("tenant", "acme")][..];
        for (told, expected) in [
            (
                error("other", None, tenant, None),
                "no table has this name; the tables are: logins, tenants, inside, outside, half, groups, group, kinds, pages, everybody",
            ),
            (
                error("tenants", Some("gold"), tenant, None),
                "table tenants has no row with this name",
            ),
            (
                error("tenants", None, tenant, None),
                "table tenants selects its row by `kind`; send the `row`",
            ),
            (
                error("tenants", Some("free"), &[], None),
                "the key of table tenants is [tenant]; send each of these entries once, and no others",
            ),
            (
                error("tenants", Some("free"), &[("tenant", "a"), ("kind", "free")], None),
                "the key of table tenants is [tenant]; send each of these entries once, and no others",
            ),
            (
                error("logins", None, &[("remote_address", "10.0.0.0/8")], None),
                "the network in the key has several buckets; send an address",
            ),
            (
                error("outside", None, &[("agent", "any")], None),
                r#"no call with this key has this bucket: it requires that agent is not "any""#,
            ),
            (
                error("tenants", Some("free"), tenant, Some("7 per day")),
                "row tenants/free has no bucket with this limit, and neither has an override of it",
            ),
        ] {
            assert_eq!(told, expected);
        }
    });
}

fn post(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.http).unwrap();
    let body = body.to_string();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn listed(server: &TestServer) -> Vec<Value> {
    let answer = server.get("/buckets");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    body["items"].as_array().unwrap().clone()
}

/// The state of the bucket of a list in its explanation.
fn bucket_of<'v>(item: &Value, explained: &'v Value) -> &'v Value {
    let tables = explained["descriptors"][0]["tables"].as_array().unwrap();
    let table = tables.iter().find(|of| of["table"] == item["table"] && of["row"] == item["row"]);
    let table = table.unwrap_or_else(|| panic!("{item} {explained}"));
    let mut buckets = table["buckets"].as_array().unwrap().iter();
    buckets.find(|of| of["bucket"] == item["bucket"]).unwrap()
}

#[test]
fn every_listed_bucket_that_is_over_its_limit_is_explained_as_denying() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    let long = "x".repeat(200);
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|key| (key, "1")).into();
    for of in [
        hits(3, &[("action", "login"), ("method", "POST"), ("remote_address", "198.51.100.77")]),
        hits(4, &[("tenant", "acme"), ("remote_address", "10.1.2.3")]),
        hits(4, &[("agent", "bot"), ("remote_address", "unknown"), ("path", "/api/v2?x")]),
        hits(4, &[("remote_address", "192.0.2.200")]),
        hits(4, &[("PATH", "/?page=1")]),
        hits(5, &[("kind", "free"), ("tenant", "acme"), ("region", "eu-1"), ("scope", "x")]),
        hits(5, &[("kind", "free"), ("tenant", &long)]),
        support::limit(1, 1, None, &many),
    ] {
        assert!(client.ask(request("d", &[of])).is_ok());
    }
    let items = listed(&server);
    let mut tables: Vec<_> = items.iter().map(|item| item["table"].as_str().unwrap()).collect();
    tables.sort_unstable();
    let expected = [
        "half",
        "inside",
        "limit override",
        "logins",
        "outside",
        "pages",
        "tenants",
        "tenants",
        "tenants",
    ];
    assert_eq!(tables, expected, "{items:?}");
    for item in &items {
        let (status, explained) = post(&server, "/explain/bucket", item);
        assert_eq!(status, 200, "{item} {explained}");
        let bucket = bucket_of(item, &explained);
        assert_eq!(
            (&bucket["remaining"], &bucket["over_limit"]),
            (&json!(0), &json!(true)),
            "{item}"
        );
        assert_eq!(explained["admits"], false, "{item} {explained}");
        let is_alone = item["truncated"] == true;
        assert_eq!(explained["assumed"].as_array().unwrap().len(), usize::from(is_alone));
        // What is filled in is explained alike if it is asked about as a call.
        let entries = explained["entries"].as_array().unwrap();
        assert_eq!(entries.is_empty(), is_alone, "{item}");
        if !is_alone {
            let entry = |entry: &Value| json!({ "key": entry[0], "value": entry[1] });
            let entries: Vec<_> = entries.iter().map(entry).collect();
            let call = json!({ "domain": "d", "descriptors": [{ "entries": entries }] });
            let (_, of_call) = post(&server, "/explain", &call);
            assert_eq!(of_call["descriptors"], explained["descriptors"], "{item}");
        }
    }
    // Nothing was charged.
    assert_eq!(listed(&server), items);
}

#[test]
fn a_bucket_in_shadow_and_one_that_a_bypass_spares_are_explained_by_their_state() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    // The bypass spares the calls of kind `paid`, which are the only ones of this row.
    assert!(client.ask(call(&[("kind", "paid"), ("job", "1")])).is_ok());
    let name = json!({ "table": "kinds", "row": "default", "key": [["job", "1"]] });
    let (status, explained) = post(&server, "/explain/bucket", &name);
    assert_eq!(status, 200, "{explained}");
    assert_eq!(explained["entries"], json!([["job", "1"], ["kind", "paid"]]));
    let assumed = r#"it is not bypassed, although job is present and kind is "paid""#;
    assert_eq!(explained["assumed"], json!([assumed]));
    assert_eq!(explained["descriptors"][0]["bypass"], Value::Null);
    let item = json!({ "table": "kinds", "row": "default", "bucket": "1 per day" });
    assert_eq!(bucket_of(&item, &explained)["remaining"], 1);
    assert_eq!(explained["admits"], true);
}

#[test]
fn an_override_that_has_ended_is_explained_as_one_that_has_not() {
    let server = TestServer::with_policy(POLICY);
    let mut client = server.client();
    assert!(client.ask(request("d", &[hits(6, &[("tenant", "late")])])).is_ok());
    let [item] = &listed(&server)[..] else { panic!() };
    server.advance(Nanos::from_secs(60));
    let (status, explained) = post(&server, "/explain/bucket", item);
    assert_eq!(status, 200, "{explained}");
    assert_eq!(explained["assumed"], json!(["the override that has the bucket has not ended"]));
    assert_eq!(bucket_of(item, &explained)["remaining"], 0);
    assert!(server.parts.clock.now() > START);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let server = TestServer::with_policy(POLICY);
    for (body, status, error) in [
        (json!({}), 400, "not the name of a bucket: missing field `table`"),
        (
            json!({ "table": "tenants", "key": { "tenant": "a" } }),
            400,
            "not the name of a bucket: ",
        ),
        (json!({ "table": "tenants", "domain": "other" }), 404, "no policy has this domain"),
        (json!({ "table": "other" }), 404, "no table has this name"),
        (
            json!({ "table": "tenants", "row": "free", "key": [["tenant", "a…"]], "truncated": true }),
            404,
            "the bucket's key is not known in full",
        ),
        (
            json!({ "table": "limit override", "row": "request" }),
            404,
            "the bucket's key is not known in full",
        ),
        (json!({ "table": "tenants", "key": [["", "a"]] }), 400, ""),
    ] {
        let (answered, told) = post(&server, "/explain/bucket", &body);
        assert_eq!(answered, status, "{body} {told}");
        assert!(told["error"].as_str().unwrap().starts_with(error), "{body} {told}");
    }
}
