//! One contract, two stores: whatever is asked, at whatever time, memory and Redis answer the same.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use tollgate::clock::{Nanos, Timestamp};
use tollgate::config;
use tollgate::descriptor::{LeaseId, Query};
use tollgate::live::ActivePolicies;
use tollgate::observe::telemetry::Telemetry;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy::{Policies, Policy};
use tollgate::store::{Admission, MemoryStore, Outcome, Wait};
use tollgate::wire::{self, RateLimitRequest};

use super::local::Replica;
use super::redis_server::Redis;
use super::stores::{Scripted, Store};
use super::support::{call, compiled, descriptor, give_back, hits, request, source};

/// 2100-01-01T00:00:00Z: what is kept until a time after that does not expire while the test runs.
pub const START: Timestamp = Timestamp::from_unix_nanos(4_102_444_800_000_000_000);

const POLICY: &str = "domain: d
tables:
  - { name: fast, key: [tenant], rows: { all: [{ per_second: 4 }, { size: 50, rate: 6, every: 1m }] } }
  - { name: address, key: [remote_address], rows: { all: [{ per_minute: 40 }] } }
  - { name: maybe, key: [tenant], shadow: true, rows: { all: [{ per_minute: 5 }, { per_hour: 9 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 3, ttl: 90s }] } }
  - { name: tried, when: { job: { present: true } }, key: [job], shadow: true, rows: { all: [{ concurrent: 1, ttl: 1h }] } }
  - { name: spent, charge: always, most_owed: 30, key: [tenant], rows: { all: [{ per_minute: 12 }] } }
  - { name: metered, charge: always, shadow: true, key: [job], rows: { all: [{ per_second: 2 }, { per_hour: 20 }] } }
  - { name: tried too, when: { job: b }, key: [job], shadow: true, rows: { all: blocked } }
overrides:
  - { table: fast, row: always, when: { tenant: big }, buckets: [{ per_second: 100 }] }
  - { table: address, when: { remote_address: 10.0.0.3 }, until: 2100-01-01T00:05:00Z, buckets: blocked }
  - { table: spent, when: { tenant: big }, buckets: [{ size: 100, per_minute: 60 }] }
  - { table: jobs, when: { tenant: banned }, buckets: blocked }
";

/// Buckets of [`POLICY`] and what a reload makes of them: with intervals that 32 bits hold exactly, as memory keeps them.
const REPLACED: [[&str; 2]; 6] = [
    ["", ""],
    ["per_second: 4", "per_second: 1"],
    ["per_second: 4", "size: 9, per_second: 8"],
    ["size: 50, rate: 6, every: 1m", "size: 20, rate: 60, every: 1m"],
    ["per_minute: 40", "per_minute: 10"],
    ["per_minute: 12", "per_minute: 60"],
];

fn policies(text: &str) -> Policies {
    config::compile(&source(text), FingerprintKey::shared()).unwrap()
}

fn decide(
    store: &mut dyn Store,
    policies: &Policies,
    asked: &RateLimitRequest,
    now: Timestamp,
) -> (Admission, Vec<Outcome>) {
    decide_by(store, policies.get("d").unwrap(), asked, now)
}

fn decide_by(
    store: &mut dyn Store,
    policy: &Policy,
    asked: &RateLimitRequest,
    now: Timestamp,
) -> (Admission, Vec<Outcome>) {
    let message = asked.encode_to_vec();
    let mut query = Query::default();
    wire::decode_into(&message, &mut query).unwrap();
    let plan = policy.resolve(&query, now);
    let (admission, outcomes) = store.decide(&plan, now);
    (admission, outcomes.to_vec())
}

/// A store of either kind, and a test that both have to pass.
fn both(test: impl Fn(&mut dyn Store)) {
    test(&mut MemoryStore::new(10_000));
    test(&mut Scripted::new(&Redis::start()));
}

fn lease(admission: Admission) -> LeaseId {
    match admission {
        Admission::Admitted { lease: Some(lease) } => lease,
        other => panic!("{other:?} holds no lease"),
    }
}

