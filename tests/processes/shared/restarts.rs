//! A process that starts with a slower limit than others had knows theirs, and when its own came into force, from the store.

use redis::Connection;
use tollgate::clock::{Nanos, Timestamp};

use super::cluster;
use super::lengthening::{ends, hourly, time, walks_and_lengthened};
use super::local::Replica;
use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{call, eventually, hits, request};

const LIMITS: &str = "tollgate:limits";

const FINISHED: &str = "tollgate_shared_store_walks_total{outcome=\"finished\"}";
const LENGTHENED: &str = "tollgate_shared_store_lengthened_keys_total";

/// The sets of limits in the store, and when each was in force last, in milliseconds since the Unix epoch.
fn recorded(connection: &mut Connection) -> Vec<(Vec<u8>, u64)> {
    redis::cmd("ZRANGE").arg(LIMITS).arg(0).arg(-1).arg("WITHSCORES").query(connection).unwrap()
}

fn record(connection: &mut Connection, limits: &[u8], until: u64) {
    redis::cmd("ZADD").arg(LIMITS).arg(until).arg(limits).exec(connection).unwrap();
}

/// How many minutes the keys of buckets still live.
fn lives(redis: &Redis) -> Vec<i64> {
    let now = i64::try_from(time(redis).as_unix_nanos() / 1_000_000).unwrap();
    let all = ends(&mut redis.connect()).into_iter();
    let mut lives: Vec<_> = all.map(|(_, end)| (end - now + 30_000) / 60_000).collect();
    lives.sort_unstable();
    lives
}

/// A replica with this policy, once its limits are in the store.
fn replica(redis: &Redis, policy: &str) -> Replica {
    let before = time(redis).as_unix_nanos() / 1_000_000;
    let replica = Replica::serve(redis, policy, time(redis));
    replica.until("its limits are in the store", |_| {
        recorded(&mut redis.connect()).iter().any(|(_, until)| *until >= before)
    });
    // A bucket of a hundred fills in an hour at least. The time to expire is set after the limits.
    replica.until("they are kept for as long as something may be owed", |_| {
        let left: i64 = redis::cmd("PTTL").arg(LIMITS).query(&mut redis.connect()).unwrap();
        left > 3_600_000
    });
    replica
}

fn ten(replica: &Replica, key: &str) {
    assert!(replica.ask(&request("d", &[hits(10, &[("k", key)])])).is_ok());
}

