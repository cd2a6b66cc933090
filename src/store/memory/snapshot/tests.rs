use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::descriptor::Hits;
use crate::limit::{Bucket, Unit, Window};
use crate::store::memory::tests::{NOW, ask, charge, is_admitted, lease, slots, tokens};
use crate::store::{Outcomes, Wait};

const KEY: FingerprintKey = FingerprintKey::fixed(7);

/// Values of `max_keys` that give one shard, some, and the most.
const SIZES: [usize; 3] = [1_000, 100_000, 10_000_000];

fn written(store: &MemoryStore, now: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(store, KEY, &LimitHistory::default(), now, &mut bytes).unwrap();
    bytes
}

fn restored(bytes: &[u8], max_keys: usize, now: Timestamp) -> MemoryStore {
    read(bytes, max_keys, now).unwrap().store
}

/// Writes a snapshot, and restores it into a store of another size.
fn round_trip(store: &MemoryStore, max_keys: usize, now: Timestamp) -> MemoryStore {
    restored(&written(store, now), max_keys, now)
}

fn peek(store: &MemoryStore, now: Timestamp, of: &str, bucket: &Bucket) -> Outcomes {
    ask(store, now, &[charge(of, bucket, Hits::PEEK)]).1
}

/// A store with a key of each kind.
fn small_store() -> MemoryStore {
    let store = MemoryStore::new(1_000);
    let (day, jobs) = (tokens(10, Unit::Day), slots(3, 60));
    assert!(is_admitted(&store, NOW, &[charge("a", &day, Hits::charge(4))]));
    assert!(is_admitted(&store, NOW, &[charge("b", &jobs, Hits::charge(2))]));
    store
}

#[test]
fn every_bucket_is_restored_into_a_store_of_any_size() {
    let day = tokens(1_000, Unit::Day);
    let names: Vec<_> = (0..1_000_u64).map(|number| (number, format!("tenant {number}"))).collect();
    for (before, after) in SIZES.into_iter().flat_map(|b| SIZES.map(|a| (b, a))) {
        let store = MemoryStore::new(before);
        for (number, name) in names.iter().take(900) {
            assert!(is_admitted(&store, NOW, &[charge(name, &day, Hits::charge(number + 1))]));
        }
        let restored = round_trip(&store, after, NOW);
        assert_eq!((restored.len(), restored.evictions()), (900, 0), "{before} to {after}");
        for (number, name) in &names {
            let outcome = peek(&restored, NOW, name, &day);
            assert_eq!(outcome, peek(&store, NOW, name, &day), "{before} to {after}: {number}");
        }
    }
}

#[test]
fn the_key_and_the_time_are_restored() {
    let restored = read(&*written(&small_store(), NOW), 1_000, NOW.after(Nanos::new(5))).unwrap();
    assert_eq!(restored.key.to_bytes(), KEY.to_bytes());
    assert_eq!((restored.taken_at, restored.ahead), (NOW, Nanos::ZERO));
}

#[test]
fn a_lease_holds_its_slots_in_every_bucket_and_is_released_once_by_its_id() {
    let (jobs, others) = (slots(2, 60), slots(5, 600));
    let both = [charge("jobs", &jobs, Hits::charge(2)), charge("others", &others, Hits::charge(2))];
    for (before, after) in SIZES.into_iter().flat_map(|b| SIZES.map(|a| (b, a))) {
        let store = MemoryStore::new(before);
        let held = lease(ask(&store, NOW, &both).0);
        let restored = round_trip(&store, after, NOW);
        assert_eq!((restored.len(), restored.lease_count()), (2, 1));
        assert!(!is_admitted(&restored, NOW, &both[..1]));
        assert_eq!(peek(&restored, NOW, "others", &others)[0].remaining, 3);
        assert!(restored.release(held, NOW));
        assert!(!restored.release(held, NOW));
        assert!(restored.is_empty());
        assert!(is_admitted(&restored, NOW, &both));
    }
}

