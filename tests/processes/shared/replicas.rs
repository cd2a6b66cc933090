//! One budget over many processes, and what becomes of calls while the store is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{call, eventually};

const DAILY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 200 }] } }]\n";
const JOBS: &str = "domain: d
tables: [{ name: t, key: [k], rows: { all: [{ concurrent: 1, ttl: 1h }] } }]
";

/// What a call takes at most: the deadline, and what a machine that others use takes to answer.
const MAX_LATENCY: Duration = Duration::from_millis(50 + 450);
const DEADLINE: Duration = Duration::from_millis(50);

fn replica(redis: &Redis, policy: &str, more: &[&str]) -> Tollgate {
    let url = redis.url();
    Tollgate::start(policy, &[&["--store", &url][..], more].concat())
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn four_processes_that_hammer_one_bucket_admit_exactly_its_budget() {
    let redis = Redis::start();
    let exactly = ["--store-prepaid", "off"];
    let replicas: Vec<_> = (0..4).map(|_| replica(&redis, DAILY, &exactly)).collect();
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
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_request_is_one_round_trip_and_a_denied_client_that_hammers_costs_none() {
    let redis = Redis::start();
    let replica = replica(&redis, &DAILY.replace("200", "20"), &["--store-prepaid", "off"]);
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
        assert_eq!(answer.denied_by(), ("t", "all", "20 per day"));
    }
    assert_eq!(redis.calls_of("fcall") - denied, 0);
    assert_eq!(replica.metric("tollgate_shared_store_cached_denials_total"), 50);
}

/// Also while the store is away, and whatever becomes of other calls then.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_blocked_is_denied_without_a_round_trip() {
    let redis = Redis::start();
    for mode in ["allow", "deny", "fail", "local"] {
        let policy = format!(
            "domain: d\non_store_error: {mode}
tables:
  - {{ name: t, key: [k], rows: {{ all: [{{ per_day: 200 }}] }} }}
  - {{ name: banned, when: {{ k: bad }}, key: [], rows: {{ all: blocked }} }}
  - {{ name: jobs, when: {{ job: {{ present: true }} }}, key: [k], rows: {{ all: [{{ concurrent: 9, ttl: 1h }}] }} }}
"
        );
        // A thread that found the store late would ask once more to see that it can.
        let replica = replica(&redis, &policy, &["--store-timeout", "2s"]);
        let mut client = replica.client();
        let mut denies = |entries: &[(&str, &str)]| {
            let answer = client.ask(call(entries));
            assert!(!answer.is_ok(), "{mode} {entries:?}");
            assert_eq!(answer.denied_by(), ("banned", "all", "blocked"), "{mode} {entries:?}");
        };
        denies(&[("k", "bad"), ("job", "1")]);
        // Each thread decides something once, to see that it can; that of HTTP has, once it answers.
        assert_eq!(replica.get("/readyz"), "ready\n");
        let before = redis.calls_of("fcall");
        (0..20).for_each(|_| denies(&[("k", "bad")]));
        assert_eq!(redis.calls_of("fcall") - before, 0, "{mode}");
        assert_eq!(replica.metric("tollgate_shared_store_cached_denials_total"), 0);
        redis.stop();
        denies(&[("k", "bad")]);
        if mode == "fail" {
            let failed = replica.client().try_ask(call(&[("k", "good")])).unwrap_err();
            assert_eq!(failed.code(), tonic::Code::Unavailable, "{failed}");
        }
        if mode != "deny" {
            denies(&[("k", "bad"), ("job", "1")]);
        }
        redis.go_on();
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_lease_taken_from_one_replica_is_released_by_another() {
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

/// Callers that hammer a replica, each one call after another, for a number of calls.
pub struct Hammer {
    key: Mutex<&'static str>,
    is_over: AtomicBool,
    calls: AtomicUsize,
    told: Mutex<HashMap<&'static str, Told>>,
}

/// What became of the calls of one key.
#[derive(Default)]
struct Told {
    took: Vec<Duration>,
    admitted: usize,
    /// Which callers have made one. Such a caller makes none of an earlier key any more.
    callers: [bool; CALLERS],
}

const CALLERS: usize = 4;
const MAX_CALLS: usize = 200_000;

impl Hammer {
    /// Has `test` tell what goes on meanwhile; then all callers have ended.
    pub fn run(replica: &Tollgate, key: &'static str, test: impl FnOnce(&Self)) -> Self {
        let hammer = Self {
            key: Mutex::new(key),
            is_over: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            told: Mutex::default(),
        };
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let hammer = &hammer;
                scope.spawn(move || hammer.call(replica, caller));
            }
            // Whoever waits for callers that have failed would wait for long.
            let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&hammer)));
            hammer.is_over.store(true, Ordering::Relaxed);
            tested.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        hammer
    }

    fn call(&self, replica: &Tollgate, caller: usize) {
        let mut client = replica.client();
        while !self.is_over.load(Ordering::Relaxed) {
            if self.calls.fetch_add(1, Ordering::Relaxed) >= MAX_CALLS {
                return;
            }
            let key = *self.key.lock();
            let begun = Instant::now();
            let is_ok = client.ask(call(&[("k", key)])).is_ok();
            let took = begun.elapsed();
            let mut told = self.told.lock();
            let told = told.entry(key).or_default();
            told.took.push(took);
            told.admitted += usize::from(is_ok);
            told.callers[caller] = true;
        }
    }

    fn said(&self, key: &str) -> usize {
        self.told.lock().get(key).map_or(0, |told| told.took.len())
    }

    /// Has everybody ask for `key` from now on, and waits for so many answers, one for each caller among them.
    pub fn ask_for(&self, key: &'static str, count: usize) {
        *self.key.lock() = key;
        let begun = self.said(key);
        eventually("they are answered", || self.said(key) >= begun + count);
        eventually("all of them are", || {
            self.told.lock().get(key).is_some_and(|told| told.callers == [true; CALLERS])
        });
    }

    /// Tells the figures, and how many were admitted; no call may have taken longer than one may.
    pub fn judge(&self, what: &str, key: &str) -> usize {
        let Told { took: mut all, admitted, .. } = self.told.lock().remove(key).unwrap();
        all.sort_unstable();
        let waited = all.iter().filter(|took| **took >= DEADLINE).count();
        let at = |share: usize| all[(all.len() - 1) * share / 1000];
        eprintln!(
            "{what}, {key}: {} calls, {admitted} admitted, {waited} waited for the deadline; the median \
             took {:?}, 99 in 100 {:?}, the longest {:?}",
            all.len(),
            at(500),
            at(990),
            at(1000),
        );
        assert!(at(1000) < MAX_LATENCY, "{what}, {key}: a call took {:?}", at(1000));
        // Three late ones end it, and for each caller one that was under way; each probe is one more.
        // A machine that others use makes some wait that did not have to.
        assert!(waited <= 10 * CALLERS, "{what}, {key}: {waited} calls waited for the deadline");
        admitted
    }
}

