//! Admissions that are charged in the store ahead of the requests, by real tollgates on a real store.

use std::time::{Duration, Instant};

use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{call, eventually};

/// Long enough that no test meets its end, and that the demand of a slow machine is seen.
const LONG: &[&str] = &["--store-prepaid", "10s"];

pub(super) fn policy(bucket: &str, more: &str) -> String {
    format!("domain: d\n{more}tables: [{{ name: t, key: [k], rows: {{ all: [{bucket}] }} }}]\n")
}

pub(super) fn replica(redis: &Redis, policy: &str, more: &[&str]) -> Tollgate {
    let url = redis.url();
    Tollgate::start(policy, &[&["--store", &url][..], more].concat())
}

pub(super) fn prepaid(replica: &Tollgate, event: &str) -> u64 {
    let name = format!("tollgate_shared_store_prepaid_admissions_total{{event=\"{event}\"}}");
    replica.metric(&name)
}

/// What is left of the bucket in the store, as another replica that asks for each call is told.
fn left(redis: &Redis, policy: &str) -> u32 {
    let other = replica(redis, policy, &["--store-prepaid", "off"]);
    let mut look = call(&[("k", "1")]);
    look.descriptors[0].hits_addend = Some(0);
    other.client().ask(look).remaining()[0]
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_hot_plan_seldom_asks_and_its_client_is_told_of_each_call() {
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "");
    let one = replica(&redis, &policy, LONG);
    let mut client = one.client();
    let before = redis.calls_of("fcall");
    for call_number in 1..=2_000 {
        let answer = client.ask(call(&[("k", "1")]));
        assert!(answer.is_ok());
        assert_eq!(answer.remaining(), [100_000 - call_number], "call {call_number}");
    }
    let asked = redis.calls_of("fcall") - before;
    assert!(asked <= 40, "{asked} questions for 2,000 calls");
    let (charged, spent) = (prepaid(&one, "charged"), prepaid(&one, "spent"));
    assert!(spent >= 1_960 && charged >= spent, "{charged} charged, {spent} spent");
    // What is prepaid is missing in the store, and no more than that.
    assert_eq!(u64::from(left(&redis, &policy)), 100_000 - 2_000 - (charged - spent));
}

