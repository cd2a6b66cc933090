//! The processes of a test: started with a log of their own, ended by process id, and by no test's failure
//! left behind.

#![allow(clippy::disallowed_types, reason = "deadlines of real processes are in real time")]
#![allow(clippy::print_stderr, reason = "a failed test shows what its processes logged")]

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a busy two-core machine; what is waited for takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on.
///
/// It lies below those that the system gives to outgoing connections. While tollgate is away, Envoy keeps
/// calling its port, and a connection from a port to itself would take it for good.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 11_000 + u16::try_from(std::process::id() % 100).unwrap() * 200;
    eventually("a free port", || {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed) % 1000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}

/// A process that ends with the test.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    pub fn start(name: &'static str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}: {command:?}"));
        Self { name, child, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks until there is an answer, as long as the process is alive.
    pub fn wait_for<T>(&mut self, what: &str, mut answer: impl FnMut(&Self) -> Option<T>) -> T {
        eventually(what, || {
            let answer = answer(self);
            if answer.is_none()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("{} ended with {status} before there was {what}", self.name);
            }
            answer
        })
    }

    /// Sends a signal to this process; it is not waited for yet, so that its id is still its own.
    pub fn signal(&mut self, name: &str) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{} has ended", self.name);
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &pid]).status();
        assert!(sent.unwrap().success(), "SIG{name} to {}", self.name);
    }

    /// SIGKILL, as the kernel's when memory is short.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its exit status, once it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(self.name, || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let from = log.lines().count().saturating_sub(30);
            let end: Vec<_> = log.lines().skip(from).collect();
            eprintln!("--- the end of the log of {}:\n{}", self.name, end.join("\n"));
        }
    }
}

/// A command without the `TOLLGATE_*` twins of the flags, which would change what is tested.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOLLGATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary under test, serving.
#[derive(Debug)]
pub struct Tollgate {
    pub process: Running,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Tollgate {
    pub fn serve(policy: &str, grpc: SocketAddr, folder: &Path, flags: &[String]) -> Self {
        let name = if folder.join("tollgate.log").exists() { "tollgate-again" } else { "tollgate" };
        let grpc = ["--grpc".to_owned(), grpc.to_string()];
        let arguments = ["serve", "--config", policy, "--http", "127.0.0.1:0"];
        // Unless the flags say where.
        let grpc = if flags.contains(&grpc[0]) { &[][..] } else { &grpc };
        let flags = grpc.iter().chain(flags).map(String::as_str);
        Self::start(name, &arguments.into_iter().chain(flags).collect::<Vec<_>>(), folder)
    }

    /// With a command line of the test's own.
    pub fn start(name: &'static str, arguments: &[&str], folder: &Path) -> Self {
        let mut command = command(env!("CARGO_BIN_EXE_tollgate"));
        // Before the test's own words, which may say otherwise.
        command.env("TOLLGATE_DRAIN_DELAY", "0s");
        command.args(arguments).args(["--log-format", "json"]);
        let mut process = Running::start(name, &mut command, folder);
        let started = process.wait_for("a line that says started", |process| {
            let log = process.log();
            let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.filter_map(fields).find(|fields| fields["message"] == "started")
        });
        let address = |name: &str| started[name].as_str().unwrap();
        // A socket's path is known to who chose it.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let grpc = match address("grpc") {
            socket if socket.starts_with("unix:") => nowhere,
            grpc => grpc.parse().unwrap(),
        };
        let http = address("http").parse().unwrap();
        Self { process, grpc, http }
    }
}

fn fields(line: &str) -> Option<serde_json::Value> {
    let mut line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line["fields"].take())
}
