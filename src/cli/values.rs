//! What the values of flags may be, where clap does not know.

use std::convert::Infallible;
use std::time::Duration;

use clap::ValueEnum;

use crate::shared::target::{Target, TargetError};

/// Whether something is done that is not always wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// Never fails itself.
pub(super) fn target(text: &str) -> Result<Result<Target, TargetError>, Infallible> {
    Ok(text.parse())
}

/// Keys are told apart by line and by braces, and people read them.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) {
        return Err("write up to 64 letters, digits, and any of -_.:".into());
    }
    Ok(text.to_owned())
}

/// A share of a whole.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

/// How old a connection may become, if there is a limit. Not an option: clap would take it for a flag that may
/// be left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age(pub(super) Option<Duration>);

/// A second at least, so that connections are not opened all the time.
pub(super) fn age(text: &str) -> Result<Age, String> {
    if text == "off" {
        return Ok(Age(None));
    }
    interval(text).map(|age| Age(Some(age))).map_err(|error| format!("{error}, or `off`"))
}

/// Less often than once a second, so that the disk has time for others.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        interval if interval >= Duration::from_secs(1) => Ok(interval),
        _ => Err("at least 1s".to_owned()),
    }
}

/// How long a flag may say that something takes: beyond that a clock may not be able to tell when it is over.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// A duration that any moment of this process can be followed by.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("at most 366d".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