pub const ADMITTED: Admission = Admission::Admitted { lease: None };

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn all_buckets_are_charged_or_none() {
    both(|store| {
        let policies = policies(
            "domain: d
tables:
  - { name: one, key: [a], rows: { all: [{ per_day: 2 }] } }
  - { name: two, key: [b], rows: { all: [{ per_day: 3 }] } }",
        );
        let mut ask = |a, b| decide(store, &policies, &call(&[("a", a), ("b", b)]), START);
        assert_eq!(ask("x", "y").1.iter().map(|o| o.remaining).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(ask("x", "y").0, ADMITTED);
        let (admission, outcomes) = ask("x", "y");
        assert_eq!(admission, Admission::Denied);
        // The denying bucket is empty; the other one stands as it did.
        assert_eq!((outcomes[0].remaining, outcomes[1].remaining), (0, 1));
        assert_eq!(outcomes[0].wait, Wait::of(Nanos::from_secs(43_200)));
        assert_eq!(outcomes[0].reset, Nanos::from_secs(86_400));
        assert_eq!(outcomes[1].wait, Wait::NONE);
        assert_eq!(ask("z", "y").1[1].remaining, 0);
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn hits_are_looked_at_given_back_and_refused_where_they_are_too_many() {
    both(|store| {
        let policies =
            policies("domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 5 }] } }]");
        let k: &[(&str, &str)] = &[("k", "1")];
        let mut ask = |descriptor| decide(store, &policies, &request("d", &[descriptor]), START);
        assert_eq!(ask(hits(4, k)).1[0].remaining, 1);
        assert_eq!(ask(hits(0, k)).1[0].remaining, 1);
        for too_many in [6, 1_067_521, u64::from(u32::MAX), u64::MAX] {
            let (admission, outcomes) = ask(hits(too_many, k));
            assert_eq!((admission, outcomes[0].wait), (Admission::Denied, Wait::NEVER));
        }
        assert_eq!(ask(give_back(2, k)).1[0].remaining, 3);
        assert_eq!(ask(give_back(u64::MAX, k)).1[0].remaining, 5);
        assert_eq!(ask(hits(5, k)).0, ADMITTED);
        let (admission, outcomes) = ask(hits(0, k));
        assert_eq!((admission, outcomes[0].remaining), (Admission::Denied, 0));
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_lease_is_held_until_it_is_released_once_or_expires() {
    both(|store| {
        let policies = policies(
            "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ concurrent: 2, ttl: 60s }] } }]",
        );
        let ask = |store: &mut dyn Store, now| decide(store, &policies, &call(&[("k", "1")]), now);
        let second = |count| START.after(Nanos::from_secs(count));
        let first = lease(ask(store, START).0);
        let (admission, outcomes) = ask(store, second(10));
        let other = lease(admission);
        assert_ne!(first, other);
        assert_eq!((outcomes[0].remaining, outcomes[0].reset), (0, Nanos::from_secs(60)));
        let (admission, outcomes) = ask(store, second(20));
        assert_eq!(admission, Admission::Denied);
        assert_eq!(outcomes[0].wait, Wait::of(Nanos::from_secs(40)));
        assert!(store.release(first, second(20)));
        assert!(!store.release(first, second(20)), "a lease is released once");
        // Its slot goes to the next who asks.
        let next = lease(ask(store, second(21)).0);
        assert!(!store.release(other, second(70)), "it has expired");
        assert!(store.release(next, second(70)));
        assert_eq!(ask(store, second(70)).1[0].remaining, 1);
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_blocked_denies_and_leaves_all_others_as_they_stand() {
    both(|store| {
        let policies = policies(
            "domain: d
tables:
  - { name: t, select: kind, key: [k], rows: { banned: blocked, default: [{ per_day: 5 }] } }
  - { name: all, key: [], rows: { all: [{ per_day: 9 }] } }
  - { name: jobs, key: [k], rows: { all: [{ concurrent: 2, ttl: 60s }] } }",
        );
        let banned: &[(&str, &str)] = &[("k", "1"), ("kind", "banned")];
        let mut ask = |descriptor| decide(store, &policies, &request("d", &[descriptor]), START);
        lease(ask(hits(1, &[("k", "1")])).0);
        for count in [1, 0, 4, u64::MAX] {
            let (admission, outcomes) = ask(hits(count, banned));
            assert_eq!((admission, outcomes[0].wait), (Admission::Denied, Wait::NEVER));
            let left: Vec<_> = outcomes.iter().map(|outcome| outcome.remaining).collect();
            assert_eq!(left, [0, 8, 1], "{count}");
        }
        let (admission, outcomes) = ask(give_back(1, banned));
        assert_eq!((admission, outcomes[0].wait, outcomes[1].remaining), (ADMITTED, Wait::NONE, 9));
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_shadow_row_is_charged_whole_or_not_and_denies_nobody() {
    both(|store| {
        let policies = policies(
            "domain: d
tables: [{ name: t, shadow: true, key: [k], rows: { all: [{ per_day: 1 }, { per_hour: 5 }] } }]",
        );
        let mut ask = || decide(store, &policies, &call(&[("k", "1")]), START);
        assert_eq!(ask().0, ADMITTED);
        let (admission, outcomes) = ask();
        assert_eq!(admission, ADMITTED);
        assert_eq!((outcomes[0].remaining, outcomes[1].remaining), (0, 4));
        assert!(outcomes[0].wait != Wait::NONE && outcomes[1].wait == Wait::NONE);
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_changed_limit_applies_to_what_was_used() {
    both(|store| {
        let policy = |size: u32| {
            policies(&format!(
                "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: [{{ per_day: {size} }}] }} }}]
overrides: [{{ table: t, row: always, when: {{ k: big }}, buckets: [{{ per_day: 100 }}] }}]"
            ))
        };
        let asked = call(&[("k", "1")]);
        let before = policy(3);
        (0..3).for_each(|_| assert_eq!(decide(store, &before, &asked, START).0, ADMITTED));
        assert_eq!(decide(store, &policy(3), &asked, START).0, Admission::Denied);
        assert_eq!(decide(store, &policy(300), &asked, START).1[0].remaining, 296);
        let (admission, outcomes) = decide(store, &policy(2), &asked, START);
        // Four are owed of two: three have to be repaid, half a day each.
        let wait = Wait::of(Nanos::from_secs(3 * 43_200));
        assert_eq!(
            (admission, outcomes[0].remaining, outcomes[0].wait),
            (Admission::Denied, 0, wait)
        );
        let later = START.after(Nanos::from_secs(3 * 43_200));
        assert_eq!(decide(store, &policy(2), &asked, later).0, ADMITTED);
        assert_eq!(decide(store, &before, &call(&[("k", "big")]), START).1[0].remaining, 99);
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_a_finished_response_used_is_charged_whatever_is_left() {
    both(|store| {
        let policies = policies(
            "domain: d
tables:
  - { name: requests, key: [k], rows: { all: [{ per_day: 3 }] } }
  - { name: tokens, charge: always, most_owed: 4000, key: [user], rows: { all: [{ per_day: 1000 }] } }",
        );
        let user: &[(&str, &str)] = &[("user", "1")];
        let both: &[(&str, &str)] = &[("user", "1"), ("k", "1")];
        let mut tokens = |descriptor| {
            let (admission, outcomes) =
                decide(store, &policies, &request("d", &[descriptor]), START);
            let outcome = outcomes.last().unwrap();
            (admission == ADMITTED, outcome.remaining, outcome.wait, outcome.uncharged)
        };
        // A token takes 86.4 s.
        let wait = |tokens: u64| Wait::of(Nanos::new(86_400_000_000).times(tokens));
        assert_eq!(tokens(hits(500, user)), (true, 500, Wait::NONE, 0));
        assert_eq!(tokens(hits(3, both)), (true, 497, Wait::NONE, 0));
        // No request is left: what was used is charged.
        assert_eq!(tokens(hits(400, both)), (false, 97, Wait::NONE, 0));
        assert_eq!(tokens(give_back(3, both)), (true, 100, Wait::NONE, 0));
        assert_eq!(tokens(hits(500, user)), (true, 0, Wait::NONE, 0));
        assert_eq!(tokens(hits(0, user)), (false, 0, wait(401), 0));
        assert_eq!(tokens(hits(5000, user)), (false, 0, wait(4001), 1400));
        assert_eq!(tokens(hits(u64::MAX, user)), (false, 0, wait(4001), u32::MAX));
        assert_eq!(tokens(give_back(4000, user)), (true, 0, Wait::NONE, 0));
        assert_eq!(tokens(hits(0, user)), (false, 0, wait(1), 0));
        assert_eq!(tokens(give_back(u64::MAX, user)), (true, 1000, Wait::NONE, 0));
    });
}

/// Policies that come into force one after another.
pub struct Reloads(pub ActivePolicies);

impl Reloads {
    pub fn begin(text: &str) -> Self {
        let telemetry = Arc::new(Telemetry::new(Arc::new(MemoryStore::new(64))));
        let first = compiled(&source(text), FingerprintKey::shared());
        Self(ActivePolicies::new(first, telemetry, START))
    }

    pub fn replace(&self, text: &str, now: Timestamp) {
        self.0.replace(compiled(&source(text), FingerprintKey::shared()), now);
    }

    pub fn decide(
        &self,
        store: &mut dyn Store,
        asked: &RateLimitRequest,
        now: Timestamp,
    ) -> (Admission, Vec<Outcome>) {
        decide_by(store, &self.0.load().get("d").unwrap().policy, asked, now)
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_changed_limit_applies_from_the_reload_on_although_nobody_asks_then() {
    both(|store| {
        let policy = |rate: u32, end: &str| {
            format!(
                "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: [{{ per_hour: {rate} }}] }} }}]
overrides: [{{ table: t, when: {{ k: \"2\" }}, {end} buckets: [{{ per_hour: 100 }}] }}]"
            )
        };
        let minutes = |count: u64| START.after(Nanos::from_secs(60 * count));
        let reloads = Reloads::begin(&policy(60, ""));
        let asked = |key, count| request("d", &[hits(count, &[("k", key)])]);
        assert_eq!(reloads.decide(store, &asked("1", 60), START).0, ADMITTED);
        reloads.replace(&policy(120, ""), minutes(10));
        // Ten are repaid in ten minutes, and ten in five.
        assert_eq!(reloads.decide(store, &asked("1", 0), minutes(15)).1[0].remaining, 80);
        reloads.replace(&policy(10, "until: 2100-01-01T01:00:00Z,"), minutes(20));
        let (admission, outcomes) = reloads.decide(store, &asked("1", 1), minutes(26));
        // 30 are owed after twenty minutes, 29 after six more: 9 may be.
        assert_eq!(
            (admission, outcomes[0].wait),
            (Admission::Denied, Wait::of(Nanos::from_secs(20 * 360)))
        );
        assert_eq!(reloads.decide(store, &asked("2", 30), minutes(60 - 6)).0, ADMITTED);
        // The override has ended: 20 are owed then, and 19 after six minutes.
        let (admission, outcomes) = reloads.decide(store, &asked("2", 1), minutes(66));
        assert_eq!(
            (admission, outcomes[0].wait),
            (Admission::Denied, Wait::of(Nanos::from_secs(10 * 360)))
        );
    });
}

/// A hundred are used at a hundred an hour. Ten minutes later the override ends, and there are five an hour.
fn ending_override(end: Timestamp) -> String {
    let bucket = |rate: u32| format!("[{{ size: 100, per_hour: {rate} }}]");
    format!(
        "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: {} }} }}]
overrides: [{{ table: t, when: {{ k: \"1\" }}, until: {}, buckets: {} }}]",
        bucket(5),
        end.rfc3339(),
        bucket(100)
    )
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_key_is_kept_until_what_is_owed_at_the_end_of_an_override_is_repaid_at_the_slower_rate() {
    let redis = Redis::start();
    let mut store = Scripted::new(&redis);
    let seconds = |count: u64| START.after(Nanos::from_secs(count));
    let reloads = Reloads::begin(&ending_override(seconds(600)));
    let mut ends_after = |key, count, at| {
        redis::cmd("FLUSHALL").exec(&mut store.connection).unwrap();
        let asked = request("d", &[hits(count, &[("k", key)])]);
        assert_eq!(reloads.decide(&mut store, &asked, at).0, ADMITTED);
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut store.connection).unwrap();
        let ends: u64 =
            redis::cmd("PEXPIRETIME").arg(&keys[0]).query(&mut store.connection).unwrap();
        ends - at.as_unix_nanos() / 1_000_000
    };
    // 83 and a third are owed at the end, 720 s each.
    assert_eq!(ends_after("1", 100, START), (600 + 60_000) * 1_000);
    assert_eq!(ends_after("1", 16, START), 576_000, "it is full before");
    assert_eq!(ends_after("2", 16, START), 16 * 720_000, "it is another key");
    assert_eq!(ends_after("1", 16, seconds(600)), 16 * 720_000, "the override has ended");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_replica_tells_the_store_by_the_stores_clock_when_an_override_ends() {
    let redis = Redis::start();
    let replica =
        Replica::start(&redis, &ending_override(START.after(Nanos::from_secs(600))), START);
    // The store's clock is known once it has answered.
    for (key, count) in [("2", 1), ("1", 100)] {
        replica.ask(&request("d", &[hits(count, &[("k", key)])]));
    }
    let mut connection = redis.connect();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let lives: Vec<i64> = keys
        .iter()
        .map(|key| redis::cmd("PTTL").arg(key).query(&mut connection).unwrap())
        .collect();
    let most = lives.iter().max().unwrap();
    assert!((60_500_000..=60_610_000).contains(most), "{lives:?}");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_a_larger_bucket_gave_is_owed_by_a_smaller_one() {
    both(|store| {
        let policy = |size: u32| {
            policies(&format!(
                "domain: d
tables: [{{ name: t, key: [k], rows: {{ all: [{{ size: {size}, rate: 10, every: 10s }}] }} }}]"
            ))
        };
        let (large, small) = (policy(30), policy(10));
        let many = request("d", &[hits(25, &[("k", "1")])]);
        assert_eq!(decide(store, &large, &many, START).0, ADMITTED);
        let (admission, outcomes) = decide(store, &small, &call(&[("k", "1")]), START);
        assert_eq!(
            (admission, outcomes[0].wait),
            (Admission::Denied, Wait::of(Nanos::from_secs(16)))
        );
        let again = request("d", &[hits(6, &[("k", "1")])]);
        let (admission, outcomes) = decide(store, &large, &again, START);
        assert_eq!(
            (admission, outcomes[0].remaining),
            (Admission::Denied, 5),
            "it owes what it did"
        );
    });
}

/// What a server whose clock was ahead has written, as one finds it whose clock is right.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn nobody_waits_longer_for_a_clock_that_is_set_back_than_when_it_was_charged() {
    let redis = Redis::start();
    let policies =
        policies("domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_minute: 2 }] } }]");
    let two = request("d", &[hits(2, &[("k", "1")])]);
    let one = call(&[("k", "1")]);
    let seconds = |count| START.after(Nanos::from_secs(count));
    let written = |store: &mut Scripted, ahead: Nanos| {
        redis::cmd("FLUSHALL").exec(&mut store.connection).unwrap();
        assert_eq!(decide(store, &policies, &two, START.after(ahead)).0, ADMITTED);
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut store.connection).unwrap();
        keys[0].clone()
    };
    let judge = |store: &mut Scripted, what: &str| {
        // However often it is asked, that does not make it longer.
        for second in [0, 10, 29] {
            let (admission, outcomes) = decide(store, &policies, &one, seconds(second));
            assert_eq!(admission, Admission::Denied, "{what}, {second}");
            let wait = Nanos::from_secs(30 - second);
            assert_eq!(outcomes[0].wait, Wait::of(wait), "{what}, {second}");
        }
        assert_eq!(decide(store, &policies, &one, seconds(30)).0, ADMITTED, "{what}");
        let ended = decide(store, &policies, &one, seconds(30));
        assert_eq!((ended.0, ended.1[0].remaining), (Admission::Denied, 0), "{what}");
    };
    let mut store = Scripted::new(&redis);
    for ahead in [1_000, 3_600_000_000_000, 365 * 86_400_000_000_000].map(Nanos::new) {
        written(&mut store, ahead);
        judge(&mut store, &format!("{ahead} ahead"));
    }
    // What has been written without how much is owed owes no more than it can.
    for state in ["9999999999999999999", "99999999999999999999999999"] {
        let key = written(&mut store, Nanos::ZERO);
        redis::cmd("SET").arg(&key).arg(state).exec(&mut store.connection).unwrap();
        judge(&mut store, state);
        let ends: i64 = redis::cmd("PTTL").arg(&key).query(&mut store.connection).unwrap();
        assert!(ends > 0, "it has an end");
    }
    // Nor is more given back than was owed, and what is no state is none.
    written(&mut store, Nanos::from_secs(3_600));
    let back = request("d", &[give_back(1, &[("k", "1")])]);
    assert_eq!(decide(&mut store, &policies, &back, START).1[0].remaining, 1);
    let key = written(&mut store, Nanos::ZERO);
    redis::cmd("SET").arg(&key).arg("-5 or so").exec(&mut store.connection).unwrap();
    assert_eq!(decide(&mut store, &policies, &one, START).1[0].remaining, 1);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn no_key_is_left_without_an_end_and_each_ends_when_its_bucket_is_full() {
    let redis = Redis::start();
    let mut store = Scripted::new(&redis);
    let policies = policies(POLICY);
    let asked = call(&[("tenant", "acme"), ("remote_address", "10.0.0.1"), ("job", "7")]);
    let lease = lease(decide(&mut store, &policies, &asked, START).0);
    let mut connection = redis.connect();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert_eq!(keys.len(), 11, "{keys:?}");
    let start = i64::try_from(START.as_unix_nanos() / 1_000_000).unwrap();
    for key in &keys {
        let ends: i64 = redis::cmd("PEXPIRETIME").arg(key).query(&mut connection).unwrap();
        let kind: String = redis::cmd("TYPE").arg(key).query(&mut connection).unwrap();
        let expected = if kind == "zset" || key.contains("lease") {
            [90_000, 3_600_000].map(|hold| start + hold).contains(&ends)
        } else {
            let state: String = redis::cmd("GET").arg(key).query(&mut connection).unwrap();
            let [full, owed, _] = state.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{state}")
            };
            let state: u64 = full.parse().unwrap();
            assert_eq!(owed.parse(), Ok(state - START.as_unix_nanos()), "{key}");
            ends == i64::try_from(state.div_ceil(1_000_000)).unwrap() && ends > start
        };
        assert!(expected, "{key} of {kind} ends at {ends}");
    }
    assert!(store.release(lease, START));
    // What is given back is forgotten, not kept as nothing.
    let back = [("tenant", "acme"), ("remote_address", "10.0.0.1"), ("job", "7")];
    decide(&mut store, &policies, &request("d", &[give_back(1, &back)]), START);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

/// One step of a sequence.
#[derive(Debug, Clone)]
enum Step {
    Ask { tenant: usize, address: usize, job: Option<usize>, hits: i64 },
    Release(usize),
    Pass(u64),
    Reload(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let amounts = prop_oneof![
        6 => Just(1_i64),
        2 => 0_i64..6,
        1 => -4_i64..0,
        1 => prop_oneof![Just(1_067_521), Just(i64::MAX), Just(-i64::MAX)],
    ];
    prop_oneof![
        8 => (0..5_usize, 0..3_usize, prop::option::weighted(0.4, 0..2_usize), amounts)
            .prop_map(|(tenant, address, job, hits)| Step::Ask { tenant, address, job, hits }),
        2 => (0..12_usize).prop_map(Step::Release),
        // In microseconds, as a server tells the time.
        4 => prop_oneof![0_u64..2_000, 0_u64..1_000_000, 0_u64..400_000_000].prop_map(Step::Pass),
        1 => (0..REPLACED.len()).prop_map(Step::Reload),
    ]
}

/// The same questions, one after another, to both.
fn same(redis: &Redis, steps: &[Step]) {
    let reloads = Reloads::begin(POLICY);
    let mut memory = MemoryStore::new(10_000);
    let mut shared = Scripted::new(redis);
    let mut now = START;
    let mut leases: Vec<(LeaseId, LeaseId)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Pass(micros) => now = now.after(Nanos::new(micros * 1_000)),
            Step::Reload(to) => {
                let [bucket, other] = REPLACED[*to];
                reloads.replace(&POLICY.replace(bucket, other), now);
            }
            Step::Release(at) => {
                let Some((ours, theirs)) = leases.get(*at).copied() else { continue };
                let was_held =
                    (memory.release(ours, now), Store::release(&mut shared, theirs, now));
                assert_eq!(was_held.0, was_held.1, "step {at} of {steps:?}");
            }
            Step::Ask { tenant, address, job, hits: count } => {
                let tenant = ["acme", "big", "", "}{:", "banned"][*tenant];
                let address = ["10.0.0.1", "10.0.0.2", "10.0.0.3"][*address];
                let mut entries = vec![("tenant", tenant), ("remote_address", address)];
                if let Some(job) = job {
                    entries.push(("job", ["a", "b"][*job]));
                }
                let descriptor = match count {
                    0.. => hits(count.unsigned_abs(), &entries),
                    _ => give_back(count.unsigned_abs(), &entries),
                };
                let other = descriptor_of_another(&entries);
                let asked = request("d", &[descriptor, other]);
                let ours = reloads.decide(&mut memory, &asked, now);
                let theirs = reloads.decide(&mut shared, &asked, now);
                assert_eq!(ours.1, theirs.1, "step {at} of {steps:?}");
                match (ours.0, theirs.0) {
                    (
                        Admission::Admitted { lease: Some(ours) },
                        Admission::Admitted { lease: Some(theirs) },
                    ) => leases.push((ours, theirs)),
                    (ours, theirs) => assert_eq!(ours, theirs, "step {at} of {steps:?}"),
                }
            }
        }
    }
}

/// A second descriptor that meets some of the same buckets.
fn descriptor_of_another(
    entries: &[(&str, &str)],
) -> tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor {
    descriptor(&[("tenant", "acme"), entries[1]])
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn the_same_sequence_gets_the_same_answers_in_memory_and_in_redis() {
    let redis = Redis::start();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..60))| same(&redis, &steps));
}
