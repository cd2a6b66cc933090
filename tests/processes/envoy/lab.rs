//! A sample of `envoy/` at work: its text on ports of our own, the real Envoy, and tollgate.

#![allow(clippy::print_stderr, reason = "a test that is skipped must be seen to be")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::http::{Client, Message};
use super::process::{Running, Tollgate, command, free_port};
use super::support::SHIPPED;
use crate::tool;

/// A configuration of `envoy/`, and the policy that goes with it.
#[derive(Debug)]
pub struct Sample {
    policy: String,
    text: String,
    /// What tollgate is started with, beside the policy.
    flags: Vec<String>,
    /// A program of `envoy/` that is the upstream, if no listener of Envoy's is.
    upstream: Option<&'static str>,
}

impl Sample {
    /// `envoy.yaml`: a trusted front names the caller in headers.
    pub fn front() -> Self {
        Self::read("envoy.yaml", SHIPPED)
    }

    /// `jwt.yaml`: a token names the caller.
    pub fn tokens() -> Self {
        Self::read("jwt.yaml", SHIPPED)
    }

    /// `leases.yaml`: requests at the same time.
    pub fn leases() -> Self {
        Self::read("leases.yaml", "envoy/leases-policy.yaml")
    }

    /// `llm.yaml`: the usage that answers tell is charged.
    pub fn models() -> Self {
        let upstream = Some("envoy/llm_upstream.py");
        Self { upstream, ..Self::read("llm.yaml", "config/llm.yaml") }
    }

    /// `envoy.yaml`, with tollgate asked over a Unix domain socket.
    pub fn sidecar(socket: &Path) -> Self {
        let socket = socket.to_str().unwrap();
        let flags = vec!["--grpc".to_owned(), format!("unix:{socket}")];
        let port = "socket_address: { address: 127.0.0.1, port_value: 8081 }";
        let sample = Self { flags, ..Self::front() }.with("type: STRICT_DNS", "type: STATIC");
        sample.with(port, &format!("pipe: {{ path: {socket} }}"))
    }

    /// `quota.yaml`: Envoy limits by itself, by the shares that it is assigned.
    pub fn quota() -> Self {
        Self::read("quota.yaml", SHIPPED)
    }

    /// `mtls.yaml`: certificates in that folder, and tollgate started with these flags.
    pub fn mutual_tls(folder: &Path, flags: Vec<String>) -> Self {
        let sample = Self { flags, ..Self::read("mtls.yaml", SHIPPED) };
        sample.with("/etc/envoy/tls", folder.to_str().unwrap())
    }

    fn read(name: &str, policy: &str) -> Self {
        let text = std::fs::read_to_string(format!("envoy/{name}")).unwrap();
        Self { policy: policy.to_owned(), text, flags: Vec::new(), upstream: None }
    }

    /// With another name for tollgate's cluster, which Envoy sends as the authority of its calls.
    pub fn cluster(self, name: &str) -> Self {
        let name = serde_json::to_string(name).unwrap();
        self.with("- name: tollgate\n", &format!("- name: {name}\n"))
            .with("cluster_name: tollgate", &format!("cluster_name: {name}"))
    }

    /// With another policy.
    pub fn policy(self, policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..self }
    }

    /// With more flags of tollgate's.
    pub fn flags(mut self, flags: &[String]) -> Self {
        self.flags.extend_from_slice(flags);
        self
    }

    /// With this text, which must be there, replaced.
    pub fn with(mut self, old: &str, new: &str) -> Self {
        assert!(self.text.contains(old), "the sample no longer has {old:?}");
        self.text = self.text.replace(old, new);
        self
    }

    /// With more time for tollgate's answer, so that a busy machine is not taken for an outage.
    pub fn patient(self) -> Self {
        self.with("timeout: 0.25s", "timeout: 20s")
    }

    /// With an upstream of the test's own behind the edge.
    pub fn upstream(mut self, address: SocketAddr) -> Self {
        let (before, after) = self.text.rsplit_once("port_value: 9000").unwrap();
        self.text = format!("{before}port_value: {}{after}", address.port());
        self
    }

    /// With every call traced, by Envoy and by tollgate, at this collector.
    pub fn traced(self, collector: SocketAddr) -> Self {
        let edge = "                stat_prefix: edge\n";
        let mut sample = self.with(edge, &format!("{edge}{TRACING}"));
        sample.text += &COLLECTOR.replace("4317", &collector.port().to_string());
        let flags = ["--otlp-endpoint".to_owned(), format!("http://{collector}")];
        Self { flags: flags.to_vec(), ..sample }
    }
}

