//! The numbers along the axes of a chart.

/// Round numbers from 0 up to the first that is `most` or more, in at most `parts` equal parts: each part is 1, 2 or 5
/// times a power of ten. At least 0 and 1.
pub(super) fn numbers(most: u64, parts: u64) -> Vec<u64> {
    let powers = (0..=19).map(|power| 10_u64.saturating_pow(power));
    let mut sizes = powers.flat_map(|power| [1, 2, 5].map(|times| power.saturating_mul(times)));
    let most = most.max(1);
    let size = sizes.find(|size| size.saturating_mul(parts) >= most).unwrap_or(most);
    (0..=most.div_ceil(size)).map(|part| part.saturating_mul(size)).collect()
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The seconds of a day.
pub(super) const DAY: u64 = 24 * HOUR;

/// The spans between two times of an axis, in seconds.
const SPANS: [u64; 16] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];

/// Round times from `begin` to `end`, in seconds since the Unix epoch, `end` excluded: at most `parts`, and one more.
pub(super) fn times(begin: u64, end: u64, parts: u64) -> Vec<u64> {
    let length = end.saturating_sub(begin);
    let parts = parts.max(1);
    let whole_days = || length.div_ceil(parts).div_ceil(DAY).saturating_mul(DAY);
    let span = SPANS.into_iter().find(|span| span * parts >= length).unwrap_or_else(whole_days);
    let first = begin.div_ceil(span);
    let all = (first..).map(|number| number.saturating_mul(span));
    all.take_while(|time| *time < end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round_and_reach_the_most() {
        assert_eq!(numbers(0, 4), [0, 1]);
        assert_eq!(numbers(1, 4), [0, 1]);
        assert_eq!(numbers(3, 4), [0, 1, 2, 3]);
        assert_eq!(numbers(7, 4), [0, 2, 4, 6, 8]);
        assert_eq!(numbers(17, 4), [0, 5, 10, 15, 20]);
        assert_eq!(numbers(41, 4), [0, 20, 40, 60]);
        assert_eq!(numbers(1_000, 4), [0, 500, 1_000]);
        for most in [1, 9, 10, 11, 99, 101, 12_345, 999_999, u64::MAX / 3, u64::MAX] {
            let numbers = numbers(most, 4);
            assert!(numbers.len() <= 5 && numbers.last() >= Some(&most), "{most}: {numbers:?}");
            assert!(numbers[numbers.len() - 2] < most, "{most}: {numbers:?}");
        }
    }

    #[test]
    fn times_are_round_and_within() {
        assert_eq!(times(60, 360, 8), [60, 120, 180, 240, 300]);
        // 14:03 to 23:59.
        let (begin, end) = (14 * HOUR + 180, 24 * HOUR - 60);
        let hours: Vec<_> = times(begin, end, 6).iter().map(|time| time / HOUR).collect();
        assert_eq!(hours, [16, 18, 20, 22]);
        assert_eq!(times(1, 3 * DAY, 4), [DAY, 2 * DAY]);
        assert!(times(5, 5, 8).is_empty());
        for days in [1, 3, 30, 400, 40_000] {
            let times = times(1_000, 1_000 + days * DAY, 8);
            assert!((3..=9).contains(&times.len()), "{days} days: {times:?}");
        }
    }
}
