//! Logs that real web servers write, of clients that send what they like.

mod apache;
mod caddy;
mod nginx;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::envoy::process::{Running, eventually};

/// What clients call themselves. Each format escapes some of it.
const AGENTS: [&[u8]; 6] = [
    b"curl/8",
    b"\"quoted\" \\ and back",
    b"tab\there",
    "caf\u{e9} \u{1f980}".as_bytes(),
    b"not utf-8: \xff\xfe",
    b"<script>{\"a\":[1]}</script>",
];

/// What each of them asks for. The servers deny the second.
const PATHS: [&str; 3] = ["/a?x=1", "/denied", "/%22%3Cb%3E"];

const REQUESTS: usize = AGENTS.len() * PATHS.len();

/// Sends the requests of all clients, as soon as the server listens.
fn serve(running: &mut Running, server: SocketAddr) {
    running.wait_for("a listener", |_| TcpStream::connect(server).ok().map(drop));
    for agent in AGENTS {
        for path in PATHS {
            let mut stream = TcpStream::connect(server).unwrap();
            let begin = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nuser-agent: "
            );
            stream.write_all(&[begin.as_bytes(), agent, b"\r\n\r\n"].concat()).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

/// Replays a log by a limit of each client that is too small for its last request.
fn assert_clients_are_told_apart(log: &Path) {
    let keys = assert_last_of_each_is_denied(log, "user_agent", AGENTS.len()).into_iter();
    // Caddy replaces what is not UTF-8 as here, the others keep it.
    let mut keys: Vec<_> = keys.map(|key| key.replace(r"\xff\xfe", "\u{fffd}\u{fffd}")).collect();
    let mut expected = AGENTS.map(|agent| String::from_utf8_lossy(agent).into_owned());
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected, "{}", log.display());
}

/// Replays a log by a limit of each value of a field that is too small for its last request. Returns the keys.
fn assert_last_of_each_is_denied(log: &Path, field: &str, values: usize) -> Vec<String> {
    eventually("all lines", || {
        let written = fs::read(log).ok()?;
        (written.iter().filter(|byte| **byte == b'\n').count() == REQUESTS).then_some(())
    });
    let policy = log.with_extension("yaml");
    let size = REQUESTS / values - 1;
    let row =
        format!("{{ name: t, key: [key], rows: {{ all: [{{ size: {size}, per_day: 1 }}] }} }}");
    fs::write(&policy, format!("domain: d\ntables: [{row}]\n")).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    replay.args(["replay", "--json", "--entry", &format!("key=${field}"), "--config"]);
    let output = replay.arg(&policy).arg(log).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = &report["outcome"];
    let number = |of: &Value| usize::try_from(of.as_u64().unwrap()).unwrap();
    assert_eq!(number(&report["input"]["unreadable"]), 0, "{report}");
    assert_eq!(number(&outcome["requests"]), REQUESTS, "{report}");
    assert_eq!(number(&outcome["keys"]), values, "{}: {report}", log.display());
    assert_eq!(number(&outcome["denied"]), values, "{}", log.display());
    assert_eq!(number(&outcome["denied_in_log"]), AGENTS.len(), "{}", log.display());
    let keys = outcome["denied_keys"].as_array().unwrap().iter();
    keys.map(|key| key["key"][0][1].as_str().unwrap().to_owned()).collect()
}
