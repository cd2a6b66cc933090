//! Replays access logs: what would a policy have done to this traffic?
//!
//! lines → records (`crates/access-log`) → [`Mapping`]: the requests that Envoy would have sent → in order of time → the
//! policy and a store in memory, as in the server, at the time of the log → [`Report`]
//!
//! One thread reads each log that is open, one puts their requests in order, and some decide. The result does not depend on
//! how many: requests are divided into parts that share no bucket, and what is counted is added.
//!
//! A replay decides by the code of the server: `policy`, `decision`, `store`. It has no rules of its own. What differs from
//! the traffic of the log: its clients did not see these denials, and so did not retry or slow down.

mod batch;
mod charges;
mod comparison;
mod demand;
mod denied_keys;
mod figures;
pub mod html;
mod lines;
mod log;
mod merge;
mod outcome;
mod parts;
mod reading;
mod reorder;
pub mod report;
mod run;
mod running;
pub mod sample;
mod series;
mod simulation;
pub mod source;
pub mod suggest;
pub mod text;
mod trial;

use std::io;
use std::sync::Arc;

use access_log::{Format, Undetected};

use self::log::Unreadable;
use self::parts::Parts;
use self::reading::Reading;
pub use self::report::Report;
use self::report::{Against, Difference, Example, Input, Outcome, VERSION};
use self::run::{Job, Ran};
use self::source::Source;
use self::suggest::{Found, Ladders, Logs, Share};
use self::trial::{Tally, Tried};
use crate::clock::{Nanos, Timestamp};
use crate::mapping::Mapping;
use crate::policy::Policy;
use crate::store::StoreError;

