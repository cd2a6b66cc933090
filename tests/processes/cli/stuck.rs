//! Files that cannot be read, hang whoever reads them, or bring the reader down: the policy before stays in force,
//! it is told why, and nothing is left behind that the end of the process would wait for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use super::query::query;
use super::reload::get;
use super::serve::{QUIET, Served};
use super::{eventually, run, run_in};

const TOKEN: &str = "0123456789abcdef";

/// What a reader of a binary built for tests meets, as this file says.
const TROUBLE: &str = "TOLLGATE_TEST_READER";

fn policy(size: u32) -> String {
    format!(
        "domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: [{{ per_day: {size} }}] }} }}]\n"
    )
}

/// A server and its policy, which it reads when it is told to.
struct Stuck {
    server: Served,
    folder: tempfile::TempDir,
}

impl Stuck {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, trouble) = (folder.path().join("policy.yaml"), folder.path().join("trouble"));
        std::fs::write(&path, policy(2)).unwrap();
        let args = ["--config", path.to_str().unwrap(), "--watch", "off", "--drain-timeout", "0s"];
        let args = [&QUIET[..], &args, &["--admin-token", TOKEN], more].concat();
        let server = Served::start(&args, &[(TROUBLE, trouble.to_str().unwrap())]);
        Self { server, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    fn meet(&self, trouble: &str) {
        let (path, next) = (self.folder.path().join("trouble"), self.folder.path().join("next"));
        std::fs::write(&next, trouble).unwrap();
        std::fs::rename(&next, &path).unwrap();
    }

    /// Asks for another read, without waiting for the answer.
    fn ask(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.server.http).unwrap();
        let head =
            format!("host: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n");
        write!(stream, "POST /reload HTTP/1.1\r\n{head}content-length: 0\r\n\r\n").unwrap();
        stream
    }

    /// Asks for another read, and returns the first problem, or the result.
    fn reload(&self) -> (u16, String) {
        let mut text = String::new();
        self.ask().read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).expect(body);
        let told = body["problems"][0].as_str().or(body["result"].as_str()).unwrap();
        (head[9..12].parse().unwrap(), told.to_owned())
    }

    /// What is told of the policy in force: readiness, what is refused, and two metrics.
    fn told(&self) -> (String, Value, [u64; 2]) {
        let config: Value = serde_json::from_str(&get(&self.server, "/config")).unwrap();
        let metrics = get(&self.server, "/metrics");
        let metric = |name: &str| {
            let of =
                |line: &str| line.strip_prefix(&format!("tollgate_config_{name} "))?.parse().ok();
            metrics.lines().find_map(of).unwrap()
        };
        let metrics = [metric("last_reload_successful"), metric("reload_errors_total")];
        (get(&self.server, "/readyz"), config["rejected"].clone(), metrics)
    }

    /// The policy before is in force, and it is told everywhere what is wrong, for so many times.
    fn is_refused(&self, times: u64, what: &str) {
        let (ready, refused, metrics) = self.told();
        assert!(ready.starts_with("ready\n") && ready.contains(what), "{ready}");
        assert!(refused["problems"][0].as_str().unwrap().contains(what), "{refused}");
        assert_eq!(metrics, [0, times]);
        let asked = query(&self.server, &[&["--domain", "d", &format!("k={times}")]]);
        assert_eq!(asked.code, Some(0), "{asked:?}");
    }

    fn is_right(&self) {
        let (ready, refused, [is_taken, _]) = self.told();
        assert_eq!((&*ready, refused, is_taken), ("ready\n", Value::Null, 1));
    }

    /// How many threads read.
    fn readers(&self) -> usize {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.server.id())).unwrap();
        let name = |thread: std::io::Result<std::fs::DirEntry>| {
            // It may be gone by now.
            std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
        };
        threads.filter_map(name).filter(|name| name == "reader\n").count()
    }

    fn stop(self, told: &str) {
        let (code, log) = self.server.stop();
        assert_eq!(code, Some(0));
        assert!(log.iter().any(|line| line.contains(told)), "{log:?}");
    }
}

fn fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn a_policy_that_is_no_file_or_too_large_is_refused_at_once() {
    let stuck = Stuck::start(&[]);
    fifo(&stuck.path());
    for times in 1..=3 {
        let (status, told) = stuck.reload();
        assert!(
            status == 422
                && told.contains("it is a FIFO, not a regular file; put a regular file there"),
            "{told}"
        );
        stuck.is_refused(times, "it is a FIFO, not a regular file");
    }
    std::fs::remove_file(stuck.path()).unwrap();
    std::fs::write(stuck.path(), format!("{}#{}", policy(3), "#".repeat(4 << 20))).unwrap();
    let (status, told) = stuck.reload();
    assert!(status == 422 && told.contains("it is larger than 4194304 bytes"), "{told}");
    stuck.is_refused(4, "it is larger than 4194304 bytes");
    std::fs::write(stuck.path(), policy(3)).unwrap();
    assert_eq!(stuck.reload(), (200, "changed".into()));
    stuck.is_right();
    eventually("no thread is left", || stuck.readers() == 0);
    stuck.stop("it is a FIFO");
}

