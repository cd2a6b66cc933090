//! A store's keys as bytes, so that they outlive the process.
//!
//! # Version 2
//!
//! Numbers are little-endian, times nanoseconds since the Unix epoch.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tollgate` |
//! | 4 | the version |
//! | 8 | when it was taken |
//! | 16 | the key under which the names of buckets are hashed |
//! | any | parts, one for each shard that has keys |
//! | 8 | zeros: a part of nothing, the last |
//! | 16 | the checksum: SipHash-1-3 of 128 bits, under the key 0, of all bytes before |
//!
//! | bytes of a part | what |
//! |---|---|
//! | 4, 4 | how many buckets follow, and how many leases |
//! | 20 for each counter | its [`ShortName`], 12; its [`BucketState`], 8 |
//! | 44 for each lease | its bucket's [`Fingerprint`], 16; its id, 16; its slots, 4; when it expires, 8 |
//!
//! Version 1 had the same bytes, where each state was the moment at which a token bucket is full: that is the state of
//! a token bucket still, so that it is read as version 2. A reader of version 1 would have taken the state of any other
//! kind for such a moment, hence the number.
//!
//! A name tells the shard, so that a snapshot fits a store of any size.
//!
//! The checksum finds damage, not forgery: whoever may write the file may write what they like.
//!
//! # What one moment is
//!
//! Shards are copied one after another while others decide. Each bucket is as it stood at one moment, and so
//! is each shard, but two shards may be of different moments: a call may be charged in one of its buckets
//! and not in another, and a lease held in one and not in another. Each bucket by itself never admits more
//! than its size and what it gains, counted from its moment on. A lease is found by its id in those buckets
//! in which it was held. Where nobody decides meanwhile, all are of one moment.

use std::hash::Hasher;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::RangeInclusive;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::counter_entry::CounterEntry;
use super::holders::Holder;
use super::live_entries::LiveEntries;
use super::{MemoryStore, Padded};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::{Fingerprint, FingerprintKey, ShortName};
use crate::store::BucketState;

const MAGIC: [u8; 8] = *b"tollgate";

/// The version that is written.
const VERSION: u32 = 2;

/// The versions that are read.
const READ: RangeInclusive<u32> = 1..=VERSION;

/// A part of nothing ends the list of parts.
const END: [u8; 8] = [0; 8];

/// Why a snapshot is not restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system does not let it be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It does not begin as a snapshot does.
    #[error("it is not a snapshot of tollgate")]
    Foreign,
    /// Another version of tollgate wrote it.
    #[error("it is of format {0}, and this tollgate reads formats 1 to {VERSION}")]
    OtherVersion(u32),
    /// The end is missing.
    #[error("it is damaged: it ends too early")]
    Truncated,
    /// Something follows the end.
    #[error("it is damaged: it goes on after its end")]
    TooLong,
    /// Some of it is not as it was written.
    #[error("it is damaged: its bytes do not have the checksum at its end")]
    Checksum,
}

/// A store as a snapshot tells it.
#[derive(Debug)]
pub struct Restored {
    /// The key under which its buckets are named.
    pub key: FingerprintKey,
    /// The counters and leases that are still live. Where there were more counters than it may keep, those that
    /// would have lapsed first were forgotten, and count as evicted. Leases are all there: where they are
    /// more than it has places for, it gives out none until there are fewer.
    pub store: MemoryStore,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// For how long the snapshot was taken in the future, as the clock says now.
    pub ahead: Nanos,
}

/// Writes the live keys of a store, at `now`, with the key of their names. Locks one shard at a time, and
/// none while it writes. Returns how many keys it wrote.
///
/// # Errors
/// Those of `to`.
pub fn write(
    store: &MemoryStore,
    key: FingerprintKey,
    now: Timestamp,
    to: impl Write,
) -> io::Result<usize> {
    let mut to = Summed::new(to);
    to.put(&MAGIC)?;
    to.put(&VERSION.to_le_bytes())?;
    to.put(&now.as_unix_nanos().to_le_bytes())?;
    to.put(&key.to_bytes())?;
    let (mut entries, mut part, mut written) = (LiveEntries::default(), Vec::new(), 0);
    for shard in &store.shards {
        store.copy_live(shard, now, &mut entries);
        if entries.len() > 0 {
            encode(&entries, &mut part)?;
            to.put(&part)?;
            written += entries.len();
        }
    }
    to.put(&END)?;
    let sum = to.sum();
    to.put(&sum)?;
    to.inner.flush()?;
    Ok(written)
}

