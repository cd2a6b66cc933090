//! The state of a bucket as one number.

use crate::clock::{Nanos, Timestamp};

/// 64 bits that only the kind of the bucket interprets: see `store::counter`. Stores, snapshots and replicas carry them
/// unread. They need one fact without the bucket: when the state lapses, so that it means the same as no state. A kind
/// whose state is not a moment must mark its bits for [`Self::lapses_at`] and [`Self::earlier_by`]. The highest bit is
/// free: a moment reaches 2^63 ns in the year 2262.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketState(u64);

impl BucketState {
    /// The state of a bucket that was never charged.
    pub const NONE: Self = Self(0);

    /// The state that means the same as [`Self::NONE`] from this moment on.
    pub const fn until(moment: Timestamp) -> Self {
        Self(moment.as_unix_nanos())
    }

    /// The moment given to [`Self::until`].
    pub const fn moment(self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0)
    }

    /// When the state lapses: from then on it means the same as [`Self::NONE`].
    pub const fn lapses_at(self) -> Timestamp {
        self.moment()
    }

    /// The same state on a clock that is behind by this span.
    #[must_use]
    pub fn earlier_by(self, by: Nanos) -> Self {
        Self::until(self.moment().before(by))
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The state in little-endian bytes, as in a snapshot.
    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}
