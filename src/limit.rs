//! What a bucket is: its size, its rate, or the number of its slots; or that it holds nothing, ever. Invalid
//! ones cannot be built.

mod nearest;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use crate::clock::{Nanos, Timestamp};

/// The longest time a bucket may take to fill, 2^62 ns (146 years): two of them and a timestamp still
/// fit into 64 bits, so governor's arithmetic cannot overflow.
const MAX_FILL_TIME: u64 = 1 << 62;

/// The shortest time between two tokens of a bucket. Below it, whole nanoseconds no longer give the
/// rate to within 0.1 %.
const MIN_INTERVAL: u64 = 1_000;

/// The most leases one concurrency bucket holds; its leases are kept in one sorted list.
pub const MAX_SLOTS: u32 = 10_000;

/// Why a bucket cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A size, a rate or a number of slots is 0.
    #[error(
        "must be at least 1; in place of the list write `blocked` to let nothing pass, `unlimited` to let \
         all pass"
    )]
    Zero,
    /// A period is 0.
    #[error("a period must be at least one second")]
    NoPeriod,
    /// A period is not a whole number of seconds, or longer than 2^32 - 1 of its unit.
    #[error("a period must be a whole number of seconds, and shorter than 136 years")]
    OddPeriod,
    /// More than a million tokens a second.
    #[error("at most 1000000 per second; what is faster cannot be kept exactly")]
    TooFast,
    /// The bucket takes more than 146 years to fill.
    #[error("such a bucket takes over 146 years to fill; take a smaller size or a faster rate")]
    TooSlow,
    /// More than 10,000 slots.
    #[error("at most 10000 at a time")]
    TooManySlots,
    /// A lease that would end at once, in over a year, or between two milliseconds.
    #[error("a lease is held for one second at least and 366 days at most, in whole milliseconds")]
    InvalidTtl,
}

/// The unit of a period. Its order and names are those of Envoy's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// One second.
    Second,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days, as the reference counts it.
    Month,
    /// 365 days, as the reference counts it.
    Year,
}

impl Unit {
    /// The unit's length in seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        }
    }

    /// The unit's name as it follows "per".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// A whole number of units: "minute", "5 minutes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    count: NonZeroU32,
    unit: Unit,
}

impl Period {
    /// One `unit`.
    pub const fn one(unit: Unit) -> Self {
        Self { count: NonZeroU32::MIN, unit }
    }

    /// `count` times `unit`.
    ///
    /// # Errors
    /// [`LimitError::NoPeriod`] for a count of 0.
    pub fn new(count: u32, unit: Unit) -> Result<Self, LimitError> {
        let count = NonZeroU32::new(count).ok_or(LimitError::NoPeriod)?;
        Ok(Self { count, unit })
    }

    /// A duration, in the largest of day, hour, minute and second that divides it.
    ///
    /// # Errors
    /// [`LimitError::NoPeriod`] for none, [`LimitError::OddPeriod`] for a fraction of a second or too long.
    pub fn from_duration(duration: Duration) -> Result<Self, LimitError> {
        if duration.subsec_nanos() != 0 {
            return Err(LimitError::OddPeriod);
        }
        let seconds = u32::try_from(duration.as_secs()).map_err(|_| LimitError::OddPeriod)?;
        let unit = [Unit::Day, Unit::Hour, Unit::Minute]
            .into_iter()
            .find(|unit| seconds.is_multiple_of(unit.seconds()))
            .unwrap_or(Unit::Second);
        Self::new(seconds / unit.seconds(), unit)
    }

    /// The unit.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// How many units.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// The period's length.
    pub fn length(self) -> Nanos {
        Nanos::from_secs(u64::from(self.count.get()) * u64::from(self.unit.seconds()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count.get() {
            1 => f.write_str(self.unit.name()),
            count => write!(f, "{count} {}s", self.unit.name()),
        }
    }
}

/// How fast a bucket gains tokens: so many each period, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    tokens: NonZeroU32,
    period: Period,
}

impl Rate {
    /// `tokens` each `period`.
    ///
    /// # Errors
    /// [`LimitError::Zero`] for no tokens, [`LimitError::TooFast`] for over a million a second.
    pub fn new(tokens: u32, period: Period) -> Result<Self, LimitError> {
        let tokens = NonZeroU32::new(tokens).ok_or(LimitError::Zero)?;
        let rate = Self { tokens, period };
        if rate.interval().get() < MIN_INTERVAL { Err(LimitError::TooFast) } else { Ok(rate) }
    }

    /// Tokens gained each period.
    pub const fn tokens(self) -> NonZeroU32 {
        self.tokens
    }

    /// The period.
    pub const fn period(self) -> Period {
        self.period
    }

