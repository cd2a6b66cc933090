//! The prepaid time: for how long admissions are charged in a shared store ahead of the requests.

use std::time::Duration;

use crate::clock::Nanos;

/// The shortest such time. In less, a plan that is not in extreme demand has too few requests.
pub const MIN_PREPAID: Duration = Duration::from_millis(10);

/// The longest such time: a lowered limit is in force on all replicas after it.
pub const MAX_PREPAID: Duration = Duration::from_secs(10);

/// What a policy says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorePrepaid {
    /// As long as the server's setting says.
    #[default]
    AsServer,
    /// None are: each request is asked for.
    Off,
    /// So long.
    For(Nanos),
}

impl StorePrepaid {
    /// The time, if any are, where the server's setting is `of_server`.
    pub fn time(self, of_server: Option<Nanos>) -> Option<Nanos> {
        match self {
            Self::AsServer => of_server,
            Self::Off => None,
            Self::For(time) => Some(time),
        }
    }

    /// Reads `off`, or a duration from [`MIN_PREPAID`] to [`MAX_PREPAID`]. The time is `None` for `off`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Option<Nanos>, String> {
        if text == "off" {
            return Ok(None);
        }
        match humantime::parse_duration(text) {
            Ok(time) if (MIN_PREPAID..=MAX_PREPAID).contains(&time) => Ok(Some(time.into())),
            Ok(_) => Err("write a duration from 10ms to 10s, or `off`".to_owned()),
            Err(error) => Err(format!("{error}; write a duration like `100ms`, or `off`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_off_or_a_duration_within_bounds() {
        let millis = |count: u64| Some(Nanos::new(count * 1_000_000));
        for (text, read) in [
            ("off", Ok(None)),
            ("10ms", Ok(millis(10))),
            ("10s", Ok(millis(10_000))),
            ("9ms", Err("write a duration from 10ms to 10s, or `off`")),
            ("11s", Err("write a duration from 10ms to 10s, or `off`")),
            ("0s", Err("write a duration from 10ms to 10s, or `off`")),
        ] {
            assert_eq!(StorePrepaid::parse(text), read.map_err(str::to_owned), "{text}");
        }
        assert!(StorePrepaid::parse("100").is_err_and(|error| error.contains("`100ms`, or `off`")));
    }

    #[test]
    fn a_policy_that_says_nothing_has_the_setting_of_the_server() {
        let (short, long) = (Some(Nanos::new(1)), Some(Nanos::new(2)));
        assert_eq!(StorePrepaid::AsServer.time(long), long);
        assert_eq!(StorePrepaid::Off.time(long), None);
        assert_eq!(StorePrepaid::For(Nanos::new(1)).time(None), short);
    }
}