/// Grants, what is given back, and questions of single requests overtake each other on the connections of several threads.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_left_never_increases_for_clients_that_spend_at_the_same_time() {
    const CLIENTS: u32 = 6;
    const CALLS: u32 = 1_500;
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "store_prepaid: 20ms\n");
    let one = replica(&redis, &policy, &["--workers", "2"]);
    let spend = || {
        let (mut client, mut last) = (one.client(), 100_000);
        for number in 0..CALLS {
            let left = client.ask(call(&[("k", "1")])).remaining()[0];
            assert!(left <= last, "{left} are left after {last}, call {number}");
            last = left;
        }
    };
    std::thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(spend))));
    eventually("all is spent or given back", || {
        let [charged, spent, given_back] =
            ["charged", "spent", "given_back"].map(|event| prepaid(&one, event));
        charged > 0 && charged == spent + given_back
    });
    assert_eq!(left(&redis, &policy), 100_000 - CLIENTS * CALLS);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_not_spent_is_given_back() {
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "store_prepaid: 500ms\n");
    let one = replica(&redis, &policy, &[]);
    eventually("some are prepaid", || {
        assert!(one.client().ask(call(&[("k", "1")])).is_ok());
        prepaid(&one, "charged") > prepaid(&one, "spent")
    });
    eventually("they are given back", || {
        let [charged, spent, given_back] =
            ["charged", "spent", "given_back"].map(|event| prepaid(&one, event));
        charged == spent + given_back
    });
    assert!(prepaid(&one, "given_back") > 0 && prepaid(&one, "lost") == 0);
    let admitted = one.metric("tollgate_requests_total{domain=\"d\",code=\"ok\"}");
    assert_eq!(u64::from(left(&redis, &policy)), 100_000 - admitted);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_store_that_goes_away_leaves_what_is_prepaid() {
    let mut redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "on_store_error: deny\n");
    let one = replica(&redis, &policy, LONG);
    let mut client = one.client();
    (0..200).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    redis.kill();
    let there = prepaid(&one, "charged") - prepaid(&one, "spent");
    assert!(there > 20, "{there} are there");
    let honoured = (0..there).filter(|_| client.ask(call(&[("k", "1")])).is_ok()).count();
    assert_eq!(u64::try_from(honoured).unwrap(), there);
    assert!(!client.ask(call(&[("k", "1")])).is_ok(), "none is left, and the policy denies");
    redis.spawn();
    eventually("the store is back", || one.client().ask(call(&[("k", "1")])).is_ok());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_lowered_limit_and_a_reset_are_in_force_at_once_where_they_are_told() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-sixteen-letters").unwrap();
    let (large, small) =
        (policy("{ size: 100000, per_day: 10 }", ""), policy("{ per_day: 5 }", ""));
    let flags = [LONG, &["--admin-token-file", token.to_str().unwrap()]].concat();
    let one = replica(&redis, &large, &flags);
    let mut client = one.client();
    (0..200).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    assert!(prepaid(&one, "charged") > prepaid(&one, "spent"));
    let body = r#"{"domain":"d","table":"t","key":[["k","1"]]}"#;
    let told = one.post("/reset", "a-token-of-sixteen-letters", body);
    assert!(told.contains("\"reset\":1"), "{told}");
    assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [99_999]);
    (0..200).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    one.reload(&small);
    assert!(!client.ask(call(&[("k", "1")])).is_ok(), "201 of 5 are used");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_replica_that_is_killed_loses_no_more_than_it_had_prepaid() {
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "");
    let one = replica(&redis, &policy, LONG);
    let mut client = one.client();
    (0..500).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    let there = prepaid(&one, "charged") - prepaid(&one, "spent");
    drop(one); // SIGKILL
    assert_eq!(u64::from(left(&redis, &policy)), 100_000 - 500 - there);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_replica_that_ends_gives_back_what_it_has_not_spent_with_few_questions() {
    const KEYS: u32 = 100;
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "");
    let mut one = replica(&redis, &policy, &[LONG, &["--drain-delay", "0s"]].concat());
    let keys: Vec<_> = (0..KEYS).map(|key| key.to_string()).collect();
    let mut client = one.client();
    for key in (0..20).flat_map(|_| &keys) {
        assert!(client.ask(call(&[("k", key)])).is_ok());
    }
    drop(client);
    assert!(prepaid(&one, "charged") - prepaid(&one, "spent") > u64::from(KEYS));
    let before = redis.calls_of("fcall");
    one.end();
    let asked = redis.calls_of("fcall") - before;
    assert!(asked <= 8, "{asked} questions gave back the admissions of {KEYS} plans");
    assert!(!one.log().contains("exiting before"), "{}", one.log());
    let other = replica(&redis, &policy, &["--store-prepaid", "off"]);
    let mut client = other.client();
    for key in &keys {
        let mut look = call(&[("k", key)]);
        look.descriptors[0].hits_addend = Some(0);
        assert_eq!(client.ask(look).remaining(), [100_000 - 20], "key {key}");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_replica_that_ends_does_not_wait_for_a_store_that_hangs() {
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "");
    let mut one = replica(&redis, &policy, &[LONG, &["--drain-delay", "0s"]].concat());
    let mut client = one.client();
    (0..200).for_each(|_| assert!(client.ask(call(&[("k", "1")])).is_ok()));
    drop(client);
    assert!(prepaid(&one, "charged") > prepaid(&one, "spent"));
    redis.stop();
    one.end();
    let what = "exiting before all prepaid admissions are given back";
    eventually("it says what is lost", || one.log().contains(what));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn replicas_learn_how_many_they_are() {
    let redis = Redis::start();
    let policy = policy("{ size: 100000, per_day: 10 }", "");
    let mut all: Vec<_> = (0..3).map(|_| replica(&redis, &policy, &[])).collect();
    let count = |replica: &Tollgate| replica.metric("tollgate_shared_store_replicas");
    for replica in &all {
        assert!(replica.client().ask(call(&[("k", "1")])).is_ok());
    }
    eventually("all know", || all.iter().all(|replica| count(replica) == 3));
    drop(all.pop());
    eventually("the others know that it is gone", || all.iter().all(|one| count(one) == 2));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_no_plain_charge_is_asked_for_call_by_call() {
    let redis = Redis::start();
    let policy = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ size: 100000, per_day: 10 }] } }
  - { name: slots, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 9000, ttl: 1h }] } }
";
    let one = replica(&redis, policy, LONG);
    let mut client = one.client();
    let mut look = call(&[("k", "1")]);
    look.descriptors[0].hits_addend = Some(0);
    let mut returned = call(&[("k", "1")]);
    returned.descriptors[0].is_negative_hits = true;
    for _ in 0..50 {
        assert!(client.ask(look.clone()).is_ok());
        assert!(client.ask(returned.clone()).is_ok());
        assert!(client.ask(call(&[("k", "1"), ("job", "1")])).is_ok());
    }
    assert_eq!(prepaid(&one, "charged"), 0);
}

