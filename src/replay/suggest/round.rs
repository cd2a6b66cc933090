//! Round numbers, as people write them into policies.

use crate::limit::{Period, Rate, Unit};

/// The round numbers from 1 to 10, in tenths.
const TENTHS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];

/// The rates that are tried are at least this part of the present one,
const SLOWEST: u64 = 1_000;
/// and at most so many times as fast.
const FASTEST: u64 = 100;

/// The round numbers in ascending order: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40 and so on.
fn numbers() -> impl Iterator<Item = u32> {
    let powers = (0..10).map(|power| 10_u64.pow(power));
    let all = powers.flat_map(|power| TENTHS.map(|tenths| tenths * power));
    all.filter(|tenths| tenths.is_multiple_of(10))
        .filter_map(|tenths| (tenths / 10).try_into().ok())
}

/// The least round number that is not below this; none above 4,000,000,000.
pub(super) fn up(number: u32) -> Option<u32> {
    numbers().find(|round| *round >= number)
}

/// Whether a round number is 1, 2 or 5 times a power of ten: about every third one is.
pub(super) const fn is_coarse(mut number: u32) -> bool {
    while number >= 10 && number.is_multiple_of(10) {
        number /= 10;
    }
    matches!(number, 1 | 2 | 5)
}

/// The rates with round numbers around the present one, the slowest first: from a thousandth of it to a hundred times as
/// fast. They are told by the period of the present one, and those below one token of it by the minute, the hour or the day.
pub(super) fn rates(present: Rate) -> Vec<Rate> {
    let interval = present.interval();
    let (longest, shortest) = (interval.times(SLOWEST).get(), interval.get().div_ceil(FASTEST));
    let longer = [Unit::Minute, Unit::Hour, Unit::Day].map(Period::one).into_iter();
    let longer = longer.filter(|period| period.length() > present.period().length());
    let mut rates: Vec<Rate> = Vec::new();
    let mut slowest = 0;
    for period in std::iter::once(present.period()).chain(longer) {
        let of_period = numbers().map_while(|tokens| Rate::new(tokens, period).ok());
        let slower = of_period.filter(|rate| rate.interval().get() > slowest);
        let near = slower.filter(|rate| (shortest..=longest).contains(&rate.interval().get()));
        rates.extend(near);
        slowest = slowest.max(period.length().get());
    }
    rates.sort_by_key(|rate| std::cmp::Reverse(rate.interval()));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tokens: u32, unit: Unit) -> Vec<String> {
        let present = Rate::new(tokens, Period::one(unit)).unwrap();
        rates(present).iter().map(Rate::to_string).collect()
    }

    #[test]
    fn round_numbers_ascend_and_have_no_gaps_of_more_than_a_half() {
        let all: Vec<_> = numbers().collect();
        assert_eq!(all[..14], [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40]);
        assert_eq!(all.last(), Some(&4_000_000_000));
        let is_near =
            |two: &[u32]| two[0] < two[1] && u64::from(two[1]) * 2 <= u64::from(two[0]) * 3;
        assert!(all.windows(2).skip(1).all(is_near));
        assert_eq!([1, 7, 81, 100].map(up), [1, 8, 100, 100].map(Some));
        assert_eq!((up(0), up(u32::MAX)), (Some(1), None));
        let coarse: Vec<_> = all.into_iter().filter(|number| is_coarse(*number)).collect();
        assert_eq!(coarse[..7], [1, 2, 5, 10, 20, 50, 100]);
    }

    #[test]
    fn rates_below_one_token_are_told_by_longer_periods() {
        let of_seconds = told(10, Unit::Second);
        assert_eq!(of_seconds[..4], ["40 per hour", "50 per hour", "1 per minute", "2 per minute"]);
        assert!(of_seconds.windows(2).any(|two| two == ["50 per minute", "1 per second"]));
        assert_eq!(of_seconds.last().unwrap(), "1000 per second");
        let of_days = told(2, Unit::Day);
        assert_eq!([&of_days[0], &of_days[20]], ["1 per day", "200 per day"]);
        assert_eq!(of_days.len(), 21);
    }

    #[test]
    fn rates_ascend_and_are_bounded() {
        let five_minutes = Period::new(5, Unit::Minute).unwrap();
        for tokens in [1, 7, 300, 4_000_000] {
            let Ok(present) = Rate::new(tokens, five_minutes) else { continue };
            let all = rates(present);
            assert!(all.windows(2).all(|two| two[0].interval() > two[1].interval()));
            assert!((10..60).contains(&all.len()), "{} for {present}", all.len());
        }
    }
}
