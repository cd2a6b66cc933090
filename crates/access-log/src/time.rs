//! Times, in nanoseconds since the Unix epoch.
//!
//! RFC 3339 and its relatives of ISO 8601 (any fraction, a comma for its point, a space for the `T`, an offset without
//! a colon or minutes, the basic form `20240517T100503Z`), the form of the common log format (`17/May/2015:10:05:03
//! +0000`), and numbers since the epoch in a unit that their magnitude tells. A time without an offset is UTC. A second
//! 60 is the first of the next minute, as in POSIX time.

use crate::number::Decimal;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    /// Nanoseconds since the Unix epoch.
    pub(crate) nanos: u64,
    /// Whether it is written without a fraction of a second.
    pub(crate) is_whole_second: bool,
}

impl Time {
    /// Reads a time of any form. `None` if it has none of them, or is before 1970 or after July 2554.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        if is_date(text) {
            let (second, rest) = local_second(text)?;
            Self::at(second, rest)
        } else {
            since_epoch(text)
        }
    }

    /// Reads a date and a time of day from two columns.
    pub(crate) fn read_columns(date: &[u8], time: &[u8]) -> Option<Self> {
        let (date, after_date) =
            if date.get(2) == Some(&b'/') { common_date(date)? } else { iso_date(date)? };
        let (second, rest) = time_of_day(time)?;
        if after_date.is_empty() { Self::at(date.at(second), rest) } else { None }
    }

    /// The time in this second since the epoch of local time, with the fraction and the offset that follow it.
    fn at(second: i64, rest: &[u8]) -> Option<Self> {
        let (fraction, rest, is_whole_second) = match rest {
            [b'.' | b',', fraction @ ..] => {
                let (nanos, rest) = nanos_of_fraction(fraction)?;
                (nanos, rest, false)
            }
            _ => (0, rest, true),
        };
        let seconds = u64::try_from(second - offset(rest)?).ok()?;
        let nanos = seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(fraction)?;
        Some(Self { nanos, is_whole_second })
    }
}

/// Reads the times of a log. Most of them are in the same second as the time before, which is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    /// `2024-05-17T10:05:03` as it was written last, and its second.
    last: Option<([u8; 19], i64)>,
}

impl Times {
    /// As [`Time::read`].
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<Time> {
        match (text.split_first_chunk(), &self.last) {
            (Some((begin, rest)), Some((known, second))) if begin == known => {
                Time::at(*second, rest)
            }
            _ => self.read_new(text),
        }
    }

    fn read_new(&mut self, text: &[u8]) -> Option<Time> {
        if !is_date(text) {
            return since_epoch(text);
        }
        let (second, rest) = local_second(text)?;
        // Which form a text has, and so where its second ends, depends on nothing behind it.
        self.last = text
            .split_first_chunk()
            .filter(|(_, after)| after.len() == rest.len())
            .map(|(begin, _)| (*begin, second));
        Time::at(second, rest)
    }
}

/// Whether a time begins with a date; if not, it is a number.
const fn is_date(text: &[u8]) -> bool {
    matches!(text, [_, _, b'/', ..] | [_, _, _, _, b'-', ..] | [_, _, _, _, _, _, _, _, b'T', ..])
}

/// The second since the epoch of local time, which may be negative, and what follows it.
fn local_second(text: &[u8]) -> Option<(i64, &[u8])> {
    let (date, rest) = if let [_, _, b'/', ..] = text {
        let (date, rest) = common_date(text)?;
        (date, rest.strip_prefix(b":")?)
    } else {
        let (date, rest) = iso_date(text)?;
        let [b'T' | b't' | b' ' | b'_', rest @ ..] = rest else { return None };
        (date, rest)
    };
    let (second, rest) = time_of_day(rest)?;
    Some((date.at(second), rest))
}

/// Days since the epoch, which may be negative.
struct Date(i64);

impl Date {
    /// Of the Gregorian calendar. The days before a year count from the first of March, so that a leap day is the last
    /// day of a year.
    fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_of_month = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + i64::from(is_leap),
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days_of_month).contains(&day) {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days_of_years =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        // From March on, months have 31, 30, 31, 30, 31 days, and again.
        let days_of_months = (153 * month + 2) / 5;
        // 719,468 days from the first of March of the year 0 to the epoch.
        Some(Self(days_of_years + days_of_months + day - 1 - 719_468))
    }

    /// The second since the epoch, given that of the day.
    const fn at(&self, second: i64) -> i64 {
        self.0 * 86_400 + second
    }
}

/// `17/May/2015`.
fn common_date(text: &[u8]) -> Option<(Date, &[u8])> {
    let [d0, d1, b'/', month @ .., _, _] = text.get(..8)? else { return None };
    let month = match month {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    };
    let [b'/', y0, y1, y2, y3, rest @ ..] = text.get(6..)? else { return None };
    let year = two(*y0, *y1)? * 100 + two(*y2, *y3)?;
    Some((Date::new(year, month, two(*d0, *d1)?)?, rest))
}

/// `2024-05-17`, or `20240517`.
fn iso_date(text: &[u8]) -> Option<(Date, &[u8])> {
    let ([y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, rest @ ..]
    | [y0, y1, y2, y3, m0, m1, d0, d1, rest @ ..]) = text
    else {
        return None;
    };
    let year = two(*y0, *y1)? * 100 + two(*y2, *y3)?;
    Some((Date::new(year, two(*m0, *m1)?, two(*d0, *d1)?)?, rest))
}

/// The second of the day, from `10:05:03` or `100503`, and what follows it.
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([h0, h1, b':', m0, m1, b':', s0, s1, rest @ ..] | [h0, h1, m0, m1, s0, s1, rest @ ..]) =
        text
    else {
        return None;
    };
    let (hour, minute, second) = (two(*h0, *h1)?, two(*m0, *m1)?, two(*s0, *s1)?);
    let is_time = hour <= 23 && minute <= 59 && second <= 60;
    is_time.then_some((hour * 3600 + minute * 60 + second, rest))
}

/// The first nine digits count, all are read.
fn nanos_of_fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut nanos, mut unit, mut rest) = (0, NANOS_PER_SECOND, text);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        unit /= 10;
        nanos += u64::from(digit - b'0') * unit;
        rest = after;
    }
    (rest.len() < text.len()).then_some((nanos, rest))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, h0, h1, m0, m1) = match text {
        b"" | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        [sign, h0, h1, b':', m0, m1] | [sign, h0, h1, m0, m1] => (sign, h0, h1, m0, m1),
        [sign, h0, h1] => (sign, h0, h1, &b'0', &b'0'),
        _ => return None,
    };
    let (hours, minutes) = (two(*h0, *h1)?, two(*m0, *m1)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 3600 + minutes * 60),
        b'-' => Some(-(hours * 3600 + minutes * 60)),
        _ => None,
    }
}

/// Seconds below 10^11 (the year 5138), milliseconds below 10^14, microseconds below 10^17, else nanoseconds.
fn since_epoch(text: &[u8]) -> Option<Time> {
    let (number, rest) = Decimal::read(text)?;
    if !rest.is_empty() {
        return None;
    }
    let scale = match number.times_power_of_ten(0)?.checked_ilog10().unwrap_or(0) {
        0..11 => 9,
        11..14 => 6,
        14..17 => 3,
        _ => 0,
    };
    let nanos = number.times_power_of_ten(scale)?;
    Some(Time { nanos, is_whole_second: scale == 9 && !number.has_fraction })
}

/// Two digits.
fn two(tens: u8, ones: u8) -> Option<i64> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
