//! Numbers and times, for people.

use std::time::UNIX_EPOCH;

use super::axis::DAY;
use crate::clock::{Nanos, Timestamp};
use crate::replay::text::{grouped, percent};

/// A number of things.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A part of all, with its share: `80 (0.80 %)`.
pub(super) fn part_of(part: u64, all: u64) -> String {
    format!("{} ({})", grouped(part), percent(part, all))
}

/// A length of time: rounded, in the unit that tells it best.
pub(super) fn span(seconds: u64) -> String {
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", rounded(60)),
        7_200..172_800 => format!("{} h", rounded(3_600)),
        _ => format!("{} days", grouped(rounded(86_400))),
    }
}

/// The length of a step, exactly: `minute`, `16 minutes`.
pub(super) fn step(seconds: u64) -> String {
    match seconds {
        60 => "minute".to_owned(),
        _ if seconds.is_multiple_of(60) => format!("{} minutes", grouped(seconds / 60)),
        _ => count(seconds, "second", "seconds"),
    }
}

/// The seconds since the Unix epoch of a time in RFC 3339; 0 if it is none.
pub(super) fn seconds(rfc3339: &str) -> u64 {
    let time = humantime::parse_rfc3339(rfc3339).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

/// A time in RFC 3339, without its letters: `2026-03-02 14:05:09`.
pub(super) fn moment(rfc3339: &str) -> String {
    rfc3339.trim_end_matches('Z').replacen('T', " ", 1)
}

/// The time of a place on an axis: the hour and minute, or the date if a day begins.
pub(super) fn tick(seconds: u64) -> String {
    let time = moment(&Timestamp::default().after(Nanos::from_secs(seconds)).rfc3339());
    let (date, of_day) = time.split_once(' ').unwrap_or_default();
    let shown =
        if seconds.is_multiple_of(DAY) { date } else { of_day.get(..5).unwrap_or_default() };
    shown.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_tells_them_best() {
        let told = [0, 119, 120, 5_400, 35_940, 172_799, 172_800, 2_592_000].map(span);
        assert_eq!(told, ["0 s", "119 s", "2 min", "90 min", "10 h", "48 h", "2 days", "30 days"]);
        assert_eq!([60, 960, 30_720].map(step), ["minute", "16 minutes", "512 minutes"]);
    }

    #[test]
    fn times_are_those_of_the_log() {
        let time = "2026-03-02T14:05:09Z";
        assert_eq!(moment(time), "2026-03-02 14:05:09");
        assert_eq!(seconds(time), 1_772_460_309);
        assert_eq!(seconds("yesterday"), 0);
        assert_eq!([1_772_460_300, 1_772_409_600].map(tick), ["14:05", "2026-03-02"]);
        assert_eq!((tick(0).as_str(), tick(u64::MAX).len()), ("1970-01-01", 5));
    }

    #[test]
    fn counts_have_their_share() {
        assert_eq!(part_of(80, 10_049), "80 (0.80 %)");
        assert_eq!([count(1, "key", "keys"), count(2_000, "key", "keys")], ["1 key", "2,000 keys"]);
    }
}
