//! `tollgate replay`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use access_log::Format;
use clap::Args;

use super::counting::CountingArgs;
use super::entry_args::EntryArg;
use super::output::report_error;
use super::{Failure, PolicyPath, choose_policy, load, values};
use crate::clock::{BootClock, Clock, Nanos, Timestamp};
use crate::config::mapping;
use crate::policy::Policy;
use crate::policy::table::Row;
use crate::replay::suggest::{self, Share};
use crate::replay::text::grouped;
use crate::replay::{self, Options, Progress, Replayed, Report, sample, source};
use crate::text::sanitize;

/// How often the progress is shown.
const SHOWN_EVERY: Nanos = Nanos::new(200_000_000);

/// How many of the rows of a policy are named to one who names none of them.
const MAX_ROWS_NAMED: usize = 20;

/// What replay and `--sample` read.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    policy: PolicyPath,
    #[command(flatten)]
    counting: CountingArgs,
    /// The domain; may be omitted if the policy has only one.
    #[arg(long)]
    domain: Option<String>,
    /// Compare with another policy: who is denied newly, and who no longer.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// The mapping: where each entry of a descriptor comes from. Without it, method, path and remote address.
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// An entry in place of the mapping's: `tenant=$x_tenant` reads a field, `tenant_type=free` is constant.
    #[arg(long = "entry", short, value_name = "KEY=VALUE")]
    entries: Vec<EntryArg>,
    /// Print a first mapping for the first of the logs, with what it has in each field, and replay nothing.
    #[arg(long, conflicts_with_all = ["map", "entries", "against", "html", "json", "fail_above", "fail_above_keys"])]
    sample: bool,
    /// The format of the logs; found by their first lines if omitted.
    #[arg(long)]
    format: Option<Format>,
    /// Leave out requests that began before this time, in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Leave out requests that began at this time or later, in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// How much later than requests that began after it a line may come. Later ones are left out and counted.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    reorder: Duration,
    /// The most keys: buckets of clients. The replay ends if there are more. About 80 bytes each.
    #[arg(long, value_name = "NUMBER", default_value = "10000000")]
    max_keys: NonZeroUsize,
    /// How many threads decide; as many as the machine has cores if omitted. The result does not depend on it.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Suggest limits with which this part of the keys would never have been denied, as `--suggest=99%`; 99.9% if none is
    /// given. Reads the logs twice. A key of a token bucket takes about 280 bytes more.
    #[arg(
        long,
        value_name = "PERCENT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "99.9%"
    )]
    suggest: Option<Share>,
    /// Show the sizes that the keys of this row need at other rates.
    #[arg(long, value_name = "TABLE/ROW", requires = "suggest")]
    suggest_row: Option<String>,
    /// Write a page with charts, for a browser.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if more than this part of the requests would be denied, such as 0.1%.
    #[arg(long, value_name = "PERCENT", value_parser = part)]
    fail_above: Option<Part>,
    /// Exit with 1 if more than this part of the keys would be denied requests, such as 1%.
    #[arg(long, value_name = "PERCENT", value_parser = part)]
    fail_above_keys: Option<Part>,
    /// Logs: files, folders with files, patterns, or `-` for standard input; gzip and Zstandard are unpacked.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
}

/// A part of all, in percent.
#[derive(Debug, Clone, Copy)]
struct Part(f64);

impl Part {
    /// Whether `part` of `all` is more.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of counts, of which 53 bits are enough"
    )]
    fn is_exceeded(self, part: u64, all: u64) -> bool {
        part as f64 * 100.0 > self.0 * all as f64
    }
}

