//! Times as the tag `!!timestamp` has them.

/// Whether a text is a date, or a date and a time of day: what envoyproxy/ratelimit takes for one, and no more of
/// <https://yaml.org/type/timestamp.html>. Of a number with two digits, the first may be missing if it is 0.
pub(super) fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        None => (text, None),
        Some(at) => text.split_at_checked(at).map_or((text, None), |(date, rest)| {
            (date, rest.split_at_checked(1).map(|(mark, time)| (mark == " ", time)))
        }),
    };
    is_date(date)
        && time.is_none_or(|(is_without_zone, time)| match is_without_zone {
            true => is_time_of_day(time),
            false => zone_removed(time).is_some_and(is_time_of_day),
        })
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some(year) = number(year, 4).filter(|_| year.len() == 4) else { return false };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match number(month, 2) {
        Some(1 | 3 | 5 | 7 | 8 | 10 | 12) => 31,
        Some(4 | 6 | 9 | 11) => 30,
        Some(2) if is_leap => 29,
        Some(2) => 28,
        _ => return false,
    };
    number(day, 2).is_some_and(|day| (1..=days).contains(&day))
}

/// The time before `Z`, or before the hours and minutes by which a zone differs.
fn zone_removed(text: &str) -> Option<&str> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some(time);
    }
    let (time, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let are_two = hours.len() == 2 && minutes.len() == 2;
    (are_two && number(hours, 2)? <= 24 && number(minutes, 2)? <= 60).then_some(time)
}

fn is_time_of_day(text: &str) -> bool {
    let mut parts = text.split(':');
    let (Some(hours), Some(minutes), Some(seconds), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (seconds, fraction) = match seconds.split_once(['.', ',']) {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (seconds, None),
    };
    let is_fraction =
        |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    number(hours, 2).is_some_and(|hours| hours < 24)
        && number(minutes, 2).is_some_and(|minutes| minutes < 60)
        && number(seconds, 2).is_some_and(|seconds| seconds < 60)
        && fraction.is_none_or(is_fraction)
}

/// Reads a number that has at most `most` digits.
fn number(text: &str, most: usize) -> Option<u32> {
    let is_plain = text.len() <= most && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_a_date_or_a_date_and_a_time() {
        for text in [
            "2020-01-01",
            "2020-1-2",
            "2020-02-29",
            "2001-12-14T21:59:43.10-05:00",
            "2001-12-14t1:2:3Z",
            "2001-12-14 21:59:43.10",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "",
            "abc",
            "20-01-01",
            "2020-13-01",
            "2021-02-29",
            "2020-01-00",
            "2020-01",
            "2020-01-01-01",
            "2020-01-01T",
            "2020-01-01T1:2:3",
            "2020-01-01 1:2:3Z",
            "2020-01-01 24:00:00",
            "2020-01-01 1:2",
            "2020-01-01 1:2:3.",
            "2020-01-01T1:2:3+5:00",
            "+020-01-01",
            "2020-é-01",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }
}
