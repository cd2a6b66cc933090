//! Which fields of a line have its time.

/// Which fields have the time and the duration of a request, where the mapping says so. By default, the format of the
/// log does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// The field with the time.
    pub time: Option<String>,
    /// Which time that is.
    pub at: Option<At>,
    /// The field with the duration, and its unit.
    pub duration: Option<(String, DurationUnit)>,
}

/// A time of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// When it began.
    Start,
    /// When it ended.
    End,
}

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationUnit {
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Billionths of a second.
    Nanoseconds,
}
