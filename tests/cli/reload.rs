//! `serve` and SIGHUP: another policy comes into force as a whole, or the one before stays and it is told why.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use super::eventually;
use super::query::query;
use super::serve::Served;

/// So many a day, so that time does not matter.
fn policy(size: u32) -> String {
    format!(
        "domain: d\ntables: [{{ name: t, key: [k], rows: {{ always: [{{ per_day: {size} }}] }} }}]\n"
    )
}

fn serve(path: &Path) -> Served {
    let config = path.to_str().unwrap();
    Served::start(
        &[
            "serve",
            "--config",
            config,
            "--grpc",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--log",
            "json",
        ],
        &[],
    )
}

pub(crate) fn get(server: &Served, path: &str) -> String {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
    body.to_owned()
}

fn config(server: &Served) -> Value {
    serde_json::from_str(&get(server, "/config")).unwrap()
}

fn in_force(server: &Served) -> Value {
    config(server)["policies"][0]["tables"][0]["rows"][0]["buckets"][0].clone()
}

#[test]
fn a_changed_policy_comes_into_force_and_debts_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    let server = serve(&path);
    let ask = || query(&server, &[&["--domain", "d", "k=1"]]).code;
    assert_eq!([ask(), ask(), ask()], [Some(0), Some(0), Some(1)]);
    std::fs::write(&path, policy(4)).unwrap();
    server.signal("HUP");
    eventually("the other policy", || in_force(&server) == "4 per day");
    assert_eq!(get(&server, "/readyz"), "ready\n");
    // What was taken of the smaller bucket, a whole day of it, is owed by the larger one, too.
    assert_eq!(ask(), Some(1));
    assert_eq!(query(&server, &[&["--domain", "d", "k=2"]]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_wrong_policy_is_told_of_until_a_right_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    let server = serve(&path);
    assert_eq!(config(&server)["refused"], Value::Null);
    let errors = || {
        let metrics = get(&server, "/metrics");
        let name = "tollgate_config_reload_errors_total ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(errors(), 0);
    std::fs::write(&path, "domain: d\ntabels: []\n").unwrap();
    server.signal("HUP");
    eventually("it is refused", || errors() == 1);
    let refused = config(&server)["refused"].clone();
    let problem = refused["problems"][0].as_str().unwrap();
    assert!(problem.contains("policy.yaml:1:1: `tables` is missing"), "{problem}");
    let at = refused["at"].as_str().unwrap();
    let ready = get(&server, "/readyz");
    let told =
        format!("ready\nthe policy in force is an old one; what was read at {at} is refused:\n");
    assert!(ready.starts_with(&told) && ready.contains(problem), "{ready}");
    assert_eq!(in_force(&server), "2 per day");
    assert_eq!(query(&server, &[&["--domain", "d", "k=1"]]).code, Some(0));
    std::fs::remove_file(&path).unwrap();
    server.signal("HUP");
    eventually("a file that is gone is refused", || errors() == 2);
    assert_eq!(in_force(&server), "2 per day");
    std::fs::write(&path, policy(3)).unwrap();
    server.signal("HUP");
    eventually("the right one", || in_force(&server) == "3 per day");
    assert_eq!(config(&server)["refused"], Value::Null);
    assert_eq!(get(&server, "/readyz"), "ready\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("not reloaded"), told("another policy is in force")), (2, 1), "{log:?}");
}
