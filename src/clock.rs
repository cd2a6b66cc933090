//! The clock: a request reads it once and passes the time on as a value.
//!
//! There are two times. The steady time decides: buckets refill and leases expire by it. It never goes backwards, does not
//! follow corrections of the wall clock, and continues while the machine is suspended: [`BootClock`] reads
//! `CLOCK_BOOTTIME`. The wall time is what others mean by a time: the end of an override, a reset time in a header, the
//! times in a snapshot. It is set and slewed while the process runs. Both count from the Unix epoch and are the same when
//! the process starts; [`Now`] has both of one moment.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// A point in time, in nanoseconds since the Unix epoch, by the steady time or by the wall clock.
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

/// One reading of a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The time by which buckets refill.
    pub steady: Timestamp,
    /// The same moment by the wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// The moment `steady`, when the wall clock is `ahead` nanoseconds ahead; behind, if that is negative.
    const fn with_wall_ahead(steady: Timestamp, ahead: i64) -> Self {
        let span = Nanos(ahead.unsigned_abs());
        Self { steady, wall: if ahead < 0 { steady.before(span) } else { steady.after(span) } }
    }

    /// The steady time of a moment of the wall clock, if neither is set meanwhile.
    pub const fn to_steady(self, wall: Timestamp) -> Timestamp {
        let steady = wall.after(self.steady.since(self.wall));
        steady.before(self.wall.since(self.steady))
    }

    /// The time by the wall clock of a moment of the steady time, as far as the wall clock is known now.
    pub const fn to_wall(self, steady: Timestamp) -> Timestamp {
        let wall = steady.after(self.wall.since(self.steady));
        wall.before(self.steady.since(self.wall))
    }
}

/// A moment at which the wall clock agrees with the steady time.
impl From<Timestamp> for Now {
    fn from(both: Timestamp) -> Self {
        Self { steady: both, wall: both }
    }
}

/// A source of time: [`BootClock`] in a server, [`ManualClock`] in tests and simulations.
pub trait Clock: Send + Sync {
    /// Both times.
    fn read(&self) -> Now;

    /// The steady time. It never goes backwards, except in a [`ManualClock`] that is set back.
    fn now(&self) -> Timestamp {
        self.read().steady
    }
}

/// How long a reading of the wall clock is used.
const WALL_INTERVAL: Nanos = Nanos::new(500_000_000);

/// The machine's clock. It reads the wall clock twice a second, so that a reading costs one call of the system.
#[derive(Debug)]
pub struct BootClock {
    /// The Unix time of the boot in nanoseconds, as it was when the process started.
    boot_to_unix: u64,
    /// How many nanoseconds the wall clock is ahead of the steady time.
    wall_ahead: AtomicI64,
    /// When the wall clock is read again.
    next_wall: AtomicU64,
}

impl BootClock {
    /// Reads the wall clock and maps the time since boot to it.
    pub fn start() -> Self {
        let boot_to_unix = wall().since(Timestamp(since_boot().get())).get();
        Self { boot_to_unix, wall_ahead: AtomicI64::new(0), next_wall: AtomicU64::new(0) }
    }

    fn read_wall(&self, steady: Timestamp) {
        let wall = wall();
        let ahead = match wall.since(steady).get() {
            0 => i64::try_from(steady.since(wall).get()).map_or(i64::MIN, |behind| -behind),
            ahead => i64::try_from(ahead).unwrap_or(i64::MAX),
        };
        self.wall_ahead.store(ahead, Ordering::Relaxed);
        self.next_wall.store(steady.after(WALL_INTERVAL).0, Ordering::Relaxed);
    }
}

impl Clock for BootClock {
    fn read(&self) -> Now {
        let steady = Timestamp(self.boot_to_unix.saturating_add(since_boot().get()));
        if steady.0 >= self.next_wall.load(Ordering::Relaxed) {
            self.read_wall(steady);
        }
        Now::with_wall_ahead(steady, self.wall_ahead.load(Ordering::Relaxed))
    }
}

#[expect(clippy::disallowed_types, reason = "the one place that asks the system")]
fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(Nanos::ZERO, Nanos::from).get())
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
pub struct ManualClock {
    steady: AtomicU64,
    wall_ahead: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { steady: AtomicU64::new(at.0), wall_ahead: AtomicI64::new(0) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Nanos) {
        self.steady.fetch_add(span.0, Ordering::AcqRel);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, at: Timestamp) {
        self.steady.store(at.0, Ordering::Release);
    }

    /// Sets the wall clock `nanos` nanoseconds ahead of the steady time; behind it, if that is negative.
    pub fn set_wall_ahead(&self, nanos: i64) {
        self.wall_ahead.store(nanos, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn read(&self) -> Now {
        let steady = Timestamp(self.steady.load(Ordering::Acquire));
        Now::with_wall_ahead(steady, self.wall_ahead.load(Ordering::Acquire))
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
    fn one_reading_tells_the_wall_time_of_other_moments() {
        let clock = ManualClock::at(Timestamp(1_000));
        for (ahead, wall) in [(0, 1_000), (300, 1_300), (-300, 700)] {
            clock.set_wall_ahead(ahead);
            let now = clock.read();
            assert_eq!((now.steady, now.wall), (Timestamp(1_000), Timestamp(wall)));
            assert_eq!(now.to_wall(now.to_steady(Timestamp(5_000))), Timestamp(5_000));
            assert_eq!(now.to_steady(now.wall), now.steady);
        }
        clock.set_wall_ahead(-2_000);
        assert_eq!(clock.read().wall, Timestamp(0), "there is no time before the epoch");
    }

    #[test]
    fn the_wall_clock_is_read_again_within_a_second_and_the_steady_time_does_not_follow() {
        let clock = BootClock::start();
        let (before, real) = (clock.now(), wall());
        // As if the wall clock had been set when it was read last.
        clock.wall_ahead.store(-7_200_000_000_000, Ordering::Relaxed);
        let misled = clock.read();
        assert!(real.since(misled.wall) > Nanos::from_secs(7_199));
        assert!(misled.steady >= before);
        let next = Timestamp(clock.next_wall.load(Ordering::Relaxed));
        assert!(next.since(misled.steady) < Nanos::from_secs(1), "it is read every half second");
        clock.next_wall.store(0, Ordering::Relaxed);
        let corrected = clock.read();
        assert!(corrected.wall.since(real) < Nanos::from_secs(600));
        assert!(corrected.steady.since(before) < Nanos::from_secs(600));
    }

    #[test]
    fn boot_clock_starts_at_the_wall_clock_and_never_goes_back() {
        let clock = BootClock::start();
        let first = clock.now();
        assert!(first.as_unix_nanos() > 1_700_000_000 * NANOS_PER_SECOND);
        assert!(clock.now() >= first);
    }
}