    /// The time between two tokens: period / tokens, rounded down to whole nanoseconds, so that a
    /// whole period always gains all its tokens.
    pub fn interval(self) -> Nanos {
        Nanos::new(self.period.length().get() / u64::from(self.tokens.get()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.tokens, self.period)
    }
}

/// A bucket of tokens: starts full, gains tokens at a rate, never holds more than its size.
///
/// ```
/// use tollgate::clock::Nanos;
/// use tollgate::limit::{LimitError, Period, Rate, TokenBucket, Unit};
///
/// let rate = Rate::new(10, Period::one(Unit::Second))?;
/// let bucket = TokenBucket::new(50, rate)?;
/// assert_eq!(bucket.to_string(), "50 at 10 per second");
/// assert_eq!(rate.interval(), Nanos::new(100_000_000));
/// assert_eq!(bucket.fill_time(), Nanos::from_secs(5));
/// assert_eq!(TokenBucket::new(0, rate), Err(LimitError::Zero));
/// # Ok::<(), LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    size: NonZeroU32,
    rate: Rate,
    interval: Nanos,
    quota: Quota,
}

impl TokenBucket {
    /// A bucket that holds at most `size` tokens.
    ///
    /// # Errors
    /// [`LimitError::Zero`] for a size of 0, [`LimitError::TooSlow`] where size / rate is over 2^62 ns.
    pub fn new(size: u32, rate: Rate) -> Result<Self, LimitError> {
        let size = NonZeroU32::new(size).ok_or(LimitError::Zero)?;
        let interval = rate.interval();
        if interval.times(u64::from(size.get())).get() >= MAX_FILL_TIME {
            return Err(LimitError::TooSlow);
        }
        let quota = Quota::with_period(interval.into()).ok_or(LimitError::TooFast)?;
        Ok(Self { size, rate, interval, quota: quota.allow_burst(size) })
    }

    /// The most tokens it holds.
    pub const fn size(&self) -> NonZeroU32 {
        self.size
    }

    /// How fast it gains tokens.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The time in which it gains one token.
    pub const fn interval(&self) -> Nanos {
        self.interval
    }

    /// The time it takes to fill from empty.
    pub fn fill_time(&self) -> Nanos {
        self.interval.times(u64::from(self.size.get()))
    }

    /// The same bucket in governor's terms.
    pub const fn quota(&self) -> Quota {
        self.quota
    }
}

impl TokenBucket {
    /// One of `parts` buckets that together hold and gain no more than this one, or one token each, where
    /// there are more of them than tokens.
    #[must_use]
    pub fn divided(&self, parts: NonZeroU32) -> Self {
        let size = NonZeroU32::new(self.size.get() / parts).unwrap_or(NonZeroU32::MIN);
        let interval = self.interval.times(u64::from(parts.get()));
        // What takes longer than 146 years to fill is not divided; nobody will see it full.
        let fits = interval.times(u64::from(size.get())).get() < MAX_FILL_TIME;
        match Quota::with_period(interval.into()).filter(|_| fits) {
            Some(quota) => Self { size, rate: self.rate, interval, quota: quota.allow_burst(size) },
            None => *self,
        }
    }
}

impl fmt::Display for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.size != self.rate.tokens {
            write!(f, "{} at ", self.size)?;
        }
        self.rate.fmt(f)
    }
}

/// A bucket of slots: a call takes one and holds it until it is released, or the hold time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    slots: NonZeroU32,
    ttl: Nanos,
}

impl Concurrency {
    /// `slots` at a time, each held for `hold` at most.
    ///
    /// # Errors
    /// [`LimitError::Zero`], [`LimitError::TooManySlots`] over 10,000, [`LimitError::InvalidTtl`] outside
    /// one second to 366 days, or where a fraction of a millisecond is left.
    pub fn new(slots: u32, ttl: Nanos) -> Result<Self, LimitError> {
        let slots = NonZeroU32::new(slots).ok_or(LimitError::Zero)?;
        if slots.get() > MAX_SLOTS {
            return Err(LimitError::TooManySlots);
        }
        let is_odd = !ttl.get().is_multiple_of(1_000_000);
        if is_odd || ttl < Nanos::from_secs(1) || ttl > Nanos::from_secs(366 * 86_400) {
            return Err(LimitError::InvalidTtl);
        }
        Ok(Self { slots, ttl })
    }

    /// How many may be held at a time.
    pub const fn slots(&self) -> NonZeroU32 {
        self.slots
    }

    /// The time-to-live of a lease.
    pub const fn ttl(&self) -> Nanos {
        self.ttl
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} concurrent", self.slots)
    }
}

/// What lets nothing pass, whatever is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// When that ends, where an end is known.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blocked")
    }
}

/// Any kind of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Limits how often.
    Tokens(TokenBucket),
    /// Limits how many at a time.
    Concurrency(Concurrency),
    /// Lets nothing pass.
    Blocked(Blocked),
}

impl Bucket {
    /// The most it ever holds: tokens, or slots; 0 where it lets nothing pass.
    pub const fn size(&self) -> u32 {
        match self {
            Self::Tokens(bucket) => bucket.size().get(),
            Self::Concurrency(bucket) => bucket.slots().get(),
            Self::Blocked(_) => 0,
        }
    }
}

