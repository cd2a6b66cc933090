//! Fixed windows: memory and Redis count the same, whatever is asked and whenever.

use proptest::prelude::*;
use tollgate::clock::{Nanos, Timestamp};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Unit, Window};
use tollgate::policy::fingerprint::Fingerprint;
use tollgate::store::{Admission, Charge, MemoryStore, Mode, Outcome, Outcomes, Wait};

use super::redis_server::Redis;
use super::stores::{Scripted, Store};

/// 2100-01-01T00:00:30Z: what is kept until a time after that does not expire while the test runs.
const START: Timestamp = Timestamp::from_unix_nanos(4_102_444_830_000_000_000);

const ADMITTED: Admission = Admission::Admitted { lease: None };

fn charge(key: u8, bucket: &Bucket, hits: Hits) -> Charge<'_> {
    let fingerprint = Fingerprint::parse(&format!("{key:032x}")).unwrap();
    let (mode, counting) = (Mode::Enforced, Counting::Each);
    Charge { fingerprint, bucket, changes: None, hits, mode, debt: None, counting }
}

fn per(requests: u32, unit: Unit) -> Bucket {
    Bucket::Window(Window::new(requests, unit))
}

/// A store of either kind, and a test that both have to pass.
fn both(test: impl Fn(&mut dyn Store)) {
    test(&mut MemoryStore::new(10_000));
    test(&mut Scripted::new(&Redis::start()));
}

