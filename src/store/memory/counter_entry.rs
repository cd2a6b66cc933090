//! One counter in a shard's table.

use crate::clock::{Now, Timestamp};
use crate::policy::fingerprint::ShortName;
use crate::store::BucketState;

/// A counter's state and short name, 24 bytes. A grown table has at least 7 entries for every 16 slots, each with one
/// byte of metadata, so that a key takes at most 57 bytes, and 40 on average.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CounterEntry {
    name: ShortName,
    /// The bits of the state, with the alignment of the name: a `u64` would pad the entry to 32 bytes.
    bits: [u32; 2],
    rest: [u8; 4],
}

impl CounterEntry {
    pub(super) fn new(name: ShortName, state: BucketState) -> Self {
        let ([a, b, c, d, e, f, g, h], rest) = state.to_bytes();
        Self { name, bits: [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes), rest }
    }

    pub(super) fn name(&self) -> ShortName {
        self.name
    }

    pub(super) fn state(&self) -> BucketState {
        let [[a, b, c, d], [e, f, g, h]] = self.bits.map(u32::to_le_bytes);
        BucketState::from_bytes([a, b, c, d, e, f, g, h], self.rest)
    }

    /// From this moment of the steady time on, the entry means the same as none.
    pub(super) fn lapses_at(&self, now: Now) -> Timestamp {
        self.state().lapses_at(now)
    }

    pub(super) fn hash64(&self) -> u64 {
        self.name.hash64()
    }
}
