//! The state of a bucket that is kept as one number.

use crate::clock::{Nanos, Timestamp};

/// 64 bits that the bucket's kind alone can read: see `store::counter`. Stores, snapshots and
/// replicas carry them about. They need to know one thing without the bucket: when the state lapses, so that it
/// says no more than no state at all. A kind whose state is not a moment gives its bits a mark, and has
/// [`Self::lapses_at`] and [`Self::brought_forward`] tell it apart: the highest bit is free, since a moment reaches
/// 2^63 ns only in the year 2262.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketState(u64);

impl BucketState {
    /// The state of a bucket that was never charged.
    pub const NONE: Self = Self(0);

    /// The state of a bucket that is as if never charged from this moment on.
    pub const fn until(moment: Timestamp) -> Self {
        Self(moment.as_unix_nanos())
    }

    /// The moment of [`Self::until`].
    pub const fn moment(self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0)
    }

    /// When it lapses: from then on it says the same as [`Self::NONE`].
    pub const fn lapses_at(self) -> Timestamp {
        self.moment()
    }

    /// The same by a clock that is behind by this span.
    #[must_use]
    pub fn brought_forward(self, by: Nanos) -> Self {
        Self::until(self.moment().before(by))
    }

    /// The state that [`Self::to_bytes`] wrote.
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The state as bytes.
    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}
