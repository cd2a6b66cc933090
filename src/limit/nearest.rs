//! The valid bucket nearest to a limit override.
//!
//! An invalid override is not rejected, since Envoy lets a request pass for which it gets an error. A rate that is too
//! fast or too slow becomes the fastest or slowest valid one.

use std::num::NonZeroU32;

use super::rate::MIN_INTERVAL;
use super::token_bucket::MAX_FILL_TIME;
use super::{Blocked, Bucket, Period, Rate, TokenBucket, Unit};
use crate::clock::Nanos;

impl Bucket {
    /// A bucket of `tokens` that gains as many each `count` units; 0 units count as 1. Without tokens it is [`Blocked`]
    /// without an end. A rate above a million a second becomes that; a time to fill above 146 years becomes the longest
    /// valid one.
    pub fn nearest(tokens: u32, count: u32, unit: Unit) -> Self {
        let period = Period::nearest(count, unit);
        let max = period.length().divided_by(Nanos::new(MIN_INTERVAL));
        let gained = u32::try_from(max).map_or(tokens, |max| tokens.min(max));
        let bucket = Rate::new(gained, period).and_then(|rate| TokenBucket::new(tokens, rate));
        // Fails only without tokens. Any other failure would deny as well.
        bucket.map_or(Self::Blocked(Blocked { until: None }), Self::Tokens)
    }
}

impl Period {
    /// `count` units, at least one, and no more than a bucket may take to fill.
    fn nearest(count: u32, unit: Unit) -> Self {
        let max = Nanos::new(MAX_FILL_TIME - 1).divided_by(Nanos::from_secs(unit.seconds().into()));
        let count = u32::try_from(max).map_or(count, |max| count.min(max));
        Self { count: NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN), unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 7] =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

    fn nearest(tokens: u32, count: u32, unit: Unit) -> String {
        Bucket::nearest(tokens, count, unit).to_string()
    }

    #[test]
    fn what_can_be_kept_is_kept_as_it_is() {
        assert_eq!(nearest(10, 1, Unit::Second), "10 per second");
        assert_eq!(nearest(7, 5, Unit::Minute), "7 per 5 minutes");
        assert_eq!(nearest(1_000_000, 1, Unit::Second), "1000000 per second");
        assert_eq!(nearest(u32::MAX, 2, Unit::Hour), "4294967295 per 2 hours");
        assert_eq!(nearest(1, 146, Unit::Year), "1 per 146 years");
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
        assert_eq!(nearest(1_000_001, 1, Unit::Second), "1000001 at 1000000 per second");
        assert_eq!(nearest(u32::MAX, 1, Unit::Minute), "4294967295 at 60000000 per minute");
    }

    #[test]
    fn what_is_too_slow_comes_as_slowly_as_can_be() {
        assert_eq!(nearest(1, u32::MAX, Unit::Year), "1 per 146 years");
        assert_eq!(nearest(u32::MAX, u32::MAX, Unit::Month), "4294967295 per 1779 months");
    }

    #[test]
    fn no_units_are_one() {
        assert_eq!(nearest(3, 0, Unit::Minute), "3 per minute");
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