fn part(text: &str) -> Result<Part, String> {
    let number = text.strip_suffix('%').map(str::trim_end).and_then(|number| number.parse().ok());
    let part = number.filter(|part| (0.0..=100.0).contains(part)).map(Part);
    part.ok_or_else(|| "write a percentage from 0% to 100%, such as 0.1%".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = humantime::parse_rfc3339_weak(text).ok();
    let since_epoch = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let nanos = since_epoch.map(Nanos::from).map(Nanos::get);
    let time = nanos.map(Timestamp::from_unix_nanos);
    time.ok_or_else(|| "write a time in UTC, such as 2026-11-30T08:00:00Z".to_owned())
}

impl Replay {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let policies = load(&self.policy.config, &self.counting.settings())??.policies;
        let policy = choose_policy(&policies, self.domain.as_deref())?;
        if let Some(source) = source::named(&self.logs)?.first().filter(|_| self.sample) {
            write!(out, "{}", sample::sample(policy, source, self.format)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let others = match &self.against {
            Some(path) => Some(load(path, &self.counting.settings())??.policies),
            None => None,
        };
        let against = others.as_ref().map(|others| choose_policy(others, Some(policy.domain())));
        let against = against.transpose()?;
        if let Some(label) = &self.suggest_row {
            check_row(policy, label)?;
        }
        let entries =
            self.entries.iter().map(|EntryArg { key, value }| (key.clone(), value.clone()));
        let entries: Vec<mapping::Pair> = entries.collect();
        let mapping = match &self.map {
            Some(path) => mapping::load(path, &entries)?,
            None => mapping::from_pairs(&entries)?,
        };
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let options = Options {
            format: self.format,
            window: self.reorder.into(),
            since: self.since,
            until: self.until,
            max_keys: self.max_keys.get(),
            deciders: self.jobs.map_or_else(cores, NonZeroUsize::get),
            suggest: self.suggest,
        };
        let sources = source::named(&self.logs)?;
        let mut shown = Shown::new();
        let show = &mut |now| shown.show(now);
        let mapping = Arc::new(mapping);
        let replayed = replay::replay(policy, against, mapping, sources, &options, show);
        shown.clear();
        let Replayed { report, unseen } = replayed?;
        if let Some(path) = &self.html {
            write_html(&report, path)?;
        }
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
        } else {
            replay::text::write(&report, out)?;
            if let (Some(suggestions), Some(label)) = (&report.suggestions, &self.suggest_row) {
                suggest::terminal::write_curve(suggestions, label, out)?;
            }
        }
        let mut is_failed = false;
        for (entry, fields) in unseen {
            let what = entry.map_or_else(|| "the hits".to_owned(), |key| format!("`{key}`"));
            report_error(format!("no line has {fields}, from which the mapping takes {what}"));
            is_failed = true;
        }
        is_failed |= self.is_above(&report);
        Ok(ExitCode::from(u8::from(is_failed)))
    }

    /// Whether more was denied than is allowed, in any of the two ways to read whole seconds.
    fn is_above(&self, report: &Report) -> bool {
        let both = || [&report.outcome].into_iter().chain(&report.spread);
        let mut is_above = false;
        let mut check = |limit: Option<Part>, part: u64, all: u64, what: &str| {
            if let Some(Part(percent)) = limit.filter(|limit| limit.is_exceeded(part, all)) {
                report_error(format!(
                    "{part} of {all} {what} would be denied, more than {percent}%"
                ));
                is_above = true;
            }
        };
        let denied = both().map(|of| of.denied).max().unwrap_or(0);
        let keys_denied = both().map(|of| of.keys_denied).max().unwrap_or(0);
        check(self.fail_above, denied, report.outcome.requests, "requests");
        check(self.fail_above_keys, keys_denied, report.outcome.keys, "keys");
        is_above
    }
}

/// Whether a policy has the row `TABLE/ROW`.
fn check_row(policy: &Policy, label: &str) -> Result<(), Failure> {
    let name = |row: &Row| format!("{}/{}", row.table(), row.name());
    if policy.rows().any(|row| name(row) == label) {
        return Ok(());
    }
    let limited = policy.rows().filter(|row| row.is_limited()).take(MAX_ROWS_NAMED);
    let names: Vec<_> = limited.map(|row| sanitize(name(row))).collect();
    let (label, names) = (sanitize(label), names.join(", "));
    Err(format!("--suggest-row: no row is {label}; rows that have limits are {names}").into())
}

fn write_html(report: &Report, path: &Path) -> Result<(), Failure> {
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = BufWriter::new(File::create(path).map_err(fault)?);
    replay::html::write(report, &mut file).map_err(fault)?;
    Ok(file.flush().map_err(fault)?)
}

/// A line of standard error that shows how far the replay is, if that is a terminal.
struct Shown {
    is_terminal: bool,
    clock: BootClock,
    begun: Timestamp,
    last: Timestamp,
    has_line: bool,
}

impl Shown {
    fn new() -> Self {
        let clock = BootClock::start();
        let begun = clock.now();
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, clock, begun, last: begun, has_line: false }
    }

    fn show(&mut self, Progress { requests, read, of }: Progress) {
        let now = self.clock.now();
        if !self.is_terminal || now.since(self.last) < SHOWN_EVERY {
            return;
        }
        self.last = now;
        self.has_line = true;
        let millis = now.since(self.begun).divided_by(Nanos::new(1_000_000)).max(1);
        let rate = grouped(requests.saturating_mul(1_000) / millis);
        let part = of.filter(|of| *of > 0).map(|of| 100 * u128::from(read) / u128::from(of));
        let bar = part.map(|part| {
            let part = usize::try_from(part.min(100)).unwrap_or(100);
            format!("[{:-<20}] {part:>3} %  ", "#".repeat(part / 5))
        });
        let (bar, requests) = (bar.unwrap_or_default(), grouped(requests));
        // A terminal that is gone is no reason to stop.
        let _ = write!(io::stderr(), "\r{bar}{requests} requests, {rate} a second\u{1b}[K");
    }

    fn clear(&self) {
        if self.has_line {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
