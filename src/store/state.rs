//! The state of a counter.

use crate::clock::Timestamp;
use crate::limit::CompactInterval;

/// 64 bits that only the kind of the bucket interprets (see `store::counter`), and the interval between two tokens of
/// the limit under which they were written, by which a changed limit finds what was used. Stores, snapshots and
/// replicas carry them unread. They need one fact without the bucket: when the state lapses, so that it means the same
/// as no state, unless the limit has become slower since (see [`OwedStates`](crate::limit::OwedStates)). A kind whose state is not a moment must mark its bits for [`Self::lapses_at`] and [`Self::moved`].
/// The highest bit is free: a moment reaches 2^63 ns in the year 2262.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketState {
    bits: u64,
    interval: CompactInterval,
}

impl BucketState {
    /// The state of a bucket that was never charged.
    pub const NONE: Self = Self { bits: 0, interval: CompactInterval::UNKNOWN };

    /// The state that means the same as [`Self::NONE`] from this moment on.
    pub const fn until(moment: Timestamp, interval: CompactInterval) -> Self {
        Self { bits: moment.as_unix_nanos(), interval }
    }

    /// The moment given to [`Self::until`].
    pub const fn moment(self) -> Timestamp {
        Timestamp::from_unix_nanos(self.bits)
    }

    /// The interval given to [`Self::until`].
    pub const fn interval(self) -> CompactInterval {
        self.interval
    }

    /// When the state lapses: from then on it means the same as [`Self::NONE`].
    pub const fn lapses_at(self) -> Timestamp {
        self.moment()
    }

    /// The same state on another clock, which shows `moved` of a moment of this one.
    #[must_use]
    pub fn moved(self, moved: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self::until(moved(self.moment()), self.interval)
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) const fn from_bytes(bits: [u8; 8], interval: [u8; 4]) -> Self {
        let bits = u64::from_le_bytes(bits);
        Self { bits, interval: CompactInterval::from_bytes(interval) }
    }

    /// The bits and the interval in little-endian bytes, as in a snapshot.
    pub(crate) const fn to_bytes(self) -> ([u8; 8], [u8; 4]) {
        (self.bits.to_le_bytes(), self.interval.to_bytes())
    }
}
