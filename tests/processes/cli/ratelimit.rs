//! `ratelimit`, as a deployment of envoyproxy/ratelimit has it: its environment, its ports, its paths, its exit codes.

mod dashboards;
mod environment;
mod http;
mod redis;
mod start;
#[cfg(feature = "otlp")]
mod traces;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Ended, eventually, wait};

/// Two requests a minute for each value of `k`.
const LIMITS: &str = "domain: d
descriptors:
  - key: k
    rate_limit:
      unit: day
      requests_per_unit: 2
";

/// A runtime folder of one file.
struct Folder(TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.config()).unwrap();
        folder.write(text);
        folder
    }

    fn root(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("ratelimit/config")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.config().join("limits.yaml"), text).unwrap();
    }
}

/// The program in an environment of these variables alone, beside those of a test: free ports of this machine, and logs
/// that a program can read.
fn ratelimit(folder: &Folder, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("ratelimit").env_clear();
    for host in ["HOST", "GRPC_HOST", "DEBUG_HOST"] {
        command.env(host, "127.0.0.1");
    }
    for port in ["PORT", "GRPC_PORT", "DEBUG_PORT"] {
        command.env(port, "0");
    }
    command.env("RUNTIME_ROOT", folder.root()).env("RUNTIME_SUBDIRECTORY", "ratelimit");
    command.env("RUNTIME_WATCH_ROOT", "false").env("USE_STATSD", "false");
    command.env("LOG_LEVEL", "info").env("LOG_FORMAT", "json").env("TOLLGATE_DRAIN_DELAY", "0s");
    command.envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How the program ends that does not start.
fn refused(folder: &Folder, variables: &[(&str, &str)]) -> Ended {
    let mut child = ratelimit(folder, variables).spawn().unwrap();
    wait(&mut child);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A running program; killed when dropped.
struct Started {
    child: Child,
    lines: Receiver<Value>,
    /// What it logged up to the line that tells its addresses, that line included.
    log: Vec<Value>,
}

impl Started {
    fn new(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        Self::of(ratelimit(folder, variables))
    }

    fn of(command: Command) -> Self {
        let mut started = Self::begin(command);
        while !started.log.last().is_some_and(|line| line["@message"] == "started") {
            let line = started.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|error| panic!("{error}: {:?}", started.log));
            started.log.push(line);
        }
        started
    }

    /// Without waiting until it has started.
    fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            lines
                .map(|line| serde_json::from_str(&line).unwrap_or(Value::String(line)))
                .try_for_each(|line| sender.send(line))
        });
        Self { child, lines, log: Vec::new() }
    }

    fn address(&self, name: &str) -> SocketAddr {
        let started = self.log.last().unwrap();
        let address = started[name].as_str().unwrap_or_else(|| panic!("{name}: {started}"));
        address.parse().unwrap()
    }

    /// The status and the body of a request to a port.
    fn ask(&self, port: &str, head: &str, body: &str) -> (u16, String) {
        ask(self.address(port), head, body)
    }

    fn get(&self, port: &str, path: &str) -> (u16, String) {
        self.ask(port, &format!("GET {path}"), "")
    }

    /// The status and the body of `/json` for this value of `k`.
    fn json(&self, value: &str) -> (u16, Value) {
        let body = format!(
            r#"{{"domain":"d","descriptors":[{{"entries":[{{"key":"k","value":"{value}"}}]}}]}}"#
        );
        let (status, text) = self.ask("http", "POST /json", &body);
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn is_healthy(&self) -> bool {
        match self.get("http", "/healthcheck") {
            (200, text) => {
                assert_eq!(text, "OK");
                true
            }
            other => {
                assert_eq!(other, (500, String::new()));
                false
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Tells it to stop, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        wait(&mut self.child).code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the body of a request, of which `head` has the method, the path, and further header lines.
fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "{line} HTTP/1.1\r\nhost: ratelimit\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A link under this name to the program.
fn link(folder: &Path, name: &str) -> PathBuf {
    let link = folder.join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tollgate"), &link).unwrap();
    link
}
