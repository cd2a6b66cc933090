//! The state of a counter.

use crate::clock::{Now, Timestamp};
use crate::limit::CompactInterval;

/// Set in the bits of a count. A moment reaches it in the year 2262.
const IS_COUNT: u64 = 1 << 63;

/// 96 bits that only the kind of the bucket interprets (see `store::counter`). Stores, snapshots and replicas carry them
/// unread. They need one fact without the bucket: when the state lapses, so that it means the same as no state, unless the
/// limit has become slower since (see [`OwedStates`](crate::limit::OwedStates)).
///
/// The state of a token bucket is a moment of the steady time and the interval between two tokens of the limit under which
/// it was written, by which a changed limit finds what was used. That of a window is a count and a time of the wall clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketState {
    bits: u64,
    rest: [u8; 4],
}

impl BucketState {
    /// The state of a bucket that was never charged.
    pub const NONE: Self = Self { bits: 0, rest: [0; 4] };

    /// The state that means the same as [`Self::NONE`] from this moment on.
    pub const fn until(moment: Timestamp, interval: CompactInterval) -> Self {
        Self { bits: moment.as_unix_nanos(), rest: interval.to_bytes() }
    }

    /// The state of a window that ends at `end`, by the wall clock, and has counted so many hits.
    pub const fn counted(end: Timestamp, count: u32) -> Self {
        Self { bits: end.as_unix_nanos() | IS_COUNT, rest: count.to_le_bytes() }
    }

    /// The moment given to [`Self::until`].
    pub const fn moment(self) -> Timestamp {
        Timestamp::from_unix_nanos(self.bits)
    }

    /// The interval given to [`Self::until`]; unknown for a count.
    pub const fn interval(self) -> CompactInterval {
        if self.is_count() {
            CompactInterval::UNKNOWN
        } else {
            CompactInterval::from_bytes(self.rest)
        }
    }

    /// Whether the interval is this one; a count, which has none, may have the same bytes.
    pub(super) fn has_bytes_of(self, interval: CompactInterval) -> bool {
        self.rest == interval.to_bytes()
    }

    /// The end and the count given to [`Self::counted`].
    pub const fn count(self) -> Option<(Timestamp, u32)> {
        if self.is_count() { Some((self.end(), u32::from_le_bytes(self.rest))) } else { None }
    }

    /// The same with another count, if it is that of a window.
    #[must_use]
    pub(crate) const fn with_count(self, count: u32) -> Self {
        if self.is_count() { Self { rest: count.to_le_bytes(), ..self } } else { self }
    }

    const fn is_count(self) -> bool {
        self.bits & IS_COUNT != 0
    }

    const fn end(self) -> Timestamp {
        Timestamp::from_unix_nanos(self.bits & !IS_COUNT)
    }

    /// When the state lapses, by the steady time: from then on it means the same as [`Self::NONE`].
    pub const fn lapses_at(self, now: Now) -> Timestamp {
        if self.is_count() { now.to_steady(self.end()) } else { self.moment() }
    }

    /// The same state on another steady time, which shows `moved` of a moment of this one.
    #[must_use]
    pub fn moved(self, moved: impl Fn(Timestamp) -> Timestamp) -> Self {
        if self.is_count() { self } else { Self::until(moved(self.moment()), self.interval()) }
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) const fn from_bytes(bits: [u8; 8], rest: [u8; 4]) -> Self {
        Self { bits: u64::from_le_bytes(bits), rest }
    }

    /// The bits in little-endian bytes, as in a snapshot.
    pub(crate) const fn to_bytes(self) -> ([u8; 8], [u8; 4]) {
        (self.bits.to_le_bytes(), self.rest)
    }
}
