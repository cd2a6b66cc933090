//! The commands as a person or a script has them: the real binary, its words and its exit codes.

mod admin;
mod authority;
mod client_tls;
mod convert;
mod counting;
mod denied;
mod deploy;
mod explain;
mod health;
mod pages;
mod query;
mod quotas;
mod ratelimit;
mod reload;
mod replay;
pub(crate) mod serve;
mod snapshot;
mod stalled;
mod stuck;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod trees;
mod unix;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::certificates;
#[cfg(feature = "otlp")]
use super::collector;

const SHIPPED: &str = "config/management-api.yaml";

/// The binary, in an environment that says nothing to it but `env`, and that it need not wait for anybody to
/// notice that it ends.
fn tollgate(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOLLGATE_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("TOLLGATE_DRAIN_DELAY", "0s").envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command that ends by itself.
fn run(args: &[&str]) -> Ended {
    run_in(args, &[])
}

fn run_in(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut child = tollgate(args, env).spawn().unwrap();
    wait(&mut child);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits for the end, but not for ever.
fn wait(child: &mut Child) -> ExitStatus {
    for _ in 0..3000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("process {} does not end", child.id());
}

/// Gives the server's own threads the time they need, within bounds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

/// As with `tollgate check ... | head -0`: whoever reads is gone before a word is written.
#[test]
fn a_command_whose_reader_is_gone_says_nothing_and_ends_as_it_would() {
    let server = serve::Served::start(&serve::QUIET, &[]);
    let (grpc, http) = (server.grpc.to_string(), format!("http://{}", server.http));
    let bad = "tests/config/bad/many_errors.yaml";
    for (args, code) in [
        (&["check", SHIPPED][..], 0),
        (&["check", bad], 1),
        (&["explain", "--config", SHIPPED, "tenant=acme"], 0),
        (&["query", "--addr", &grpc, "--http", &http, "tenant=acme", "tenant_type=free"], 0),
        (&["health", "--addr", &http], 0),
        (&["admin", "--addr", &http, "buckets"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = tollgate(args, &[]).stdout(writer).spawn().unwrap();
        wait(&mut child);
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*err), (Some(code), ""), "{args:?}");
    }
}

#[test]
fn check_tells_what_it_loaded() {
    let ended = run(&["check", SHIPPED]);
    let out = "config/management-api.yaml: domain management-api: 7 tables, 37 rows, 56 buckets, \
               45 endpoints, 0 overrides, 0 bypasses\n";
    assert_eq!(ended, Ended { code: Some(0), out: out.into(), err: String::new() });
}

#[test]
fn check_tells_one_of_a_kind_as_one() {
    let ended = run(&["check", "envoy/leases-policy.yaml"]);
    let out = "envoy/leases-policy.yaml: domain leases: 1 table, 1 row, 1 bucket, 0 endpoints, \
               0 overrides, 0 bypasses\n";
    assert_eq!((ended.code, &*ended.out), (Some(0), out));
}

#[test]
fn check_tells_every_problem_and_how_many_there_are() {
    let ended = run(&["check", "tests/config/bad/many_errors.yaml"]);
    let problems = std::fs::read_to_string("tests/config/bad/many_errors.txt").unwrap();
    let count = problems.lines().count();
    let out = format!("{problems}{count} problems\n");
    assert_eq!(ended, Ended { code: Some(1), out, err: String::new() });
}

#[test]
fn check_tells_a_single_problem_as_one() {
    let ended = run(&["check", "tests/config/bad/table_name_twice.yaml"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.ends_with("\n1 problem\n"), "{ended:?}");
}

#[test]
fn check_of_several_paths_tells_of_each_and_fails_if_one_is_wrong() {
    let bad = "tests/config/bad/headers_unknown.yaml";
    let ended = run(&["check", SHIPPED, bad, "nowhere", "envoy/leases-policy.yaml"]);
    let begins = [
        "config/management-api.yaml: domain management-api: ",
        "tests/config/bad/headers_unknown.yaml:2:1: headers: ",
        "nowhere: cannot be read: ",
        "envoy/leases-policy.yaml: domain leases: ",
        "2 problems",
    ];
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.out.lines().count(), begins.len(), "{ended:?}");
    for (line, begin) in ended.out.lines().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[test]
fn check_of_a_folder_tells_every_domain_in_it() {
    let ended = run(&["check", "tests/config/good"]);
    let domains =
        ["everything", "explained", "marked", "merged", "old_words", "ratelimit", "windows"];
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), domains.len()), "{ended:?}");
    for (line, domain) in ended.out.lines().zip(domains) {
        assert!(line.starts_with(&format!("tests/config/good: domain {domain}: ")), "{line}");
    }
}

