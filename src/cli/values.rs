//! Parsers for the values of flags.

use std::convert::Infallible;
use std::time::Duration;

use clap::ValueEnum;

use crate::clock::Nanos;
use crate::observe::denied_log::Logged;
use crate::policy::StorePrepaid;
use crate::shared::target::{Target, TargetError};

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// Which denials are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogDenied {
    /// Calls that were denied.
    Enforced,
    /// Rows in shadow that would have denied a call.
    Shadow,
    /// Both.
    All,
}

impl From<LogDenied> for Logged {
    fn from(which: LogDenied) -> Self {
        match which {
            LogDenied::Enforced => Self::Enforced,
            LogDenied::Shadow => Self::Shadow,
            LogDenied::All => Self::All,
        }
    }
}

/// Where buckets are kept. Returns an invalid value to the caller: clap would print it, with its password.
pub(super) fn target(text: &str) -> Result<Result<Target, TargetError>, Infallible> {
    Ok(text.parse())
}

/// The default prefix of keys in a shared store.
pub(super) const DEFAULT_PREFIX: &str = "tollgate";

/// How long a request waits for a shared store by default.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);

/// A prefix of keys: up to 64 letters, digits, and any of `-_.:`.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) {
        return Err("write up to 64 letters, digits, and any of -_.:".into());
    }
    Ok(text.to_owned())
}

/// A number from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

/// The maximum age of a connection; `None` for `off`. Not an `Option` itself, which clap would take for an optional
/// flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age(pub(super) Option<Duration>);

/// At least a second, so that connections are not reopened all the time.
pub(super) fn age(text: &str) -> Result<Age, String> {
    if text == "off" {
        return Ok(Age(None));
    }
    interval(text).map(|age| Age(Some(age))).map_err(|error| format!("{error}, or `off`"))
}

/// At least a second, so that snapshots do not occupy the disk.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        interval if interval >= Duration::from_secs(1) => Ok(interval),
        _ => Err("at least 1s".to_owned()),
    }
}

/// For how long admissions are prepaid; `None` for `off`. Not an `Option` itself, which clap would take for an optional
/// flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrepaidTime(pub(super) Option<Nanos>);

pub(super) fn prepaid(text: &str) -> Result<PrepaidTime, String> {
    StorePrepaid::parse(text).map(PrepaidTime)
}

/// The longest duration of a flag: a clock may not be able to represent the end of a longer one.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// A duration of at most [`MAX_DURATION`].
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("at most 366d".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