#[test]
fn a_store_with_less_capacity_keeps_every_lease_and_grants_none_until_there_are_fewer() {
    let store = MemoryStore::new(30_000);
    let jobs = slots(2, 60);
    let job = |at| format!("job {at}");
    for at in 0..11_000 {
        assert!(is_admitted(&store, NOW, &[charge(&job(at), &jobs, Hits::ONE)]));
    }
    let held = lease(ask(&store, NOW, &[charge("mine", &jobs, Hits::charge(2))]).0);
    let restored = round_trip(&store, 64, NOW);
    assert_eq!((restored.lease_count(), restored.evictions()), (11_001, 0));
    assert!(!is_admitted(&restored, NOW, &[charge("mine", &jobs, Hits::ONE)]));
    assert!(restored.release(held, NOW));
    for at in 0..100 {
        assert!(!is_admitted(&restored, NOW, &[charge(&job(at), &jobs, Hits::ONE)]), "{at}");
    }
    assert_eq!((restored.lease_count(), restored.refused_leases()), (11_000, 100));
    let later = NOW.after(Nanos::from_secs(60));
    for at in 0..10_000 {
        assert!(is_admitted(&restored, later, &[charge(&job(at), &jobs, Hits::ONE)]), "{at}");
    }
}

#[test]
fn the_time_that_passed_is_deducted() {
    let (day, jobs) = (tokens(24, Unit::Day), slots(1, 60));
    let store = MemoryStore::new(1_000);
    assert!(is_admitted(&store, NOW, &[charge("day", &day, Hits::charge(24))]));
    assert!(is_admitted(&store, NOW, &[charge("job", &jobs, Hits::ONE)]));
    let bytes = written(&store, NOW);
    let later = NOW.after(Nanos::from_secs(59));
    let restored_soon = restored(&bytes, 1_000, later);
    let outcome = peek(&restored_soon, later, "job", &jobs)[0];
    assert_eq!((outcome.wait, outcome.remaining), (Wait::of(Nanos::from_secs(1)), 0));
    let later = NOW.after(Nanos::from_secs(7 * 3_600));
    assert_eq!(peek(&restored(&bytes, 1_000, later), later, "day", &day)[0].remaining, 7);
}

#[test]
fn what_is_full_or_expired_is_neither_written_nor_restored() {
    let (second, day, jobs) = (tokens(1, Unit::Second), tokens(1, Unit::Day), slots(2, 5));
    let store = MemoryStore::new(1_000);
    for at in 0..20 {
        let fast = charge(&format!("fast {at}"), &second, Hits::ONE);
        let job = charge(&format!("job {at}"), &jobs, Hits::ONE);
        assert!(is_admitted(&store, NOW, &[fast, job]));
    }
    assert!(is_admitted(&store, NOW, &[charge("day", &day, Hits::ONE)]));
    let count = |now| write(&store, KEY, &LimitHistory::default(), now, std::io::sink()).unwrap();
    let (soon, later) = (NOW.after(Nanos::from_secs(1)), NOW.after(Nanos::from_secs(5)));
    assert_eq!([NOW, soon, later].map(count), [41, 21, 1]);
    let bytes = written(&store, NOW);
    let kept = |now| {
        let store = restored(&bytes, 1_000, now);
        (store.len(), store.lease_count(), store.evictions())
    };
    assert_eq!([NOW, soon, later].map(kept), [(41, 20, 0), (21, 20, 0), (1, 0, 0)]);
}

#[test]
fn after_the_clock_was_set_back_no_wait_is_longer_than_when_it_was_taken() {
    let (day, jobs) = (tokens(1, Unit::Day), slots(1, 60));
    let store = MemoryStore::new(1_000);
    assert!(is_admitted(&store, NOW, &[charge("day", &day, Hits::ONE)]));
    let held = lease(ask(&store, NOW, &[charge("job", &jobs, Hits::ONE)]).0);
    let taken = NOW.after(Nanos::from_secs(20));
    let set_back = Nanos::from_secs(5 * 365 * 86_400);
    let then = taken.before(set_back);
    let read = read(&*written(&store, taken), 1_000, then).unwrap();
    assert_eq!((read.taken_at, read.ahead), (taken, set_back));
    for (name, bucket) in [("day", &day), ("job", &jobs)] {
        assert_eq!(peek(&read.store, then, name, bucket), peek(&store, taken, name, bucket));
    }
    assert!(read.store.release(held, then));
}

