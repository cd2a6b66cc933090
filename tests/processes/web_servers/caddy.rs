//! JSON, as Caddy writes it without a word in its configuration.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::super::envoy::process::{Running, command, free_port};
use super::super::tool;
use super::{assert_clients_are_told_apart, serve};

fn config(log: &Path, port: u16) -> String {
    format!(
        "{{
  admin off
}}
http://:{port} {{
  bind 127.0.0.1
  log {{
    output file {}
  }}
  respond /denied 429
  respond 200
}}
",
        log.display()
    )
}

#[test]
#[ignore = "needs Caddy; bash tests/run.sh"]
fn logs_of_caddy_are_read_whatever_clients_send() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (file, log) = (folder.path().join("Caddyfile"), folder.path().join("access.json"));
    fs::write(&file, config(&log, port)).unwrap();
    let mut caddy = command(tool("TOLLGATE_CADDY", "bin/caddy"));
    caddy.arg("run").arg("--config").arg(&file);
    // What it keeps goes there.
    caddy.env("XDG_CONFIG_HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
    let mut caddy = Running::start("caddy", &mut caddy, folder.path());
    serve(&mut caddy, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    assert_clients_are_told_apart(&log);
}
