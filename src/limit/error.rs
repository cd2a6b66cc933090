//! Why a limit is invalid.

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
    ZeroPeriod,
    /// A period is not a whole number of seconds, or longer than 2^32 - 1 of its unit.
    #[error("a period must be a whole number of seconds, and shorter than 136 years")]
    InvalidPeriod,
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
