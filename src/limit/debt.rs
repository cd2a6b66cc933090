//! How far a bucket may be charged beyond what it holds.

use std::num::NonZeroU64;

use super::{MAX_FILL_TIME, TokenBucket};
use crate::clock::Nanos;

/// The debt of a token bucket whose charges are always made (`charge: always`): what the bucket owes once it has been
/// charged more tokens than it had. It repays at its rate, and holds tokens again afterwards.
///
/// ```
/// use tollgate::limit::Debt;
///
/// assert_eq!(Debt::up_to(0).most_owed(), Some(0));
/// assert_eq!(Debt::UNBOUNDED.most_owed(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Debt(NonZeroU64);

impl Debt {
    /// Bounded by the arithmetic only: the time until the bucket is full is at most 2^62 ns, 146 years.
    pub const UNBOUNDED: Self = Self(NonZeroU64::MAX);

    /// At most this many tokens, and what the arithmetic allows.
    pub const fn up_to(tokens: u32) -> Self {
        Self(NonZeroU64::MIN.saturating_add(tokens as u64))
    }

    /// The most tokens that the bucket may owe; `None` if only the arithmetic bounds them.
    pub fn most_owed(self) -> Option<u32> {
        u32::try_from(self.0.get() - 1).ok()
    }

    /// The longest time until the bucket is full: that to fill it, and that to repay the most it may owe.
    pub(crate) fn longest_reset(self, bucket: &TokenBucket) -> Nanos {
        let owed = bucket.interval().times(self.0.get() - 1);
        bucket.fill_time().plus(owed).min(Nanos::new(MAX_FILL_TIME))
    }

    /// The debt of one of `parts` buckets that together owe no more.
    #[must_use]
    pub fn divided(self, parts: std::num::NonZeroU32) -> Self {
        self.most_owed().map_or(self, |most| Self::up_to(most / parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Rate, Unit};

    #[test]
    fn a_debt_is_bounded_by_the_policy_and_by_the_arithmetic() {
        let rate = Rate::new(10, Period::one(Unit::Second)).unwrap();
        let bucket = TokenBucket::new(50, rate).unwrap();
        assert_eq!(Debt::up_to(0).longest_reset(&bucket), bucket.fill_time());
        assert_eq!(Debt::up_to(20).longest_reset(&bucket), Nanos::from_secs(7));
        assert_eq!(Debt::UNBOUNDED.longest_reset(&bucket), Nanos::new(MAX_FILL_TIME));
        let year = TokenBucket::new(1, Rate::new(1, Period::one(Unit::Year)).unwrap()).unwrap();
        assert_eq!(Debt::up_to(u32::MAX).longest_reset(&year), Nanos::new(MAX_FILL_TIME));
        assert!(Debt::UNBOUNDED > Debt::up_to(u32::MAX));
        assert_eq!(Debt::up_to(u32::MAX).most_owed(), Some(u32::MAX));
    }
}
