//! The keys of a store as bytes, so that they outlive the process.
//!
//! # Version 5
//!
//! Numbers are little-endian; times are nanoseconds since the Unix epoch, by the wall clock.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tollgate` |
//! | 4 | the version |
//! | 8 | when it was taken |
//! | 16 | the key of the hash that names buckets |
//! | 4 | how many places in the policies have token buckets |
//! | any | the limits of each place |
//! | any | parts, one for each shard that has keys |
//! | 8 | zeros: an empty part, the last |
//! | 16 | the checksum: SipHash-1-3 with 128 bits and the key 0, of all bytes before |
//!
//! | bytes of a place's limits | what |
//! |---|---|
//! | 16 | the place |
//! | 8 | a hash of the limits and of the calls to which they apply |
//! | 8 | when they came into force |
//! | 4 | the most tokens that a bucket may owe |
//! | 4, 4 | how many intervals follow: of the limits in force, and of earlier ones |
//! | 4 for each | the interval, as in a [`BucketState`] |
//!
//! | bytes of a part | what |
//! |---|---|
//! | 4, 4 | how many buckets follow, and how many leases |
//! | 24 for each counter | its [`ShortName`], 12; its [`BucketState`], 8 and 4 |
//! | 44 for each lease | the [`Fingerprint`] of its bucket, 16; its id, 16; its slots, 4; its expiry, 8 |
//!
//! Version 4 has no windows, whose states have the highest bit set. Versions 1 to 3 have no limits: all limits count as changed at the restart. Versions 1 and 2 have states of 8 bytes, without the interval of the rate under which they were written: a limit that
//! has changed since applies to the share of the bucket that was left. In version 1, each state is the moment at which a
//! token bucket is full, which is still the state of a token bucket.
//!
//! The shard of a bucket follows from its name, so that a snapshot fits a store of any size.
//!
//! The checksum detects damage, not forgery: a process that may write the file can write a valid checksum.
//!
//! # Consistency
//!
//! Shards are copied one after another while calls are decided. Each shard is a copy of one moment, but two shards may
//! be of different moments: a call may be charged in one of its buckets and not in another, and a lease may hold slots
//! in one and not in another. Each bucket by itself admits no more than its size and its refill from its moment on. A
//! lease is found by its id in the buckets in which the copy has it. If no call is decided meanwhile, all shards are of
//! one moment.

use std::hash::Hasher;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::RangeInclusive;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::counter_entry::CounterEntry;
use super::holders::Holder;
use super::live_entries::LiveEntries;
use super::{MemoryStore, Padded};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::LeaseId;
use crate::limit::{BucketLimits, ChangeTime, CompactInterval, LimitChanges, OwedStates};
use crate::policy::LimitHistory;
use crate::policy::fingerprint::{Fingerprint, FingerprintKey, ShortName};
use crate::policy::identity::Salt;
use crate::store::BucketState;

const MAGIC: [u8; 8] = *b"tollgate";

/// The version that is written.
const VERSION: u32 = 5;

/// The versions that are read.
const READABLE_VERSIONS: RangeInclusive<u32> = 1..=VERSION;

/// The first version whose states have an interval.
const WITH_INTERVALS: u32 = 3;

/// The first version that has limits.
const WITH_LIMITS: u32 = 4;

/// The empty part that ends the list of parts.
const END: [u8; 8] = [0; 8];

/// Why a snapshot is not restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading fails.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file does not begin as a snapshot does.
    #[error("it is not a snapshot of tollgate")]
    Foreign,
    /// The format is not one that this version reads.
    #[error("it has format {0}; this version of tollgate reads formats 1 to {VERSION}")]
    OtherVersion(u32),
    /// The end is missing.
    #[error("it is damaged: it ends too early")]
    Truncated,
    /// Something follows the end.
    #[error("it is damaged: bytes follow its end")]
    TooLong,
    /// The content was changed after it was written.
    #[error("it is damaged: its checksum does not match its content")]
    Checksum,
}

/// A store restored from a snapshot.
#[derive(Debug)]
pub struct Restored {
    /// The key of the hash that names its buckets.
    pub key: FingerprintKey,
    /// The limits that were in force.
    pub limits: LimitHistory,
    /// The counters and leases that are still live, and counters that may be owed though they have lapsed, as far as
    /// there is room. Counters above the bound are evicted, those that lapse first, and
    /// counted as evicted. All leases are kept; above the capacity, the store grants none until enough are gone.
    pub store: MemoryStore,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// How far `taken_at` is in the future by the clock now; zero if it is not.
    pub ahead: Nanos,
}

