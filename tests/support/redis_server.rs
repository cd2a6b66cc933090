//! Real servers on free ports of this machine, ended by their ids.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// One server. Killed when dropped.
pub struct Redis {
    child: Option<Child>,
    pub address: SocketAddr,
    arguments: Vec<String>,
    folder: TempDir,
}

/// Which server they are run on.
pub const PROGRAM: &str = "TOLLGATE_REDIS";

fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".into())
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Self {
        Self::with_at(free_address(), arguments)
    }

    /// At an address that was free.
    pub fn at(address: SocketAddr) -> Self {
        Self::with_at(address, &[])
    }

    fn with_at(address: SocketAddr, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut redis = Self { child: None, address, arguments, folder };
        redis.spawn();
        redis
    }

    /// A sentinel, told what to watch.
    pub fn sentinel(watch: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, watch).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        let mut sentinel = Self { child: None, address: free_address(), arguments, folder };
        sentinel.spawn();
        sentinel
    }

    /// Starts it, again where it was killed, on the same port and with nothing in it.
    pub fn spawn(&mut self) {
        let mut command = Command::new(program());
        // A file comes first.
        let file = self.arguments.iter().take_while(|argument| !argument.starts_with('-'));
        command.args(file.clone());
        command.args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(self.arguments.iter().skip(file.count()));
        command.arg("--dir").arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{}: {error}: `bash tests/setup.sh` installs it", program())
        });
        self.child = Some(child);
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn connect(&self) -> redis::Connection {
        self.connect_as("")
    }

    /// `credentials` as they stand in a URL, with the `@`.
    pub fn connect_as(&self, credentials: &str) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{credentials}{}", self.address)).unwrap();
        let begun = Instant::now();
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How often a command was called.
    pub fn calls_of(&self, command: &str) -> u64 {
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query(&mut self.connect()).unwrap();
        let name = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// What it answers, once it has read what it kept.
    pub fn command(&self, words: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            match self.try_command(words) {
                Err(error) if error.code() == Some("LOADING") && begun.elapsed() < PATIENCE => {}
                answer => return answer.unwrap(),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn try_command(&self, words: &[&str]) -> redis::RedisResult<String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let value: redis::Value = command.query(&mut self.connect())?;
        Ok(format!("{value:?}"))
    }

    /// With a user, told as in an ACL file.
    pub fn with_user(user: &str, more: &[&str]) -> Self {
        let words: Vec<_> = user.split_whitespace().collect();
        Self::with(&[more, &["--user"], &words].concat())
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
    }

    /// It answers nothing from when this returns, and keeps its connections.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.as_ref().unwrap().id());
        super::support::eventually("it is stopped", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit(')').next().unwrap().starts_with(" T")
        });
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
