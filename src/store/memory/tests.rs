mod windows;

use super::*;
use crate::clock::Nanos;
use crate::descriptor::Hits;
use crate::limit::{Bucket, Concurrency, Counting, Period, Rate, TokenBucket, Unit};
use crate::policy::identity::name_for_tests as name;
use crate::store::{Mode, Outcome, Wait};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

pub(crate) fn tokens(size: u32, unit: Unit) -> Bucket {
    Bucket::Tokens(TokenBucket::new(size, Rate::new(size, Period::one(unit)).unwrap()).unwrap())
}

pub(crate) fn slots(slots: u32, ttl: u64) -> Bucket {
    Bucket::Concurrency(Concurrency::new(slots, Nanos::from_secs(ttl)).unwrap())
}

pub(crate) fn charge<'a>(of: &str, bucket: &'a Bucket, hits: Hits) -> Charge<'a> {
    let is_window = matches!(bucket, Bucket::Window(_));
    let counting = if is_window { Counting::Each } else { Counting::AllOrNone };
    let (fingerprint, mode) = (name(of), Mode::Enforced);
    Charge { fingerprint, bucket, changes: None, hits, mode, debt: None, counting }
}

pub(crate) fn ask(
    store: &MemoryStore,
    now: Timestamp,
    charges: &[Charge<'_>],
) -> (Admission, Outcomes) {
    let mut outcomes = Outcomes::new();
    let admission = store.decide(charges, now, &mut outcomes).unwrap();
    assert_eq!(outcomes.len(), charges.len());
    (admission, outcomes)
}

pub(crate) fn is_admitted(store: &MemoryStore, now: Timestamp, charges: &[Charge<'_>]) -> bool {
    ask(store, now, charges).0 != Admission::Denied
}

pub(crate) fn lease(admission: Admission) -> LeaseId {
    match admission {
        Admission::Admitted { lease: Some(lease) } => lease,
        other => panic!("no lease: {other:?}"),
    }
}

#[test]
fn charges_everywhere_or_nowhere() {
    let store = MemoryStore::new(1000);
    let (two, three) = (tokens(2, Unit::Day), tokens(3, Unit::Day));
    let both = [charge("a", &two, Hits::ONE), charge("b", &three, Hits::ONE)];
    assert!(is_admitted(&store, NOW, &both));
    assert!(is_admitted(&store, NOW, &both));
    let (admission, outcomes) = ask(&store, NOW, &both);
    assert_eq!(admission, Admission::Denied);
    assert_eq!((outcomes[0].remaining, outcomes[1].remaining), (0, 1));
    assert_eq!(outcomes[1].wait, Wait::NONE);
    assert!(is_admitted(&store, NOW, &both[1..]));
    assert!(!is_admitted(&store, NOW, &both[1..]));
}

#[test]
fn a_denial_reports_every_bucket_without_the_charge() {
    let store = MemoryStore::new(1000);
    let (one, ten) = (tokens(1, Unit::Second), tokens(10, Unit::Second));
    let both = [charge("a", &one, Hits::ONE), charge("b", &ten, Hits::charge(3))];
    assert!(is_admitted(&store, NOW, &both));
    let (_, outcomes) = ask(&store, NOW, &both);
    let unchanged = Outcome {
        wait: Wait::NONE,
        remaining: 7,
        uncharged: 0,
        before: 0,
        reset: Nanos::new(300_000_000),
    };
    assert_eq!(outcomes[1], unchanged);
    assert_eq!(outcomes[0].wait, Wait::of(Nanos::from_secs(1)));
}

#[test]
fn a_denial_and_a_peek_store_no_key() {
    let store = MemoryStore::new(1000);
    let bucket = tokens(2, Unit::Second);
    assert!(!is_admitted(&store, NOW, &[charge("a", &bucket, Hits::charge(3))]));
    assert!(is_admitted(&store, NOW, &[charge("b", &bucket, Hits::PEEK)]));
    assert!(is_admitted(&store, NOW, &[charge("c", &bucket, Hits::give_back(5))]));
    assert!(store.is_empty());
}

#[test]
fn a_shadow_bucket_is_charged_while_it_can_and_never_denies() {
    let store = MemoryStore::new(1000);
    let (one, ten) = (tokens(1, Unit::Day), tokens(10, Unit::Day));
    let shadow = Charge { mode: Mode::Shadow(0), ..charge("a", &one, Hits::ONE) };
    let both = [shadow, charge("b", &ten, Hits::ONE)];
    assert_eq!(ask(&store, NOW, &both).1[0].wait, Wait::NONE);
    let (admission, outcomes) = ask(&store, NOW, &both);
    assert_ne!(admission, Admission::Denied);
    assert!(!matches!(outcomes[0].wait, Wait::NONE | Wait::NEVER));
    assert_eq!(outcomes[1].remaining, 8);
}

#[test]
fn a_lease_is_released_once() {
    let store = MemoryStore::new(1000);
    let bucket = slots(2, 60);
    let call = [charge("jobs", &bucket, Hits::ONE)];
    let first = lease(ask(&store, NOW, &call).0);
    let second = lease(ask(&store, NOW, &call).0);
    assert_ne!(first, second);
    assert!(!is_admitted(&store, NOW, &call));
    assert!(store.release(first, NOW));
    assert!(!store.release(first, NOW));
    assert!(is_admitted(&store, NOW, &call));
    assert!(!is_admitted(&store, NOW, &call));
    assert!(!store.release(LeaseId::from_bytes([7; 16]), NOW));
}

#[test]
fn an_expired_lease_frees_its_slot_and_can_no_longer_be_released() {
    let store = MemoryStore::new(1000);
    let bucket = slots(1, 60);
    let call = [charge("jobs", &bucket, Hits::ONE)];
    let old = lease(ask(&store, NOW, &call).0);
    let (_, outcomes) = ask(&store, NOW, &call);
    assert_eq!(outcomes[0].wait, Wait::of(Nanos::from_secs(60)));
    let later = NOW.after(Nanos::from_secs(60));
    assert!(!is_admitted(&store, later.before(Nanos::new(1)), &call));
    let new = lease(ask(&store, later, &call).0);
    assert!(!store.release(old, later));
    assert!(!is_admitted(&store, later, &call));
    assert!(store.release(new, later));
}

#[test]
fn a_lease_may_hold_several_slots_in_several_buckets() {
    let store = MemoryStore::new(1000);
    let (three, five) = (slots(3, 60), slots(5, 120));
    let call = [charge("a", &three, Hits::charge(2)), charge("b", &five, Hits::charge(2))];
    let (admission, outcomes) = ask(&store, NOW, &call);
    assert_eq!((outcomes[0].remaining, outcomes[1].remaining), (1, 3));
    assert!(!is_admitted(&store, NOW, &call));
    let only_b = [charge("b", &five, Hits::charge(2))];
    assert!(is_admitted(&store, NOW, &only_b));
    assert!(!is_admitted(&store, NOW, &only_b));
    assert!(store.release(lease(admission), NOW));
    assert!(is_admitted(&store, NOW, &call));
    let too_many = [charge("a", &three, Hits::charge(4))];
    assert_eq!(ask(&store, NOW, &too_many).1[0].wait, Wait::NEVER);
}

#[test]
fn a_lease_that_expired_in_one_bucket_can_still_be_released_in_the_others() {
    let store = MemoryStore::new(1000);
    let (short, long) = (slots(1, 10), slots(1, 100));
    let call = [charge("short", &short, Hits::ONE), charge("long", &long, Hits::ONE)];
    let held = lease(ask(&store, NOW, &call).0);
    let later = NOW.after(Nanos::from_secs(50));
    assert_eq!((0..store.shard_count()).map(|_| store.sweep(later)).sum::<usize>(), 1);
    assert!(is_admitted(&store, later, &call[..1]));
    assert!(!is_admitted(&store, later, &call[1..]));
    assert!(store.release(held, later));
    assert!(is_admitted(&store, later, &call[1..]));
}

#[test]
fn a_request_denied_anywhere_takes_no_lease() {
    let store = MemoryStore::new(1000);
    let (jobs, none_left) = (slots(1, 60), tokens(1, Unit::Day));
    assert!(is_admitted(&store, NOW, &[charge("t", &none_left, Hits::ONE)]));
    let both = [charge("jobs", &jobs, Hits::ONE), charge("t", &none_left, Hits::ONE)];
    assert!(!is_admitted(&store, NOW, &both));
    assert_eq!(store.lease_count(), 0);
    assert!(is_admitted(&store, NOW, &both[..1]));
}

#[test]
fn hits_without_a_lease_free_no_slot() {
    let store = MemoryStore::new(1000);
    let bucket = slots(1, 60);
    assert!(is_admitted(&store, NOW, &[charge("jobs", &bucket, Hits::ONE)]));
    assert!(is_admitted(&store, NOW, &[charge("jobs", &bucket, Hits::give_back(1))]));
    assert!(!is_admitted(&store, NOW, &[charge("jobs", &bucket, Hits::ONE)]));
}

#[test]
fn a_sweep_removes_full_buckets_and_expired_leases_only() {
    let store = MemoryStore::new(1_000_000);
    let (fast, slow, jobs) = (tokens(1, Unit::Second), tokens(1, Unit::Day), slots(1, 5));
    for at in 0..500 {
        let fast_one = charge(&format!("fast {at}"), &fast, Hits::ONE);
        let slow_one = charge(&format!("slow {at}"), &slow, Hits::ONE);
        let job = charge(&format!("job {at}"), &jobs, Hits::ONE);
        assert!(is_admitted(&store, NOW, &[fast_one, slow_one, job]));
    }
    assert_eq!((store.len(), store.lease_count()), (1500, 500));
    let later = NOW.after(Nanos::from_secs(5));
    let swept: Vec<usize> = (0..store.shard_count()).map(|_| store.sweep(later)).collect();
    assert_eq!((swept.iter().sum(), store.len(), store.lease_count()), (1000, 500, 0));
    assert!(swept.iter().all(|swept| *swept < 100), "a tick sweeps one shard, not the whole store");
    for at in 0..500 {
        assert!(!is_admitted(&store, later, &[charge(&format!("slow {at}"), &slow, Hits::ONE)]));
    }
}

#[test]
fn the_key_limit_is_hard_and_an_exhausted_busy_bucket_survives_a_flood() {
    let store = MemoryStore::new(10_000);
    let (five, busy) = (tokens(5, Unit::Minute), tokens(100, Unit::Day));
    let hot = charge("hot", &busy, Hits::charge(100));
    assert!(is_admitted(&store, NOW, &[hot]));
    let mut now = NOW;
    for at in 0..200_000 {
        now = now.after(Nanos::new(1_000));
        assert!(is_admitted(&store, now, &[charge(&format!("flood {at}"), &five, Hits::ONE)]));
        assert!(at % 1000 != 0 || store.len() <= 10_000);
    }
    assert!(store.len() <= 10_000 && store.len() > 9_000);
    assert!(store.evictions() >= 190_000);
    assert!(!is_admitted(&store, now, &[charge("hot", &busy, Hits::charge(2))]));
}

#[test]
fn full_buckets_are_evicted_before_live_ones() {
    let store = MemoryStore::new(64);
    let (second, day) = (tokens(1, Unit::Second), tokens(1, Unit::Day));
    for at in 0..32 {
        assert!(is_admitted(&store, NOW, &[charge(&format!("day {at}"), &day, Hits::ONE)]));
        assert!(is_admitted(&store, NOW, &[charge(&format!("second {at}"), &second, Hits::ONE)]));
    }
    let later = NOW.after(Nanos::from_secs(1));
    for at in 0..8 {
        assert!(is_admitted(&store, later, &[charge(&format!("new {at}"), &day, Hits::ONE)]));
    }
    assert_eq!((store.len(), store.evictions()), (64, 0));
}

#[test]
fn a_concurrency_bucket_reaches_its_limit_and_never_exceeds_it_under_any_max_keys() {
    for max_keys in [1, 64, 1_000_000, 10_000_000] {
        let store = MemoryStore::new(max_keys);
        let bucket = slots(10_000, 3600);
        let call = [charge("jobs", &bucket, Hits::ONE)];
        let admitted = (0..12_000).filter(|_| is_admitted(&store, NOW, &call)).count();
        assert_eq!((admitted, store.lease_count()), (10_000, 10_000), "of {max_keys}");
        assert_eq!((store.evictions(), store.refused_leases()), (0, 0), "of {max_keys}");
    }
}

#[test]
fn a_flood_of_leases_is_bounded_and_evicts_no_held_lease() {
    let store = MemoryStore::new(12_000);
    let (two, one) = (slots(2, 60), slots(1, 3600));
    let victim = charge("victim", &two, Hits::ONE);
    let held: Vec<_> = (0..2).map(|_| lease(ask(&store, NOW, &[victim]).0)).collect();
    assert_eq!(store.shortage(NOW), Shortage::default());
    for at in 0..20_000 {
        let job = charge(&format!("job {at}"), &one, Hits::ONE);
        let (admission, outcomes) = ask(&store, NOW, &[job]);
        assert_eq!(admission == Admission::Denied, at >= 12_000 - 2, "{at}");
        if admission == Admission::Denied {
            assert_eq!(
                outcomes[0],
                Outcome {
                    wait: LEASE_RETRY,
                    remaining: 0,
                    uncharged: 0,
                    before: 0,
                    reset: Nanos::ZERO
                }
            );
        }
    }
    assert_eq!((store.len(), store.lease_count()), (12_000, 12_000));
    assert_eq!((store.evictions(), store.refused_leases()), (0, 8_002));
    assert_eq!(store.shortage(NOW), Shortage { of_buckets: false, of_leases: true });
    assert!(!is_admitted(&store, NOW, &[victim]), "its limit holds");
    assert_eq!(store.refused_leases(), 8_002, "its own limit denied it");
    assert!(held.into_iter().all(|lease| store.release(lease, NOW)));
    assert!(is_admitted(&store, NOW, &[victim]), "released slots can be taken again");
    let later = NOW.after(Nanos::from_secs(60));
    assert_eq!(store.shortage(later), Shortage::default());
}

#[test]
fn leases_and_token_buckets_do_not_evict_each_other() {
    let store = MemoryStore::new(64);
    let (day, jobs) = (tokens(2, Unit::Day), slots(3, 1));
    for _ in 0..3 {
        assert!(is_admitted(&store, NOW, &[charge("jobs", &jobs, Hits::ONE)]));
    }
    for at in 0..1_000 {
        assert!(is_admitted(&store, NOW, &[charge(&format!("day {at}"), &day, Hits::ONE)]));
    }
    assert!(!is_admitted(&store, NOW, &[charge("jobs", &jobs, Hits::ONE)]), "a lease was evicted");
    assert_eq!((store.len(), store.evictions()), (64 + 3, 1_000 - 64));
    assert_eq!(store.shortage(NOW), Shortage { of_buckets: true, of_leases: false });
    for at in 0..5_000 {
        assert!(is_admitted(&store, NOW, &[charge(&format!("job {at}"), &jobs, Hits::ONE)]));
    }
    assert_eq!((store.len(), store.evictions()), (64 + 5_003, 1_000 - 64));
}

#[test]
fn expired_leases_take_no_capacity_from_new_ones() {
    let store = MemoryStore::new(64);
    let (all, one) = (slots(10_000, 10), slots(1, 10));
    let call = [charge("all", &all, Hits::ONE)];
    let fill = |now| (0..10_001).filter(|_| is_admitted(&store, now, &call)).count();
    assert_eq!(fill(NOW), 10_000);
    assert!(!is_admitted(&store, NOW, &[charge("another", &one, Hits::ONE)]));
    let later = NOW.after(Nanos::from_secs(10));
    assert!(is_admitted(&store, later, &[charge("another", &one, Hits::ONE)]), "not swept yet");
    assert_eq!((fill(later), store.lease_count()), (9_999, 10_000));
    assert_eq!(fill(later.after(Nanos::from_secs(10))), 10_000, "of its own bucket");
}

#[test]
fn a_call_denied_for_want_of_capacity_reserves_none_and_a_shadow_row_passes() {
    let store = MemoryStore::new(64);
    let (all, two, day) = (slots(10_000, 3600), slots(2, 3600), tokens(5, Unit::Day));
    for _ in 0..9_999 {
        assert!(is_admitted(&store, NOW, &[charge("all", &all, Hits::ONE)]));
    }
    let both = [
        charge("a", &two, Hits::ONE),
        charge("b", &two, Hits::ONE),
        charge("day", &day, Hits::ONE),
    ];
    let (admission, outcomes) = ask(&store, NOW, &both);
    assert_eq!((admission, outcomes[1].wait), (Admission::Denied, LEASE_RETRY));
    assert_eq!((outcomes[0].wait, outcomes[0].remaining), (Wait::NONE, 2));
    assert_eq!((outcomes[2].wait, outcomes[2].remaining), (Wait::NONE, 5));
    let shadow = both.map(|charge| Charge { mode: Mode::Shadow(0), ..charge });
    assert_eq!(ask(&store, NOW, &shadow).0, Admission::Admitted { lease: None });
    assert_eq!(store.lease_count(), 9_999);
    let mut expected = Outcomes::new();
    assert!(store.would_deny(&both, NOW, &mut expected));
    assert_eq!(expected, outcomes);
    assert_eq!(store.refused_leases(), 2, "would_deny counts nothing");
    assert!(is_admitted(&store, NOW, &both[..1]), "the reservation was returned");
    assert!(!is_admitted(&store, NOW, &both[..1]));
}

#[test]
fn a_store_can_have_any_max_keys() {
    for max_keys in [0, 1, 63, 64, 65, 1000, 16_384, 10_000_000] {
        let store = MemoryStore::new(max_keys);
        assert!(store.shard_count().is_power_of_two() && store.shard_count() <= SHARDS);
        assert!(store.shard_count() * store.max_per_shard <= max_keys.max(1));
    }
}

#[test]
fn the_buckets_of_a_shadow_row_are_charged_together_or_not() {
    let store = MemoryStore::new(1000);
    let (one, ten, other) = (tokens(1, Unit::Hour), tokens(10, Unit::Day), tokens(10, Unit::Day));
    let shadow =
        |name, bucket, row| Charge { mode: Mode::Shadow(row), ..charge(name, bucket, Hits::ONE) };
    let call = [shadow("a", &one, 0), shadow("b", &ten, 0), shadow("c", &other, 2)];
    assert_eq!(
        ask(&store, NOW, &call).1.iter().map(|o| o.remaining).collect::<Vec<_>>(),
        [0, 9, 9]
    );
    for left in [8, 7] {
        let (admission, outcomes) = ask(&store, NOW, &call);
        assert_ne!(admission, Admission::Denied);
        let remaining: Vec<_> = outcomes.iter().map(|outcome| outcome.remaining).collect();
        assert_eq!(remaining, [0, 9, left], "the first row would have denied, the other would not");
    }
}

#[test]
fn holders_are_ordered_by_expiry_whatever_their_ttl() {
    let store = MemoryStore::new(1000);
    let (long, short) = (slots(2, 100), slots(2, 10));
    assert!(is_admitted(&store, NOW, &[charge("jobs", &long, Hits::ONE)]));
    assert!(is_admitted(&store, NOW, &[charge("jobs", &short, Hits::ONE)]));
    let (_, outcomes) = ask(&store, NOW, &[charge("jobs", &short, Hits::ONE)]);
    assert_eq!(outcomes[0].wait, Wait::of(Nanos::from_secs(10)));
    assert!(is_admitted(
        &store,
        NOW.after(Nanos::from_secs(10)),
        &[charge("jobs", &short, Hits::ONE)]
    ));
}

/// At the end, no key and no lease is left.
#[test]
fn nothing_is_left_behind_by_threads_that_take_release_sweep_and_evict() {
    let store = MemoryStore::new(256);
    let (jobs, day) = (slots(3, 5), tokens(2, Unit::Day));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (store, jobs, day) = (&store, &jobs, &day);
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..20_000_u64 {
                    let now = NOW.after(Nanos::new(turn * 1_000_000));
                    let key = (turn * 7 + thread * 13) % 500;
                    let job = charge(&format!("job {key}"), jobs, Hits::ONE);
                    let other = charge(&format!("day {key}"), day, Hits::ONE);
                    match ask(store, now, &[job, other]).0 {
                        Admission::Admitted { lease } => held.extend(lease),
                        Admission::Denied => {
                            if let Some(lease) = held.pop() {
                                store.release(lease, now);
                            }
                        }
                    }
                    if turn % 16 == 0 {
                        store.sweep(now);
                    }
                    if held.len() > 40 {
                        store.release(held.swap_remove(0), now);
                    }
                }
                let end = NOW.after(Nanos::new(20_000_000_000));
                for lease in held {
                    store.release(lease, end);
                    assert!(!store.release(lease, end));
                }
            });
        }
    });
    let end = NOW.after(Nanos::from_secs(7 * 86_400));
    (0..store.shard_count()).for_each(|_| {
        store.sweep(end);
    });
    assert_eq!((store.len(), store.lease_count()), (0, 0));
}

/// Threads take leases of two buckets at once, in different shards, until the capacity is used up.
#[test]
fn threads_together_reserve_no_more_than_the_capacity() {
    let store = MemoryStore::new(20_000);
    assert!(store.shard_count() > 1);
    let jobs = slots(10_000, 3600);
    let (store, jobs) = (&store, &jobs);
    let admitted: usize = std::thread::scope(|scope| {
        let take = |thread: u64| {
            (0..8_000_u64).filter(move |turn| {
                let names = [format!("{thread} {turn}"), format!("other {thread} {turn}")];
                let both = names.each_ref().map(|name| charge(name, jobs, Hits::ONE));
                is_admitted(store, NOW, &both)
            })
        };
        let threads: Vec<_> =
            (0..4).map(|thread| scope.spawn(move || take(thread).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Two calls that compete for the last reservation may both be denied.
    assert!((9_996..=10_000).contains(&admitted), "{admitted}");
    assert_eq!((store.lease_count(), store.len()), (admitted, admitted * 2));
}