#[test]
fn of_too_many_keys_those_that_lapse_last_stay() {
    let (hour, day) = (tokens(1, Unit::Hour), tokens(1, Unit::Day));
    let store = MemoryStore::new(1_000);
    for at in 0..400 {
        assert!(is_admitted(&store, NOW, &[charge(&format!("hour {at}"), &hour, Hits::ONE)]));
    }
    for at in 0..10 {
        assert!(is_admitted(&store, NOW, &[charge(&format!("day {at}"), &day, Hits::ONE)]));
    }
    let restored = round_trip(&store, 64, NOW);
    assert_eq!((restored.len(), restored.evictions()), (64, 410 - 64));
    for at in 0..10 {
        assert!(!is_admitted(&restored, NOW, &[charge(&format!("day {at}"), &day, Hits::ONE)]));
    }
}

#[test]
fn an_empty_store_is_restored_empty() {
    let bytes = written(&MemoryStore::new(1_000), NOW);
    assert!(restored(&bytes, 1_000, NOW).is_empty());
}

#[test]
fn a_snapshot_with_any_bit_changed_is_rejected() {
    let bytes = written(&small_store(), NOW);
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        let error = read(&*changed, 1_000, NOW).map(|_| ()).unwrap_err();
        match (at, error) {
            (..8, SnapshotError::Foreign)
            | (8..12, SnapshotError::OtherVersion(_))
            // Versions differ in length.
            | (8.., SnapshotError::Checksum | SnapshotError::Truncated | SnapshotError::TooLong) =>
                {}
            (_, error) => panic!("byte {at}, bit {bit}: {error}"),
        }
    }
}

#[test]
fn a_snapshot_of_another_length_is_rejected() {
    let bytes = written(&small_store(), NOW);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length], 1_000, NOW).map(|_| ()).unwrap_err();
        assert!(matches!(error, SnapshotError::Truncated), "{length}: {error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let error = read(&*longer, 1_000, NOW).map(|_| ()).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLong), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_rejected(
        begin in 0..=36_usize,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [&written(&small_store(), NOW)[..begin], &rest].concat();
        prop_assert!(read(&*bytes, 1_000, NOW).is_err());
    }

    #[test]
    fn every_charge_is_restored(
        calls in prop::collection::vec((0..200_u32, 1..5_u64, any::<bool>()), 0..200),
        before in 0..3_usize,
        after in 0..3_usize,
        passed in 0..100_000_u64,
    ) {
        let (day, jobs) = (tokens(20, Unit::Day), slots(9, 3_600));
        let store = MemoryStore::new(SIZES[before]);
        let named: Vec<_> = calls
            .iter()
            .map(|(name, hits, is_job)| (format!("{is_job} {name}"), *hits, *is_job))
            .collect();
        let bucket = |is_job| if is_job { &jobs } else { &day };
        for (name, hits, is_job) in &named {
            ask(&store, NOW, &[charge(name, bucket(*is_job), Hits::charge(*hits))]);
        }
        let later = NOW.after(Nanos::from_secs(passed));
        let restored = restored(&written(&store, NOW), SIZES[after], later);
        for (name, _, is_job) in &named {
            let outcome = peek(&restored, later, name, bucket(*is_job));
            let mut expected = peek(&store, later, name, bucket(*is_job));
            if *is_job && expected[0].remaining == 9 {
                // An expired lease counts in the reset until it is swept.
                expected[0].reset = outcome[0].reset;
            }
            prop_assert_eq!(outcome, expected);
        }
    }
}

/// The hits that a bucket was asked for, and those that it admitted.
#[derive(Debug, Default)]
struct Count {
    asked: AtomicU32,
    admitted: AtomicU32,
}

