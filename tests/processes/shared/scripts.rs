//! A server without functions, which takes scripts by their hashes.

use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{Client, call, give_back, request};

const POLICY: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ per_day: 20 }, { per_hour: 10 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
";

/// A server that does not know the command, as those before version 7.
fn old() -> Redis {
    Redis::with(&["--rename-command", "FUNCTION", "", "--rename-command", "FCALL", ""])
}

/// What one client is told, one thing after another: the code, and how each bucket stands.
fn told(client: &mut Client) -> Vec<String> {
    let told = |answer: super::support::Answer| {
        format!("{} {:?} {:?}", answer.is_ok(), answer.remaining(), answer.released())
    };
    let mut all: Vec<_> = (0..12).map(|_| told(client.ask(call(&[("k", "1")])))).collect();
    all.push(told(client.ask(request("d", &[give_back(2, &[("k", "1")])]))));
    all.extend((0..3).map(|_| told(client.ask(call(&[("k", "1")])))));
    let taken = client.ask(call(&[("k", "2"), ("job", "7")]));
    let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
    all.push(told(client.ask(call(&[("k", "3"), ("job", "7")]))));
    for _ in 0..2 {
        all.push(told(client.ask(request("d", &[give_back(1, &[("lease", &lease)])]))));
    }
    all.push(told(client.ask(call(&[("k", "3"), ("job", "7")]))));
    all
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn scripts_and_functions_answer_the_same_and_both_in_one_round_trip() {
    // A user who may not load functions is as good as a server without.
    let limited = Redis::with_user("gate on >gate-word ~* &* +@all -function -fcall", &[]);
    let (new, old) = (Redis::start(), old());
    let stores = [
        (&new, new.url(), "fcall"),
        (&old, old.url(), "evalsha"),
        (&limited, format!("redis://gate:gate-word@{}", limited.address), "evalsha"),
    ];
    let all = stores.map(|(redis, url, command)| {
        let replica = Tollgate::start(POLICY, &["--store", &url]);
        let mut client = replica.client();
        // Each thread decides nothing once, to see that it can.
        assert!(client.ask(call(&[("k", "another")])).is_ok());
        assert_eq!(replica.get("/readyz"), "ready\n");
        let before = redis.calls_of(command);
        let answers = told(&mut client);
        let remembered = replica.metric("tollgate_shared_store_cached_denials_total");
        let asked = u64::try_from(answers.len()).unwrap() + 1 - remembered;
        assert_eq!(redis.calls_of(command) - before, asked, "{command}");
        assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
        let others = ["eval", "evalsha", "fcall"].into_iter().filter(|other| *other != command);
        others.for_each(|other| assert_eq!(redis.calls_of(other), 0, "{other}"));
        answers
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    let denied = all[0].iter().filter(|answer| answer.starts_with("false")).count();
    assert_eq!(denied, 4, "two of the hour's ten, one of the two given back, and one job: {all:?}");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn scripts_that_were_flushed_are_loaded_again_and_nobody_notices() {
    let redis = old();
    // A thread that found the store late would ask once more to see that it can.
    let flags = ["--store", &redis.url(), "--store-timeout", "2s"];
    let replica = Tollgate::start(POLICY, &flags);
    // So does each at its start; that of HTTP has, once it answers.
    assert_eq!(replica.get("/readyz"), "ready\n");
    let mut client = replica.client();
    for left in (0..10).rev() {
        redis.command(&["SCRIPT", "FLUSH"]);
        let answer = client.ask(call(&[("k", "1")]));
        assert_eq!(answer.remaining(), [left]);
        // Once it is there it is asked once.
        let before = redis.calls_of("evalsha");
        assert!(client.ask(call(&[("k", &format!("another-{left}"))])).is_ok());
        assert_eq!(redis.calls_of("evalsha") - before, 1);
    }
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_script_that_is_flushed_while_a_lease_is_released_releases_it() {
    let redis = old();
    let replica = Tollgate::start(POLICY, &["--store", &redis.url()]);
    let mut client = replica.client();
    let taken = client.ask(call(&[("k", "1"), ("job", "7")]));
    let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
    redis.command(&["SCRIPT", "FLUSH"]);
    let released = client.ask(request("d", &[give_back(1, &[("lease", &lease)])]));
    assert_eq!(released.released(), Some(1));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_cluster_without_functions_decides_on_all_of_its_servers() {
    let without = ["--rename-command", "FUNCTION", ""];
    let servers = super::cluster::with(&without);
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(POLICY, &["--store", &seeds]);
    let mut client = replica.client();
    for number in 0..12 {
        let key = format!("key-{number}");
        // On the second time, none of them knows it any more.
        assert_eq!(client.ask(call(&[("k", &key)])).remaining(), [9]);
        servers.iter().for_each(|server| drop(server.command(&["SCRIPT", "FLUSH"])));
        assert_eq!(client.ask(call(&[("k", &key)])).remaining(), [8]);
    }
    assert!(servers.iter().all(|server| server.calls_of("evalsha") > 0), "all are on one server");
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
}