fn encode(entries: &LiveEntries, part: &mut Vec<u8>) -> io::Result<()> {
    part.clear();
    for count in [entries.counters.len(), entries.leases.len()] {
        let count = u32::try_from(count).map_err(|error| io::Error::other(error.to_string()))?;
        part.extend(count.to_le_bytes());
    }
    for entry in &entries.counters {
        part.extend(entry.name().to_bytes());
        part.extend(entry.state().to_bytes());
    }
    for (fingerprint, holder) in &entries.leases {
        part.extend(fingerprint.to_bytes());
        part.extend(holder.lease.to_bytes());
        part.extend(holder.slots.to_le_bytes());
        part.extend(holder.expires.as_unix_nanos().to_le_bytes());
    }
    Ok(())
}

/// Reads a store of at most `max_keys` keys. What has become full or has expired by `now` is left out.
///
/// Times are absolute, so that the time that has passed counts by itself. Where the clock was set back and
/// the snapshot was taken after `now`, every time is brought forward by the difference: no bucket then takes
/// longer to fill, and no lease to expire, than it would have when the snapshot was taken.
///
/// Memory is taken for the keys that are kept and for nothing else: no count in the bytes is believed.
///
/// # Errors
/// [`SnapshotError`] for anything that [`write()`] did not write, to the last bit.
pub fn read(from: impl Read, max_keys: usize, now: Timestamp) -> Result<Restored, SnapshotError> {
    let mut from = Summed::new(from);
    if from.take()? != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let version = from.u32()?;
    if !READ.contains(&version) {
        return Err(SnapshotError::OtherVersion(version));
    }
    let taken_at = from.time()?;
    let key = FingerprintKey::from_bytes(from.take()?);
    let ahead = taken_at.since(now);
    let store = MemoryStore::new(max_keys);
    loop {
        let (counters, leases) = (from.u32()?, from.u32()?);
        if (counters, leases) == (0, 0) {
            break;
        }
        for _ in 0..counters {
            let name = ShortName::from_bytes(from.take()?);
            let state = BucketState::from_bytes(from.take()?).brought_forward(ahead);
            store.restore_counter(CounterEntry::new(name, state), now);
        }
        for _ in 0..leases {
            let fingerprint = Fingerprint::from_bytes(from.take()?);
            let lease = LeaseId::from_bytes(from.take()?);
            let (slots, expires) = (from.u32()?, from.time()?.before(ahead));
            store.restore_holder(fingerprint, Holder { lease, slots, expires }, now);
        }
    }
    let sum = from.sum();
    if from.take()? != sum {
        return Err(SnapshotError::Checksum);
    }
    match from.take::<1>() {
        Err(SnapshotError::Truncated) => Ok(Restored { key, store, taken_at, ahead }),
        Err(error) => Err(error),
        Ok(_) => Err(SnapshotError::TooLong),
    }
}

impl MemoryStore {
    /// Copies the live keys of one shard in place of those in `into`; it is locked for no longer than that.
    fn copy_live(&self, shard: &Padded, now: Timestamp, into: &mut LiveEntries) {
        let (counters, leases) = shard.0.lock().counts();
        into.make_room(counters, leases);
        shard.0.lock().copy_live(now, into);
    }

    /// Puts back a counter that was copied from another store, unless it has lapsed.
    fn restore_counter(&self, entry: CounterEntry, now: Timestamp) {
        let shard = self.shards.get(self.index(entry.name().shard()));
        let most = self.max_per_shard;
        let is_live = shard.is_some_and(|shard| shard.0.lock().insert(entry, now, most));
        self.evicted.note(u64::from(is_live), now);
    }

    /// Puts back a lease that was copied from another store, in one of its buckets, unless it has expired. It is
    /// kept even where that store had more places: to forget it would admit one more than the limit.
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

/// A reader or writer, and the checksum of all that went through.
struct Summed<T> {
    inner: T,
    hasher: SipHasher13,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hasher: SipHasher13::new() }
    }

    fn sum(&self) -> [u8; 16] {
        self.hasher.finish128().as_bytes()
    }
}

impl<T: Write> Summed<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.write(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Summed<T> {
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