/// How logs are replayed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The format of all logs; found for each log if it is not given.
    pub format: Option<Format>,
    /// How much later than requests that began after it a line may come.
    pub window: Nanos,
    /// Requests that began before are left out.
    pub since: Option<Timestamp>,
    /// Requests that began at this time or later are left out.
    pub until: Option<Timestamp>,
    /// How many keys there may be in all: a key is a bucket of a client. About 80 bytes each.
    pub max_keys: usize,
    /// How many threads decide.
    pub deciders: usize,
    /// Suggest limits with which this part of the keys would never have been denied. The logs are read twice, and a key of a
    /// token bucket takes about 280 bytes more; twice that if a log tells whole seconds.
    pub suggest: Option<Share>,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The requests that were put in order.
    pub requests: u64,
    /// The bytes that were read of the logs, as they are stored.
    pub read: u64,
    /// How many they are in all; none if a log is standard input.
    pub of: Option<u64>,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A path or a pattern stands for no file.
    #[error(
        "{0}: no such log; name files, folders with files, patterns, or `-` for standard input"
    )]
    NothingNamed(String),
    /// Standard input can be read once.
    #[error("`-`, standard input, is named twice")]
    StdinTwice,
    /// A log cannot be read a second time.
    #[error("{0}: suggestions need the logs twice; write it into a file, and name that")]
    ReadOnce(String),
    /// A log cannot be read.
    #[error("{0}: {1}")]
    Read(String, #[source] io::Error),
    /// The format of a log is none that is known.
    #[error("{0}: {1}; name it with --format")]
    UnknownFormat(String, #[source] Undetected),
    /// A field that the mapping wants is none of the format.
    #[error("{0}: {1}")]
    Field(String, #[source] access_log::FieldError),
    /// Most lines of a log are not of its format.
    #[error("{name}: most lines cannot be read as {format}; name another --format, or leave the log out{}", told(.examples))]
    MostUnreadable {
        /// The name of the log.
        name: String,
        /// The format by which it was read.
        format: Format,
        /// Some of the lines.
        examples: Vec<Unreadable>,
    },
    /// The logs have more keys than the replay may have.
    #[error(
        "there are more than {0} keys, the most that --max-keys allows; a key takes about 80 bytes"
    )]
    TooManyKeys(usize),
    /// The store cannot decide.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A query is refused.
    #[error("the mapping makes a request that no policy takes: {0}")]
    Query(#[from] crate::descriptor::BadRequest),
    /// A thread cannot be started.
    #[error("no thread can be started: {0}")]
    Thread(#[source] io::Error),
    /// A thread ended without a result.
    #[error("a thread of the replay ended without a result; please report this")]
    ThreadEnded,
}

/// Examples of unreadable lines, each on a line of its own.
fn told(examples: &[Unreadable]) -> String {
    let example =
        |Unreadable { place, reason, line }: &Unreadable| format!("\n  {place}: {reason}: {line}");
    examples.iter().map(example).collect()
}

/// Replays logs through a policy, and through another of the same domain if it is compared `against` one. `progress` is told now and then how far it is.
///
/// # Errors
/// [`ReplayError`]: nothing is told of a replay that ends early.
pub fn replay(
    policy: &Policy,
    against: Option<&Policy>,
    mapping: Arc<Mapping>,
    sources: Vec<Source>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Replayed, ReplayError> {
    if options.suggest.is_some() {
        Logs::are_kept(&sources)?;
    }
    let ladders = options.suggest.map(|_| Ladders::new(policy));
    let parts = Parts::new([policy].into_iter().chain(against), &mapping);
    let divided_by = parts.key().map(str::to_owned);
    let deciders = if divided_by.is_some() { options.deciders.max(1) } else { 1 };
    let logs = sources.iter().map(Source::name).collect();
    let reading = Reading {
        mapping: Arc::clone(&mapping),
        parts,
        format: options.format,
        window: options.window,
        since: options.since,
        until: options.until,
    };
    let tried = Tried { policy, against, ladders: ladders.as_ref() };
    let job = Job { tried, reading, max_keys: options.max_keys, deciders };
    let Ran { lines, mut at_once, mut spread } = run::run(&job, sources.clone(), progress)?;
    let spread_needs = spread.as_mut().and_then(|of| of.figures.needs.take());
    let needs = at_once.figures.needs.take();
    let mapped = lines.mapped.clone();
    let (spread, spread_against) = match spread {
        Some(Tally { figures, against }) => (Some(Outcome::new(policy, figures)), against),
        None => (None, None),
    };
    let against = against.zip(at_once.against).map(|(other, (figures, comparison))| {
        let spread = spread_against.map(|(figures, comparison)| {
            (Outcome::new(other, figures), Difference::new(policy, other, comparison))
        });
        let (spread, spread_difference) = spread.unzip();
        Against {
            outcome: Outcome::new(other, figures),
            difference: Difference::new(policy, other, comparison),
            spread,
            spread_difference,
        }
    });
    let requests = lines.requests;
    let mut report = Report {
        version: VERSION,
        domain: policy.domain().to_owned(),
        input: Input { divided_by, ..input(logs, lines) },
        outcome: Outcome::new(policy, at_once.figures),
        spread,
        against,
        suggestions: None,
    };
    if let (Some(share), Some(ladders), Some(needs)) = (options.suggest, &ladders, needs) {
        let found = Found { ladders, needs, spread: spread_needs };
        let (reading, max_keys) = (job.reading, job.max_keys);
        let logs = Logs { policy, reading, sources, requests, max_keys };
        report.suggestions = Some(suggest::suggest(share, found, logs, progress)?);
    }
    let unseen = mapped.map(|counts| {
        let unseen = mapping.unseen(&counts).into_iter();
        unseen.map(|unseen| (unseen.key.map(str::to_owned), unseen.fields.join(", "))).collect()
    });
    Ok(Replayed { report, unseen: unseen.unwrap_or_default() })
}

/// A replay that came to its end.
#[derive(Debug)]
pub struct Replayed {
    /// What came of it.
    pub report: Report,
    /// The entries whose fields occur in no line, and these fields; no key for the hits. The mapping is not one of these logs.
    pub unseen: Vec<(Option<String>, String)>,
}

fn input(logs: Vec<String>, lines: log::LineCounts) -> Input {
    let example = |Unreadable { place, reason, line }| Example { place, reason, line: line.into() };
    Input {
        logs,
        divided_by: None,
        lines: lines.lines,
        unreadable: lines.unreadable,
        unreadable_examples: lines.examples.into_iter().map(example).collect(),
        requests: lines.requests,
        late: lines.late,
        skipped: lines.skipped,
        other_times: lines.other_times,
        without_descriptor: lines.without_descriptor,
        faulty: lines.faulty,
        whole_seconds: lines.whole_seconds,
        without_duration: lines.without_duration,
        first: lines.covered.map(|(first, _)| first.rfc3339()),
        last: lines.covered.map(|(_, last)| last.rfc3339()),
    }
}
