//! One budget over many processes, and what becomes of calls while the store is away.

use std::time::{Duration, Instant};

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{call, eventually};

const DAILY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { always: [{ per_day: 200 }] } }]\n";
const JOBS: &str = "domain: d
tables: [{ name: t, key: [k], rows: { always: [{ concurrent: 1, hold: 1h }] } }]
";

/// What a call takes at most: the deadline, and what a machine that others use takes to answer.
const LONGEST: Duration = Duration::from_millis(50 + 450);

fn replica(redis: &Redis, policy: &str, more: &[&str]) -> Tollgate {
    let url = redis.url();
    Tollgate::start(policy, &[&["--store", &url][..], more].concat())
}

#[test]
fn four_processes_that_hammer_one_bucket_admit_exactly_its_budget() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let replicas: Vec<_> = (0..4).map(|_| replica(&redis, DAILY, &[])).collect();
    let ask = |replica: &Tollgate| {
        let mut client = replica.client();
        (0..100).filter(|_| client.ask(call(&[("k", "1")])).is_ok()).count()
    };
    let admitted: usize = std::thread::scope(|scope| {
        let asking: Vec<_> =
            replicas.iter().map(|replica| scope.spawn(move || ask(replica))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).sum()
    });
    assert_eq!(admitted, 200);
    let local: u64 = replicas
        .iter()
        .map(|replica| replica.metric("tollgate_shared_store_local_decisions_total"))
        .sum();
    assert_eq!(local, 0, "some were decided without the store");
}

#[test]
fn a_request_is_one_round_trip_and_a_denied_client_that_hammers_costs_none() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let replica = replica(&redis, &DAILY.replace("200", "20"), &[]);
    let mut client = replica.client();
    // Each thread decides nothing once, to see that it can.
    assert!(client.ask(call(&[("k", "another")])).is_ok());
    assert_eq!(replica.get("/readyz"), "ready\n");
    let before = redis.calls_of("fcall");
    (0..20).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    assert_eq!(redis.calls_of("fcall") - before, 20);
    let denied = redis.calls_of("fcall");
    for _ in 0..50 {
        let answer = client.ask(call(&[("k", "1")]));
        assert!(!answer.is_ok());
        assert_eq!(answer.denied_by(), ("t", "always", "20 per day"));
    }
    assert_eq!(redis.calls_of("fcall") - denied, 0);
    assert_eq!(replica.metric("tollgate_shared_store_remembered_denials_total"), 50);
}

#[test]
fn a_lease_taken_from_one_replica_is_released_by_another() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let (one, other) = (replica(&redis, JOBS, &[]), replica(&redis, JOBS, &[]));
    let (mut one, mut other) = (one.client(), other.client());
    let taken = one.ask(call(&[("k", "1")]));
    let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
    assert!(!other.ask(call(&[("k", "1")])).is_ok());
    let mut release = call(&[("lease", &lease)]);
    release.descriptors[0].is_negative_hits = true;
    release.descriptors[0].hits_addend = Some(1);
    assert_eq!(other.ask(release.clone()).released(), Some(1));
    assert_eq!(one.ask(release).released(), Some(0));
    assert!(one.ask(call(&[("k", "1")])).is_ok());
}

/// Asks once, and says how long it took and whether it was admitted.
fn timed(client: &mut super::support::Client, key: &str) -> (Duration, bool) {
    let begun = Instant::now();
    let is_ok = client.ask(call(&[("k", key)])).is_ok();
    (begun.elapsed(), is_ok)
}

/// While the store is away, each mode holds, nobody waits longer than the deadline, and it comes back by itself.
fn away(begin: impl Fn(&mut Redis), end: impl Fn(&mut Redis)) {
    if !redis_server::is_there() {
        return;
    }
    for (mode, admitted) in [("local", 10), ("allow", 30), ("deny", 0)] {
        let mut redis = Redis::start();
        let policy = DAILY
            .replace("200", "20")
            .replace("tables", &format!("on_store_error: {mode}\ntables"));
        let replica = replica(&redis, &policy, &["--replicas", "2"]);
        let mut client = replica.client();
        assert!(client.ask(call(&[("k", "before")])).is_ok());
        begin(&mut redis);
        let calls: Vec<_> = (0..30).map(|_| timed(&mut client, "during")).collect();
        let longest = calls.iter().map(|(took, _)| *took).max().unwrap();
        let waited = calls.iter().filter(|(took, _)| *took >= Duration::from_millis(50)).count();
        eprintln!(
            "{mode}: the longest of 30 calls took {longest:?}, {waited} waited for the deadline"
        );
        assert!(longest < LONGEST, "{mode}: a call took {longest:?}");
        assert!(waited <= 10, "{mode}: {waited} calls waited for the deadline");
        assert_eq!(calls.iter().filter(|(_, is_ok)| *is_ok).count(), admitted, "{mode}");
        assert_eq!(replica.get("/readyz"), "ready, degraded: the shared store is away\n");
        end(&mut redis);
        eventually("the store is back", || replica.get("/readyz") == "ready\n");
        assert!(client.ask(call(&[("k", "after")])).is_ok());
        let lines = |what: &str| replica.log().matches(what).count();
        assert!(lines("the shared store is away") <= 3, "one line a change: {}", replica.log());
        assert!(lines("the shared store is back") >= 1, "{}", replica.log());
    }
}

#[test]
fn a_store_that_is_killed_is_done_without_until_it_is_back() {
    away(Redis::kill, Redis::spawn);
}

#[test]
fn a_store_that_does_not_answer_is_done_without_until_it_does() {
    away(|redis| redis.stop(), |redis| redis.go_on());
}

#[test]
fn a_store_that_has_no_memory_left_is_done_without_until_it_has() {
    away(
        |redis| drop(redis.command(&["CONFIG", "SET", "maxmemory", "1"])),
        |redis| drop(redis.command(&["CONFIG", "SET", "maxmemory", "0"])),
    );
}

#[test]
fn a_script_that_was_flushed_is_loaded_again_and_nobody_notices() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let replica = replica(&redis, DAILY, &[]);
    let mut client = replica.client();
    for _ in 0..5 {
        redis.command(&["FUNCTION", "FLUSH"]);
        redis.command(&["SCRIPT", "FLUSH"]);
        assert!(client.ask(call(&[("k", "1")])).is_ok());
    }
    assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [194]);
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
}

#[test]
fn an_address_that_cannot_be_read_is_told_without_its_password() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(["serve", "--store", "redis://:battery-staple@one:port"]).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--store: server 1 of it cannot be read"), "{told}");
    assert!(!told.contains("battery-staple"), "{told}");
}

#[test]
fn a_wrong_password_is_told_without_the_password_and_a_start_without_the_store_recovers() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::with(&["--requirepass", "correct-horse"]);
    let url = format!("redis://:battery-staple@{}", redis.address);
    let replica = Tollgate::start(DAILY, &["--store", &url]);
    let mut client = replica.client();
    assert!(client.ask(call(&[("k", "1")])).is_ok());
    eventually("it is told", || replica.log().contains("the shared store is away"));
    assert!(!replica.log().contains("battery-staple"), "{}", replica.log());
    let mut connection = redis.connect_as(":correct-horse@");
    let mut command = redis::cmd("CONFIG");
    command.arg(&["SET", "requirepass", "battery-staple"]).exec(&mut connection).unwrap();
    eventually("it is back", || replica.get("/readyz") == "ready\n");
    assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [199]);
}
