//! Its own format, and JSON.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::super::envoy::process::{Running, command, free_port};
use super::super::tool;
use super::{assert_clients_are_told_apart, serve};

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

#[test]
#[ignore = "needs NGINX; bash tests/run.sh"]
fn logs_of_nginx_are_read_whatever_clients_send() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config(folder.path(), port)).unwrap();
    let mut nginx = command(tool("TOLLGATE_NGINX", "bin/nginx"));
    nginx.arg("-p").arg(folder.path()).arg("-c").arg(&file);
    let mut nginx = Running::start("nginx", &mut nginx, folder.path());
    serve(&mut nginx, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for log in LOGS {
        assert_clients_are_told_apart(&folder.path().join(log));
    }
}
