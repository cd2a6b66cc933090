//! The wall clock is set while the server runs: what it tells follows, and what it decides does not jump.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use support::{Parts, START, TestServer, call, hits, request, source};
use tollgate::clock::{Clock, Nanos};
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::memory::snapshot;

const HOUR: i64 = 3_600_000_000_000;
const START_SECONDS: u64 = START.as_unix_nanos() / 1_000_000_000;

const TOKEN: &str = "0123456789abcdef";

const POLICY: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ per_minute: 6 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 60s }] } }
";

fn with_override(until: &str, buckets: &str) -> String {
    format!(
        "{POLICY}overrides: [{{ table: t, when: {{ k: vip }}, until: {until}, buckets: {buckets} }}]"
    )
}

fn parts(text: &str) -> Parts {
    Parts::new(&source(text), 10_000)
}

fn ask(parts: &Parts, count: u64, key: &str) -> support::Answer {
    parts.ask(&request("d", &[hits(count, &[("k", key)])]))
}

#[test]
fn reset_times_follow_and_buckets_do_not_jump() {
    let parts = parts(POLICY);
    let first = ask(&parts, 6, "1");
    assert_eq!(first.number("x-ratelimit-reset"), START_SECONDS + 60);
    for hours in [5, -5, -400_000] {
        parts.clock.set_wall_ahead(hours * HOUR);
        let denial = ask(&parts, 1, "1");
        assert!(!denial.is_ok(), "{hours} h");
        assert_eq!(denial.number("retry-after"), 10);
        let reset = START_SECONDS.saturating_add_signed(hours * 3600) + 60;
        assert_eq!(denial.number("x-ratelimit-reset"), reset, "{hours} h");
    }
    parts.clock.advance(Nanos::from_secs(10));
    assert!(ask(&parts, 1, "1").is_ok());
    assert!(!ask(&parts, 1, "1").is_ok());
}

#[test]
fn leases_expire_when_they_would_have_and_are_listed_in_the_new_time() {
    let parts = parts(POLICY);
    let job = call(&[("job", "1")]);
    assert!(parts.ask(&job).is_ok());
    parts.clock.set_wall_ahead(HOUR);
    assert!(!parts.ask(&job).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listed = runtime.block_on(parts.service.leases(10)).items;
    let expires = parts.service.lease_time(listed[0].expires);
    assert_eq!(expires.as_unix_nanos() / 1_000_000_000, START_SECONDS + 3_660);
    parts.clock.advance(Nanos::from_secs(60));
    assert!(parts.ask(&job).is_ok());
}

#[test]
fn a_reset_finds_the_override_that_the_wall_clock_has_ended() {
    let until = START.after(Nanos::from_secs(3_600)).rfc3339();
    let text = with_override(&until, "[{ per_minute: 60 }]");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, &text).unwrap();
    let server = TestServer::administered(&path, TOKEN);
    assert_eq!(ask(&server.parts, 1, "vip").remaining(), [59]);
    server.parts.clock.set_wall_ahead(HOUR);
    for (path, body) in [
        ("/explain/bucket", json!({ "table": "t", "key": [["k", "vip"]] })),
        ("/reset", json!({ "key": [["k", "vip"]] })),
    ] {
        let answer = post(&server, path, &body.to_string());
        assert!(
            answer.contains("\"6 per minute\"") && !answer.contains("60 per minute"),
            "{answer}"
        );
    }
}

fn post(server: &TestServer, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.http).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[test]
fn an_override_ends_by_the_wall_clock() {
    let until = START.after(Nanos::from_secs(3_600)).rfc3339();
    let parts = parts(&with_override(&until, "[{ per_minute: 60 }]"));
    assert_eq!(ask(&parts, 20, "vip").remaining(), [40]);
    parts.clock.set_wall_ahead(HOUR - 1);
    assert_eq!(ask(&parts, 0, "vip").remaining(), [40]);
    parts.clock.set_wall_ahead(HOUR);
    let denial = ask(&parts, 1, "vip");
    assert!(!denial.is_ok());
    // Twenty were used, and the limit changed now: five of six may be owed.
    assert_eq!(denial.number("retry-after"), 150);
    parts.clock.set_wall_ahead(0);
    assert_eq!(
        ask(&parts, 0, "vip").remaining(),
        [40],
        "the clock was set wrongly, and is right again"
    );
}

#[test]
fn a_block_tells_its_end_by_the_wall_clock() {
    let until = START.after(Nanos::from_secs(7_200)).rfc3339();
    let parts = parts(&with_override(&until, "blocked"));
    assert_eq!(ask(&parts, 1, "vip").number("retry-after"), 7_200);
    parts.clock.set_wall_ahead(HOUR);
    let denial = ask(&parts, 1, "vip");
    assert_eq!(denial.number("retry-after"), 3_600);
    assert_eq!(denial.number("x-ratelimit-reset"), START_SECONDS + 7_200);
    parts.clock.advance(Nanos::from_secs(3_600));
    assert!(ask(&parts, 1, "vip").is_ok());
}

#[test]
fn a_snapshot_is_of_the_time_that_the_wall_clock_shows() {
    for ahead in [-3 * HOUR, 0, 3 * HOUR] {
        let key = FingerprintKey::fixed(7);
        let before = Parts::over(tollgate::store::MemoryStore::new(10_000), key, &source(POLICY));
        assert!(ask(&before, 6, "1").is_ok());
        assert!(before.ask(&call(&[("job", "1")])).is_ok());
        // The machine started with a wrong clock, which is right now.
        before.clock.set_wall_ahead(ahead);
        let bytes = before.snapshot();
        let later = before.clock.read().wall.after(Nanos::from_secs(20));
        let restored = snapshot::read(&*bytes, 10_000, later).unwrap();
        assert_eq!((restored.taken_at, restored.ahead), (before.clock.read().wall, Nanos::ZERO));
        let after = Parts::restored(restored, later, &source(POLICY));
        assert_eq!(ask(&after, 0, "1").remaining(), [2], "twenty seconds have passed");
        assert!(!after.ask(&call(&[("job", "1")])).is_ok());
        after.clock.advance(Nanos::from_secs(40));
        assert!(after.ask(&call(&[("job", "1")])).is_ok());
    }
}
