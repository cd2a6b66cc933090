//! What the commands of a page find: a checkout in which tollgate is built, programs, and ports of their own.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::envoy::lab;
use crate::envoy::process::free_port;
use crate::tool;

/// `tollgate`, and `cargo`, of which `cargo run` alone is known. `query` knows the HTTP side of a server at the default
/// port only.
const TOLLGATE: &str = r#"#!/bin/bash
if [ "$1" = query ]; then set -- query --http "http://$TOLLGATE_HTTP" "${@:2}"; fi
exec "BINARY" "$@"
"#;
const CARGO: &str = r#"#!/bin/bash
[ "$1" = run ] || { echo "cargo $*: only cargo run is here" >&2; exit 101; }
[ $# = 1 ] || [ "$2" = -- ] || { echo "cargo $*: write cargo run -- WORDS" >&2; exit 101; }
exec tollgate "${@:3}"
"#;

/// A folder with what the pages' commands need. What a page calls by a fixed port or folder has another one here.
#[derive(Debug)]
pub struct Checkout {
    folder: TempDir,
    /// The numbers of ports in the pages and samples, and those that stand for them.
    ports: Vec<(u16, u16)>,
    /// Folders of the system in the pages, and those that stand for them.
    folders: Vec<(&'static str, String)>,
}

impl Checkout {
    /// `redis` is the server that stands for the one of the pages.
    pub fn new(redis: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ours = [8081, 8080, 10000, 9901, 9000, 4317].map(|port| (port, free_port()));
        let redis = redis.map(|redis| (6379, redis.port()));
        let folders = ["/run/secrets", "/var/lib/tollgate"].map(|system| {
            let ours = format!("{}{system}", folder.path().display());
            std::fs::create_dir_all(&ours).unwrap();
            (system, ours)
        });
        let ports = ours.into_iter().chain(redis).collect();
        let checkout = Self { folder, ports, folders: folders.to_vec() };
        checkout.copy("config");
        checkout.copy("config/replay");
        checkout.copy("envoy");
        checkout.programs();
        checkout
    }

    /// The files of a folder.
    fn copy(&self, name: &str) {
        let to = self.root().join(name);
        std::fs::create_dir_all(&to).unwrap();
        let entries = std::fs::read_dir(name).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.is_file()) {
            let text = self.here(&std::fs::read_to_string(&path).unwrap());
            std::fs::write(to.join(path.file_name().unwrap()), text).unwrap();
        }
    }

    fn programs(&self) {
        let [built, tools] = ["target/debug", "target/tools/venv/bin"].map(|folder| {
            let folder = self.root().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        });
        let binary = std::path::absolute(env!("CARGO_BIN_EXE_tollgate")).unwrap();
        let tollgate = TOLLGATE.replace("BINARY", binary.to_str().unwrap());
        for (name, script) in [("tollgate", &*tollgate), ("cargo", CARGO)] {
            let path = built.join(name);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let link = |program: PathBuf, name| {
            symlink(std::path::absolute(program).unwrap(), tools.join(name)).unwrap();
        };
        link(lab::envoy(), "envoy");
        link(tool("TOLLGATE_GRPCURL", "bin/grpcurl"), "grpcurl");
    }

    /// Where commands begin.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where the standard error of commands goes.
    pub fn complaints(&self) -> PathBuf {
        self.root().join("complaints")
    }

    /// Where the output of servers goes.
    pub fn log(&self) -> PathBuf {
        self.root().join("servers.log")
    }

    /// The port that stands for one of a page.
    pub fn port(&self, port: u16) -> u16 {
        self.ports.iter().find(|(documented, _)| *documented == port).unwrap().1
    }

    /// A text of a page, or of a sample, with the ports and folders of this checkout.
    pub fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (documented, ours) in &self.ports {
            text = replace_number(&text, &documented.to_string(), &ours.to_string());
        }
        for (system, ours) in &self.folders {
            text = text.replace(system, ours);
        }
        text
    }

    /// The defaults that a command relies on, and that the demo ends.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let at = |port| format!("127.0.0.1:{}", self.port(port));
        let root = self.root().display();
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("TOLLGATE_GRPC", at(8081)),
            ("TOLLGATE_HTTP", at(8080)),
            ("TOLLGATE_ADMIN_ADDR", format!("http://{}", at(8080))),
            ("TOLLGATE_DRAIN_DELAY", "0s".to_owned()),
            ("TOLLGATE_DEMO_ONCE", "1".to_owned()),
            ("TOLLGATE_BIN", format!("{root}/target/debug/tollgate")),
            ("PATH", format!("{root}/target/debug:{root}/target/tools/venv/bin:{path}")),
            ("no_proxy", "*".to_owned()),
        ]
    }
}

/// Replaces a number, where it is one by itself.
fn replace_number(text: &str, number: &str, with: &str) -> String {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(number) {
        replaced.push_str(before);
        let is_part = is_digit(before.chars().last()) || is_digit(after.chars().next());
        replaced.push_str(if is_part { number } else { with });
        rest = after;
    }
    replaced + rest
}

#[test]
fn a_number_is_replaced_only_where_it_is_one() {
    assert_eq!(replace_number("8081 18081 80811 :8081", "8081", "1"), "1 18081 80811 :1");
}
