//! The processes of the cases: tollgates, Envoys and a Redis on 127.0.0.1, each with a log of its own. They end with the
//! program.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the programs are, and where logs and configurations go.
pub(crate) struct Tools {
    pub(crate) tollgate: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) redis: PathBuf,
    pub(crate) folder: PathBuf,
}

/// A free port below the range of outgoing connections: an outgoing connection to a port whose server is away may get that
/// port itself.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 100).unwrap() * 150;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A process that ends when this is dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
}

impl Running {
    fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self, Failure> {
        let log =
            File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{name}: {error}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status}; see its log", self.name).into());
            }
            if Instant::now() > deadline {
                return Err(format!("{} is not ready; see its log", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and until it has ended.
    fn end(&mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{}: {status}", self.name).into()) }
    }

    /// The time that it has spent on a core.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its resident memory in bytes.
    pub(crate) fn memory(&self) -> Result<u64, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 =
            line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the rest of an answer to a request for a page.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.strip_prefix("HTTP/1.1 ").map(str::to_owned)
}

fn is_ready(address: SocketAddr, path: &str) -> bool {
    get(address, path).is_some_and(|answer| answer.starts_with("200 "))
}

/// A tollgate that serves the policy of the cases.
pub(crate) struct Tollgate {
    pub(crate) process: Running,
    pub(crate) grpc: SocketAddr,
    http: SocketAddr,
    name: &'static str,
    flags: Vec<String>,
}

impl Tollgate {
    pub(crate) fn start(
        tools: &Tools,
        name: &'static str,
        flags: &[&str],
    ) -> Result<Self, Failure> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::at(tools, name, flags, [free_address(), free_address()])
    }

    fn at(
        tools: &Tools,
        name: &'static str,
        flags: Vec<String>,
        [grpc, http]: [SocketAddr; 2],
    ) -> Result<Self, Failure> {
        // On one core, as it would be measured beside others.
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&tools.tollgate);
        command.args(["serve", "--config", "benches/quota/policy.yaml", "--workers", "1"]);
        command.args(["--grpc", &grpc.to_string(), "--http", &http.to_string()]);
        command.args(["--drain-delay", "0s", "--log-level", "warn"]).args(&flags);
        let mut process = Running::start(name, &mut command, &tools.folder)?;
        process.wait_until(|| is_ready(http, "/readyz"))?;
        Ok(Self { process, grpc, http, name, flags })
    }

    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        self.process.end()
    }

    /// Starts it anew where it was.
    pub(crate) fn restart(&mut self, tools: &Tools) -> Result<(), Failure> {
        *self = Self::at(tools, self.name, self.flags.clone(), [self.grpc, self.http])?;
        Ok(())
    }

    /// A metric without labels.
    pub(crate) fn metric(&self, name: &str) -> Result<u64, Failure> {
        let text = get(self.http, "/metrics").ok_or("no /metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or_else(|| format!("no {name}"))?.parse()?)
    }
}

/// An Envoy with the sample of `envoy/quota.yaml`.
pub(crate) struct Envoy {
    pub(crate) process: Running,
    pub(crate) edge: SocketAddr,
}

impl Envoy {
    pub(crate) fn start(tools: &Tools, name: &str, tollgate: SocketAddr) -> Result<Self, Failure> {
        let [edge, admin, upstream] = [(); 3].map(|()| free_address());
        let mut text = std::fs::read_to_string("envoy/quota.yaml")?;
        for (old, new) in [(8081, tollgate), (10000, edge), (9901, admin), (9000, upstream)] {
            let old = format!("port_value: {old} }}");
            if !text.contains(&old) {
                return Err(format!("envoy/quota.yaml no longer has {old:?}").into());
            }
            text = text.replace(&old, &format!("port_value: {} }}", new.port()));
        }
        let config = tools.folder.join(format!("{name}.yaml"));
        std::fs::write(&config, text)?;
        let mut command = Command::new(&tools.envoy);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        command.arg("-c").arg(config);
        let mut process = Running::start(name, &mut command, &tools.folder)?;
        process.wait_until(|| is_ready(admin, "/ready"))?;
        Ok(Self { process, edge })
    }
}

/// Starts a Redis.
pub(crate) fn redis(tools: &Tools) -> Result<(Running, String), Failure> {
    let address = free_address();
    let mut command = Command::new(&tools.redis);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]);
    let mut process = Running::start("redis", &mut command, &tools.folder)?;
    process.wait_until(|| TcpStream::connect(address).is_ok())?;
    Ok((process, format!("redis://{address}")))
}
