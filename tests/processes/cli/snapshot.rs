//! `serve --snapshot`: what a restart keeps, and what becomes of a file that is of no use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;
use tollgate::clock::{BootClock, Clock, Nanos};

use super::super::support::{Parts, hits, request, source};
use super::query::query;
use super::serve::{QUIET, Served};
use super::{eventually, run};

/// Five a day.
const ROTATE: [&str; 3] =
    ["tenant=acme", "tenant_type=startup", "endpoint_group=rotate_signing_keys"];

/// Two at a time, for an hour at most.
const IMPORT: [&str; 3] =
    ["tenant=acme", "tenant_type=startup", "endpoint_group=create_import_users_job"];

fn serve(snapshot: &Path, more: &[&str]) -> Served {
    let snapshot = snapshot.to_str().unwrap();
    Served::start(&[&QUIET[..], &["--snapshot", snapshot], more].concat(), &[])
}

fn metric(server: &Served, name: &str) -> u64 {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

fn take_lease(server: &Served) -> String {
    let ended = query(server, &[&IMPORT]);
    let lease = ended.out.lines().find_map(|line| line.strip_prefix("  x-tollgate-lease: "));
    format!("lease={}", lease.unwrap_or_else(|| panic!("{ended:?}")))
}

fn released(server: &Served, lease: &str) -> Value {
    let ended = query(server, &[&["--json", "--release", lease]]);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    answer["dynamicMetadata"]["released"].clone()
}

/// The messages of that level, each with the rest of its line.
fn told(log: &[String], level: &str) -> Vec<Value> {
    let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["level"] == level).map(|line| line["fields"].clone()).collect()
}

#[test]
fn a_day_bucket_and_leases_survive_deploys_that_change_the_number_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let server = serve(&path, &["--max-keys", "1000"]);
    assert_eq!(query(&server, &[&["--hits", "5"], &ROTATE]).code, Some(0));
    let leases = [take_lease(&server), take_lease(&server)];
    assert_eq!(server.stop().0, Some(0));
    for max_keys in ["10000000", "100000"] {
        let server = serve(&path, &["--max-keys", max_keys]);
        assert!(server.log.iter().any(|line| line.contains("the snapshot is restored")));
        assert_eq!(query(&server, &[&ROTATE]).code, Some(1), "the day's budget is spent");
        assert_eq!(query(&server, &[&IMPORT]).code, Some(1), "both slots are held");
        assert_eq!(server.stop().0, Some(0));
    }
    let server = serve(&path, &[]);
    assert_eq!(released(&server, &leases[0]), 1.0);
    assert_eq!(released(&server, &leases[0]), 0.0);
    take_lease(&server);
    assert_eq!(query(&server, &[&IMPORT]).code, Some(1));
    assert_eq!(server.stop().0, Some(0));
    let server = serve(&path, &[]);
    assert_eq!(released(&server, &leases[0]), 0.0, "what was released stays so");
    assert_eq!(released(&server, &leases[1]), 1.0);
}

/// The bucket would be full under the limit by which it was charged, and nobody has asked for it since that changed.
#[test]
fn what_is_owed_under_a_slower_limit_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("state"), folder.path().join("policy.yaml"));
    let policy = |rate: u32| {
        let bucket = format!("{{ size: 100, per_hour: {rate} }}");
        format!("domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: [{bucket}] }} }}]")
    };
    let parts = Parts::new(&source(&policy(100)), 10_000);
    parts.clock.set(BootClock::start().now().before(Nanos::from_secs(5_400)));
    assert!(parts.ask(&request("d", &[hits(100, &[("k", "1")])])).is_ok());
    parts.clock.advance(Nanos::from_secs(600));
    parts.replace(&source(&policy(5)));
    parts.clock.advance(Nanos::from_secs(4_800));
    std::fs::write(&path, parts.snapshot()).unwrap();
    std::fs::write(&config, policy(5)).unwrap();
    let serve = || serve(&path, &["--config", config.to_str().unwrap()]);
    // It has been written again when this one stops.
    assert_eq!(serve().stop().0, Some(0));
    let server = serve();
    assert_eq!(query(&server, &[&["--hits", "25", "k=1"]]).code, Some(1));
    assert_eq!(query(&server, &[&["--hits", "23", "k=1"]]).code, Some(0));
}

