//! Why a limit is invalid.

/// Why a limit is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A size, a rate or a number of slots is 0.
    #[error(
        "must be at least 1; to deny everything, write `blocked` in place of the list; to admit \
         everything, `unlimited`"
    )]
    Zero,
    /// A period is 0.
    #[error("a period must be at least one second")]
    ZeroPeriod,
    /// A period is not a whole number of seconds, or longer than 2^32 - 1 seconds.
    #[error("a period must be a whole number of seconds, and shorter than 136 years")]
    InvalidPeriod,
    /// The rate is above a million tokens a second.
    #[error("at most 1000000 per second; a faster rate cannot be kept to within 0.1 %")]
    TooFast,
    /// The bucket takes more than 146 years to fill.
    #[error("this bucket takes over 146 years to fill; use a smaller size or a faster rate")]
    TooSlow,
    /// There are more than 10,000 slots.
    #[error("at most 10000 concurrent")]
    TooManySlots,
    /// The ttl of leases is below a second, above 366 days, or not a whole number of milliseconds.
    #[error("the ttl of a lease must be from one second to 366 days, in whole milliseconds")]
    InvalidTtl,
}