#[test]
fn a_read_that_hangs_holds_up_nobody_and_is_made_up_for() {
    let stuck = Stuck::start(&[]);
    stuck.meet("hang");
    std::fs::write(stuck.path(), policy(3)).unwrap();
    let (status, told) = stuck.reload();
    assert!(status == 422 && told.contains("cannot be read: no answer within 5s"), "{told}");
    stuck.is_refused(1, "no answer within 5s");
    for times in 2..20 {
        let (status, told) = stuck.reload();
        assert!(status == 422 && told.contains("the previous read has not ended"), "{told}");
        stuck.is_refused(times, "the previous read has not ended");
    }
    assert_eq!(stuck.readers(), 1, "one at most");
    stuck.meet("");
    eventually("what is there by then is taken", || stuck.told().1 == Value::Null);
    stuck.is_right();
    let in_force = get(&stuck.server, "/config");
    assert!(in_force.contains("3 per day"), "{in_force}");
    std::fs::write(stuck.path(), policy(4)).unwrap();
    assert_eq!(stuck.reload(), (200, "changed".into()));
    stuck.stop("no answer within 5s");
}

#[test]
fn the_end_does_not_wait_for_a_read_that_hangs() {
    for signal in ["TERM", "INT"] {
        let stuck = Stuck::start(&[]);
        stuck.meet("hang");
        stuck.server.signal("HUP");
        eventually("it is read", || stuck.readers() == 1);
        let _asked = stuck.ask();
        stuck.server.signal(signal);
        let (code, log) = stuck.server.ended();
        assert_eq!(code, Some(0), "{log:?}");
        assert!(log.last().unwrap().contains("stopped"), "{log:?}");
    }
}

#[test]
fn a_panic_in_a_reload_is_told_like_what_is_wrong_with_a_policy() {
    let stuck = Stuck::start(&[]);
    stuck.meet("panic");
    let told = "cannot be read: a fault in tollgate itself: as the test says (src/reading.rs:";
    for times in 1..=2 {
        let (status, problem) = stuck.reload();
        assert!(status == 422 && problem.contains(told), "{problem}");
        stuck.is_refused(times, told);
    }
    stuck.server.signal("HUP");
    eventually("it is told of a signal, too", || stuck.told().2 == [0, 3]);
    stuck.meet("");
    assert_eq!(stuck.reload(), (200, "unchanged".into()));
    stuck.is_right();
    let (code, log) = stuck.server.stop();
    assert_eq!(code, Some(0));
    assert!(log.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log:?}");
}

#[test]
fn a_panic_at_the_start_or_in_check_is_an_error_without_a_backtrace() {
    let folder = tempfile::tempdir().unwrap();
    let trouble = folder.path().join("trouble");
    std::fs::write(&trouble, "panic").unwrap();
    let env = [(TROUBLE, trouble.to_str().unwrap()), ("RUST_BACKTRACE", "1")];
    for args in [&["check", "config/management-api.yaml"][..], &QUIET[..], &["explain", "a=b"]] {
        let ended = run_in(args, &env);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
        let told = "a fault in tollgate itself: as the test says (src/reading.rs:";
        assert!(ended.err.contains(told) && ended.err.lines().count() == 1, "{ended:?}");
    }
}

#[test]
fn what_is_no_file_is_told_at_the_start_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let path = path.to_str().unwrap();
    for (args, code) in [
        (&["check", path][..], 1),
        (&["explain", "--config", path, "a=b"], 2),
        (&["serve", "--config", path], 2),
        (
            &[
                "serve",
                "--admin-token-file",
                path,
                "--grpc",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
            ],
            2,
        ),
        (&["serve", "--grpc-tls-cert", path, "--grpc-tls-key", path], 2),
        (&["serve", "--store", "redis://127.0.0.1:1", "--store-password-file", path], 2),
        (&["serve", "--store", "rediss://127.0.0.1:1", "--store-tls-ca", path], 2),
        (&["serve", "--otlp-endpoint", "https://127.0.0.1:1", "--otlp-tls-ca", path], 2),
        (&["admin", "reload", "--token-file", path], 2),
        (&["health", "--addr", "https://127.0.0.1:1", "--tls-ca", path], 1),
    ] {
        let ended = run(args);
        let told = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(told.contains(path) && told.contains("it is a FIFO"), "{args:?}: {told}");
    }
}
