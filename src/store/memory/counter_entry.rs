//! One counter in a shard's table.

use crate::clock::Timestamp;
use crate::policy::fingerprint::ShortName;
use crate::store::BucketState;

/// A counter's state under its short name. 20 bytes: a shard's table has at least 7 cells for every 16
/// places, of one byte more each, so that a key takes 48 bytes at most and 34 on average.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CounterEntry {
    name: ShortName,
    /// The state's bytes, aligned like the name.
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

    /// From when on it says no more than if it were not there.
    pub(super) fn lapses_at(&self) -> Timestamp {
        self.state().lapses_at()
    }

    pub(super) fn hash64(&self) -> u64 {
        self.name.hash64()
    }
}
