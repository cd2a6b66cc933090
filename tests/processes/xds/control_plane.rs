//! The control plane, tollgate as its client, and what a test asks both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cli::serve::{QUIET, Served};
use crate::support::{Answer, Client, descriptor, request, runtime};
use crate::tool;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane on 127.0.0.1. Killed when dropped.
pub struct ControlPlane {
    child: Child,
    snapshots: Option<ChildStdin>,
    events: Receiver<Value>,
    pub address: SocketAddr,
}

impl ControlPlane {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(args: &[&str]) -> Self {
        let mut command = Command::new(tool("TOLLGATE_XDS_SERVER", "bin/xds-server"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let read = |line: String| serde_json::from_str(&line).unwrap();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(read(line)))
        });
        let begun: Value = events.recv_timeout(PATIENCE).unwrap();
        let address = begun["listening"].as_str().unwrap().parse().unwrap();
        let snapshots = child.stdin.take();
        Self { child, snapshots, events, address }
    }

    pub fn set(&mut self, snapshot: &Value) {
        writeln!(self.snapshots.as_mut().unwrap(), "{snapshot}").unwrap();
    }

    /// The next event of a kind.
    pub fn next(&self, kind: &str) -> Value {
        loop {
            let mut event: Value = self.events.recv_timeout(PATIENCE).unwrap();
            if !event[kind].is_null() {
                return event[kind].take();
            }
        }
    }

    /// The requests until this one, which must come.
    pub fn until(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let request = self.next("request");
            if is_it(&request) {
                return request;
            }
        }
    }

    /// Waits for the acceptance of a version.
    pub fn accepted(&self, version: &str) {
        self.until(|request| request["versionInfo"] == version && request["errorDetail"].is_null());
    }

    /// The requests that come within this time.
    pub fn requests_within(&self, time: Duration) -> Vec<Value> {
        let end = Instant::now() + time;
        let mut found = Vec::new();
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(mut event) if !event["request"].is_null() => found.push(event["request"].take()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return found,
                Err(RecvTimeoutError::Disconnected) => panic!("the control plane ended"),
            }
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration of a domain that admits this many requests a day for each value of the entry `k`. Its resource has
/// the name `config of DOMAIN`.
pub fn config(domain: &str, limit: u32) -> Value {
    let limit = json!({ "unit": "DAY", "requestsPerUnit": limit });
    let descriptors = json!([{ "key": "k", "rateLimit": limit }]);
    json!({ "name": format!("config of {domain}"), "domain": domain, "descriptors": descriptors })
}

/// One that is wrong: its key is empty.
pub fn bad_config(domain: &str) -> Value {
    let mut config = config(domain, 1);
    config["descriptors"][0]["key"] = "".into();
    config
}

pub fn snapshot(version: &str, resources: &[Value]) -> Value {
    json!({ "version": version, "resources": resources })
}

/// tollgate with a control plane.
pub struct Tollgate(pub Served);

impl Tollgate {
    pub fn of(control_plane: &ControlPlane) -> Self {
        Self::with(control_plane, &[])
    }

    pub fn with(control_plane: &ControlPlane, args: &[&str]) -> Self {
        Self::at(&control_plane.address.to_string(), args)
    }

    pub fn at(address: &str, args: &[&str]) -> Self {
        Self(Served::start(&[&QUIET[..], &["--xds", address], args].concat(), &[]))
    }

    /// The status and the body of an answer over HTTP.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.0.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    pub fn config(&self) -> Value {
        serde_json::from_str(&self.get("/config").1).unwrap()
    }

    pub fn version(&self) -> String {
        self.config()["version"].as_str().unwrap().to_owned()
    }

    pub fn domains(&self) -> Vec<String> {
        let config = self.config();
        let policies = config["policies"].as_array().unwrap().iter();
        policies.map(|policy| policy["domain"].as_str().unwrap().to_owned()).collect()
    }

    pub fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").1;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    /// What health checks over gRPC are told.
    pub fn health(&self) -> ServingStatus {
        let runtime = runtime();
        let endpoint: Endpoint = format!("http://{}", self.0.grpc).parse().unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        let check = HealthCheckRequest::default();
        let answer = runtime.block_on(HealthClient::new(channel).check(check)).unwrap();
        answer.into_inner().status()
    }

    /// One request with a value of the entry `k`.
    pub fn ask(&self, domain: &str, value: &str) -> Result<Answer, tonic::Status> {
        let mut client = Client::connect(self.0.grpc);
        client.try_ask(request(domain, &[descriptor(&[("k", value)])]))
    }

    /// How many requests a domain admits for a new value, up to `most`.
    pub fn admitted(&self, domain: &str, value: &str, most: u32) -> u32 {
        let asked = (0..most).map(|_| self.ask(domain, value).unwrap());
        asked.take_while(Answer::is_ok).map(|_| 1).sum()
    }
}
