//! One counter in a shard's table.

use crate::clock::Timestamp;
use crate::policy::fingerprint::ShortName;
use crate::store::BucketState;

/// A counter's state and short name, 20 bytes. A grown table has at least 7 entries for every 16 slots, each with one
/// byte of metadata, so that a key takes at most 48 bytes, and 34 on average.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CounterEntry {
    name: ShortName,
    /// The bytes of the state, with the alignment of the name: a `u64` would pad the entry to 24 bytes.
    state: [u32; 2],
}

impl CounterEntry {
    pub(super) fn new(name: ShortName, state: BucketState) -> Self {
        let [a, b, c, d, e, f, g, h] = state.to_bytes();
        Self { name, state: [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes) }
    }

    pub(super) fn name(&self) -> ShortName {
        self.name
    }

    pub(super) fn state(&self) -> BucketState {
        let [[a, b, c, d], [e, f, g, h]] = self.state.map(u32::to_le_bytes);
        BucketState::from_bytes([a, b, c, d, e, f, g, h])
    }

    /// From this moment on, the entry means the same as none.
    pub(super) fn lapses_at(&self) -> Timestamp {
        self.state().lapses_at()
    }

    pub(super) fn hash64(&self) -> u64 {
        self.name.hash64()
    }
}
