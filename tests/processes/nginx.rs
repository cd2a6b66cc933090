//! Logs that a real NGINX writes, in its own format and as JSON, of clients that send what they like.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::envoy::process::{Running, command, eventually, free_port};
use super::tool;

/// A log of each format.
const LOGS: [&str; 2] = ["combined.log", "json.log"];

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  log_format json escape=json '{{"time":"$time_iso8601","request_time":$request_time,"status":$status,'
    '"request":"$request","remote_addr":"$remote_addr","http_user_agent":"$http_user_agent"}}';
  access_log {folder}/combined.log combined;
  access_log {folder}/json.log json;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200; }}
    location /denied {{ return 429; }}
  }}
}}
"#
    )
}

/// Sends a request whose client calls itself so.
fn send(server: SocketAddr, path: &str, agent: &[u8]) {
    let mut stream = TcpStream::connect(server).unwrap();
    let begin =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nuser-agent: ");
    stream.write_all(&[begin.as_bytes(), agent, b"\r\n\r\n"].concat()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// What NGINX escapes in one format, in the other or in both.
const AGENTS: [&[u8]; 6] = [
    b"curl/8",
    b"\"quoted\" \\ and back",
    b"tab\there",
    "caf\u{e9} \u{1f980}".as_bytes(),
    b"not utf-8: \xff\xfe",
    b"<script>{\"a\":[1]}</script>",
];

#[test]
#[ignore = "needs NGINX; bash tests/run.sh"]
fn logs_of_nginx_are_read_whatever_clients_send() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config(folder.path(), port)).unwrap();
    let mut nginx = command(tool("TOLLGATE_NGINX", "bin/nginx"));
    nginx.arg("-p").arg(folder.path()).arg("-c").arg(&file);
    let mut nginx = Running::start("nginx", &mut nginx, folder.path());
    nginx.wait_for("a listener", |_| TcpStream::connect(server).ok().map(drop));
    // Three requests of each, of which one was denied then.
    let mut lines = 0;
    for agent in AGENTS {
        for path in ["/a?x=1", "/denied", "/%22%3Cb%3E"] {
            send(server, path, agent);
            lines += 1;
        }
    }
    let policy = folder.path().join("policy.yaml");
    let row = "{ name: t, key: [agent], rows: { all: [{ size: 2, per_day: 1 }] } }";
    fs::write(&policy, format!("domain: d\ntables: [{row}]\n")).unwrap();
    for log in LOGS.map(|name| folder.path().join(name)) {
        eventually("all lines", || {
            let written = fs::read(&log).ok()?;
            (written.iter().filter(|byte| **byte == b'\n').count() == lines).then_some(())
        });
        let mut replay = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        replay.args(["replay", "--json", "--entry", "agent=$user_agent", "--config"]);
        let output = replay.arg(&policy).arg(&log).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let outcome = &report["outcome"];
        let number = |of: &Value| usize::try_from(of.as_u64().unwrap()).unwrap();
        assert_eq!(number(&report["input"]["unreadable"]), 0, "{report}");
        assert_eq!(number(&outcome["requests"]), lines, "{report}");
        // The third request of each is one too many.
        for told in ["keys", "denied", "denied_in_log"] {
            assert_eq!(number(&outcome[told]), AGENTS.len(), "{told} of {}", log.display());
        }
    }
}
