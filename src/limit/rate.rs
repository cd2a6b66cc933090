//! How fast a token bucket refills.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::LimitError;
use crate::clock::Nanos;

/// The least time between two tokens, in nanoseconds. Below it, whole nanoseconds no longer give the rate to within
/// 0.1 %.
pub(super) const MIN_INTERVAL: u64 = 1_000;

/// The unit of a period, in the order and with the names of Envoy's messages.
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
    /// 30 days, as in envoyproxy/ratelimit.
    Month,
    /// 365 days, as in envoyproxy/ratelimit.
    Year,
}

impl Unit {
    /// The length in seconds.
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

    /// The name as it follows "per".
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
    pub(super) count: NonZeroU32,
    pub(super) unit: Unit,
}

impl Period {
    /// One `unit`.
    pub const fn one(unit: Unit) -> Self {
        Self { count: NonZeroU32::MIN, unit }
    }

    /// `count` times `unit`.
    ///
    /// # Errors
    /// [`LimitError::ZeroPeriod`] for a count of 0.
    pub fn new(count: u32, unit: Unit) -> Result<Self, LimitError> {
        let count = NonZeroU32::new(count).ok_or(LimitError::ZeroPeriod)?;
        Ok(Self { count, unit })
    }

    /// A duration, in the largest of day, hour, minute and second that divides it.
    ///
    /// # Errors
    /// [`LimitError::ZeroPeriod`] for 0 s, [`LimitError::InvalidPeriod`] for a fraction of a second, or for more than
    /// 2^32 - 1 s.
    pub fn from_duration(duration: Duration) -> Result<Self, LimitError> {
        if duration.subsec_nanos() != 0 {
            return Err(LimitError::InvalidPeriod);
        }
        let seconds = u32::try_from(duration.as_secs()).map_err(|_| LimitError::InvalidPeriod)?;
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

    /// The length.
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

/// How fast a bucket refills: this many tokens each period, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    tokens: NonZeroU32,
    period: Period,
}

impl Rate {
    /// `tokens` each `period`.
    ///
    /// # Errors
    /// [`LimitError::Zero`] for 0 tokens, [`LimitError::TooFast`] for over a million a second.
    pub fn new(tokens: u32, period: Period) -> Result<Self, LimitError> {
        let tokens = NonZeroU32::new(tokens).ok_or(LimitError::Zero)?;
        let rate = Self { tokens, period };
        if rate.interval().get() < MIN_INTERVAL { Err(LimitError::TooFast) } else { Ok(rate) }
    }

    /// The tokens gained each period.
    pub const fn tokens(self) -> NonZeroU32 {
        self.tokens
    }

    /// The period.
    pub const fn period(self) -> Period {
        self.period
    }

    /// The time between two tokens: period / tokens, rounded down to whole nanoseconds, so that a whole period gains
    /// all of its tokens.
    pub fn interval(self) -> Nanos {
        Nanos::new(self.period.length().get() / u64::from(self.tokens.get()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.tokens, self.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_cannot_be_kept_exactly_cannot_be_built() {
        assert!(Rate::new(1_000_000, Period::one(Unit::Second)).is_ok());
        assert_eq!(Rate::new(1_000_001, Period::one(Unit::Second)), Err(LimitError::TooFast));
        assert_eq!(
            Period::from_duration(Duration::from_millis(500)),
            Err(LimitError::InvalidPeriod)
        );
    }

    #[test]
    fn a_period_is_shown_in_its_largest_unit() {
        let shown =
            |seconds| Period::from_duration(Duration::from_secs(seconds)).unwrap().to_string();
        assert_eq!(shown(1), "second");
        assert_eq!(shown(90), "90 seconds");
        assert_eq!(shown(300), "5 minutes");
        assert_eq!(shown(5_400), "90 minutes");
        assert_eq!(shown(86_400), "day");
    }
}
