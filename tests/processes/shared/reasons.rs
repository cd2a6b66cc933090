//! The log says why the store is away, in the store's own words.

use serde_json::Value;

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{call, eventually};

const POLICY: &str = "domain: d
on_store_error: deny
tables: [{ name: t, key: [tenant], rows: { all: [{ per_day: 200 }] } }]
";

/// The reason in the one line that says that the store is away, once calls have found it out.
fn reason(replica: &Tollgate) -> String {
    let mut client = replica.client();
    let told = |replica: &Tollgate| {
        let log = replica.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_it = |line: &Value| {
            line["fields"]["message"] == "the shared store is unavailable; deciding without it"
        };
        let reasons = lines.filter(is_it).map(|mut line| line["fields"]["reason"].take());
        reasons.map(|reason| reason.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert!(!client.ask(call(&[("tenant", "acme")])).is_ok(), "as on_store_error says");
    }
    eventually("it is told", || !told(replica).is_empty());
    let [reason] = &told(replica)[..] else { panic!("told more than once: {}", replica.log()) };
    reason.clone()
}

/// A replica over a store that is well.
fn replica(redis: &Redis, more: &[&str]) -> Tollgate {
    let replica = Tollgate::start(POLICY, &[&["--store", &redis.url()], more].concat());
    assert!(replica.client().ask(call(&[("tenant", "acme")])).is_ok());
    // The thread of the HTTP side has a connection of its own, which may still be being made.
    let buckets = replica.get("/buckets?domain=d&tenant=acme");
    assert!(buckets.contains("\"remaining\":199"), "{buckets}");
    replica
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_store_that_answers_with_an_error_is_quoted() {
    let nowhere = redis_server::free_address().port().to_string();
    let kill: &[&str] = &["CLIENT", "KILL", "TYPE", "normal"];
    let cases: [(&str, &[&[&str]]); 3] = [
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            &[&["CONFIG", "SET", "maxmemory", "1"]],
        ),
        (
            "READONLY You can't write against a read only replica.",
            &[&["REPLICAOF", "127.0.0.1", &nowhere]],
        ),
        // Connections that are there already need no password.
        ("NOAUTH Authentication required.", &[&["CONFIG", "SET", "requirepass", "word"], kill]),
    ];
    for (words, commands) in cases {
        let redis = Redis::start();
        let replica = replica(&redis, &[]);
        let mut connection = redis.connect();
        for command in commands {
            redis::cmd(command[0]).arg(&command[1..]).exec(&mut connection).unwrap();
        }
        // If it rejected a script, it also says where in it.
        let reason = reason(&replica);
        assert!(reason.starts_with(words), "{words}: {reason}");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_store_that_does_not_reply_is_said_to_be_silent_and_for_how_long() {
    let redis = Redis::start();
    let replica = replica(&redis, &["--store-timeout", "300ms"]);
    redis.stop();
    assert_eq!(reason(&replica), "no reply to 3 calls in a row, 300ms each");
    redis.go_on();
}