/// Writes the keys of a store that are live at `now` or may be owed then under `limits`, which are in force, and the key
/// of the hash that names them. Locks one shard at a time, and none while it writes. Returns how many keys it wrote.
///
/// # Errors
/// Errors of `to`.
pub fn write(
    store: &MemoryStore,
    key: FingerprintKey,
    limits: &LimitHistory,
    now: impl Into<Now>,
    to: impl Write,
) -> io::Result<usize> {
    let now: Now = now.into();
    let owed = limits.owed(now);
    let mut to = Checksummed::new(to);
    to.put(&MAGIC)?;
    to.put(&VERSION.to_le_bytes())?;
    to.put(&now.wall.as_unix_nanos().to_le_bytes())?;
    to.put(&key.to_bytes())?;
    let (mut entries, mut part, mut written) = (LiveEntries::default(), Vec::new(), 0);
    encode_limits(limits, now, &mut part)?;
    to.put(&part)?;
    for shard in &store.shards {
        store.copy_live(shard, &owed, now, &mut entries);
        if entries.len() > 0 {
            encode(&entries, now, &mut part)?;
            to.put(&part)?;
            written += entries.len();
        }
    }
    to.put(&END)?;
    let checksum = to.checksum();
    to.put(&checksum)?;
    to.inner.flush()?;
    Ok(written)
}

fn encode_limits(limits: &LimitHistory, now: Now, to: &mut Vec<u8>) -> io::Result<()> {
    let limits = limits.iter();
    encode_count(limits.len(), to)?;
    for (salt, LimitChanges { changed_at, limits, earlier, .. }) in limits {
        to.extend(salt.to_bytes());
        to.extend(limits.digest.to_le_bytes());
        to.extend(now.to_wall(changed_at.get()).as_unix_nanos().to_le_bytes());
        to.extend(limits.size.to_le_bytes());
        encode_count(limits.intervals.len(), to)?;
        encode_count(earlier.len(), to)?;
        let intervals = limits.intervals.iter().chain(earlier);
        intervals.for_each(|interval| to.extend(interval.to_bytes()));
    }
    Ok(())
}

fn encode_count(count: usize, to: &mut Vec<u8>) -> io::Result<()> {
    let count = u32::try_from(count).map_err(|error| io::Error::other(error.to_string()))?;
    to.extend(count.to_le_bytes());
    Ok(())
}

fn encode(entries: &LiveEntries, now: Now, part: &mut Vec<u8>) -> io::Result<()> {
    part.clear();
    encode_count(entries.counters.len(), part)?;
    encode_count(entries.leases.len(), part)?;
    for entry in &entries.counters {
        part.extend(entry.name().to_bytes());
        let state = entry.state().moved(|steady| now.to_wall(steady));
        let (bits, rest) = state.to_bytes();
        part.extend(bits);
        part.extend(rest);
    }
    for (fingerprint, holder) in &entries.leases {
        part.extend(fingerprint.to_bytes());
        part.extend(holder.lease.to_bytes());
        part.extend(holder.slots.to_le_bytes());
        part.extend(now.to_wall(holder.expires).as_unix_nanos().to_le_bytes());
    }
    Ok(())
}

