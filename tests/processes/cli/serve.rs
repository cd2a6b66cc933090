//! `serve`: how it starts, refuses to start, and ends.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::{SHIPPED, run, run_in, tollgate, wait};

/// Free ports, and logs that a program can read.
pub(crate) const QUIET: [&str; 7] =
    ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json"];

/// A server that said it has started; it is killed when dropped.
pub(crate) struct Served {
    child: Child,
    lines: Receiver<String>,
    /// What it logged up to then, that line included.
    pub(crate) log: Vec<String>,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Served {
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = tollgate(args, env).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, lines, log: Vec::new(), grpc: unknown, http: unknown };
        let mut has_started = false;
        while !has_started {
            let line = server.lines.recv_timeout(Duration::from_secs(30));
            let line =
                line.unwrap_or_else(|error| panic!("not started: {error}: {:?}", server.log));
            if let Some((grpc, http)) = addresses(&line) {
                // A Unix domain socket has none of that kind.
                let tcp = |address: String| address.parse().unwrap_or(unknown);
                (server.grpc, server.http, has_started) = (tcp(grpc), tcp(http), true);
            }
            server.log.push(line);
        }
        server
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, and returns its exit code and all that it logged.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<String>) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end, and returns its exit code and all that it logged.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let status = wait(&mut self.child);
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.lines.iter());
        (status.code(), log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The addresses in the line that tells that the server has started, be it in JSON or text.
fn addresses(line: &str) -> Option<(String, String)> {
    if let Ok(line) = serde_json::from_str::<Value>(line) {
        let fields = (line["fields"]["message"] == "started").then_some(&line["fields"])?;
        let address = |name: &str| fields[name].as_str().unwrap().to_owned();
        return Some((address("grpc"), address("http")));
    }
    let (_, fields) = line.split_once("started ")?;
    let address = |name: &str| {
        let value = fields.split(' ').find_map(|field| field.strip_prefix(name));
        value.unwrap().to_owned()
    };
    Some((address("grpc="), address("http=")))
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn started_is_told_once_with_addresses_that_answer() {
    let server = Served::start(&QUIET, &[]);
    assert!(is_open(server.grpc) && is_open(server.http));
    assert_ne!(server.grpc, server.http);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert_eq!(log.iter().filter(|line| addresses(line).is_some()).count(), 1, "{log:?}");
}

#[test]
fn a_signal_ends_it_with_0_and_it_says_that_it_stopped() {
    for signal in ["TERM", "INT"] {
        let mut server = Served::start(&QUIET, &[]);
        server.signal(signal);
        assert_eq!(wait(&mut server.child).code(), Some(0), "{signal}");
        let rest: Vec<Value> =
            server.lines.iter().map(|line| serde_json::from_str(&line).expect(&line)).collect();
        let told: Vec<_> = rest.iter().map(|line| line["fields"]["message"].as_str()).collect();
        assert_eq!(told, [Some("stopping: calls in flight finish"), Some("stopped")]);
        assert_eq!(rest[0]["fields"]["signal"], format!("SIG{signal}"));
    }
}

/// Longer than `wait` waits.
const LONG_DELAY: [(&str, &str); 1] = [("TOLLGATE_DRAIN_DELAY", "1h")];

#[test]
fn ctrl_c_skips_the_drain_delay_and_sigterm_does_not() {
    let server = Served::start(&QUIET, &LONG_DELAY);
    let idle = TcpStream::connect(server.grpc).unwrap();
    server.signal("INT");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("drain delay")), "{log:?}");
    drop(idle);
    let mut server = Served::start(&QUIET, &LONG_DELAY);
    server.signal("TERM");
    let begun = |line: &String| line.contains("until the drain delay is over");
    while !begun(&server.lines.recv_timeout(Duration::from_secs(30)).unwrap()) {}
    assert!(is_open(server.grpc));
    assert_eq!(server.child.try_wait().unwrap(), None);
    // The second signal, whichever it is.
    server.signal("INT");
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn the_started_line_names_the_store_and_tls() {
    let started = |args: &[&str]| {
        let server = Served::start(&[&QUIET[..], args].concat(), &[]);
        let line: Value = serde_json::from_str(server.log.last().unwrap()).unwrap();
        ["store", "grpc_tls", "http_tls"]
            .map(|name| line["fields"][name].as_str().unwrap().to_owned())
    };
    assert_eq!(started(&[]), ["memory", "off", "off"]);
    // Nobody listens there, which does not keep a server from starting.
    let store = ["--store", "redis://user:secret@127.0.0.1:1"];
    assert_eq!(started(&store), ["127.0.0.1:1", "off", "off"]);
}

#[test]
fn a_policy_that_is_wrong_ends_it_with_2_and_every_problem() {
    for name in ["many_errors", "empty", "syntax_tab"] {
        let (bad, beside) =
            (format!("tests/config/bad/{name}.yaml"), format!("tests/config/bad/{name}.txt"));
        let problems = std::fs::read_to_string(beside).unwrap();
        for log in ["text", "json"] {
            let ended = run(&[&QUIET[..5], &["--log-format", log, "--config", &bad]].concat());
            assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(2), "", &*problems), "{log}");
        }
    }
}