/// Windows of descriptor trees count every hit; what is prepaid of them is counted all or none.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn windows_are_prepaid_within_their_limits_and_count_beyond_them_as_ever() {
    let redis = Redis::start();
    let tree = |limit: u32| {
        format!(
            "domain: d\ndescriptors: [{{ key: k, rate_limit: {{ unit: year, requests_per_unit: {limit} }} }}]\n"
        )
    };
    let one = replica(&redis, &tree(1_000), LONG);
    let mut client = one.client();
    for number in 1..=1_000 {
        let answer = client.ask(call(&[("k", "1")]));
        assert!(answer.is_ok(), "call {number}");
        assert_eq!(answer.remaining(), [1_000 - number], "call {number}");
    }
    assert!(!client.ask(call(&[("k", "1")])).is_ok());
    let (charged, spent) = (prepaid(&one, "charged"), prepaid(&one, "spent"));
    assert!(spent > 500 && charged == spent, "{charged} charged, {spent} spent");
    // Beyond its limit, the window goes on counting.
    let other = replica(&redis, &tree(1_003), &["--store-prepaid", "off"]);
    assert_eq!(other.client().ask(call(&[("k", "1")])).remaining(), [1]);
}

/// One call of the race: when it was sent, and when its admission was there.
pub(super) type Admitted = (Instant, Instant);

/// The most by which the admissions within any time t exceed size + rate x (t + ahead). An admission that was sent after
/// the beginning of a time and was there before its end fell within it.
pub(super) fn worst_excess(mut all: Vec<Admitted>, size: f64, rate: f64, ahead: Duration) -> f64 {
    all.sort_unstable_by_key(|(_, there)| *there);
    let mut worst = f64::MIN;
    for (begin, _) in &all {
        let within = all.iter().filter(|(sent, _)| sent >= begin);
        for ((_, end), count) in within.zip(1_u32..) {
            let time = end.duration_since(*begin) + ahead;
            worst = worst.max(f64::from(count) - size - rate * time.as_secs_f64());
        }
    }
    worst
}

mod wall_clock {
    use super::*;

    /// Four processes on one store, at several times the budget, for two seconds.
    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn four_replicas_at_many_times_the_budget_admit_it_and_no_more() {
        const SPAN: Duration = Duration::from_millis(100);
        let (size, rate) = (400.0, 400.0);
        let redis = Redis::start();
        let policy = policy("{ per_second: 400 }", "");
        let replicas: Vec<_> = (0..4).map(|_| replica(&redis, &policy, &[])).collect();
        let begun = Instant::now();
        let hammer = |replica: &Tollgate| {
            let (mut client, mut admitted, mut calls) = (replica.client(), Vec::new(), 0_u32);
            while begun.elapsed() < Duration::from_secs(2) && calls < 50_000 {
                let sent = Instant::now();
                calls += 1;
                if client.ask(call(&[("k", "1")])).is_ok() {
                    admitted.push((sent, Instant::now()));
                }
            }
            (admitted, calls)
        };
        let told: Vec<(Vec<Admitted>, u32)> = std::thread::scope(|scope| {
            let all: Vec<_> =
                replicas.iter().map(|replica| scope.spawn(move || hammer(replica))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let took = begun.elapsed().as_secs_f64();
        let calls: u32 = told.iter().map(|(_, calls)| calls).sum();
        let admitted: Vec<Admitted> = told.into_iter().flat_map(|(admitted, _)| admitted).collect();
        let count = f64::from(u32::try_from(admitted.len()).unwrap());
        let excess = worst_excess(admitted, size, rate, SPAN);
        let spent: u64 = replicas.iter().map(|replica| prepaid(replica, "spent")).sum();
        eprintln!("{calls} calls, {count} admitted, {spent} of them prepaid, excess {excess:.1}");
        assert!(spent > 0, "nothing was prepaid");
        assert!(excess <= 0.0, "{excess} more than the bound");
        // Nobody was denied wrongly: all of the budget was used, to within 0.5 % of the calls.
        if f64::from(calls) > 2.0 * (size + rate * took) {
            assert!(count >= size + rate * took - 0.005 * f64::from(calls) - 2.0, "{count}");
        }
    }
}
