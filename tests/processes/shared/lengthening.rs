//! Keys of buckets whose limit has become slower are kept until what they owe is repaid, although nobody asks for them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use redis::Connection;
use tollgate::clock::{Clock, ManualClock, Nanos, Timestamp};
use tollgate::observe::telemetry::Telemetry;
use tollgate::shared::{Settings, Store, Tls};
use tollgate::store::{MemoryStore, script};

use super::cluster;
use super::local::Replica;
use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::same::{ADMITTED, Reloads, START};
use super::stores::Scripted;
use super::support::{call, hits, request, runtime};

/// A hundred tokens; so many come in an hour.
pub fn hourly(rate: u32) -> String {
    format!(
        "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: [{{ size: 100, per_hour: {rate} }}] }} }}]"
    )
}

/// The same, beside buckets of other kinds and rates.
fn beside_others(rate: u32, other_rate: u32) -> String {
    format!(
        "domain: d
tables:
  - {{ name: t, key: [k], rows: {{ all: [{{ size: 100, per_hour: {rate} }}] }} }}
  - {{ name: other, key: [other], rows: {{ all: [{{ size: 100, per_hour: {other_rate} }}] }} }}
  - {{ name: jobs, when: {{ job: {{ present: true }} }}, key: [job], rows: {{ all: [{{ concurrent: 3, ttl: 1h }}] }} }}"
    )
}

pub fn time(redis: &Redis) -> Timestamp {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut redis.connect()).unwrap();
    Timestamp::from_unix_nanos((seconds * 1_000_000 + micros) * 1_000)
}

/// All but that of the limits in force.
pub fn keys(connection: &mut Connection) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*{*").query(connection).unwrap();
    keys.sort_unstable();
    keys
}

/// When a key ends, in milliseconds since the Unix epoch.
fn end(connection: &mut Connection, key: &str) -> i64 {
    redis::cmd("PEXPIRETIME").arg(key).query(connection).unwrap()
}

pub fn ends(connection: &mut Connection) -> Vec<(String, i64)> {
    keys(connection).into_iter().map(|key| (key.clone(), end(connection, &key))).collect()
}

/// Removes the keys that end by a time that the server does not reach while the test runs.
fn expire(connection: &mut Connection, now: Timestamp) {
    let now = i64::try_from(now.as_unix_nanos() / 1_000_000).unwrap();
    for (key, end) in ends(connection) {
        if end <= now {
            redis::cmd("DEL").arg(key).exec(connection).unwrap();
        }
    }
}

/// When the bucket of this key is full, and when its state was written.
fn full_and_written(connection: &mut Connection, key: &str) -> (u64, u64) {
    let state: String = redis::cmd("GET").arg(key).query(connection).unwrap();
    let numbers: Vec<u64> = state.split(' ').map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[0] - numbers[1])
}

/// How often the keys were gone through, and how many end later.
pub fn walks_and_lengthened(replica: &Replica) -> (u64, u64) {
    let counters = replica.service.telemetry().shared_store();
    (counters.walks_finished.get(), counters.lengthened.get())
}

fn slow(replica: &Replica, policy: &str) {
    replica.clock.advance(Nanos::new(1));
    replica.reload(policy);
}

/// A store at this address, whose calls are over at once.
fn store_at(url: &str) -> (Arc<Store>, Arc<Telemetry>) {
    let local = Arc::new(MemoryStore::new(64));
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&local)));
    let settings = Settings {
        target: url.parse().unwrap(),
        tls: Tls::default(),
        prefix: "test".into(),
        timeout: Duration::ZERO,
        replicas: NonZeroU32::MIN,
        prepaid_time: None,
    };
    let clock = Arc::new(ManualClock::at(START)) as Arc<dyn Clock>;
    (Store::new(settings, 64, local, clock, Arc::clone(&telemetry)).unwrap(), telemetry)
}

