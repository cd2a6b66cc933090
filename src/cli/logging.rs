//! Logs, to standard error.

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

/// Starts logging. `filter` is a level, or tracing's list of `target=level`.
pub(super) fn start(format: Format, filter: &str) -> Result<(), super::Failure> {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_target(false).with_ansi(false).try_init(),
        Format::Json => builder.json().try_init(),
    }
}