/// Whether each is over its limit, what is left, and the count before.
fn told(outcomes: &Outcomes) -> Vec<(bool, u32, u32)> {
    let told = |outcome: &Outcome| (outcome.wait != Wait::NONE, outcome.remaining, outcome.before);
    outcomes.iter().map(told).collect()
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn each_window_counts_whatever_the_others_say() {
    both(|store| {
        let (one, five) = (per(1, Unit::Minute), per(5, Unit::Minute));
        let ask = |store: &mut dyn Store, hits| {
            let charges = [charge(1, &one, hits), charge(2, &five, hits)];
            let (admission, outcomes) = store.charge(&charges, START);
            assert!(outcomes.iter().all(|outcome| outcome.reset == Nanos::from_secs(30)));
            (admission == ADMITTED, told(&outcomes))
        };
        assert_eq!(ask(store, Hits::ONE), (true, vec![(false, 0, 0), (false, 4, 0)]));
        assert_eq!(ask(store, Hits::ONE), (false, vec![(true, 0, 1), (false, 3, 1)]));
        assert_eq!(ask(store, Hits::charge(4)), (false, vec![(true, 0, 2), (true, 0, 2)]));
        assert_eq!(ask(store, Hits::PEEK), (false, vec![(true, 0, 6), (true, 0, 6)]));
        assert_eq!(ask(store, Hits::give_back(5)), (true, vec![(false, 0, 6), (false, 4, 6)]));
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_window_begins_anew_at_the_full_unit_and_its_key_ends_then() {
    both(|store| {
        let two = per(2, Unit::Minute);
        let mut ask = |seconds| {
            let now = START.after(Nanos::from_secs(seconds));
            let (_, outcomes) = store.charge(&[charge(1, &two, Hits::ONE)], now);
            (outcomes[0].remaining, outcomes[0].before, outcomes[0].reset.as_secs_ceil())
        };
        assert_eq!(ask(0), (1, 0, 30));
        assert_eq!(ask(29), (0, 1, 1));
        assert_eq!(ask(29), (0, 2, 1));
        assert_eq!(ask(30), (1, 0, 60));
    });
    let redis = Redis::start();
    let mut store = Scripted::new(&redis);
    store.charge(&[charge(1, &per(2, Unit::Hour), Hits::ONE)], START);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut store.connection).unwrap();
    let ends: u64 = redis::cmd("PEXPIRETIME").arg(&keys[0]).query(&mut store.connection).unwrap();
    assert_eq!(ends, 4_102_448_400_000);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn windows_that_spare_others_or_count_all_or_none_do_so() {
    both(|store| {
        let (one, five) = (per(1, Unit::Minute), per(5, Unit::Minute));
        let mut ask = |keys: [u8; 2], counting| {
            let charges = [charge(keys[0], &one, Hits::ONE), charge(keys[1], &five, Hits::ONE)];
            let charges = charges.map(|charge| Charge { counting, ..charge });
            let (admission, outcomes) = store.charge(&charges, START);
            (admission == ADMITTED, told(&outcomes))
        };
        for (counting, keys, counts) in
            [(Counting::SpareOthers, [1, 2], [1, 2]), (Counting::AllOrNone, [3, 4], [1, 1])]
        {
            assert_eq!(ask(keys, counting), (true, vec![(false, 0, 0), (false, 4, 0)]));
            for before in counts {
                let denied = (false, vec![(true, 0, before), (false, 4, 1)]);
                assert_eq!(ask(keys, counting), denied, "{counting:?}");
            }
        }
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn spared_charges_of_one_window_are_judged_alone_and_made_in_order() {
    both(|store| {
        let five = per(5, Unit::Minute);
        let mut ask = |key, hits: &[u64]| {
            let charges = hits.iter().map(|hits| Charge {
                counting: Counting::SpareOthers,
                ..charge(key, &five, Hits::charge(*hits))
            });
            let (admission, outcomes) = store.charge(&charges.collect::<Vec<_>>(), START);
            (admission == ADMITTED, told(&outcomes))
        };
        for key in 1..=3 {
            assert_eq!(ask(key, &[1]), (true, vec![(false, 4, 0)]));
        }
        // Each fits alone, so that both count.
        assert_eq!(ask(1, &[3, 3]), (true, vec![(false, 1, 1), (true, 0, 4)]));
        assert_eq!(ask(1, &[0]), (false, vec![(true, 0, 7)]));
        // Only what does not fit counts, before the other or behind it.
        assert_eq!(ask(2, &[1, 5]), (false, vec![(false, 4, 1), (true, 0, 1)]));
        assert_eq!(ask(2, &[0]), (false, vec![(true, 0, 6)]));
        assert_eq!(ask(3, &[5, 1]), (false, vec![(true, 0, 1), (true, 0, 6)]));
        assert_eq!(ask(3, &[0]), (false, vec![(true, 0, 6)]));
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn quotas_deny_only_together() {
    both(|store| {
        let (one, two) = (per(1, Unit::Minute), per(2, Unit::Minute));
        let mut ask = || {
            let charges = [charge(1, &one, Hits::ONE), charge(2, &two, Hits::ONE)];
            let charges = charges.map(|charge| Charge { mode: Mode::Quota, ..charge });
            store.charge(&charges, START).0 == ADMITTED
        };
        assert_eq!([ask(), ask(), ask()], [true, true, false]);
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_refund_takes_hits_out_of_the_window_that_counted_them_and_of_no_later_one() {
    let redis = Redis::start();
    for counting in [Counting::AllOrNone, Counting::SpareOthers] {
        let mut store = Scripted::new(&redis);
        let five = per(5, Unit::Minute);
        let hits = |hits| Charge { counting, ..charge(1, &five, Hits::charge(hits)) };
        let (_, counted) = store.ask(&[hits(3)], START);
        store.ask(&[hits(1)], START);
        let left = |store: &mut Scripted, seconds| {
            let now = START.after(Nanos::from_secs(seconds));
            let (_, outcomes) = store.charge(&[hits(0)], now);
            outcomes[0].remaining
        };
        store.refund(&[hits(3)], &counted, START.after(Nanos::from_secs(29)));
        assert_eq!(left(&mut store, 29), 4);
        // The window of now has counted two of its own.
        let next = START.after(Nanos::from_secs(30));
        store.ask(&[hits(2)], next);
        store.refund(&[hits(3)], &counted, next);
        assert_eq!(left(&mut store, 30), 3);
    }
}

/// One request, or time that passes.
#[derive(Debug, Clone)]
enum Step {
    Ask(Vec<Asked>),
    Pass(u64),
}

#[derive(Debug, Clone)]
struct Asked {
    key: u8,
    requests: u32,
    unit: Unit,
    hits: i64,
    mode: Mode,
}

fn asked(key: u8) -> impl Strategy<Value = Asked> {
    let units = [Unit::Second, Unit::Minute, Unit::Hour, Unit::Week, Unit::Year];
    let amounts = prop_oneof![
        6 => Just(1_i64),
        2 => 0_i64..6,
        1 => -4_i64..0,
        1 => prop_oneof![Just(i64::from(u32::MAX)), Just(i64::MAX), Just(-i64::MAX)],
    ];
    let mode = prop_oneof![
        4 => Just(Mode::Enforced),
        1 => Just(Mode::Shadow(usize::from(key))),
        1 => Just(Mode::Quota),
    ];
    let unit = units[usize::from(key) % units.len()];
    let limits = prop_oneof![5 => 0..5_u32, 1 => Just(u32::MAX)];
    (limits, amounts, mode).prop_map(move |(requests, hits, mode)| Asked {
        key,
        requests,
        unit,
        hits,
        mode,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let request = prop::collection::vec(0..6_u8, 1..5)
        .prop_flat_map(|keys| keys.into_iter().map(asked).collect::<Vec<_>>());
    prop_oneof![
        3 => request.prop_map(Step::Ask),
        // In microseconds, as a server tells the time.
        1 => prop_oneof![0_u64..1_000_000, 0_u64..90_000_000].prop_map(Step::Pass),
    ]
}

/// The charges of a request; one for each window, unless windows are spared.
fn charged(asked: &[Asked], counting: Counting) -> Vec<&Asked> {
    let is_first = |at: usize, of: &Asked| asked.iter().take(at).all(|other| other.key != of.key);
    let all = asked.iter().enumerate();
    let kept = all.filter(|(at, of)| counting == Counting::SpareOthers || is_first(*at, of));
    kept.map(|(_, of)| of).collect()
}

fn same(redis: &Redis, counting: Counting, steps: &[Step]) {
    let (mut memory, mut shared) = (MemoryStore::new(10_000), Scripted::new(redis));
    let mut now = START;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Pass(micros) => now = now.after(Nanos::new(micros * 1_000)),
            Step::Ask(asked) => {
                let asked = charged(asked, counting);
                let buckets: Vec<_> = asked.iter().map(|of| per(of.requests, of.unit)).collect();
                let charges = asked.iter().zip(&buckets).map(|(of, bucket)| {
                    let count = of.hits.unsigned_abs();
                    let hits =
                        if of.hits < 0 { Hits::give_back(count) } else { Hits::charge(count) };
                    Charge { mode: of.mode, counting, ..charge(of.key, bucket, hits) }
                });
                let charges: Vec<_> = charges.collect();
                let ours = memory.charge(&charges, now);
                let theirs = shared.charge(&charges, now);
                assert_eq!(ours, theirs, "step {at} of {steps:?}, {counting:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn the_same_windows_count_the_same_in_memory_and_in_redis() {
    let redis = Redis::start();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let counting =
        prop_oneof![Just(Counting::Each), Just(Counting::SpareOthers), Just(Counting::AllOrNone)];
    proptest!(config, |(counting in counting, steps in prop::collection::vec(step(), 1..40))| {
        same(&redis, counting, &steps);
    });
}