/// Of an HTTP connection manager.
const TRACING: &str = "                tracing:
                  provider:
                    name: envoy.tracers.opentelemetry
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                      service_name: envoy
                      grpc_service: { envoy_grpc: { cluster_name: collector } }
";

/// A cluster, and that no span waits for others.
const COLLECTOR: &str = "
    - name: collector
      connect_timeout: 1s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      load_assignment:
        cluster_name: collector
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: { address: 127.0.0.1, port_value: 4317 }

layered_runtime:
  layers:
    - name: test
      static_layer: { tracing.opentelemetry.min_flush_spans: 1 }
";

/// The real Envoy.
pub fn envoy() -> PathBuf {
    tool("TOLLGATE_ENVOY", "venv/bin/envoy")
}

/// Starts Envoy with a configuration whose admin page is there, and waits until it is ready.
pub fn start_envoy(envoy: &Path, text: &str, admin: SocketAddr, folder: &Path) -> Running {
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, text).unwrap();
    let mut command = command(envoy);
    command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"]);
    // Access logs are there soon after a request.
    command.args(["--file-flush-interval-msec", "50"]);
    command.arg("-c").arg(config);
    let mut envoy = Running::start("envoy", &mut command, folder);
    envoy.wait_for("an Envoy that is ready", |_| {
        let answer = Client::try_connect(admin).ok()?.call("GET /ready", &[]);
        (answer.status() == 200).then_some(())
    });
    envoy
}

