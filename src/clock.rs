//! The clock: a request reads it once and passes the time on as a value.
//!
//! A [`Timestamp`] counts from the Unix epoch, so that the same number serves as the state of a bucket and as the reset
//! time in a header. It does not follow corrections of the wall clock: [`BootClock`] maps `CLOCK_BOOTTIME` to the wall
//! clock once, at the start, so time never goes backwards, and continues while the machine is suspended.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A span of time in nanoseconds; saturates at about 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// `nanos` nanoseconds.
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// The number of nanoseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded up, so that a client that waits for them waits long enough.
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SECOND)
    }

    /// This span times `count`.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// This span minus `other`, at least zero.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum of both spans.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// How many times `part` fits into this span; 0 if `part` is zero.
    pub const fn divided_by(self, part: Self) -> u64 {
        match self.0.checked_div(part.0) {
            Some(count) => count,
            None => 0,
        }
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from(*self)).fmt(f)
    }
}

/// A point in time, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point `nanos` nanoseconds after the Unix epoch.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_unix_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch, rounded up, so that the moment is never after them.
    pub const fn as_unix_secs_ceil(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SECOND)
    }

    /// RFC 3339 text, in UTC and whole seconds; empty for a time that the system cannot represent.
    pub fn rfc3339(self) -> String {
        let moment = std::time::UNIX_EPOCH.checked_add(Duration::from_nanos(self.0));
        let text = moment.map(|moment| humantime::format_rfc3339_seconds(moment).to_string());
        text.unwrap_or_default()
    }

    /// The point `span` later.
    pub const fn after(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The point `span` earlier.
    pub const fn before(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The span from `earlier` to this point; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A source of time: [`BootClock`] in a server, [`ManualClock`] in tests and simulations.
pub trait Clock: Send + Sync {
    /// The current time. It never goes backwards, except in a [`ManualClock`] that is set back.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug)]
pub struct BootClock {
    /// The Unix time of the boot, in nanoseconds.
    boot_to_unix: u64,
}

impl BootClock {
    /// Reads the wall clock and maps the time since boot to it.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_types, reason = "the one place that asks the system")]
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(Nanos::ZERO, Nanos::from);
        Self { boot_to_unix: wall.minus(since_boot()).get() }
    }
}

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.boot_to_unix.saturating_add(since_boot().get()))
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Nanos::from_secs(seconds).plus(Nanos::new(nanos))
}

/// Other systems have no such clock; their monotonic clock may stop while the machine is suspended.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Nanos::from_secs(seconds).plus(Nanos::new(nanos))
}

/// A clock that moves only by calls of its methods.
///
/// ```
/// use tollgate::clock::{Clock, ManualClock, Nanos, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_unix_nanos(0));
/// clock.advance(Nanos::from_secs(90));
/// assert_eq!(clock.now().rfc3339(), "1970-01-01T00:01:30Z");
/// assert_eq!(clock.now().since(Timestamp::default()).to_string(), "1m 30s");
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Nanos) {
        self.0.fetch_add(span.0, Ordering::AcqRel);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_up() {
        assert_eq!(Nanos::new(1).as_secs_ceil(), 1);
        assert_eq!(Nanos::from_secs(2).as_secs_ceil(), 2);
        assert_eq!(Timestamp::from_unix_nanos(1_500_000_000).as_unix_secs_ceil(), 2);
    }

    #[test]
    fn spans_saturate_instead_of_wrapping() {
        assert_eq!(Nanos::ZERO.minus(Nanos::new(1)), Nanos::ZERO);
        assert_eq!(Nanos::new(u64::MAX).plus(Nanos::new(1)).get(), u64::MAX);
        assert_eq!(Nanos::new(7).divided_by(Nanos::ZERO), 0);
    }

    #[test]
    fn boot_clock_starts_at_the_wall_clock_and_never_goes_back() {
        let clock = BootClock::start();
        let first = clock.now();
        assert!(first.as_unix_nanos() > 1_700_000_000 * NANOS_PER_SECOND);
        assert!(clock.now() >= first);
    }
}
