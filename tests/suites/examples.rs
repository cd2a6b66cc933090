//! The programs of `examples/` say what they are there to show.

use crate::support::{TestServer, runtime};

#[allow(dead_code, reason = "its own main is not called")]
#[path = "../../examples/client.rs"]
mod client;
#[allow(dead_code, reason = "its own main is not called")]
#[path = "../../examples/decide.rs"]
mod decide;

#[test]
fn decide_admits_what_both_buckets_admit() {
    let mut out = Vec::new();
    decide::run(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let verdicts: Vec<_> = out.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "0 s later: admitted",
        "0 s later: admitted",
        "0 s later: denied",
        "1 s later: admitted",
        "0 s later: denied",
    ];
    assert_eq!(verdicts, expected, "{out}");
    // What the bucket of a second denied, that of a minute was not charged for.
    assert_eq!(out.lines().nth(8), Some("  3 per minute: 1 left"), "{out}");
}

#[test]
fn client_asks_a_server() {
    let server = TestServer::shipped();
    let mut out = Vec::new();
    runtime().block_on(client::run(&server.grpc.to_string(), "acme", &mut out)).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("passes\ntenant/free: 9 left\n"), "{out}");
    assert!(out.contains("\nx-ratelimit-remaining: 9\n"), "{out}");
}
