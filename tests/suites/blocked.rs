//! What lets nothing pass: rows and overrides that are `blocked`, and limits of 0 that Envoy brings along.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use serde_json::{Value, json};
use support::{
    Answer, START, TestServer, call, descriptor, give_back, hits, limit, request, server,
};
use tollgate::clock::Nanos;

const TABLE: &str = "tables:
  - name: plan
    select: kind
    key: [k]
    rows: { banned: blocked, house: unlimited, default: [{ per_day: 3 }] }
";

const BANNED: [(&str, &str); 2] = [("k", "1"), ("kind", "banned")];

fn headers(answer: &Answer) -> Vec<(&str, &str)> {
    let headers = &answer.0.response_headers_to_add;
    headers.iter().map(|header| (&*header.key, &*header.value)).collect()
}

fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!((&body["statusCode"], &body["error"]), (&json!(429), &json!("Too Many Requests")));
    body["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_blocked_row_denies_every_call_and_a_look_and_says_which_row_it_was() {
    let (server, mut client) = server(TABLE);
    for count in [1, 0, 1, u64::MAX] {
        let denial = client.ask(request("d", &[hits(count, &BANNED)]));
        assert!(!denial.is_ok(), "{count}");
        assert_eq!(denial.denied_by(), ("plan", "banned", "blocked"));
        assert_eq!(message(&denial), "Requests like this are blocked");
        let status = &denial.0.statuses[0];
        assert_eq!(
            (status.code, status.limit_remaining, status.duration_until_reset),
            (2, 0, None)
        );
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((&*limit.name, limit.requests_per_unit, limit.unit), ("plan/banned", 0, 0));
    }
    server.advance(Nanos::from_secs(400 * 86_400));
    assert!(!client.ask(call(&BANNED)).is_ok());
    assert!(client.ask(call(&[("k", "1"), ("kind", "house")])).is_ok());
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 3, "nobody else notices");
    let metrics = server.parts.telemetry.encode().unwrap();
    let counted = "tollgate_decisions_total{domain=\"d\",table=\"plan\",row=\"banned\",outcome=\"over_limit\"} 5\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_is_blocked_for_good_has_no_headers_that_tell_of_a_time() {
    let answers = [
        ("epoch", vec![("x-ratelimit-limit", "0"), ("x-ratelimit-remaining", "0")]),
        ("delta", vec![("x-ratelimit-limit", "0"), ("x-ratelimit-remaining", "0")]),
        (
            "ietf",
            vec![
                ("ratelimit-policy", r#""plan/banned";q=0"#),
                ("ratelimit", r#""plan/banned";r=0"#),
            ],
        ),
        ("off", vec![]),
    ];
    for (style, mut expected) in answers {
        let (_server, mut client) = server(&format!("headers: {style}\n{TABLE}"));
        expected.push(("content-type", "application/json"));
        assert_eq!(headers(&client.ask(call(&BANNED))), expected, "{style}");
    }
}

#[test]
fn an_override_blocks_until_its_end_and_says_when_that_is() {
    let text = |style: &str| {
        format!(
            "headers: {style}\n{TABLE}overrides:
  - {{ table: plan, when: {{ k: late }}, until: 2026-03-01T01:00:00Z, buckets: blocked }}
"
        )
    };
    let until = START.after(Nanos::from_secs(3600));
    let epoch = until.as_unix_secs_ceil().to_string();
    let answers = [
        (
            "epoch",
            vec![
                ("x-ratelimit-limit", "0"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &*epoch),
            ],
        ),
        (
            "ietf",
            vec![
                ("ratelimit-policy", r#""plan/default override 1";q=0"#),
                ("ratelimit", r#""plan/default override 1";r=0;t=3600"#),
            ],
        ),
    ];
    for (style, mut expected) in answers {
        let (server, mut client) = server(&text(style));
        let late = call(&[("k", "late")]);
        let denial = client.ask(late.clone());
        expected.extend([("retry-after", "3600"), ("content-type", "application/json")]);
        assert_eq!(headers(&denial), expected, "{style}");
        assert_eq!(denial.denied_by(), ("plan", "default", "blocked"));
        assert_eq!(message(&denial), "Requests like this are blocked, please retry after 3600 s");
        let reset = denial.0.statuses[0].duration_until_reset.unwrap();
        assert_eq!((reset.seconds, reset.nanos), (3600, 0));
        server.parts.clock.set(until.before(Nanos::new(1)));
        assert_eq!(client.ask(late.clone()).number("retry-after"), 1);
        server.parts.clock.set(until);
        assert_eq!(client.drain(&late, 9).0, 3, "the row's own bucket was not touched");
    }
}

#[test]
fn an_override_that_names_no_row_blocks_them_all_and_opens_none_that_is_blocked() {
    let overrides = "overrides:
  - { table: plan, when: { k: outlaw }, buckets: blocked }
  - { table: plan, when: { k: large }, buckets: [{ per_day: 100 }] }
  - { table: plan, when: { k: free }, buckets: unlimited }
  - { table: plan, row: banned, when: { k: pardoned }, buckets: [{ per_day: 1 }] }
";
    let (_server, mut client) = server(&format!("{TABLE}{overrides}"));
    for kind in ["banned", "house", "other"] {
        let denial = client.ask(call(&[("k", "outlaw"), ("kind", kind)]));
        assert_eq!((denial.is_ok(), denial.denied_by().2), (false, "blocked"), "{kind}");
    }
    for k in ["large", "free"] {
        assert!(client.ask(call(&[("k", k)])).is_ok());
        assert!(!client.ask(call(&[("k", k), ("kind", "banned")])).is_ok(), "{k}");
    }
    assert_eq!(client.drain(&call(&[("k", "pardoned"), ("kind", "banned")]), 5).0, 1);
}

#[test]
fn a_tables_message_is_said_unless_it_tells_a_time_that_there_is_not() {
    let with = |message: &str, until: &str| {
        let (_server, mut client) = server(&format!(
            "tables:
  - {{ name: t, select: kind, key: [k], rows: {{ no: blocked, default: [{{ per_day: 1 }}] }}, message: \"{message}\" }}
overrides: [{{ table: t, row: no, when: {{ k: late }}, {until} buckets: blocked }}]"
        ));
        let told =
            |client: &mut support::Client, k| message_of(client, &[("k", k), ("kind", "no")]);
        [told(&mut client, "1"), told(&mut client, "late")]
    };
    let told = with("{table}/{row}: {bucket}, {limit}", "");
    assert_eq!(told, ["t/no: blocked, 0"; 2]);
    let told = with("wait {retry_after} s", "until: 2026-03-01T00:01:00Z,");
    assert_eq!(told, ["Requests like this are blocked", "wait 60 s"]);
}

fn message_of(client: &mut support::Client, entries: &[(&str, &str)]) -> String {
    message(&client.ask(call(entries)))
}

#[test]
fn where_one_row_blocks_nothing_is_charged_and_no_lease_is_taken() {
    let (server, mut client) = server(&format!(
        "{TABLE}  - {{ name: all, key: [], rows: {{ all: [{{ per_day: 10 }}] }} }}
  - {{ name: jobs, key: [k], rows: {{ all: [{{ concurrent: 1, ttl: 1h }}] }} }}
"
    ));
    let both = request("d", &[descriptor(&[("k", "2")]), descriptor(&BANNED)]);
    for _ in 0..5 {
        let denial = client.ask(both.clone());
        let codes: Vec<_> = denial.0.statuses.iter().map(|status| status.code).collect();
        assert_eq!((codes, denial.remaining()), (vec![1, 2], vec![1, 0]));
        assert_eq!(denial.metadata("lease"), None);
    }
    assert_eq!(server.parts.store.len(), 0);
    assert!(client.ask(call(&[("k", "2")])).metadata("lease").is_some());
}

#[test]
fn hits_given_back_to_what_is_blocked_do_nothing_and_are_not_denied() {
    let (server, mut client) = server(TABLE);
    let answer = client.ask(request("d", &[give_back(u64::MAX, &BANNED)]));
    assert_eq!((answer.is_ok(), answer.remaining()), (true, vec![0]));
    assert_eq!(server.parts.store.len(), 0);
    assert!(!client.ask(call(&BANNED)).is_ok());
}

#[test]
fn a_blocked_row_in_shadow_denies_nobody_and_is_told_of() {
    let (server, mut client) = server(
        "tables:
  - { name: t, key: [k], rows: { all: [{ per_day: 2 }] } }
  - { name: tried, select: kind, key: [k], rows: { no: { shadow: true, buckets: blocked } } }",
    );
    let asked = call(&[("k", "1"), ("kind", "no")]);
    let answer = client.ask(asked.clone());
    let shadow = &answer.0.dynamic_metadata.as_ref().unwrap().fields["shadow"];
    assert!(format!("{shadow:?}").contains("blocked"), "{shadow:?}");
    assert_eq!((answer.is_ok(), answer.number("x-ratelimit-limit")), (true, 2));
    assert_eq!(client.drain(&asked, 9).0, 1, "the others are charged as without it");
    let metrics = server.parts.telemetry.encode().unwrap();
    let counted = "table=\"tried\",row=\"no\",outcome=\"shadow_over_limit\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
}

const SECOND: i32 = 1;
const HOUR: i32 = 3;
const YEAR: i32 = 6;

#[test]
fn a_brought_limit_of_nothing_denies_and_charges_nothing() {
    let (server, mut client) = server(TABLE);
    for (unit, multiplier) in [(SECOND, None), (HOUR, Some(0)), (YEAR, Some(u32::MAX))] {
        let denial = client.ask(request("d", &[limit(0, unit, multiplier, &[("k", "1")])]));
        assert!(!denial.is_ok(), "{unit} {multiplier:?}");
        assert_eq!(denial.denied_by(), ("limit override", "request", "blocked"));
        assert_eq!(message(&denial), "Requests like this are blocked");
        let told = [("x-ratelimit-limit", "0"), ("x-ratelimit-remaining", "0")];
        assert_eq!(headers(&denial), [&told[..], &[("content-type", "application/json")]].concat());
    }
    assert_eq!(server.parts.store.len(), 0);
    assert_eq!(client.drain(&call(&[("k", "1")]), 9).0, 3);
}

#[test]
fn a_brought_limit_lifts_no_block() {
    let (_server, mut client) = server(TABLE);
    for requests in [1, 1000, u32::MAX] {
        let denial = client.ask(request("d", &[limit(requests, SECOND, None, &BANNED)]));
        assert_eq!((denial.is_ok(), denial.denied_by().1), (false, "banned"));
    }
}

#[test]
fn a_person_sees_what_is_blocked_and_resets_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let overrides = "overrides: [{ table: plan, when: { k: late }, until: 2026-03-01T01:00:00Z, buckets: blocked }]";
    std::fs::write(&file, format!("domain: d\n{TABLE}{overrides}")).unwrap();
    let server = TestServer::administered(&file, TOKEN);
    let mut client = server.client();
    assert!(!client.ask(call(&BANNED)).is_ok());

    let config = ask(&server, "GET", "/config", "").1;
    let rows = &config["policies"][0]["tables"][0]["rows"];
    assert_eq!(rows[0]["buckets"], json!(["blocked"]));
    assert_eq!(rows[0]["message"], "Requests like this are blocked");
    assert_eq!(rows[2]["overrides"][0]["buckets"], json!(["blocked"]));

    let listed = ask(&server, "GET", "/buckets?k=1&kind=banned", "").1["items"].clone();
    let told = &listed[0];
    assert_eq!((&told["row"], &told["bucket"]), (&json!("banned"), &json!("blocked")), "{listed}");
    assert_eq!((&told["size"], &told["remaining"]), (&json!(0), &json!(0)));
    assert_eq!((&told["state"], &told["full_at"]), (&json!("over"), &json!(null)));
    assert_eq!((&told["full_in_ms"], &told["wait_ms"]), (&json!(null), &json!(null)));
    let late = ask(&server, "GET", "/buckets?k=late&kind=gold", "").1;
    assert_eq!(late["items"][0]["wait_ms"], 3_600_000.0, "{late}");
    let near = ask(&server, "GET", "/buckets", "").1;
    assert_eq!(near["items"], json!([]), "it is near nothing");

    for (count, admits) in [(0, false), (1, false)] {
        let entries = BANNED.map(|(key, value)| json!({ "key": key, "value": value }));
        let asked =
            json!({ "domain": "d", "descriptors": [{ "entries": entries, "hits_addend": count }] });
        let told = ask(&server, "POST", "/explain", &asked.to_string()).1;
        assert_eq!(told["admits"], admits, "{told}");
        let of_it = &told["descriptors"][0];
        assert_eq!(of_it["outcome"], "a blocked row; the call is denied, and nothing is charged");
        let bucket = &of_it["tables"][0]["buckets"][0];
        assert_eq!((&bucket["bucket"], &bucket["over_limit"]), (&json!("blocked"), &json!(true)));
        assert_eq!(of_it["tables"][0]["message"], "Requests like this are blocked");
    }

    let key = json!({ "table": "plan", "row": "banned", "key": [["k", "1"], ["kind", "banned"]] });
    let (status, refused) = ask(&server, "POST", "/reset", &key.to_string());
    assert_eq!(status, 400, "{refused}");
    assert_eq!(
        refused["error"],
        "a blocked row has no tokens to refill; change the policy to unblock it"
    );
}

const TOKEN: &str = "0123456789abcdef";

fn ask(server: &TestServer, method: &str, path: &str, body: &str) -> (u16, Value) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.http).unwrap();
    let head = format!(
        "host: localhost\r\nconnection: close\r\ncontent-type: application/json\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}",
        body.len()
    );
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_reload_lifts_a_block_at_once() {
    let server = TestServer::with_policy(&format!("domain: d\n{TABLE}"));
    let mut client = server.client();
    assert!(!client.ask(call(&BANNED)).is_ok());
    let lifted = TABLE.replace("banned: blocked", "banned: [{ per_day: 2 }]");
    let lifted = support::source(&format!("domain: d\n{lifted}"));
    server.parts.replace(&lifted);
    assert_eq!(client.drain(&call(&BANNED), 9).0, 2);
}