#[test]
fn a_port_that_is_taken_ends_it_with_2_and_the_flag_to_choose_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (what, args) in [
        ("grpc", ["--grpc", &address, "--http", "127.0.0.1:0"]),
        ("http", ["--grpc", "127.0.0.1:0", "--http", &address]),
    ] {
        for log in ["text", "json"] {
            let ended = run(&[&["serve", "--log-format", log][..], &args].concat());
            assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
            let begin = format!("cannot listen on {address} for {what}: Address already in use");
            assert!(ended.err.starts_with(&begin), "{ended:?}");
            let end = format!("; choose another with --{what} ADDRESS:PORT\n");
            assert!(ended.err.ends_with(&end), "{ended:?}");
            assert!(!ended.err.contains("started"), "{ended:?}");
        }
    }
}

#[test]
fn every_flag_has_a_twin_in_the_environment() {
    let help = run(&["serve", "--help"]).out;
    let mut flags = Vec::new();
    for line in help.lines().map(str::trim_start) {
        if let Some(flag) = line.strip_prefix("--") {
            flags.push((flag.split(' ').next().unwrap(), None));
        } else if let Some(twin) = line.strip_prefix("[env: ") {
            flags.last_mut().unwrap().1 = twin.split(['=', ']']).next();
        }
    }
    let names: Vec<_> = flags.iter().map(|(flag, _)| *flag).collect();
    for known in [
        "config",
        "grpc",
        "http",
        "workers",
        "max-connections",
        "max-keys",
        "max-connection-age",
        "drain-delay",
        "drain-timeout",
        "snapshot",
        "snapshot-interval",
        "log-format",
        "log-level",
    ] {
        assert!(names.contains(&known), "{known}: {help}");
    }
    for (flag, twin) in flags {
        let expected = format!("TOLLGATE_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(twin, Some(&*expected), "--{flag}");
    }
}

#[test]
fn the_environment_speaks_where_no_flag_does() {
    let env = [
        ("TOLLGATE_CONFIG", "tests/config/good/merged.yaml"),
        ("TOLLGATE_GRPC", "127.0.0.1:0"),
        ("TOLLGATE_HTTP", "127.0.0.1:0"),
        ("TOLLGATE_LOG_FORMAT", "json"),
        ("TOLLGATE_WORKERS", "1"),
        ("TOLLGATE_MAX_CONNECTIONS", "100"),
        ("TOLLGATE_MAX_KEYS", "2048"),
        ("TOLLGATE_MAX_CONNECTION_AGE", "off"),
        ("TOLLGATE_DRAIN_DELAY", "0s"),
        ("TOLLGATE_DRAIN_TIMEOUT", "1s"),
    ];
    // Without a command it serves, too.
    for args in [&["serve"][..], &[]] {
        let server = Served::start(args, &env);
        assert!(is_open(server.grpc) && is_open(server.http));
        let started: Value = serde_json::from_str(server.log.last().unwrap()).unwrap();
        assert_eq!(started["fields"]["config"], "tests/config/good/merged.yaml");
        assert_eq!(server.stop().0, Some(0));
    }
}

#[test]
fn every_twin_is_read() {
    for (name, flag) in [
        ("TOLLGATE_GRPC", "--grpc"),
        ("TOLLGATE_HTTP", "--http"),
        ("TOLLGATE_WORKERS", "--workers"),
        ("TOLLGATE_MAX_CONNECTIONS", "--max-connections"),
        ("TOLLGATE_MAX_KEYS", "--max-keys"),
        ("TOLLGATE_MAX_CONNECTION_AGE", "--max-connection-age"),
        ("TOLLGATE_DRAIN_DELAY", "--drain-delay"),
        ("TOLLGATE_DRAIN_TIMEOUT", "--drain-timeout"),
        ("TOLLGATE_SNAPSHOT_INTERVAL", "--snapshot-interval"),
        ("TOLLGATE_XDS", "--xds"),
        ("TOLLGATE_XDS_METADATA", "--xds-metadata"),
        ("TOLLGATE_XDS_MAX_MESSAGE", "--xds-max-message"),
        ("TOLLGATE_LOG_FORMAT", "--log-format"),
        ("TOLLGATE_LOG_DENIED", "--log-denied"),
        ("TOLLGATE_COUNTING", "--counting"),
    ] {
        for args in [&["serve"][..], &[]] {
            let ended = run_in(args, &[(name, "wrong")]);
            assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
            assert!(ended.err.contains(flag) && ended.err.contains("'wrong'"), "{name}: {ended:?}");
        }
    }
    let ended = run_in(&["serve"], &[("TOLLGATE_LOG_LEVEL", "a=b=c")]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let ended = run_in(&["serve"], &[("TOLLGATE_SNAPSHOT", "src")]);
    assert!(ended.code == Some(2) && ended.err.starts_with("src is not a file; "), "{ended:?}");
    let ended = run_in(&["serve"], &[("TOLLGATE_CONFIG", "nowhere.yaml")]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.starts_with("nowhere.yaml: cannot be read: "), "{ended:?}");
}

#[test]
fn a_flag_goes_before_the_environment() {
    let env = [
        ("TOLLGATE_CONFIG", "nowhere.yaml"),
        ("TOLLGATE_GRPC", "wrong"),
        ("TOLLGATE_LOG_FORMAT", "text"),
    ];
    let server = Served::start(&[&QUIET[..], &["--config", SHIPPED]].concat(), &env);
    assert!(serde_json::from_str::<Value>(server.log.last().unwrap()).is_ok());
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn the_errors_of_all_flags_are_reported_in_one_run() {
    let wrong = [
        ("--config", "nowhere.yaml", "nowhere.yaml: cannot be read: "),
        ("--admin-token-file", "nowhere.token", "--admin-token-file nowhere.token: "),
        ("--snapshot", "src", "src is not a file; "),
        ("--store", "memcached://127.0.0.1", "--store: "),
        ("--otlp-endpoint", "nowhere", "--otlp-endpoint nowhere: "),
        ("--grpc-tls-cert", "nowhere.pem", "cannot read the certificate in nowhere.pem: "),
        ("--http-tls-cert", "elsewhere.pem", "cannot read the certificate in elsewhere.pem: "),
        ("--log-denied", "all", "--log-denied: set --log-denied-per-second as well; "),
    ];
    let mut args: Vec<_> = wrong.iter().flat_map(|(flag, value, _)| [*flag, *value]).collect();
    args.extend(["--grpc-tls-key", "nowhere.key", "--http-tls-key", "nowhere.key"]);
    let ended = run(&[&QUIET[..], &args].concat());
    assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
    assert_eq!(ended.err.lines().count(), wrong.len(), "{ended:?}");
    for (line, (_, _, begin)) in ended.err.lines().zip(wrong) {
        assert!(line.starts_with(begin), "{begin}: {line}");
    }
}

#[test]
fn a_wrong_flag_ends_it_before_the_snapshot_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::write(&path, "damaged").unwrap();
    let args = ["--snapshot", path.to_str().unwrap(), "--config", "tests/config/bad/empty.yaml"];
    let ended = run(&[&QUIET[..], &args].concat());
    assert_eq!((ended.code, ended.err.lines().count()), (Some(2), 1), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "damaged");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A pager that was quit, a collector that died: who logs into nothing must not hang or die of it.
#[test]
fn a_server_whose_log_nobody_reads_still_stops() {
    let mut child = tollgate(&QUIET, &[]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut started = String::new();
    log.read_line(&mut started).unwrap();
    assert!(addresses(&started).is_some(), "{started}");
    drop(log);
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(wait(&mut child).code(), Some(0));
}