/// Goes through the keys for the policies that come into force, until this is over.
async fn walk_during(store: &Store, reloads: &Reloads, task: impl Future<Output = ()>) {
    tokio::select! {
        () = store.lengthen_keys(&reloads.0) => {}
        () = task => {}
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_was_owed_at_a_reload_to_a_slower_limit_is_owed_although_nobody_asks_for_long() {
    let redis = Redis::start();
    let mut store = Scripted::new(&redis);
    let minutes = |count: u64| START.after(Nanos::from_secs(60 * count));
    let asked = |key, count| request("d", &[hits(count, &[("k", key)])]);
    let left = |store: &mut Scripted, is_walked| {
        redis::cmd("FLUSHALL").exec(&mut store.connection).unwrap();
        let reloads = Reloads::begin(&hourly(100));
        for key in ["1", "2"] {
            assert_eq!(reloads.decide(store, &asked(key, 100), START).0, ADMITTED);
        }
        reloads.replace(&hourly(5), minutes(30));
        if is_walked {
            let (store, telemetry) = store_at(&redis.url());
            let finished = until(|| telemetry.shared_store().walks_finished.get() > 0);
            runtime().block_on(walk_during(&store, &reloads, finished));
        }
        // Under the old limit, the buckets are full after an hour. Fifty were owed at the change, twelve minutes each.
        [("1", 90), ("2", 629)].map(|(key, minute)| {
            expire(&mut store.connection, minutes(minute));
            reloads.decide(store, &asked(key, 0), minutes(minute)).1[0].remaining
        })
    };
    assert_eq!(left(&mut store, true), [55, 99]);
    // As it is for a user who may not SCAN.
    assert_eq!(left(&mut store, false), [100, 100]);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn only_keys_of_the_slower_limit_end_later_and_none_ends_earlier() {
    let redis = Redis::start();
    let replica = Replica::serve(&redis, &beside_others(100, 200), time(&redis));
    let entries = [("k", "1"), ("other", "1"), ("job", "7")];
    assert!(replica.ask(&request("d", &[hits(3, &entries)])).is_ok());
    let mut connection = redis.connect();
    let before = ends(&mut connection);
    // Two buckets, the slots, and the lease.
    assert_eq!(before.len(), 4);
    let of_t = |connection: &mut Connection| {
        let state = |key: &String| -> redis::RedisResult<String> {
            redis::cmd("GET").arg(key).query(&mut redis.connect())
        };
        let found = keys(connection)
            .into_iter()
            .find(|key| state(key).is_ok_and(|state| state.ends_with(" 36000000000")));
        found.unwrap()
    };
    let slowed = of_t(&mut connection);
    // Keys that look like one: of another prefix, without an end, of an earlier version, and one that ends late.
    let (state, far) = (
        "1 1 36000000000",
        (time(&redis).as_unix_nanos() / 1_000_000 + 1_000_000_000_000).to_string(),
    );
    for (key, value, end) in [
        ("another:{1}:a", state, Some("9999999999999")),
        ("tollgate:{1}:b", state, None),
        ("tollgate:{1}:c", "9999999999999999999", Some("9999999999999")),
        ("tollgate:{1}:d", state, Some(&*far)),
    ] {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value);
        if let Some(end) = end {
            set.arg("PXAT").arg(end);
        }
        set.exec(&mut connection).unwrap();
    }
    let before = ends(&mut connection);
    slow(&replica, &beside_others(5, 200));
    replica.until("the keys are gone through", |_| walks_and_lengthened(&replica).0 == 1);
    assert_eq!(walks_and_lengthened(&replica), (1, 1));
    let (full, written) = full_and_written(&mut connection, &slowed);
    // Twenty times what was owed, and rounded up to a millisecond.
    let last = i64::try_from((written + 20 * (full - written)).div_ceil(1_000_000)).unwrap();
    for ((key, was), (same, is)) in before.into_iter().zip(ends(&mut connection)) {
        assert_eq!(key, same);
        assert_eq!(is, if key == slowed { last } else { was }, "{key}");
    }
    // A limit that is faster, or the same, slows none.
    slow(&replica, &beside_others(5, 300));
    slow(&replica, &beside_others(50, 300));
    assert!(replica.ask(&call(&[("k", "2")])).is_ok());
    slow(&replica, &beside_others(50, 100));
    replica.until("the keys are gone through", |_| walks_and_lengthened(&replica).0 == 2);
    assert_eq!(redis.calls_of("scan"), 2);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn of_replicas_that_reload_one_after_the_other_each_keeps_what_it_wrote_before() {
    let redis = Redis::start();
    let replicas = [(); 2].map(|()| Replica::serve(&redis, &hourly(100), time(&redis)));
    let [first, last] = &replicas;
    let mut connection = redis.connect();
    let ten = |replica: &Replica, key| {
        assert!(replica.ask(&request("d", &[hits(10, &[("k", key)])])).is_ok());
    };
    ten(first, "1");
    slow(first, &hourly(5));
    first.until("the keys are gone through", |_| walks_and_lengthened(first).0 == 1);
    // The other one does not know the slower limit yet.
    ten(last, "2");
    let lives = |connection: &mut Connection| {
        let now = i64::try_from(time(&redis).as_unix_nanos() / 1_000_000).unwrap();
        let mut lives: Vec<_> =
            ends(connection).into_iter().map(|(_, end)| (end - now + 30_000) / 60_000).collect();
        lives.sort_unstable();
        lives
    };
    // Ten of a hundred an hour take six minutes; of five an hour, two hours.
    assert_eq!(lives(&mut connection), [6, 120]);
    slow(last, &hourly(5));
    last.until("the keys are gone through", |_| walks_and_lengthened(last).0 == 1);
    assert_eq!(lives(&mut connection), [120, 120]);
    assert_eq!([first, last].map(|replica| walks_and_lengthened(replica).1), [1, 1]);
    // What it owes is owed to both.
    for replica in &replicas {
        assert_eq!(replica.ask(&request("d", &[hits(0, &[("k", "2")])])).remaining(), [90]);
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn it_begins_again_when_the_connection_is_lost_or_the_policy_changes_meanwhile() {
    let redis = Redis::start();
    // One of many goes through the keys slowly.
    let many = NonZeroU32::new(100).unwrap();
    let (policy, timeout) = (beside_others(100, 200), Duration::from_millis(500));
    let replica = Replica::one_of(many, &redis.url(), &policy, time(&redis), timeout);
    for number in 0..150 {
        let key = format!("key-{number}");
        assert!(replica.ask(&call(&[("k", &key), ("other", &key)])).is_ok());
    }
    slow(&replica, &beside_others(5, 200));
    replica.until("keys are found", |_| walks_and_lengthened(&replica).1 > 0);
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(walks_and_lengthened(&replica).0, 0, "it is at it");
    replica.until("the keys are gone through", |_| walks_and_lengthened(&replica).0 == 1);
    assert_eq!(walks_and_lengthened(&replica), (1, 150));
    slow(&replica, &beside_others(5, 20));
    replica.until("keys are found", |_| walks_and_lengthened(&replica).1 > 150);
    slow(&replica, &beside_others(1, 20));
    assert_eq!(walks_and_lengthened(&replica).0, 1, "it is at it");
    replica.until("the keys are gone through", |_| walks_and_lengthened(&replica).0 == 2);
    // Those of the limit that the replaced policy slowed, and those of the other one again.
    assert_eq!(walks_and_lengthened(&replica), (2, 450));
    let mut connection = redis.connect();
    for (key, end) in ends(&mut connection) {
        let (full, written) = full_and_written(&mut connection, &key);
        let factor = if full - written == 36_000_000_000 { 100 } else { 10 };
        let last = (written + factor * (full - written)).div_ceil(1_000_000);
        assert_eq!(end, i64::try_from(last).unwrap(), "{key}");
    }
}

#[test]
fn a_store_that_is_away_for_minutes_is_given_up_until_the_next_reload() {
    let url = format!("redis://{}", redis_server::free_address());
    let (store, telemetry) = store_at(&url);
    let counters = telemetry.shared_store();
    // Time passes while everyone waits.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let reloads = Reloads::begin(&beside_others(100, 200));
    reloads.replace(&beside_others(5, 200), START.after(Nanos::new(1)));
    runtime.block_on(walk_during(&store, &reloads, async {
        let begun = tokio::time::Instant::now();
        until(|| counters.walks_failed.get() == 1).await;
        let took = begun.elapsed();
        assert!((120..720).contains(&took.as_secs()), "{took:?}");
        // It is tried again only when a policy comes into force.
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(counters.walks_failed.get(), 1);
        reloads.replace(&beside_others(5, 250), START.after(Nanos::new(2)));
        until(|| counters.walks_failed.get() == 2).await;
    }));
    assert_eq!((counters.walks_finished.get(), counters.walks_refused.get()), (0, 0));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn on_a_cluster_and_without_functions_the_keys_of_every_server_end_later() {
    let without = ["--rename-command", "FUNCTION", ""];
    for more in [&[][..], &without] {
        let servers = cluster::with(more);
        let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
        let replica = Tollgate::start(&hourly(100), &["--store", &seeds]);
        let mut client = replica.client();
        for number in 0..60 {
            assert!(client.ask(call(&[("k", &format!("key-{number}"))])).is_ok());
        }
        replica.reload(&hourly(5));
        let finished = "tollgate_shared_store_walks_total{outcome=\"finished\"}";
        super::support::eventually("the keys are gone through", || replica.metric(finished) == 1);
        assert_eq!(replica.metric("tollgate_shared_store_lengthened_keys_total"), 60);
        for server in &servers {
            let mut connection = server.connect();
            let now = i64::try_from(time(server).as_unix_nanos() / 1_000_000).unwrap();
            let ends = ends(&mut connection);
            assert!(!ends.is_empty(), "all are on other servers");
            // A token is owed, which came in 36 seconds, and comes in 720.
            assert!(ends.iter().all(|(_, end)| *end > now + 600_000), "{ends:?}");
        }
        let log = replica.log();
        assert!(log.contains("kept for longer") && log.contains("\"lengthened\":60"), "{log}");
    }
}

/// The script itself, where a state is another one than was seen.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_state_that_is_another_by_now_is_left_alone() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let now = time(&redis).as_unix_nanos();
    let mut lengthened = |state: &str, interval, slowest| -> i64 {
        redis::cmd("SET")
            .arg("key")
            .arg(state)
            .arg("PX")
            .arg(1_000_000)
            .exec(&mut connection)
            .unwrap();
        let call = script::lengthen(b"key", Nanos::new(interval), Nanos::new(slowest));
        let text = script::Function::Lengthen.script();
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(call.key_count());
        call.parts().for_each(|part| {
            command.arg(part);
        });
        let is_longer: i64 = command.query(&mut connection).unwrap();
        let left: i64 = redis::cmd("PTTL").arg("key").query(&mut connection).unwrap();
        assert_eq!(is_longer, i64::from(left > 1_000_000), "{state}");
        left
    };
    let hour = 3_600_000_000_000;
    let state = format!("{} {hour} 1000", now + hour);
    assert!(lengthened(&state, 1_000, 2_000) > 7_100_000);
    assert!(lengthened(&state, 999, 2_000) <= 1_000_000, "another interval");
    assert!(lengthened(&state, 1_000, 1_001) > 3_500_000);
    let repaid = format!("{} {hour} 1000", now - 2 * hour);
    assert!(lengthened(&repaid, 1_000, 1_001) <= 1_000_000, "it was repaid by then");
    for other in ["", "1", &format!("{} {hour}", now + hour), "2\n1 tollgate:{1}:0"] {
        assert!(lengthened(other, 1_000, 2_000) <= 1_000_000, "{other}");
    }
    // The longest time that a bucket may take to fill.
    let most = u64::MAX / 4;
    let state = format!("{} {most} 1000", now + most);
    let left = lengthened(&state, 1_000, u64::MAX);
    assert!(left / 1_000 <= i64::try_from(most / 1_000_000_000).unwrap() + 1, "{left}");
}