impl Bucket {
    /// One of `parts` buckets that together are no more than this one, or hold one each.
    #[must_use]
    pub fn divided(&self, parts: NonZeroU32) -> Self {
        match self {
            Self::Tokens(bucket) => Self::Tokens(bucket.divided(parts)),
            Self::Concurrency(Concurrency { slots, ttl }) => {
                let slots = NonZeroU32::new(slots.get() / parts).unwrap_or(NonZeroU32::MIN);
                Self::Concurrency(Concurrency { slots, ttl: *ttl })
            }
            Self::Blocked(_) => *self,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(bucket) => bucket.fmt(f),
            Self::Concurrency(bucket) => bucket.fmt(f),
            Self::Blocked(blocked) => blocked.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(tokens: u32, unit: Unit) -> Rate {
        Rate::new(tokens, Period::one(unit)).unwrap()
    }

    #[test]
    fn a_bucket_of_nothing_cannot_be_built() {
        assert_eq!(Rate::new(0, Period::one(Unit::Second)), Err(LimitError::Zero));
        assert_eq!(TokenBucket::new(0, rate(1, Unit::Second)), Err(LimitError::Zero));
        assert_eq!(Concurrency::new(0, Nanos::from_secs(1)), Err(LimitError::Zero));
        assert_eq!(Period::new(0, Unit::Day), Err(LimitError::NoPeriod));
        assert_eq!(Period::from_duration(Duration::ZERO), Err(LimitError::NoPeriod));
    }

    #[test]
    fn a_bucket_that_cannot_be_kept_exactly_cannot_be_built() {
        assert!(Rate::new(1_000_000, Period::one(Unit::Second)).is_ok());
        assert_eq!(Rate::new(1_000_001, Period::one(Unit::Second)), Err(LimitError::TooFast));
        assert_eq!(Period::from_duration(Duration::from_millis(500)), Err(LimitError::OddPeriod));
    }

    #[test]
    fn a_bucket_that_could_overflow_cannot_be_built() {
        let slow = rate(1, Unit::Year);
        assert!(TokenBucket::new(146, slow).is_ok());
        assert_eq!(TokenBucket::new(147, slow), Err(LimitError::TooSlow));
        assert_eq!(TokenBucket::new(u32::MAX, slow), Err(LimitError::TooSlow));
    }

    #[test]
    fn a_period_is_told_in_its_largest_unit() {
        let told =
            |seconds| Period::from_duration(Duration::from_secs(seconds)).unwrap().to_string();
        assert_eq!(told(1), "second");
        assert_eq!(told(90), "90 seconds");
        assert_eq!(told(300), "5 minutes");
        assert_eq!(told(5_400), "90 minutes");
        assert_eq!(told(86_400), "day");
    }

    #[test]
    fn buckets_read_as_people_say_them() {
        let bucket = |size, rate| TokenBucket::new(size, rate).unwrap().to_string();
        assert_eq!(bucket(10, rate(10, Unit::Second)), "10 per second");
        assert_eq!(bucket(50, rate(10, Unit::Minute)), "50 at 10 per minute");
        assert_eq!(Concurrency::new(2, Nanos::from_secs(60)).unwrap().to_string(), "2 concurrent");
    }

    #[test]
    fn parts_of_a_bucket_are_together_no_more_than_the_whole() {
        let whole = TokenBucket::new(10, rate(10, Unit::Second)).unwrap();
        let part = whole.divided(NonZeroU32::new(3).unwrap());
        assert_eq!((part.size().get(), part.interval()), (3, Nanos::new(300_000_000)));
        assert_eq!(whole.divided(NonZeroU32::MIN), whole);
        let few = whole.divided(NonZeroU32::new(20).unwrap());
        assert_eq!((few.size().get(), few.interval()), (1, Nanos::from_secs(2)));
        let slots = Bucket::Concurrency(Concurrency::new(5, Nanos::from_secs(60)).unwrap());
        assert_eq!(slots.divided(NonZeroU32::new(2).unwrap()).size(), 2);
        let century = TokenBucket::new(100, rate(1, Unit::Year)).unwrap();
        assert_eq!(century.divided(NonZeroU32::new(1000).unwrap()), century);
    }

    #[test]
    fn a_hold_is_a_whole_number_of_milliseconds() {
        assert!(Concurrency::new(1, Nanos::new(1_001_000_000)).is_ok());
        assert_eq!(Concurrency::new(1, Nanos::new(1_000_001_000)), Err(LimitError::InvalidTtl));
    }

    #[test]
    fn a_whole_period_gains_all_its_tokens() {
        let bucket = TokenBucket::new(7, rate(7, Unit::Minute)).unwrap();
        assert!(bucket.fill_time() <= Nanos::from_secs(60));
    }
}
