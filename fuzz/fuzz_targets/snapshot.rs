//! A snapshot's bytes: as they are, and as the body of one whose beginning and checksum are right.
#![no_main]

use std::hash::Hasher;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use siphasher::sip128::{Hasher128, SipHasher13};
use tollgate::clock::Timestamp;
use tollgate::descriptor::LeaseId;
use tollgate::policy::LimitHistory;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::MemoryStore;
use tollgate::store::memory::snapshot::{self, Restored};
use tollgate_fuzz::bytes;
use tollgate_fuzz::parts::{MAX_KEYS, NOW, Parts};

static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::usual(FingerprintKey::fixed(0)));

fuzz_target!(|data: &[u8]| {
    if let Ok(restored) = snapshot::read(data, MAX_KEYS, NOW) {
        check(restored);
    }
    // When it was taken, before now or after.
    let Some((taken_at, body)) = data.split_first_chunk() else { return };
    let taken_at = u64::from_le_bytes(*taken_at);
    // As limits and parts of the version that has both, of which most are refused.
    if let Ok(restored) = snapshot::read(&*sealed(4, taken_at, body), MAX_KEYS, NOW) {
        check(restored);
    }
    let leases = leases(body);
    match snapshot::read(&*sealed(1, taken_at, body), MAX_KEYS, NOW) {
        Ok(restored) => {
            let leases = leases.expect("its parts are not whole, and yet it is restored");
            assert_eq!(restored.taken_at, Timestamp::from_unix_nanos(taken_at));
            release(check(restored), &leases);
        }
        Err(error) => assert!(leases.is_none(), "whole, and yet not restored: {error}"),
    }
});

/// A body with what stands before it, with the end and the checksum.
fn sealed(version: u32, taken_at: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"tollgate".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(taken_at.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    bytes.extend([0; 8]);
    let mut hasher = SipHasher13::new();
    hasher.write(&bytes);
    bytes.extend(hasher.finish128().as_bytes());
    bytes
}

/// The leases of a body that is whole parts.
fn leases(mut body: &[u8]) -> Option<Vec<LeaseId>> {
    let mut leases = Vec::new();
    while !body.is_empty() {
        let (cells, rest) = number(body)?;
        let (held, rest) = number(rest)?;
        if (cells, held) == (0, 0) {
            return None;
        }
        let (_, rest) = rest.split_at_checked(cells.checked_mul(20)?)?;
        let (all, rest) = rest.split_at_checked(held.checked_mul(44)?)?;
        let lease = |holder: &[u8]| LeaseId::from_bytes(holder[16..32].try_into().unwrap());
        leases.extend(all.chunks_exact(44).map(lease));
        body = rest;
    }
    Some(leases)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Keeps its bounds, and is the same when it is written and read again. Returns that one.
fn check(restored: Restored) -> MemoryStore {
    let Restored { store, key, limits, .. } = restored;
    // What has lapsed is restored if it may be owed, and it may not be any more.
    let owed = limits.owed(NOW.into());
    (0..store.shard_count()).for_each(|_| _ = store.sweep_except(&owed, NOW));
    // Leases are all kept: each takes a key in every bucket that it holds slots in.
    assert!(store.token_bucket_count() <= MAX_KEYS && store.lease_count() <= store.len());
    let first = written(&store, key, &limits);
    let again = snapshot::read(&*first, MAX_KEYS, NOW).expect("what we wrote").store;
    assert_eq!((again.len(), again.lease_count()), (store.len(), store.lease_count()));
    assert_eq!(again.evictions(), 0);
    assert_eq!(written(&again, key, &limits).len(), first.len());
    again
}

fn written(store: &MemoryStore, key: FingerprintKey, limits: &LimitHistory) -> Vec<u8> {
    let mut bytes = Vec::new();
    let keys = snapshot::write(store, key, limits, NOW, &mut bytes).expect("memory takes all");
    assert_eq!(keys, store.len());
    bytes
}

/// It decides, though it may be full, and every lease is given back once, after which there are none.
fn release(store: MemoryStore, leases: &[LeaseId]) {
    let program = PARTS.over(store);
    let entries: [bytes::Entry<'_>; 2] = [(b"type", b"y"), (b"a", b"a")];
    program.ask_twice(&bytes::request(b"d", &[bytes::descriptor(&entries)]));
    let store = program.store;
    for lease in leases {
        store.release(*lease, NOW);
        assert!(!store.release(*lease, NOW), "{lease} is given back twice");
    }
    assert_eq!(store.lease_count(), 0);
    (0..store.shard_count()).for_each(|_| _ = store.sweep(Timestamp::from_unix_nanos(u64::MAX)));
    assert!(store.is_empty(), "{} keys are left at the end of time", store.len());
}
