//! The bucket nearest to what is asked, where nobody is there to be told that it cannot be kept.
//!
//! A limit that comes with a request is to be kept, not argued with: an error would let the request pass. So
//! what is too fast or too slow to be kept is kept as fast or as slowly as can be.

use std::num::NonZeroU32;

use super::rate::MIN_INTERVAL;
use super::token_bucket::MAX_FILL_TIME;
use super::{Blocked, Bucket, Period, Rate, TokenBucket, Unit};
use crate::clock::Nanos;

impl Bucket {
    /// A bucket of `tokens` that gains as many each `count` units; 0 units are one. No tokens at all are
    /// [`Blocked`] for good. Where they come faster than a million a second, the bucket gains a million; where
    /// they take over 146 years to come, it gains them in the longest time that can be kept.
    pub fn nearest(tokens: u32, count: u32, unit: Unit) -> Self {
        let period = Period::nearest(count, unit);
        let most = period.length().divided_by(Nanos::new(MIN_INTERVAL));
        let gained = u32::try_from(most).map_or(tokens, |most| tokens.min(most));
        let bucket = Rate::new(gained, period).and_then(|rate| TokenBucket::new(tokens, rate));
        // Only no tokens make no bucket; if others did, the door would stay closed.
        bucket.map_or(Self::Blocked(Blocked { until: None }), Self::Tokens)
    }
}

impl Period {
    /// So many units, one for none, and no longer than a bucket may take to fill.
    fn nearest(count: u32, unit: Unit) -> Self {
        let longest =
            Nanos::new(MAX_FILL_TIME - 1).divided_by(Nanos::from_secs(unit.seconds().into()));
        let count = u32::try_from(longest).map_or(count, |longest| count.min(longest));
        Self { count: NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN), unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 7] =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

    fn told(tokens: u32, count: u32, unit: Unit) -> String {
        Bucket::nearest(tokens, count, unit).to_string()
    }

    #[test]
    fn what_can_be_kept_is_kept_as_it_is() {
        assert_eq!(told(10, 1, Unit::Second), "10 per second");
        assert_eq!(told(7, 5, Unit::Minute), "7 per 5 minutes");
        assert_eq!(told(1_000_000, 1, Unit::Second), "1000000 per second");
        assert_eq!(told(u32::MAX, 2, Unit::Hour), "4294967295 per 2 hours");
        assert_eq!(told(1, 146, Unit::Year), "1 per 146 years");
    }

    #[test]
    fn nothing_at_all_is_blocked() {
        for unit in UNITS {
            let blocked = Bucket::Blocked(Blocked { until: None });
            assert_eq!(Bucket::nearest(0, u32::MAX, unit), blocked);
        }
    }

    #[test]
    fn what_is_too_fast_comes_as_fast_as_can_be() {
        assert_eq!(told(1_000_001, 1, Unit::Second), "1000001 at 1000000 per second");
        assert_eq!(told(u32::MAX, 1, Unit::Minute), "4294967295 at 60000000 per minute");
    }

    #[test]
    fn what_is_too_slow_comes_as_slowly_as_can_be() {
        assert_eq!(told(1, u32::MAX, Unit::Year), "1 per 146 years");
        assert_eq!(told(u32::MAX, u32::MAX, Unit::Month), "4294967295 per 1779 months");
    }

    #[test]
    fn no_units_are_one() {
        assert_eq!(told(3, 0, Unit::Minute), "3 per minute");
    }

    #[test]
    fn whatever_is_asked_there_is_a_bucket_for_it() {
        let numbers = (0..32)
            .flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit, (1 << bit) + 1])
            .chain([u32::MAX]);
        for tokens in numbers.clone() {
            for (count, unit) in numbers.clone().flat_map(|count| UNITS.map(|unit| (count, unit))) {
                let bucket = Bucket::nearest(tokens, count, unit);
                assert_eq!(bucket.size(), tokens, "{tokens} {count} {unit:?}");
            }
        }
    }
}
