//! The log, which goes to standard error without waiting for its reader.

mod lines;
mod logrus;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use self::lines::Lines;
use self::logrus::Logrus;
use super::output::WRITE_TIMEOUT;
use crate::clock::Clock;
use crate::observe::telemetry::LogLines;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object per line, for programs.
    Json,
    /// One JSON object per line, with the names of envoyproxy/ratelimit.
    #[value(skip)]
    Logrus,
}

/// The log filter: a level, or a list of `target=level` as of tracing.
#[derive(Debug, Clone)]
pub(super) struct Filter(String);

impl Filter {
    /// Everything from this level on.
    pub(super) fn level(level: LevelFilter) -> Self {
        Self(level.to_string())
    }
}

impl FromStr for Filter {
    type Err = String;

    /// A word without `=` must be a level: tracing would take a misspelled level for a target, and log nothing.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_level = |word: &str| !word.is_empty() && LevelFilter::from_str(word).is_ok();
        let is_invalid = |word: &&str| !word.contains('=') && !is_level(word);
        match text.split(',').find(is_invalid) {
            Some(word) => {
                Err(format!("`{word}` is not a level; use off, error, warn, info, debug or trace"))
            }
            None => match EnvFilter::builder().parse(text) {
                Ok(_) => Ok(Self(text.to_owned())),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// A started log. Dropping it waits until its lines are written, for at most [`WRITE_TIMEOUT`].
#[derive(Debug)]
pub(super) struct Log(Lines);

impl Log {
    /// Starts to log, also panics.
    pub(super) fn start(
        format: Format,
        filter: &Filter,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, super::Failure> {
        let filter = EnvFilter::builder().parse(&filter.0)?;
        let lines = Lines::start(std::io::stderr(), clock, log_dropped)?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(lines.clone())
            // An internal error would be printed to standard error, and wait for its reader.
            .log_internal_errors(false);
        match format {
            Format::Text => builder.with_target(false).with_ansi(false).try_init()?,
            Format::Json => builder.json().try_init()?,
            Format::Logrus => builder.event_format(Logrus).try_init()?,
        }
        // The default hook would write to standard error and wait for its reader.
        std::panic::set_hook(Box::new(log_panic));
        Ok(Self(lines))
    }

    /// The counters of dropped lines.
    pub(super) const fn lines(&self) -> &LogLines {
        self.0.counters()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(WRITE_TIMEOUT);
    }
}

fn log_dropped(lines: u64, all: u64) {
    tracing::warn!(lines, all, "log lines were dropped: standard error did not take them in time");
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let why = panic.payload_as_str().unwrap_or("no message").escape_debug();
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(thread, at, %why, %backtrace, "panicked"),
        _ => {
            tracing::error!(thread, at, %why, "panicked; set RUST_BACKTRACE=1 for a backtrace")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::io::Write;

    use parking_lot::Mutex;

    use super::*;

    /// The written bytes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let own = std::thread::current().id();
        // `caught` installs a hook once, for good. Done here first, so that it does not replace the one below.
        crate::reading::caught(|| ()).unwrap();
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == own {
                log_panic(panic);
            } else {
                previous(panic);
            }
        }));
        let written = Written::default();
        let to = written.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone());
        tracing::subscriber::with_default(log.finish(), || {
            std::panic::catch_unwind(|| panic!("of {}", "a caller\n\u{1b}[31m")).unwrap_err();
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let first = text.lines().next().unwrap();
        for expected in ["ERROR", "panicked", "why=of a caller\\n\\u{1b}[31m", "logging.rs:"] {
            assert!(first.contains(expected), "{expected}: {text}");
        }
    }

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