/// Reads a store of at most `max_keys` keys, without those that are full or have expired at `now`. Buckets that may be
/// owed under a slower limit are read as well: the policy that comes into force tells which of them are.
///
/// Times are absolute, so that buckets have refilled and leases have run while the server was down. If the snapshot was
/// taken after `now`, since the clock was set back, every time is moved earlier by the difference: no bucket then takes
/// longer to fill, and no lease longer to expire, than when the snapshot was taken.
///
/// Memory is allocated for keys that are stored, not by the counts in the bytes, which may be forged.
///
/// # Errors
/// [`SnapshotError`] for any bytes that [`write()`] did not write.
pub fn read(
    from: impl Read,
    max_keys: usize,
    now: impl Into<Now>,
) -> Result<Restored, SnapshotError> {
    let now: Now = now.into();
    let mut from = Checksummed::new(from);
    if from.take()? != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let version = from.u32()?;
    if !READABLE_VERSIONS.contains(&version) {
        return Err(SnapshotError::OtherVersion(version));
    }
    let taken_at = from.time()?;
    let key = FingerprintKey::from_bytes(from.take()?);
    let ahead = taken_at.since(now.wall);
    let to_steady = |wall: Timestamp| now.to_steady(wall.before(ahead));
    let limits = match version {
        ..WITH_LIMITS => LimitHistory::default(),
        _ => decode_limits(&mut from, to_steady)?,
    };
    let faster = limits.faster();
    let store = MemoryStore::new(max_keys);
    loop {
        let (counters, leases) = (from.u32()?, from.u32()?);
        if (counters, leases) == (0, 0) {
            break;
        }
        for _ in 0..counters {
            let name = ShortName::from_bytes(from.take()?);
            let bits = from.take()?;
            let rest = if version < WITH_INTERVALS { [0; 4] } else { from.take()? };
            let state = BucketState::from_bytes(bits, rest).moved(to_steady);
            let may_be_owed = faster.contains(&state.interval());
            store.restore_counter(CounterEntry::new(name, state), may_be_owed, now);
        }
        for _ in 0..leases {
            let fingerprint = Fingerprint::from_bytes(from.take()?);
            let lease = LeaseId::from_bytes(from.take()?);
            let (slots, expires) = (from.u32()?, to_steady(from.time()?));
            store.restore_holder(fingerprint, Holder { lease, slots, expires }, now.steady);
        }
    }
    let checksum = from.checksum();
    if from.take()? != checksum {
        return Err(SnapshotError::Checksum);
    }
    match from.take::<1>() {
        Err(SnapshotError::Truncated) => Ok(Restored { key, limits, store, taken_at, ahead }),
        Err(error) => Err(error),
        Ok(_) => Err(SnapshotError::TooLong),
    }
}

fn decode_limits(
    from: &mut Checksummed<impl Read>,
    to_steady: impl Fn(Timestamp) -> Timestamp,
) -> Result<LimitHistory, SnapshotError> {
    let places = from.u32()?;
    (0..places)
        .map(|_| {
            let salt = Salt::from_bytes(from.take()?);
            let digest = u64::from_le_bytes(from.take()?);
            let changed_at = ChangeTime::at(to_steady(from.time()?));
            let size = from.u32()?;
            let counts = [from.u32()?, from.u32()?];
            let [intervals, earlier] = counts.map(|count| {
                let interval = |_| from.take().map(CompactInterval::from_bytes);
                (0..count).map(interval).collect::<Result<Vec<_>, _>>()
            });
            let limits = BucketLimits { digest, intervals: intervals?, size, ends: Vec::new() };
            Ok((salt, LimitChanges::new(changed_at, limits, earlier?)))
        })
        .collect()
}

impl MemoryStore {
    /// Replaces `into` by the live entries of one shard and those that may be owed. The shard is locked only to be
    /// copied.
    fn copy_live(&self, shard: &Padded, owed: &OwedStates, now: Now, into: &mut LiveEntries) {
        let (counters, leases) = shard.0.lock().counts();
        into.reset(counters, leases);
        shard.0.lock().copy_live(owed, now, into);
    }

    /// Adds a counter of another store, unless it has lapsed and cannot be owed.
    fn restore_counter(&self, entry: CounterEntry, may_be_owed: bool, now: Now) {
        let Some(shard) = self.shards.get(self.index(entry.name().shard())) else { return };
        let max = self.max_per_shard;
        if entry.lapses_at(now) > now.steady {
            let is_live = shard.0.lock().insert(entry, now, max);
            self.evicted.record(u64::from(is_live), now.steady);
        } else if may_be_owed {
            shard.0.lock().insert_lapsed(entry, max);
        }
    }

    /// Adds a lease of another store to one bucket, unless it has expired. It is kept even above the capacity: without
    /// it, the bucket would admit a call above its limit.
    fn restore_holder(&self, fingerprint: Fingerprint, holder: Holder, now: Timestamp) {
        if holder.expires <= now {
            return;
        }
        if let Some(shard) = self.shards.get(self.index(fingerprint.shard())) {
            self.leases.reserve_over_capacity();
            shard.0.lock().add_holder(fingerprint, holder, now, &self.leases);
        }
    }
}

/// A reader or writer, with the checksum of the bytes that went through it.
struct Checksummed<T> {
    inner: T,
    hasher: SipHasher13,
}

impl<T> Checksummed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hasher: SipHasher13::new() }
    }

    fn checksum(&self) -> [u8; 16] {
        self.hasher.finish128().as_bytes()
    }
}

impl<T: Write> Checksummed<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.write(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Checksummed<T> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => SnapshotError::Truncated,
            _ => SnapshotError::Unreadable(error),
        })?;
        self.hasher.write(&bytes);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.take().map(u32::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, SnapshotError> {
        self.take().map(|bytes| Timestamp::from_unix_nanos(u64::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests;