/// While the store is away, each mode holds, nobody waits longer than the deadline, and it comes back by itself;
/// all that under load.
fn away(what: &str, begin: impl Fn(&mut Redis), end: impl Fn(&mut Redis)) {
    for mode in ["local", "allow", "deny"] {
        let mut redis = Redis::start();
        let policy = DAILY
            .replace("200", "20")
            .replace("tables", &format!("on_store_error: {mode}\ntables"));
        let replica = replica(&redis, &policy, &["--replicas", "2", "--store-timeout", "50ms"]);
        let hammer = Hammer::run(&replica, "before", |hammer| {
            hammer.ask_for("before", 100);
            // Who was under way when it began may be told anything.
            hammer.ask_for("beginning", CALLERS);
            begin(&mut redis);
            hammer.ask_for("beginning", 4 * CALLERS);
            hammer.ask_for("during", 400);
            // The server's word for it may follow.
            let ready = replica.get("/readyz");
            assert!(
                ready.starts_with("ready, degraded: the shared store is unavailable"),
                "{ready}"
            );
            hammer.ask_for("ending", 4 * CALLERS);
            end(&mut redis);
            eventually("the store is back", || replica.get("/readyz") == "ready\n");
            hammer.ask_for("after", 100);
        });
        let what = format!("{what}, {mode}");
        assert_eq!(hammer.judge(&what, "before"), 20);
        let asked = hammer.said("during");
        let admitted = match mode {
            "local" => 10,
            "allow" => asked,
            _ => 0,
        };
        assert_eq!(hammer.judge(&what, "during"), admitted, "{what}");
        assert_eq!(hammer.judge(&what, "after"), 20, "{what}");
        hammer.judge(&what, "beginning");
        hammer.judge(&what, "ending");
        let lines = |text: &str| replica.log().matches(text).count();
        assert!(
            lines("the shared store is unavailable") <= 3,
            "one line a change: {}",
            replica.log()
        );
        assert!(lines("the shared store is available again") >= 1, "{}", replica.log());
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_script_that_was_flushed_is_loaded_again_and_nobody_notices() {
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
    assert!(told.contains("--store: server 1 in the address is invalid"), "{told}");
    assert!(!told.contains("battery-staple"), "{told}");
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_wrong_password_is_told_without_the_password_and_a_start_without_the_store_recovers() {
    let redis = Redis::with(&["--requirepass", "correct-horse"]);
    let url = format!("redis://:battery-staple@{}", redis.address);
    let replica = Tollgate::start(DAILY, &["--store", &url]);
    let mut client = replica.client();
    assert!(client.ask(call(&[("k", "1")])).is_ok());
    eventually("it is told", || replica.log().contains("the shared store is unavailable"));
    assert!(!replica.log().contains("battery-staple"), "{}", replica.log());
    let mut connection = redis.connect_as(":correct-horse@");
    let mut command = redis::cmd("CONFIG");
    command.arg(&["SET", "requirepass", "battery-staple"]).exec(&mut connection).unwrap();
    eventually("it is back", || replica.get("/readyz") == "ready\n");
    assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [199]);
}

mod wall_clock {
    use super::*;

    /// It waits once, not once for each lease and for the buckets.
    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn a_request_that_asks_a_silent_store_several_times_waits_no_longer_than_one() {
        let redis = Redis::start();
        let policy = JOBS.replace("concurrent: 1", "concurrent: 2");
        let replica = replica(&redis, &policy, &["--store-timeout", "400ms"]);
        let mut client = replica.client();
        let mut request = call(&[("k", "2")]);
        for _ in 0..2 {
            let taken = client.ask(call(&[("k", "1")]));
            let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
            let mut release = call(&[("lease", &lease)]).descriptors.remove(0);
            release.is_negative_hits = true;
            release.hits_addend = Some(1);
            request.descriptors.push(release);
        }
        redis.stop();
        let begun = Instant::now();
        let answer = client.ask(request);
        let took = begun.elapsed();
        redis.go_on();
        assert!(answer.is_ok());
        assert!(
            (Duration::from_millis(400)..Duration::from_millis(800)).contains(&took),
            "{took:?}"
        );
        eventually("both leases are released", || {
            redis.command(&["KEYS", "*:lease:*"]) == "array([])"
        });
    }

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn a_store_that_is_killed_is_done_without_until_it_is_back() {
        away("kill -9", Redis::kill, Redis::spawn);
    }

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn a_store_that_does_not_answer_is_done_without_until_it_does() {
        away("SIGSTOP", |redis| redis.stop(), |redis| redis.go_on());
    }

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn a_store_that_has_no_memory_left_is_done_without_until_it_has() {
        away(
            "maxmemory",
            |redis| drop(redis.command(&["CONFIG", "SET", "maxmemory", "1"])),
            |redis| drop(redis.command(&["CONFIG", "SET", "maxmemory", "0"])),
        );
    }

    #[test]
    #[ignore = "needs Redis and measures time; bash tests/run.sh clock"]
    fn scripts_that_are_flushed_under_load_cost_nobody_a_wait_and_no_budget() {
        let redis = Redis::start();
        let replica = replica(&redis, &DAILY.replace("200", "2000"), &[]);
        let hammer = Hammer::run(&replica, "1", |hammer| {
            for _ in 0..20 {
                redis.command(&["FUNCTION", "FLUSH"]);
                hammer.ask_for("1", 40);
            }
            hammer.ask_for("1", 2000);
        });
        let local = replica.metric("tollgate_shared_store_local_decisions_total");
        assert_eq!((hammer.judge("FUNCTION FLUSH", "1"), local), (2000, 0));
    }
}
