//! The real binary, so that its files and its memory are not the test's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use super::own_time::thread;

/// A server with one worker, which every connection shares. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Kept open, so that it can log.
    log: BufReader<ChildStderr>,
}

impl Process {
    pub(crate) fn start(max_connections: usize) -> Self {
        Self::start_with(max_connections, &[])
    }

    pub(crate) fn start_with(max_connections: usize, more: &[&str]) -> Self {
        let max_connections = max_connections.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOLLGATE_") {
                command.env_remove(name);
            }
        }
        command.args([
            "serve",
            "--grpc",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]);
        command.args(["--workers", "1", "--max-connections", &max_connections]);
        command.args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, grpc: unknown, http: unknown, log };
        while process.grpc == unknown {
            let mut line = String::new();
            assert_ne!(process.log.read_line(&mut line).unwrap(), 0, "it ended before it started");
            let line: Value = serde_json::from_str(&line).unwrap();
            let address = |side: &str| {
                let address = line["fields"][side].as_str();
                address.map_or(unknown, |address| address.parse().unwrap())
            };
            (process.grpc, process.http) = (address("grpc"), address("http"));
        }
        process
    }

    /// Where the kernel tells of the thread that answers.
    pub(crate) fn worker(&self) -> PathBuf {
        self.thread("grpc-0")
    }

    /// The same of another of its threads.
    pub(crate) fn thread(&self, name: &str) -> PathBuf {
        thread(&self.child.id().to_string(), name)
    }

    /// What it keeps in memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