#[test]
fn check_of_a_folder_tells_the_problems_of_every_file_in_it() {
    let ended = run(&["check", "tests/config/bad/errors_in_two_files"]);
    let problems = std::fs::read_to_string("tests/config/bad/errors_in_two_files.txt").unwrap();
    assert_eq!(ended.out, format!("{problems}4 problems\n"));
}

#[test]
fn check_tells_warnings_and_fails_on_them_only_if_it_is_strict() {
    let warned = "tests/config/warned/no_default.yaml";
    let warnings = std::fs::read_to_string("tests/config/warned/no_default.txt").unwrap();
    let summary = format!("{warned}: domain d: 6 tables, 7 rows, 6 buckets, 0 endpoints, ");
    let ended = run(&["check", warned]);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    assert!(ended.out.starts_with(&summary), "{ended:?}");
    assert!(ended.out.ends_with(&format!(" bypasses\n{warnings}3 warnings\n")), "{ended:?}");
    let strict = run(&["check", "--strict", warned]);
    assert_eq!(strict, Ended { code: Some(1), ..ended });
    assert_eq!(run(&["check", "--strict", SHIPPED]).code, Some(0));
    let bad = "tests/config/bad/table_name_twice.yaml";
    let ended = run(&["check", bad, warned]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.ends_with("\n1 problem, 3 warnings\n"), "{ended:?}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_what_could_be_said() {
    for (args, told) in [
        (&["check"][..], "<PATH>"),
        (&["explain"], "<KEY=VALUE>"),
        (&["query"], "<KEY=VALUE>"),
        (&["explain", "tenant"], "write an entry as KEY=VALUE"),
        (&["query", "=acme"], "write an entry as KEY=VALUE"),
        (&["query", "--hits=-1", "tenant=acme"], "--hits"),
        (&["query", "--hits", "many", "tenant=acme"], "--hits"),
        (&["health", "--addr", "127.0.0.1:8080"], "write http://HOST:PORT"),
        (&["admin"], "Commands:"),
        (&["admin", "lookup"], "<KEY=VALUE>"),
        (&["admin", "reset"], "<KEY=VALUE>"),
        (&["health", "--tls-cert", "a.pem"], "--tls-key"),
        (&["serv"], "serve"),
        (&["serve", "--grpc", "8081"], "--grpc"),
        (&["serve", "--workers", "0"], "--workers"),
        (&["serve", "--xds", "localhost"], "write HOST:PORT or https://HOST:PORT"),
        (&["serve", "--xds", "http://localhost:1"], "write HOST:PORT or https://HOST:PORT"),
        (&["serve", "--xds", "localhost:1", "--config", SHIPPED], "--config"),
        (&["serve", "--xds-metadata", "=a"], "write KEY=VALUE"),
        (&["serve", "--xds-header", "a b:c"], "write NAME:VALUE"),
        (&["serve", "--xds-tls-cert", "a.pem"], "--xds-tls-key"),
        (
            &["serve", "--xds", "localhost:1", "--xds-tls-ca", "a.pem"],
            "write --xds https://localhost:1 for TLS",
        ),
        (
            &["serve", "--xds", "https://localhost:1", "--xds-tls-ca", "nowhere.pem"],
            "nowhere.pem: ",
        ),
        (&["serve", "--max-keys", "0"], "--max-keys"),
        (&["serve", "--max-connection-age", "0s"], "at least 1s, or `off`"),
        (&["serve", "--drain-delay", "5"], "--drain-delay"),
        (&["serve", "--drain-timeout", "10"], "--drain-timeout"),
        (&["serve", "--drain-delay", "500000000000y"], "at most 366d"),
        (&["serve", "--drain-timeout", "367d"], "at most 366d"),
        (&["serve", "--max-connection-age", "500000000000y"], "at most 366d, or `off`"),
        (&["serve", "--snapshot-interval", "500000y"], "at most 366d"),
        (&["serve", "--store-timeout", "500000000000y"], "at most 366d"),
        (&["serve", "--snapshot", ""], "--snapshot"),
        (&["serve", "--snapshot-interval", "10"], "--snapshot-interval"),
        (&["serve", "--snapshot-interval", "999ms"], "at least 1s"),
        (&["serve", "--log-format", "xml"], "json"),
        (&["serve", "--log-denied-per-second", "0"], "--log-denied-per-second"),
        (&["serve", "--trace-sample", "1.1"], "a number from 0 to 1"),
        (&["serve", "--otlp-endpoint", "no url"], "--otlp-endpoint"),
    ] {
        let ended = run(args);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains(told), "{args:?}: {ended:?}");
    }
}

#[test]
fn help_is_no_failure_and_names_every_command() {
    let ended = run(&["--help"]);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    for command in ["serve", "check", "explain", "query", "health", "admin"] {
        assert!(ended.out.contains(&format!("\n  {command} ")), "{command}: {}", ended.out);
    }
}
