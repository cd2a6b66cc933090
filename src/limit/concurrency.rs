//! Concurrency buckets.

use std::fmt;
use std::num::NonZeroU32;

use super::LimitError;
use crate::clock::Nanos;

/// The most slots of one concurrency bucket, since its leases are kept in one sorted list.
pub const MAX_SLOTS: u32 = 10_000;

/// A concurrency bucket: a call takes a slot, and holds it until its lease is released or expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    slots: NonZeroU32,
    ttl: Nanos,
}

impl Concurrency {
    /// A bucket of `slots`, whose leases expire after `ttl`.
    ///
    /// # Errors
    /// [`LimitError::Zero`] for no slots, [`LimitError::TooManySlots`] above [`MAX_SLOTS`], [`LimitError::InvalidTtl`]
    /// for a ttl below a second, above 366 days, or not in whole milliseconds.
    pub fn new(slots: u32, ttl: Nanos) -> Result<Self, LimitError> {
        let slots = NonZeroU32::new(slots).ok_or(LimitError::Zero)?;
        if slots.get() > MAX_SLOTS {
            return Err(LimitError::TooManySlots);
        }
        let has_fraction = !ttl.get().is_multiple_of(1_000_000);
        if has_fraction || ttl < Nanos::from_secs(1) || ttl > Nanos::from_secs(366 * 86_400) {
            return Err(LimitError::InvalidTtl);
        }
        Ok(Self { slots, ttl })
    }

    /// How many slots it has.
    pub const fn slots(&self) -> NonZeroU32 {
        self.slots
    }

    /// The time-to-live of a lease.
    pub const fn ttl(&self) -> Nanos {
        self.ttl
    }

    /// One of `parts` buckets that together have no more slots than this one, or one slot each.
    #[must_use]
    pub fn divided(&self, parts: NonZeroU32) -> Self {
        let slots = NonZeroU32::new(self.slots.get() / parts).unwrap_or(NonZeroU32::MIN);
        Self { slots, ttl: self.ttl }
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} concurrent", self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_whole_number_of_milliseconds() {
        assert!(Concurrency::new(1, Nanos::new(1_001_000_000)).is_ok());
        assert_eq!(Concurrency::new(1, Nanos::new(1_000_001_000)), Err(LimitError::InvalidTtl));
    }
}
