//! Time is the store's, whatever the replicas' own clocks say; and what a denial that is remembered gives way to.

use tollgate::clock::{Nanos, Timestamp};

use super::local::Replica;
use super::redis_server::Redis;
use super::support::{call, give_back, hits, request};

const DAILY: &str = "domain: d
headers: epoch
tables: [{ name: t, key: [k], rows: { all: [{ per_day: 60 }] } }]
";
const JOBS: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ per_day: 2 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
";

fn time(redis: &Redis) -> Timestamp {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut redis.connect()).unwrap();
    Timestamp::from_unix_nanos((seconds * 1_000_000 + micros) * 1_000)
}

fn minutes(count: u64) -> Nanos {
    Nanos::from_secs(60 * count)
}

/// Whoever does not ask does not notice that the store is gone.
fn notice(replica: &Replica) {
    assert!(replica.ask(&call(&[("k", "whatever")])).is_ok());
    replica.until("it is away", |service| service.core().is_degraded());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn replicas_whose_clocks_are_minutes_apart_share_one_budget_in_the_stores_time() {
    let redis = Redis::start();
    let begun = time(&redis);
    let clocks =
        [begun.before(minutes(10)), begun, begun.after(minutes(7)), begun.after(minutes(999))];
    let replicas = clocks.map(|at| Replica::start(&redis, DAILY, at));
    let mut resets = Vec::new();
    let mut admitted = 0;
    for _ in 0..20 {
        for replica in &replicas {
            let answer = replica.ask(&call(&[("k", "1")]));
            admitted += u32::from(answer.is_ok());
            resets.push((answer.is_ok(), answer.number("x-ratelimit-reset")));
        }
    }
    assert_eq!(admitted, 60, "one budget");
    // A token comes each 24 minutes; the bucket is full 24 minutes after the beginning for each that was taken.
    let taken = |count: u64| begun.after(minutes(24).times(count)).as_unix_secs_ceil();
    let took = time(&redis).since(begun).as_secs_ceil();
    for (at, (is_ok, reset)) in (1..).zip(&resets) {
        let expected = taken(at.min(60));
        assert!((expected..=expected + took).contains(reset), "{at}: {reset}, {expected}");
        assert_eq!(*is_ok, at <= 60);
    }
    // Of five denials each is told one by the store, but for whom it told that the last token is gone.
    let counts = replicas.each_ref().map(Replica::remembered_and_local);
    assert_eq!(counts, [(4, 0), (4, 0), (4, 0), (5, 0)]);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_remembered_denial_ends_with_the_stores_time_and_not_before() {
    let redis = Redis::start();
    let ahead = time(&redis).after(minutes(10));
    // A token comes each eight seconds.
    let policy = DAILY.replace("per_day: 60", "size: 60, rate: 60, every: 8m");
    let replica = Replica::start(&redis, &policy, ahead);
    assert!(replica.ask(&request("d", &[hits(60, &[("k", "1")])])).is_ok());
    (0..2).for_each(|_| assert!(!replica.ask(&call(&[("k", "1")])).is_ok()));
    assert_eq!(replica.remembered_and_local().0, 2);
    let before = redis.calls_of("fcall");
    replica.clock.advance(Nanos::from_secs(7));
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok());
    assert_eq!(redis.calls_of("fcall"), before, "it is not over yet");
    replica.clock.advance(Nanos::from_secs(1));
    // By the store's time it is not: whoever comes early is denied there.
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok());
    assert_eq!(redis.calls_of("fcall"), before + 1);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_denial_is_remembered_for_ten_seconds_and_goes_when_the_key_does() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, DAILY, time(&redis));
    let denied = || !replica.ask(&call(&[("k", "1")])).is_ok();
    assert!(replica.ask(&request("d", &[hits(60, &[("k", "1")])])).is_ok());
    assert!(denied());
    let before = redis.calls_of("fcall");
    for _ in 0..3 {
        replica.clock.advance(Nanos::from_secs(10).minus(Nanos::new(1)));
        assert!(denied() && denied(), "it is remembered");
        replica.clock.advance(Nanos::new(1));
        assert!(denied() && denied(), "the store says so again");
    }
    assert_eq!(redis.calls_of("fcall"), before + 3);
    redis.command(&["FLUSHALL"]);
    assert!(denied(), "who is not asked cannot say so");
    replica.clock.advance(Nanos::from_secs(10));
    assert_eq!(replica.ask(&call(&[("k", "1")])).remaining(), [59]);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_debt_of_a_clock_that_was_ahead_is_no_longer_here_either() {
    let mut redis = Redis::start();
    let policy = DAILY.replace("per_day: 60", "per_minute: 1");
    let replica = Replica::start(&redis, &policy, time(&redis));
    assert!(replica.ask(&call(&[("k", "1")])).is_ok());
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connect()).unwrap();
    let [key] = &*keys else { panic!("{keys:?}") };
    let year = Nanos::from_secs(365 * 86_400);
    let ahead = time(&redis).after(year).as_unix_nanos();
    redis.command(&["SET", key, &format!("{ahead} 60000000000")]);
    replica.clock.advance(Nanos::from_secs(10));
    let answer = replica.ask(&call(&[("k", "1")]));
    let reset = answer.number("x-ratelimit-reset");
    assert!(!answer.is_ok() && reset <= time(&redis).as_unix_secs_ceil() + 60, "{answer:?}");
    let near = replica.service.recent_buckets();
    assert_eq!(near.len(), 1);
    assert!(near[0].outcome.reset <= Nanos::from_secs(60), "{near:?}");
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok(), "it is remembered");
    redis.kill();
    notice(&replica);
    replica.clock.advance(Nanos::from_secs(59));
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok(), "and owed without the store");
    replica.clock.advance(Nanos::from_secs(1));
    assert!(replica.ask(&call(&[("k", "1")])).is_ok());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_owed_without_the_store_is_not_changed_by_learning_its_time() {
    for (case, ahead, behind) in
        [("ahead", minutes(10), Nanos::ZERO), ("behind", Nanos::ZERO, minutes(10))]
    {
        let mut redis = Redis::start();
        let begun = time(&redis).after(ahead).before(behind);
        redis.kill();
        let policy = DAILY.replace("per_day: 60", "per_minute: 1");
        let replica = Replica::start(&redis, &policy, begun);
        assert!(replica.ask(&call(&[("k", "1")])).is_ok());
        assert!(!replica.ask(&call(&[("k", "1")])).is_ok());
        redis.spawn();
        replica.until("it is back", |service| !service.core().is_degraded());
        assert!(replica.ask(&call(&[("k", "another")])).is_ok());
        assert_eq!(replica.remembered_and_local().1, 2, "the store's time is known");
        redis.kill();
        notice(&replica);
        replica.clock.advance(Nanos::from_secs(59));
        assert!(!replica.ask(&call(&[("k", "1")])).is_ok(), "{case}: a second is missing");
        replica.clock.advance(Nanos::from_secs(1));
        assert!(replica.ask(&call(&[("k", "1")])).is_ok(), "{case}: a minute is over");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_the_store_was_seen_to_owe_is_owed_without_it_whatever_the_clocks_say() {
    let mut redis = Redis::start();
    let policy = DAILY.replace("per_day: 60", "per_minute: 1");
    let clocks = [time(&redis).before(minutes(10)), time(&redis).after(minutes(10))];
    let replicas = clocks.map(|at| Replica::start(&redis, &policy, at));
    let keys = ["1", "2"];
    for (replica, key) in replicas.iter().zip(keys) {
        assert!(replica.ask(&call(&[("k", key)])).is_ok());
    }
    redis.kill();
    for (replica, key) in replicas.iter().zip(keys) {
        notice(replica);
        replica.clock.advance(Nanos::from_secs(50));
        assert!(!replica.ask(&call(&[("k", key)])).is_ok());
        assert_eq!(replica.remembered_and_local(), (0, 2));
        replica.clock.advance(Nanos::from_secs(10));
        assert!(replica.ask(&call(&[("k", key)])).is_ok());
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_limit_that_is_raised_by_a_reload_counts_at_once_and_one_that_is_lowered_too() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, DAILY, time(&redis));
    assert!(replica.ask(&request("d", &[hits(60, &[("k", "1")])])).is_ok());
    (0..3).for_each(|_| assert!(!replica.ask(&call(&[("k", "1")])).is_ok()));
    let (remembered, _) = replica.remembered_and_local();
    assert_eq!(remembered, 3, "denials were not remembered");
    // A day is owed of a bucket that fills in a day, and is empty whatever its size. A longer one is not.
    let raised = |buckets: &str| DAILY.replace("{ per_day: 60 }", buckets);
    replica.reload(&raised("{ size: 120, rate: 60, every: 1d }"));
    let answer = replica.ask(&call(&[("k", "1")]));
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(answer.remaining(), [59]);
    assert_eq!(replica.remembered_and_local(), (3, 0));
    replica.reload(DAILY);
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok());
    assert_eq!(replica.remembered_and_local(), (4, 0));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_given_back_ends_a_remembered_denial() {
    let redis = Redis::start();
    let replica = Replica::start(&redis, DAILY, time(&redis));
    assert!(replica.ask(&request("d", &[hits(60, &[("k", "1")])])).is_ok());
    (0..3).for_each(|_| assert!(!replica.ask(&call(&[("k", "1")])).is_ok()));
    replica.ask(&request("d", &[give_back(2, &[("k", "1")])]));
    (0..2).for_each(|_| assert!(replica.ask(&call(&[("k", "1")])).is_ok()));
    assert!(!replica.ask(&call(&[("k", "1")])).is_ok());
    assert_eq!(replica.remembered_and_local(), (4, 0));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_slot_that_another_replica_frees_is_had_at_once() {
    let redis = Redis::start();
    let [one, other] = [(); 2].map(|()| Replica::start(&redis, JOBS, time(&redis)));
    let taken = one.ask(&call(&[("k", "1"), ("job", "7")]));
    let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(one.ask(&call(&[("k", "2"), ("job", "7")])).denied_by().0, "jobs");
    }
    other.ask(&request("d", &[give_back(1, &[("lease", &lease)])]));
    let again = one.ask(&call(&[("k", "2"), ("job", "7")]));
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(one.remembered_and_local(), (0, 0));
}
