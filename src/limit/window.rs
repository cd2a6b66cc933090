//! Fixed windows.

use std::fmt;
use std::num::NonZeroU32;

use super::{Period, Unit};
use crate::clock::{Nanos, Timestamp};

/// What the windows of a request count if one of them is over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Each window counts every hit, as if it were alone: also beyond its limit, and also if another denies the request.
    Each,
    /// If a window of the request is over its limit, only those that are count the hits. Of several charges of one window,
    /// each is judged alone, by the count before the request.
    SpareOthers,
    /// If the request is denied, no window counts it, and a window counts no hits beyond its limit.
    AllOrNone,
}

/// A fixed window: admits a number of hits in each unit of time. Windows follow one another from the Unix epoch on, by the
/// wall clock: a minute begins with the second 0, a day at midnight UTC, a week on Thursday. Months have 30 days and years
/// 365, as in envoyproxy/ratelimit, whose limits these are.
///
/// ```
/// use tollgate::clock::Timestamp;
/// use tollgate::limit::{Unit, Window};
///
/// let window = Window::new(5, Unit::Minute);
/// let ends = window.end(Timestamp::from_unix_nanos(61_500_000_000));
/// assert_eq!(ends, Timestamp::from_unix_nanos(120_000_000_000));
/// assert_eq!(window.to_string(), "5 each minute");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    requests: u32,
    unit: Unit,
}

impl Window {
    /// A window that admits this number of hits in each unit; with 0, none.
    pub const fn new(requests: u32, unit: Unit) -> Self {
        Self { requests, unit }
    }

    /// How many hits it admits.
    pub const fn requests(self) -> u32 {
        self.requests
    }

    /// Its length.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// The end of the window that has begun at `now`, by the wall clock; never `now` itself.
    pub const fn end(self, now: Timestamp) -> Timestamp {
        let length = Nanos::from_secs(self.unit.seconds() as u64);
        let passed = now.as_unix_nanos() % length.get();
        now.before(Nanos::new(passed)).after(length)
    }

    /// One of `parts` windows that together admit no more than this one, or one hit each. One that admits none stays.
    #[must_use]
    pub fn divided(self, parts: NonZeroU32) -> Self {
        let requests = (self.requests / parts).max(u32::from(self.requests > 0));
        Self { requests, ..self }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} each {}", self.requests, Period::one(self.unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_and_a_new_one_begins_at_the_end() {
        let end = |unit, now| Window::new(1, unit).end(at(now));
        assert_eq!(end(Unit::Minute, 59), at(60));
        assert_eq!(end(Unit::Minute, 60), at(120));
        // 1970-01-01 was a Thursday.
        assert_eq!(end(Unit::Week, 604_800 - 1), at(604_800));
        assert_eq!(end(Unit::Month, 2_592_000), at(2 * 2_592_000));
        assert_eq!(end(Unit::Year, 1), at(31_536_000));
    }

    #[test]
    fn parts_of_a_window_admit_no_more_than_the_whole() {
        let part = |requests, parts| {
            Window::new(requests, Unit::Day).divided(NonZeroU32::new(parts).unwrap()).requests()
        };
        assert_eq!([part(10, 3), part(2, 3), part(0, 3)], [3, 1, 0]);
    }
}