/// As of a volume that is mounted elsewhere.
#[test]
fn a_snapshot_behind_a_symbolic_link_outlives_deploys_and_so_does_the_link() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, target) = (folder.path().join("state"), volume.path().join("state"));
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let server = serve(&path, &[]);
    assert_eq!(query(&server, &[&["--hits", "5"], &ROTATE]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
    assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(std::fs::symlink_metadata(&target).unwrap().is_file());
    assert_eq!(query(&serve(&path, &[]), &[&ROTATE]).code, Some(1), "the day's budget is spent");
}

#[test]
fn a_process_that_is_killed_comes_back_as_it_was_last_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let server = serve(&path, &["--snapshot-interval", "1s"]);
    assert_eq!(query(&server, &[&["--hits", "5"], &ROTATE]).code, Some(0));
    eventually("it is written", || metric(&server, "tollgate_snapshot_keys") > 0);
    assert!(metric(&server, "tollgate_snapshot_last_success_timestamp_seconds") > 1_700_000_000);
    assert_eq!(metric(&server, "tollgate_snapshot_errors_total"), 0);
    server.signal("KILL");
    drop(server);
    assert_eq!(query(&serve(&path, &[]), &[&ROTATE]).code, Some(1));
}

#[test]
fn a_second_process_is_kept_out_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let first = serve(&path, &[]);
    let arguments = [&QUIET[..], &["--snapshot", path.to_str().unwrap()]].concat();
    let second = run(&arguments);
    assert_eq!(second.code, Some(2));
    let why = format!("another process keeps its state in {}", path.display());
    assert!(second.err.contains(&why), "{second:?}");
    assert_eq!(query(&first, &[&["--hits", "5"], &ROTATE]).code, Some(0), "it goes on");
    first.signal("KILL");
    drop(first);
    // A lock ends with its process, however that ended.
    let third = serve(&path, &[]);
    assert_eq!(third.stop().0, Some(0));
}

#[test]
fn without_a_snapshot_a_restart_makes_buckets_full() {
    let server = Served::start(&QUIET, &[]);
    assert_eq!(query(&server, &[&["--hits", "5"], &ROTATE]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(query(&Served::start(&QUIET, &[]), &[&ROTATE]).code, Some(0));
}

#[test]
fn a_damaged_file_is_told_and_set_aside_and_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("state"), folder.path().join("state.damaged"));
    std::fs::write(&path, "not a snapshot").unwrap();
    let server = serve(&path, &[]);
    let errors = told(&server.log, "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["path"], path.to_str().unwrap());
    assert_eq!(errors[0]["problem"], "it is not a snapshot of tollgate");
    assert_eq!(errors[0]["done"], format!("moved to {}", aside.display()));
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), "not a snapshot");
    assert_eq!(query(&server, &[&["--hits", "5"], &ROTATE]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(query(&serve(&path, &[]), &[&ROTATE]).code, Some(1), "the next is whole");
}

#[test]
fn a_path_that_cannot_be_written_to_is_told_once_and_counted_and_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder.path().join("gone/state"), &["--snapshot-interval", "1s"]);
    eventually("it fails again", || metric(&server, "tollgate_snapshot_errors_total") > 1);
    assert_eq!(query(&server, &[&ROTATE]).code, Some(0));
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let errors = told(&log, "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0]["message"].as_str().unwrap().starts_with("the snapshot cannot be written"));
}

#[test]
fn a_path_that_is_no_file_ends_it_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let ended = run(&[&QUIET[..], &["--snapshot", path]].concat());
    let err = format!(
        "{path} is not a file; --snapshot takes the path of a file, which need not exist yet\n"
    );
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(2), "", &*err));
}
