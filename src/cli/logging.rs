//! Logs, to standard error.

use std::str::FromStr;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person.
    Text,
    /// For a program: one JSON object a line.
    Json,
}

/// What is logged: a level, or tracing's list of `target=level`.
#[derive(Debug, Clone)]
pub(super) struct Filter(String);

impl FromStr for Filter {
    type Err = String;

    /// A single word must be a level: tracing would take a misspelled one for a target, and log nothing.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_level = |word: &str| !word.is_empty() && LevelFilter::from_str(word).is_ok();
        let is_wrong = |word: &&str| !word.contains('=') && !is_level(word);
        match text.split(',').find(is_wrong) {
            Some(word) => {
                Err(format!("`{word}` is no level; there are off, error, warn, info, debug, trace"))
            }
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Starts logging.
pub(super) fn start(format: Format, filter: &Filter) -> Result<(), super::Failure> {
    let filter = EnvFilter::builder().parse(&filter.0)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where nobody reads standard error any more, to say so there would panic.
        .log_internal_errors(false);
    match format {
        Format::Text => builder.with_target(false).with_ansi(false).try_init(),
        Format::Json => builder.json().try_init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_level_is_refused() {
        for level in ["info", "WARN", "tollgate=debug,warn", "off"] {
            assert!(level.parse::<Filter>().is_ok(), "{level}");
        }
        for level in ["inof", "", "warn,inof"] {
            assert!(level.parse::<Filter>().is_err(), "{level}");
        }
    }
}