/// Starts a program in Python that is an upstream, and waits until it listens.
fn start_upstream(program: &str, address: SocketAddr, folder: &Path) -> Running {
    let python = std::env::var_os("TOLLGATE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = command(python);
    command.args(["-B", program, "--port", &address.port().to_string()]);
    let mut running = Running::start("upstream", &mut command, folder);
    running.wait_for("a listener", |_| TcpStream::connect(address).ok().map(drop));
    running
}

/// A running sample. Envoy ends first, then its upstream and tollgate.
#[derive(Debug)]
pub struct Lab {
    _envoy: Running,
    _upstream: Option<Running>,
    pub tollgate: Tollgate,
    pub edge: SocketAddr,
    admin: SocketAddr,
    policy: String,
    flags: Vec<String>,
    folder: TempDir,
}

impl Lab {
    pub fn start(sample: Sample) -> Self {
        let envoy = envoy();
        let folder = tempfile::tempdir().unwrap();
        let [grpc, edge, admin, upstream] =
            std::array::from_fn(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let tollgate = Tollgate::serve(&sample.policy, grpc, folder.path(), &sample.flags);
        let program =
            sample.upstream.map(|program| start_upstream(program, upstream, folder.path()));
        let (policy, flags) = (sample.policy.clone(), sample.flags.clone());
        let ports = [(8081, grpc), (10000, edge), (9901, admin), (9000, upstream)];
        let is_sidecar = sample.flags.iter().any(|flag| flag == "--grpc");
        let ports = ports.into_iter().skip(usize::from(is_sidecar));
        let sample = ports.fold(sample, |sample, (old, new)| {
            let port = |port: u16| format!("port_value: {port} }}");
            sample.with(&port(old), &port(new.port()))
        });
        let envoy = start_envoy(&envoy, &sample.text, admin, folder.path());
        Self { _envoy: envoy, _upstream: program, tollgate, edge, admin, policy, flags, folder }
    }

    /// A new connection to the edge.
    pub fn client(&self) -> Client {
        Client::connect(self.edge)
    }

    /// Starts tollgate anew where it was.
    pub fn restart_tollgate(&mut self) {
        let (grpc, folder) = (self.tollgate.grpc, self.folder.path());
        self.tollgate = Tollgate::serve(&self.policy, grpc, folder, &self.flags);
    }

    /// A counter or gauge of Envoy's; one that has counted nothing yet may not be there.
    pub fn stat(&self, name: &str) -> u64 {
        let answer = Client::connect(self.admin).call(&format!("GET /stats?filter=^{name}$"), &[]);
        let value = answer.body.trim().rsplit_once(": ").map(|(_, value)| value.parse().unwrap());
        value.unwrap_or(0)
    }

    /// A sample of tollgate's that has no labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|line| line.0 == name).unwrap_or_else(|| panic!("no {name}")).1.parse().unwrap()
    }

    /// The sum of tollgate's samples that begin so.
    pub fn sum(&self, begin: &str) -> u64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| line.starts_with(begin));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// A page of tollgate's in JSON.
    pub fn page(&self, path: &str) -> serde_json::Value {
        page(self.tollgate.http, path)
    }

    fn metrics(&self) -> String {
        Client::connect(self.tollgate.http).call("GET /metrics", &[]).body
    }

    /// How often each row of the policy did what, as `table/row outcome`.
    fn decisions(&self) -> BTreeMap<String, u64> {
        let text = self.metrics();
        let lines = text.lines().filter(|line| line.starts_with("tollgate_decisions_total{"));
        let decisions = lines.map(|line| {
            let parts: Vec<_> = line.split('"').collect();
            let [_, _, ",table=", table, ",row=", row, ",outcome=", outcome, count] = parts[..]
            else {
                panic!("other labels: {line}")
            };
            let count = count.trim_start_matches("} ").parse().unwrap();
            (format!("{table}/{row} {outcome}"), count)
        });
        decisions.collect()
    }

    /// What these calls got, and which rows of the policy decided them.
    pub fn rows<T>(&self, calls: impl FnOnce() -> T) -> (T, Vec<String>) {
        let before = self.decisions();
        let got = calls();
        let counted = self.decisions().into_iter();
        let counted = counted.filter(|(row, count)| before.get(row) != Some(count));
        (got, counted.map(|(row, _)| row).collect())
    }
}

/// A page of a tollgate's in JSON. Those that list buckets are for callers that name this machine.
pub fn page(http: SocketAddr, path: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    serde_json::from_str(body.unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// What every admitted call shows its client: each header once, and numbers that go together.
pub fn assert_admitted(answer: &Message) {
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.number("x-ratelimit-remaining") < answer.number("x-ratelimit-limit"));
    assert_is_about_now(answer.number("x-ratelimit-reset"));
    assert_eq!(answer.header("retry-after"), None, "{answer:?}");
}

/// What every denied call shows its client; returns the message in its body.
pub fn assert_denied(answer: &Message) -> String {
    assert_eq!(answer.status(), 429, "{answer:?}");
    assert!(answer.number("x-ratelimit-limit") > 0, "{answer:?}");
    assert_eq!(answer.number("x-ratelimit-remaining"), 0, "{answer:?}");
    assert_is_about_now(answer.number("x-ratelimit-reset"));
    assert!(answer.number("retry-after") > 0, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    let message = body["message"].as_str().unwrap().to_owned();
    let whole = serde_json::json!(
        { "statusCode": 429, "error": "Too Many Requests", "message": message });
    assert_eq!(body, whole);
    message
}

/// A reset is Unix seconds: neither seconds from now, nor milliseconds.
fn assert_is_about_now(reset: u64) {
    let now = unix_time();
    assert!((now - 60..now + 2 * 86_400).contains(&reset), "a reset at {reset}, and it is {now}");
}

/// In seconds.
#[allow(clippy::disallowed_types, reason = "resets are told in real time")]
pub fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
