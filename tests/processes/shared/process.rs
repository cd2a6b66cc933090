//! Real tollgates that share a store.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::support::Client;

/// One process. Killed when dropped.
pub struct Tollgate {
    child: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    log: Arc<Mutex<String>>,
    folder: TempDir,
}

impl Tollgate {
    pub fn start(policy: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, policy).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOLLGATE_") {
                command.env_remove(name);
            }
        }
        // Where no deadline is the subject, a busy machine shall not pass one.
        command.env("TOLLGATE_STORE_TIMEOUT", "10s");
        command.args([
            "serve",
            "--grpc",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]);
        if !arguments.contains(&"--workers") {
            command.args(["--workers", "1"]);
        }
        command.args(arguments).arg("--config").arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (grpc, http) = loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended: {}", log.lock());
            log.lock().push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap();
            let address = |name: &str| line["fields"][name].as_str()?.parse().ok();
            if let (Some(grpc), Some(http)) = (address("grpc"), address("http")) {
                break (grpc, http);
            }
        };
        let told = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *told.lock() += &(line + "\n");
            }
        });
        Self { child, grpc, http, log, folder }
    }

    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    pub fn client(&self) -> Client {
        Client::connect(self.grpc)
    }

    /// Writes another policy, which it notices.
    pub fn reload(&self, policy: &str) {
        let before = self.log().matches("policy reloaded").count();
        std::fs::write(self.folder.path().join("policy.yaml"), policy).unwrap();
        super::support::eventually("the policy is in force", || {
            self.log().matches("policy reloaded").count() > before
        });
    }

    pub fn get(&self, path: &str) -> String {
        self.curl(path, &[])
    }

    pub fn get_with(&self, path: &str, token: &str) -> String {
        self.curl(path, &["-H", &format!("authorization: Bearer {token}")])
    }

    pub fn post(&self, path: &str, token: &str, body: &str) -> String {
        let token = format!("authorization: Bearer {token}");
        self.curl(path, &["-H", &token, "-H", "content-type: application/json", "-d", body])
    }

    fn curl(&self, path: &str, more: &[&str]) -> String {
        let url = format!("http://{}{path}", self.http);
        let output = Command::new("curl")
            .args(["-s", "--max-time", "10", &url])
            .args(more)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// Has it end by SIGTERM, and waits until it has.
    pub fn end(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub fn log(&self) -> String {
        self.log.lock().clone()
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