/// Threads charge two buckets in different shards at a time while snapshots are taken. The state of a bucket in a
/// snapshot is that of a moment between the begin and the end of the snapshot.
#[test]
fn a_snapshot_taken_while_threads_decide_admits_what_was_left_and_no_more() {
    const BUCKETS: usize = 300;
    const SIZE: u32 = 20_000;
    let store = MemoryStore::new(10_000_000);
    let day = tokens(SIZE, Unit::Day);
    let names: Vec<_> = (0..BUCKETS).map(|at| format!("tenant {at}")).collect();
    let counts: Vec<_> = (0..BUCKETS).map(|_| Count::default()).collect();
    let numbers = |of: fn(&Count) -> &AtomicU32| -> Vec<u32> {
        counts.iter().map(|count| of(count).load(Ordering::SeqCst)).collect()
    };
    let call = |turn: usize| {
        let pair = [turn * 7 % BUCKETS, (turn * 7 + 1) % BUCKETS].map(|at| (at, &counts[at]));
        let charges = pair.map(|(at, _)| charge(&names[at], &day, Hits::ONE));
        pair.iter().for_each(|(_, count)| _ = count.asked.fetch_add(1, Ordering::SeqCst));
        if is_admitted(&store, NOW, &charges) {
            pair.iter().for_each(|(_, count)| _ = count.admitted.fetch_add(1, Ordering::SeqCst));
        }
    };
    let is_over = AtomicBool::new(false);
    let snapshots: Vec<_> = std::thread::scope(|scope| {
        for thread in 0..3 {
            let (call, is_over) = (&call, &is_over);
            scope.spawn(move || {
                let turns = (thread..).take_while(|_| !is_over.load(Ordering::SeqCst));
                turns.for_each(call);
            });
        }
        while store.len() < BUCKETS {
            std::thread::yield_now();
        }
        let snapshot = |_| {
            let least = numbers(|count| &count.admitted);
            let bytes = written(&store, NOW);
            (least, bytes, numbers(|count| &count.asked))
        };
        // On a busy machine the other threads may not run for a while.
        let is_race = |(least, _, most): &(Vec<u32>, _, Vec<u32>)| {
            std::thread::yield_now();
            least != most && least[0] < SIZE
        };
        let snapshots = (0..100_000).map(snapshot).filter(is_race).take(20).collect();
        is_over.store(true, Ordering::SeqCst);
        snapshots
    });
    assert_eq!(snapshots.len(), 20, "no call was decided meanwhile");
    for (least, bytes, most) in snapshots {
        let restored = restored(&bytes, 100_000, NOW);
        for (at, name) in names.iter().enumerate() {
            let left = peek(&restored, NOW, name, &day)[0].remaining;
            assert!((least[at]..=most[at]).contains(&(SIZE - left)), "{name}: {left} are left");
            let rest = charge(name, &day, Hits::charge(left.into()));
            assert!(left == 0 || is_admitted(&restored, NOW, &[rest]));
            assert!(!is_admitted(&restored, NOW, &[charge(name, &day, Hits::ONE)]));
        }
    }
}

/// The wall clock is an hour behind the steady time, and then right.
#[test]
fn a_window_is_restored_by_the_wall_clock_until_it_ends() {
    let store = MemoryStore::new(1_000);
    let window = Bucket::Window(Window::new(5, Unit::Hour));
    let behind = Now { steady: NOW.after(Nanos::from_secs(3_600)), wall: NOW };
    let counted = |store: &MemoryStore, now: Now| {
        let mut outcomes = Outcomes::new();
        store.decide(&[charge("a", &window, Hits::ONE)], now, &mut outcomes).unwrap();
        outcomes[0].remaining
    };
    assert_eq!([counted(&store, behind), counted(&store, behind)], [4, 3]);
    let mut bytes = Vec::new();
    write(&store, KEY, &LimitHistory::default(), behind, &mut bytes).unwrap();
    // The hour of NOW, which is a whole one, ends an hour later.
    let later = |seconds| Now::from(NOW.after(Nanos::from_secs(seconds)));
    let kept = read(&*bytes, 1_000, later(3_599)).unwrap().store;
    assert_eq!((kept.len(), counted(&kept, later(3_599))), (1, 2));
    assert_eq!((kept.sweep(later(3_599)), kept.sweep(later(3_600))), (0, 1));
    assert!(read(&*bytes, 1_000, later(3_600)).unwrap().store.is_empty());
}

#[test]
fn a_window_that_the_wall_clock_leaves_is_swept_although_steady_time_stands() {
    let store = MemoryStore::new(1_000);
    let window = Bucket::Window(Window::new(5, Unit::Hour));
    let mut outcomes = Outcomes::new();
    store.decide(&[charge("a", &window, Hits::ONE)], NOW, &mut outcomes).unwrap();
    let set = |seconds| Now { steady: NOW, wall: NOW.after(Nanos::from_secs(seconds)) };
    assert_eq!(store.sweep(set(3_599)), 0);
    store.decide(&[charge("a", &window, Hits::ONE)], set(3_599), &mut outcomes).unwrap();
    assert_eq!(outcomes[0].remaining, 3, "the same window");
    store.decide(&[charge("a", &window, Hits::ONE)], set(3_600), &mut outcomes).unwrap();
    assert_eq!(outcomes[0].remaining, 4, "the next window");
    assert_eq!(store.sweep(set(7_200)), 1);
}