fn left(replica: &Replica, key: &str) -> u32 {
    replica.ask(&request("d", &[hits(0, &[("k", key)])])).remaining()[0]
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_restart_with_a_slower_limit_keeps_what_was_charged_before() {
    let redis = Redis::start();
    let before = replica(&redis, &hourly(100));
    ten(&before, "1");
    drop(before);
    // Nothing is slower.
    for policy in [hourly(100), hourly(200)] {
        let same = replica(&redis, &policy);
        assert_eq!(walks_and_lengthened(&same), (0, 0));
        ten(&same, "2");
    }
    assert_eq!(recorded(&mut redis.connect()).len(), 2);
    let slower = replica(&redis, &hourly(5));
    slower.until("the keys are gone through", |_| walks_and_lengthened(&slower).0 == 1);
    assert_eq!(walks_and_lengthened(&slower), (1, 2));
    assert!(lives(&redis).iter().all(|minutes| *minutes >= 120), "{:?}", lives(&redis));
    assert_eq!(left(&slower, "1"), 90);
    // Others that start do so, too: some may have been charged under the old limit since.
    drop(slower);
    let next = replica(&redis, &hourly(5));
    next.until("the keys are gone through", |_| walks_and_lengthened(&next).0 == 1);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn of_replicas_that_restart_one_after_the_other_each_keeps_what_was_written_before() {
    let redis = Redis::start();
    let [first, last] = [(); 2].map(|()| replica(&redis, &hourly(100)));
    ten(&first, "1");
    drop(first);
    let first = replica(&redis, &hourly(5));
    first.until("the keys are gone through", |_| walks_and_lengthened(&first).0 == 1);
    ten(&last, "2");
    assert_eq!(lives(&redis), [6, 120]);
    drop(last);
    let last = replica(&redis, &hourly(5));
    last.until("the keys are gone through", |_| walks_and_lengthened(&last).0 == 1);
    assert_eq!(lives(&redis), [120, 120]);
    assert_eq!([&first, &last].map(|replica| left(replica, "2")), [90, 90]);
}

/// What is kept for longer is owed by the time of the change, not by that of a later start.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn the_time_of_a_change_outlives_the_process_that_made_it() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let fast = replica(&redis, &hourly(100));
    ten(&fast, "1");
    drop(fast);
    drop(replica(&redis, &hourly(5)));
    let mut sets = recorded(&mut connection);
    let [(fast, until), (slow, since)] = &mut *sets else { panic!("{sets:?}") };
    assert!(until <= since);
    // As if the change had been 55 minutes ago.
    let minutes_ago = |minutes: u64| time(&redis).before(Nanos::from_secs(60 * minutes));
    let changed_at = minutes_ago(55);
    redis::cmd("DEL").arg(LIMITS).exec(&mut connection).unwrap();
    record(&mut connection, fast, minutes_ago(56).as_unix_nanos() / 1_000_000);
    slow[1..9].copy_from_slice(&changed_at.as_unix_nanos().to_le_bytes());
    record(&mut connection, slow, *since);
    // Fifty were used an hour ago, 36 seconds each; the bucket would have been full half an hour ago.
    let [(key, _)] = &*ends(&mut connection) else { panic!() };
    let (full, owed) = (minutes_ago(30), 1_800_000_000_000_u64);
    let state = format!("{} {owed} 36000000000", full.as_unix_nanos());
    let state_again = |connection: &mut Connection| {
        redis::cmd("SET").arg(key).arg(&state).arg("PX").arg(3_600_000).exec(connection).unwrap();
    };
    state_again(&mut connection);
    // Five minutes are 8.3 tokens; 55 minutes, at 12 each, are 4.6.
    assert_eq!(left(&replica(&redis, &hourly(5)), "1"), 62);
    state_again(&mut connection);
    redis::cmd("DEL").arg(LIMITS).exec(&mut connection).unwrap();
    assert_eq!(left(&replica(&redis, &hourly(5)), "1"), 100);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn policies_of_other_domains_under_the_same_prefix_keep_their_own_limits() {
    let redis = Redis::start();
    let other = |rate| hourly(rate).replace("domain: d", "domain: e");
    let both = [replica(&redis, &hourly(100)), replica(&redis, &other(200))];
    ten(&both[0], "1");
    assert!(both[1].ask(&request("e", &[hits(10, &[("k", "1")])])).is_ok());
    drop(both);
    assert_eq!(recorded(&mut redis.connect()).len(), 2);
    let slower = replica(&redis, &hourly(5));
    slower.until("the keys are gone through", |_| walks_and_lengthened(&slower).0 == 1);
    assert_eq!(lives(&redis), [3, 120]);
    let slower = replica(&redis, &other(10));
    slower.until("the keys are gone through", |_| walks_and_lengthened(&slower).0 == 1);
    assert_eq!(lives(&redis), [60, 120]);
    assert_eq!(recorded(&mut redis.connect()).len(), 4);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_cannot_be_read_is_ignored_with_one_warning_and_old_limits_are_removed() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let now = time(&redis).as_unix_nanos() / 1_000_000;
    for damaged in ["", "\u{1}", "\u{2}", "text"] {
        record(&mut connection, damaged.as_bytes(), now);
    }
    // A bucket of a hundred is full at five an hour after 20 hours.
    record(&mut connection, b"old", now - 80_000_000);
    let store = ["--store", &redis.url()];
    let before = Tollgate::start(&hourly(100), &store);
    assert!(before.client().ask(call(&[("k", "1")])).is_ok());
    eventually("the old ones are removed, and its own are there", || {
        let sets = recorded(&mut redis.connect());
        sets.len() == 5 && sets.iter().all(|(limits, _)| limits != b"old")
    });
    drop(before);
    let replica = Tollgate::start(&hourly(5), &store);
    eventually("the keys are gone through", || replica.metric(FINISHED) == 1);
    assert_eq!(replica.metric(LENGTHENED), 1);
    let log = replica.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\"WARN\"")).collect();
    let [line] = &*lines else { panic!("{log}") };
    assert!(line.contains("cannot be read") && line.contains(LIMITS), "{line}");
    assert_eq!(recorded(&mut connection).len(), 6);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn limits_that_cannot_be_kept_are_told_of_once_and_all_else_goes_on() {
    let user = "gate on >gate-word ~* &* +@all -zadd";
    let redis = Redis::with_user(user, &[]);
    let url = format!("redis://gate:gate-word@{}", redis.address);
    let replica = Tollgate::start(&hourly(100), &["--store", &url]);
    eventually("it is told of", || replica.log().contains("cannot be kept"));
    // With a reload it is tried again.
    replica.reload(&hourly(5));
    eventually("the keys are gone through", || replica.metric(FINISHED) == 1);
    let log = replica.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\"WARN\"")).collect();
    let [line] = &*lines else { panic!("{log}") };
    assert!(line.contains("'zadd'") && line.contains("after a restart"), "{line}");
    assert!(replica.client().ask(call(&[("k", "1")])).is_ok());
    assert_eq!(replica.get("/readyz"), "ready\n");
    let redis = Redis::start();
    redis.command(&["SET", LIMITS, "text"]);
    let replica = Tollgate::start(&hourly(100), &["--store", &redis.url()]);
    eventually("it is told of", || replica.log().contains("WRONGTYPE"));
    assert!(replica.client().ask(call(&[("k", "1")])).is_ok());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn on_a_cluster_a_restart_with_a_slower_limit_reaches_the_keys_of_every_server() {
    let servers = cluster::with(&[]);
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(&hourly(100), &["--store", &seeds]);
    let mut client = replica.client();
    for number in 0..60 {
        assert!(client.ask(call(&[("k", &format!("key-{number}"))])).is_ok());
    }
    let keepers = || {
        let exists = |server: &&Redis| server.command(&["KEYS", LIMITS]) != "array([])";
        servers.iter().filter(exists).count()
    };
    eventually("the limits are in the store", || keepers() == 1);
    drop((client, replica));
    let slower = Tollgate::start(&hourly(5), &["--store", &seeds]);
    eventually("the keys are gone through", || slower.metric(FINISHED) == 1);
    assert_eq!(slower.metric(LENGTHENED), 60);
    assert_eq!(keepers(), 1);
    for server in &servers {
        let lives = lives(server);
        assert!(!lives.is_empty() && lives.iter().all(|minutes| *minutes >= 11), "{lives:?}");
    }
}

#[test]
fn a_store_that_does_not_answer_holds_up_no_start() {
    let at = Timestamp::from_unix_nanos(1_000_000_000);
    let url = format!("redis://{}", super::redis_server::free_address());
    let replica = Replica::one_of(
        std::num::NonZeroU32::MIN,
        &url,
        &hourly(100),
        at,
        std::time::Duration::from_millis(50),
    );
    assert_eq!(left(&replica, "1"), 100);
}
