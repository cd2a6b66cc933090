//! Errors of one key concern that key's calls; errors that concern all are told once, and shown.

use std::cell::RefCell;

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{call, eventually, give_back, request};

const POLICY: &str = "domain: d
on_store_error: deny
tables:
  - { name: t, key: [tenant], rows: { all: [{ per_day: 200 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 5, ttl: 1h }] } }
";

const USER: &str = "gate on >gate-word ~* &* +@all";

const REFUSING: &str = "ready, degraded: the shared store rejects calls for some keys\n";

/// What a call is told by the store is the subject, and how often it is asked.
const CALL_BY_CALL: &str = "--store-prepaid=off";

fn keys(redis: &Redis) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*{*").query(&mut redis.connect()).unwrap();
    keys.sort_unstable();
    keys
}

fn kind(redis: &Redis, key: &str) -> String {
    redis::cmd("TYPE").arg(key).query(&mut redis.connect()).unwrap()
}

/// How many calls became that.
fn count(replica: &Tollgate, outcome: &str) -> u64 {
    replica.metric(&format!("tollgate_shared_store_calls_total{{outcome=\"{outcome}\"}}"))
}

fn lines(replica: &Tollgate, text: &str) -> usize {
    replica.log().lines().filter(|line| line.contains(text)).count()
}

/// How often a server has not even begun to take the script.
fn rejected_loads(redis: &Redis) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.connect()).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_function|load:"));
    let count = line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_key_that_holds_something_else_concerns_its_calls_and_nobody_elses() {
    let redis = Redis::start();
    let replica = Tollgate::start(POLICY, &["--store", &redis.url(), CALL_BY_CALL]);
    let mut client = replica.client();
    let mut ask = |tenant, more: &[_]| client.ask(call(&[&[("tenant", tenant)], more].concat()));
    let job = [("job", "7")];
    let lease = ask("acme", &job).request_header("x-tollgate-lease").unwrap().to_owned();
    let all = keys(&redis);
    let slots = all.iter().find(|key| kind(&redis, key) == "zset").unwrap();
    redis.command(&["SET", slots, "something else"]);
    let before = (count(&replica, "answered"), count(&replica, "refused"));
    for left in (190..200).rev() {
        assert!(!ask("acme", &job).is_ok(), "as on_store_error says");
        assert_eq!(ask("other", &[]).remaining(), [left], "through the store");
    }
    let after = (count(&replica, "answered"), count(&replica, "refused"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (10, 10));
    assert_eq!((count(&replica, "failed"), replica.metric("tollgate_shared_store_up")), (0, 1));
    assert_eq!(replica.get("/readyz"), REFUSING);
    eventually("it is told", || lines(&replica, "rejects calls for some keys") > 0);
    let told = ["rejects calls for some keys", "the shared store is unavailable"];
    assert_eq!(told.map(|text| lines(&replica, text)), [1, 0], "{}", replica.log());
    // What cannot be released is not tried for ever, and keeps nothing else from being released.
    let released = request("d", &[give_back(1, &[("lease", &lease)])]);
    assert_eq!(replica.client().ask(released).released(), Some(0));
    redis.command(&["DEL", slots]);
    assert!(ask("acme", &job).is_ok(), "it is what it should be again");
}

/// Lets the user read everything, and write to what these patterns match.
fn let_write(redis: &Redis, patterns: &[&str]) {
    let mut words = vec!["ACL", "SETUSER", "gate", "resetkeys", "%R~*"];
    words.extend(patterns);
    redis.command(&words);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_user_who_may_not_write_some_keys_is_refused_these_and_no_others() {
    let redis = Redis::with_user(USER, &[]);
    let url = format!("redis://gate:gate-word@{}", redis.address);
    let replica = Tollgate::start(POLICY, &["--store", &url, CALL_BY_CALL]);
    let client = RefCell::new(replica.client());
    let ask = |tenant| client.borrow_mut().ask(call(&[("tenant", tenant)]));
    assert!(ask("acme").is_ok());
    let acme = keys(&redis);
    assert!(ask("other").is_ok());
    let other = keys(&redis).into_iter().find(|key| !acme.contains(key)).unwrap();
    let_write(&redis, &["~tollgate:{0}:*", &format!("~{other}")]);
    for left in (189..199).rev() {
        assert!(!ask("acme").is_ok());
        assert_eq!(ask("other").remaining(), [left]);
    }
    assert_eq!((count(&replica, "refused"), count(&replica, "failed")), (10, 0));
    assert_eq!(replica.get("/readyz"), REFUSING);
    // Then it may not write at all: that concerns everybody.
    let_write(&redis, &[]);
    eventually("the store is away", || {
        assert!(!ask("other").is_ok());
        replica.metric("tollgate_shared_store_up") == 0
    });
    eventually("it is told", || lines(&replica, "the shared store is unavailable") > 0);
    assert!(
        replica
            .get("/readyz")
            .starts_with("ready, degraded: the shared store is unavailable (NOPERM)")
    );
    let refused = count(&replica, "refused");
    assert!(!ask("acme").is_ok() && !ask("other").is_ok());
    assert_eq!(count(&replica, "refused"), refused, "nobody is asked meanwhile");
    let_write(&redis, &["~*"]);
    eventually("it is back", || replica.metric("tollgate_shared_store_up") == 1);
    assert_eq!(ask("other").remaining(), [188]);
    eventually("it is told", || lines(&replica, "the shared store is available again") > 0);
    let told = [
        "rejects calls for some keys",
        "the shared store is unavailable",
        "the shared store is available again",
    ];
    assert_eq!(told.map(|text| lines(&replica, text)), [1, 1, 1], "{}", replica.log());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_server_that_writes_for_nobody_is_away_until_it_does_again() {
    let nowhere = redis_server::free_address().port().to_string();
    let troubles: [(&str, &[&str], &[&str]); 2] = [
        ("READONLY", &["REPLICAOF", "127.0.0.1", &nowhere], &["REPLICAOF", "NO", "ONE"]),
        ("OOM", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
    ];
    for (code, begin, end) in troubles {
        let redis = Redis::start();
        let replica = Tollgate::start(POLICY, &["--store", &redis.url(), CALL_BY_CALL]);
        let mut client = replica.client();
        let mut ask = || client.ask(call(&[("tenant", "acme")]));
        assert!(ask().is_ok());
        redis.command(begin);
        for _ in 0..20 {
            assert!(!ask().is_ok(), "{code}");
        }
        let away = format!("ready, degraded: the shared store is unavailable ({code})\n");
        assert_eq!(replica.get("/readyz"), away);
        // It is tried more than once, and does not seem to be back in between.
        let before = rejected_loads(&redis);
        eventually("it is tried again", || rejected_loads(&redis) >= before + 3);
        assert_eq!(replica.metric("tollgate_shared_store_up"), 0, "{code}");
        assert_eq!(count(&replica, "failed"), 1, "{code}: one call found it out");
        redis.command(end);
        eventually("it is back", || replica.get("/readyz") == "ready\n");
        assert_eq!(ask().remaining(), [198], "{code}");
        eventually("it is told", || lines(&replica, "the shared store is available again") > 0);
        let told = ["the shared store is unavailable", "the shared store is available again"];
        assert_eq!(told.map(|text| lines(&replica, text)), [1, 1], "{code}: {}", replica.log());
    }
}
