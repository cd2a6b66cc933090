//! Common, combined, and combined with the virtual host in front.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::super::envoy::process::{Running, command, free_port};
use super::super::tool;
use super::{PATHS, assert_clients_are_told_apart, assert_last_of_each_is_denied, serve};

/// With the names and formats of Debian's configuration.
fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"Listen 127.0.0.1:{port}
ServerName shop.example
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule alias_module modules/mod_alias.so
LogFormat "%h %l %u %t \"%r\" %>s %O" common
LogFormat "%h %l %u %t \"%r\" %>s %O \"%{{Referer}}i\" \"%{{User-Agent}}i\"" combined
LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O \"%{{Referer}}i\" \"%{{User-Agent}}i\"" vhost_combined
CustomLog {folder}/common.log common
CustomLog {folder}/combined.log combined
CustomLog {folder}/vhost_combined.log vhost_combined
Redirect 429 /denied
"#
    )
}

#[test]
#[ignore = "needs Apache httpd; bash tests/run.sh"]
fn logs_of_apache_are_read_whatever_clients_send() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = folder.path().join("httpd.conf");
    fs::write(&file, config(folder.path(), port)).unwrap();
    let mut apache = command(tool("TOLLGATE_APACHE", "bin/apache2"));
    // One process, so that it ends with the test.
    apache.arg("-X").arg("-f").arg(&file);
    let mut apache = Running::start("apache", &mut apache, folder.path());
    serve(&mut apache, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for log in ["combined.log", "vhost_combined.log"] {
        assert_clients_are_told_apart(&folder.path().join(log));
    }
    // It has no name of the client.
    assert_last_of_each_is_denied(&folder.path().join("common.log"), "path", PATHS.len());
}
