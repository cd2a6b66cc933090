//! Limits: the parameters of buckets. Invalid ones cannot be built.

mod changes;
mod concurrency;
mod debt;
mod error;
mod interval;
mod nearest;
mod owed;
mod rate;
mod slowed;
mod token_bucket;
mod window;

use std::fmt;
use std::num::NonZeroU32;

use crate::clock::Timestamp;

pub(crate) use self::changes::BucketLimits;
pub use self::changes::{ChangeTime, LimitChanges};
pub use self::concurrency::{Concurrency, MAX_SLOTS};
pub use self::debt::Debt;
pub use self::error::LimitError;
pub use self::interval::CompactInterval;
pub use self::owed::OwedStates;
pub(crate) use self::owed::carried_over;
pub use self::rate::{Period, Rate, Unit};
pub use self::slowed::SlowedLimits;
pub(crate) use self::token_bucket::MAX_FILL_TIME;
pub use self::token_bucket::TokenBucket;
pub use self::window::{Counting, Window};

/// A bucket that admits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// When it ends, if it does.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blocked")
    }
}

/// Any kind of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Limits how often calls are admitted.
    Tokens(TokenBucket),
    /// Limits how many calls run at a time.
    Concurrency(Concurrency),
    /// Limits how often calls are admitted in each of the windows that follow one another.
    Window(Window),
    /// Admits nothing.
    Blocked(Blocked),
}

impl Bucket {
    /// How many tokens or slots it has when full, or how many hits a window admits; 0 if it is blocked.
    pub const fn size(&self) -> u32 {
        match self {
            Self::Tokens(bucket) => bucket.size().get(),
            Self::Concurrency(bucket) => bucket.slots().get(),
            Self::Window(window) => window.requests(),
            Self::Blocked(_) => 0,
        }
    }

    /// One of `parts` buckets that together admit no more than this one, except that each has a size of at least 1.
    #[must_use]
    pub fn divided(&self, parts: NonZeroU32) -> Self {
        match self {
            Self::Tokens(bucket) => Self::Tokens(bucket.divided(parts)),
            Self::Concurrency(bucket) => Self::Concurrency(bucket.divided(parts)),
            Self::Window(window) => Self::Window(window.divided(parts)),
            Self::Blocked(_) => *self,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(bucket) => bucket.fmt(f),
            Self::Concurrency(bucket) => bucket.fmt(f),
            Self::Window(window) => window.fmt(f),
            Self::Blocked(blocked) => blocked.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Nanos;

    fn rate(tokens: u32, unit: Unit) -> Rate {
        Rate::new(tokens, Period::one(unit)).unwrap()
    }

    #[test]
    fn a_bucket_of_nothing_cannot_be_built() {
        assert_eq!(Rate::new(0, Period::one(Unit::Second)), Err(LimitError::Zero));
        assert_eq!(TokenBucket::new(0, rate(1, Unit::Second)), Err(LimitError::Zero));
        assert_eq!(Concurrency::new(0, Nanos::from_secs(1)), Err(LimitError::Zero));
        assert_eq!(Period::new(0, Unit::Day), Err(LimitError::ZeroPeriod));
        assert_eq!(Period::from_duration(Duration::ZERO), Err(LimitError::ZeroPeriod));
    }

    #[test]
    fn buckets_read_as_people_say_them() {
        let bucket = |size, rate| TokenBucket::new(size, rate).unwrap().to_string();
        assert_eq!(bucket(10, rate(10, Unit::Second)), "10 per second");
        assert_eq!(bucket(50, rate(10, Unit::Minute)), "50 at 10 per minute");
        assert_eq!(Concurrency::new(2, Nanos::from_secs(60)).unwrap().to_string(), "2 concurrent");
    }

    #[test]
    fn parts_of_a_bucket_are_together_no_more_than_the_whole() {
        let whole = TokenBucket::new(10, rate(10, Unit::Second)).unwrap();
        let part = whole.divided(NonZeroU32::new(3).unwrap());
        assert_eq!((part.size().get(), part.interval()), (3, Nanos::new(300_000_000)));
        assert_eq!(whole.divided(NonZeroU32::MIN), whole);
        let few = whole.divided(NonZeroU32::new(20).unwrap());
        assert_eq!((few.size().get(), few.interval()), (1, Nanos::from_secs(2)));
        let slots = Bucket::Concurrency(Concurrency::new(5, Nanos::from_secs(60)).unwrap());
        assert_eq!(slots.divided(NonZeroU32::new(2).unwrap()).size(), 2);
        let century = TokenBucket::new(100, rate(1, Unit::Year)).unwrap();
        assert_eq!(century.divided(NonZeroU32::new(1000).unwrap()), century);
    }
}
