//! Plain calls: the function for them does what `decide` does, and leaves the same keys.

use std::cell::Cell;

use proptest::prelude::*;
use tollgate::clock::{Nanos, Timestamp};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Period, Rate, TokenBucket, Unit};
use tollgate::policy::fingerprint::Fingerprint;
use tollgate::store::script::ScriptReply;
use tollgate::store::{Charge, Mode};

use super::redis_server::Redis;
use super::same::START;
use super::stores::Scripted;

fn charge(key: u8, bucket: &Bucket, hits: u64) -> Charge<'_> {
    let fingerprint = Fingerprint::parse(&format!("{key:032x}")).unwrap();
    Charge {
        fingerprint,
        bucket,
        changes: None,
        hits: Hits::charge(hits),
        mode: Mode::Enforced,
        debt: None,
        counting: Counting::AllOrNone,
    }
}

fn tokens(size: u32, rate: u32, unit: Unit) -> Bucket {
    let rate = Rate::new(rate, Period::one(unit)).unwrap();
    Bucket::Tokens(TokenBucket::new(size, rate).unwrap())
}

/// The same script twice, once without its function for plain calls, each on a server of its own.
struct Pair {
    plain: Scripted,
    spelled_out: Scripted,
}

impl Pair {
    fn new(servers: &[Redis; 2]) -> Self {
        let [plain, mut spelled_out] = servers.each_ref().map(Scripted::new);
        spelled_out.is_spelled_out = true;
        Self { plain, spelled_out }
    }

    /// The reply that both give, once both have the same keys with the same ends.
    fn ask(&mut self, charges: &[Charge<'_>], now: Timestamp) -> ScriptReply {
        let (_, reply) = self.plain.ask(charges, now);
        let (_, other) = self.spelled_out.ask(charges, now);
        assert_eq!(reply.now, other.now);
        assert_eq!(reply.is_denied, other.is_denied);
        assert_eq!(reply.states, other.states);
        assert_eq!(keys(&mut self.plain), keys(&mut self.spelled_out));
        reply
    }

    fn set(&mut self, state: &str) {
        for store in [&mut self.plain, &mut self.spelled_out] {
            let keys: Vec<String> =
                redis::cmd("KEYS").arg("*").query(&mut store.connection).unwrap();
            redis::cmd("SET").arg(&keys[0]).arg(state).exec(&mut store.connection).unwrap();
        }
    }
}

/// All keys, with their values and when they end.
fn keys(store: &mut Scripted) -> Vec<(String, String, u64)> {
    let connection = &mut store.connection;
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(connection).unwrap();
    keys.sort_unstable();
    let told = |key: String| {
        let value = redis::cmd("GET").arg(&key).query(connection).unwrap();
        let ends = redis::cmd("PEXPIRETIME").arg(&key).query(connection).unwrap();
        (key, value, ends)
    };
    keys.into_iter().map(told).collect()
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_call_that_charges_token_buckets_is_plain_and_one_that_denies_is_decided_as_any() {
    let servers = [Redis::start(), Redis::start()];
    let mut pair = Pair::new(&servers);
    let (two, ten) = (tokens(2, 1, Unit::Hour), tokens(10, 1, Unit::Second));
    let mut ask = |seconds| {
        let charges = [charge(1, &two, 1), charge(2, &ten, 1)];
        let reply = pair.ask(&charges, START.after(Nanos::from_secs(seconds)));
        (reply.is_denied, pair.plain.charged)
    };
    assert_eq!(ask(0), (Some(false), 1));
    assert_eq!(ask(1), (Some(false), 2));
    assert_eq!(ask(2), (Some(true), 2));
    assert_eq!(ask(3_600), (Some(false), 3));
    // A clock that was set back brings the moment forward.
    assert_eq!(ask(60), (Some(true), 3));
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_bucket_that_fills_for_months_or_is_not_charged_is_not_plain() {
    let servers = [Redis::start(), Redis::start()];
    let mut pair = Pair::new(&servers);
    let (slow, fast) = (tokens(3, 1, Unit::Month), tokens(10, 1, Unit::Second));
    let shadow = Charge { mode: Mode::Shadow(0), ..charge(2, &fast, 1) };
    for charges in [
        vec![charge(1, &slow, 1)],
        vec![charge(2, &fast, 0)],
        vec![charge(2, &fast, 11)],
        vec![charge(2, &fast, 1), shadow],
    ] {
        pair.ask(&charges, START);
        assert_eq!(pair.plain.charged, 0, "{charges:?}");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_state_that_no_charge_has_written_is_that_of_a_full_bucket() {
    let servers = [Redis::start(), Redis::start()];
    let mut pair = Pair::new(&servers);
    let ten = tokens(10, 1, Unit::Second);
    pair.ask(&[charge(1, &ten, 1)], START);
    let full = START.as_unix_nanos() + 1_000_000_000;
    for state in [
        String::new(),
        "w4102444800 3".to_owned(),
        format!("{full}"),
        format!("{full} 1000000000"),
        format!("{full}0 1000000000 1000000000"),
        format!("{full} 1000000000 1000000000 "),
        format!("{full} 1000000000 999999999"),
        format!("{full} 1 1 1000000000"),
        format!("{full}  1000000000"),
        format!("{full}x1000000000 1000000000"),
        "garbage of no use to anyone 1000000000".to_owned(),
        "1234567890garbage!! 1 1000000000".to_owned(),
        "5 1000000000 1000000000".to_owned(),
        format!("{full} 10000000000000000000 1000000000"),
    ] {
        pair.set(&state);
        let reply = pair.ask(&[charge(1, &ten, 1)], START);
        assert_eq!(reply.is_denied, Some(false), "{state}");
    }
}

/// A request, by the numbers of its buckets, the limits of each and the hits; then the time that passes, in microseconds.
type Step = (Vec<(u8, usize, u64)>, i64);

fn step() -> impl Strategy<Value = Step> {
    let charges = prop::collection::vec(
        (0..4_u8, prop_oneof![8 => Just(0_usize), 1 => 1..4_usize], 1..4_u64),
        1..4,
    );
    let passes = prop_oneof![
        4 => 0..2_000_000_i64,
        1 => 0..4_000_000_000_i64,
        1 => -3_000_000..0_i64,
    ];
    (charges, passes)
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn plain_calls_and_others_leave_the_same_whatever_is_asked() {
    let servers = [Redis::start(), Redis::start()];
    let limits = [
        tokens(5, 7, Unit::Second),
        tokens(9, 7, Unit::Second),
        tokens(5, 3, Unit::Second),
        tokens(5, 1, Unit::Day),
    ];
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let plain = Cell::new(0);
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        let mut pair = Pair::new(&servers);
        let mut now = START;
        for (asked, passes) in steps {
            let mut charges: Vec<Charge<'_>> = Vec::new();
            for (key, limit, hits) in asked {
                let charge = charge(key, &limits[limit], hits);
                if charges.iter().all(|other| other.fingerprint != charge.fingerprint) {
                    charges.push(charge);
                }
            }
            pair.ask(&charges, now);
            let passed = Nanos::new(passes.unsigned_abs() * 1_000);
            now = if passes < 0 { now.before(passed) } else { now.after(passed) };
        }
        plain.set(plain.get() + pair.plain.charged);
    });
    assert!(plain.get() > 100, "{plain:?}");
}
