//! Token buckets.

use std::fmt;
use std::num::NonZeroU32;

use governor::Quota;

use super::{CompactInterval, LimitError, Rate};
use crate::clock::Nanos;

/// The bound on the time to fill a bucket, exclusive: 2^62 ns (146 years). Twice this and a timestamp fit into 64 bits,
/// so that governor's arithmetic cannot overflow.
pub(crate) const MAX_FILL_TIME: u64 = 1 << 62;

/// A token bucket: starts full, refills at a rate, and never holds more tokens than its size.
///
/// ```
/// use tollgate::clock::Nanos;
/// use tollgate::limit::{LimitError, Period, Rate, TokenBucket, Unit};
///
/// let rate = Rate::new(10, Period::one(Unit::Second))?;
/// let bucket = TokenBucket::new(50, rate)?;
/// assert_eq!(bucket.to_string(), "50 at 10 per second");
/// assert_eq!(rate.interval(), Nanos::new(100_000_000));
/// assert_eq!(bucket.fill_time(), Nanos::from_secs(5));
/// assert_eq!(TokenBucket::new(0, rate), Err(LimitError::Zero));
/// # Ok::<(), LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    size: NonZeroU32,
    rate: Rate,
    interval: Nanos,
    compact_interval: CompactInterval,
    quota: Quota,
}

impl TokenBucket {
    /// A bucket that holds at most `size` tokens.
    ///
    /// # Errors
    /// [`LimitError::Zero`] for a size of 0, [`LimitError::TooSlow`] if size / rate is 2^62 ns or more.
    pub fn new(size: u32, rate: Rate) -> Result<Self, LimitError> {
        let size = NonZeroU32::new(size).ok_or(LimitError::Zero)?;
        let interval = rate.interval();
        if interval.times(u64::from(size.get())).get() >= MAX_FILL_TIME {
            return Err(LimitError::TooSlow);
        }
        let quota = Quota::with_period(interval.into()).ok_or(LimitError::TooFast)?;
        Ok(Self::with(size, rate, interval, quota))
    }

    fn with(size: NonZeroU32, rate: Rate, interval: Nanos, quota: Quota) -> Self {
        let compact_interval = CompactInterval::of(interval);
        Self { size, rate, interval, compact_interval, quota: quota.allow_burst(size) }
    }

    /// How many tokens it holds when full.
    pub const fn size(&self) -> NonZeroU32 {
        self.size
    }

    /// How fast it refills.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The time to gain one token.
    pub const fn interval(&self) -> Nanos {
        self.interval
    }

    /// The time to gain one token, as states carry it.
    pub const fn compact_interval(&self) -> CompactInterval {
        self.compact_interval
    }

    /// The time to fill it from empty.
    pub fn fill_time(&self) -> Nanos {
        self.interval.times(u64::from(self.size.get()))
    }

    /// The same bucket as governor's quota.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// One of `parts` buckets that together hold and gain no more than this one, except that each has a size of at
    /// least 1.
    #[must_use]
    pub fn divided(&self, parts: NonZeroU32) -> Self {
        let size = NonZeroU32::new(self.size.get() / parts).unwrap_or(NonZeroU32::MIN);
        let interval = self.interval.times(u64::from(parts.get()));
        // A bucket whose part would take too long to fill is not divided.
        let fits = interval.times(u64::from(size.get())).get() < MAX_FILL_TIME;
        match Quota::with_period(interval.into()).filter(|_| fits) {
            Some(quota) => Self::with(size, self.rate, interval, quota),
            None => *self,
        }
    }
}

impl fmt::Display for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.size != self.rate.tokens() {
            write!(f, "{} at ", self.size)?;
        }
        self.rate.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Unit};

    fn rate(tokens: u32, unit: Unit) -> Rate {
        Rate::new(tokens, Period::one(unit)).unwrap()
    }

    #[test]
    fn a_bucket_that_could_overflow_cannot_be_built() {
        let slow = rate(1, Unit::Year);
        assert!(TokenBucket::new(146, slow).is_ok());
        assert_eq!(TokenBucket::new(147, slow), Err(LimitError::TooSlow));
        assert_eq!(TokenBucket::new(u32::MAX, slow), Err(LimitError::TooSlow));
    }

    #[test]
    fn a_whole_period_gains_all_its_tokens() {
        let bucket = TokenBucket::new(7, rate(7, Unit::Minute)).unwrap();
        assert!(bucket.fill_time() <= Nanos::from_secs(60));
    }
}
