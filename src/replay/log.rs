//! One log: its lines become requests, in a thread of its own.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;

use access_log::{Format, Record};

use super::ReplayError;
use super::batch::{Batch, Batches, Event, OwnedBatch};
use super::lines::{Lines, MAX_LINE};
use super::reading::{Reading, Slots, TOO_MANY_REQUESTS, Values};
use super::reorder::Lateness;
use super::source::Source;
use crate::clock::{Nanos, Timestamp};
use crate::mapping::{Counts, Mapped, Scratch};
use crate::text::sanitize;

/// From how many lines the format of a log is found.
pub(super) const DETECTED_FROM: usize = 100;

/// How many of the lines that cannot be read are shown of a log.
const MAX_EXAMPLES: usize = 3;

/// From how many lines on a log ends the replay if most of them cannot be read.
const JUDGED_FROM: u64 = 10_000;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The name of the log, and the number of the line, from 1.
    pub place: String,
    /// Why.
    pub reason: String,
    /// The line, escaped and cut.
    pub line: Box<str>,
}

/// What was read of logs.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    /// Lines, without empty ones.
    pub(super) lines: u64,
    /// Requests that were read.
    pub(super) requests: u64,
    /// Lines that could not be read.
    pub(super) unreadable: u64,
    /// Some of them.
    pub(super) examples: Vec<Unreadable>,
    /// Requests that were left out since they came later than the window.
    pub(super) late: u64,
    /// Requests that were left out since they are not of the time that was asked for.
    pub(super) other_times: u64,
    /// Requests that the mapping leaves out.
    pub(super) skipped: u64,
    /// Requests without a descriptor.
    pub(super) without_descriptor: u64,
    /// Requests whose hits cannot be read.
    pub(super) faulty: u64,
    /// Requests whose time is told in whole seconds.
    pub(super) whole_seconds: u64,
    /// Requests of which no duration is told.
    pub(super) without_duration: u64,
    /// When the first request began, and the last.
    pub(super) covered: Option<(Timestamp, Timestamp)>,
    /// What the mapping has read.
    pub(super) mapped: Option<Counts>,
}

impl LineCounts {
    /// Adds those of another log.
    pub(super) fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.requests += other.requests;
        self.unreadable += other.unreadable;
        self.examples.extend(other.examples);
        self.examples.truncate(MAX_EXAMPLES);
        self.late += other.late;
        self.other_times += other.other_times;
        self.skipped += other.skipped;
        self.without_descriptor += other.without_descriptor;
        self.faulty += other.faulty;
        self.whole_seconds += other.whole_seconds;
        self.without_duration += other.without_duration;
        self.covered = match (self.covered, other.covered) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (own, other) => own.or(other),
        };
        match (&mut self.mapped, other.mapped) {
            (Some(own), Some(other)) => own.add(&other),
            (own, other) => *own = own.take().or(other),
        }
    }

    /// Whether most lines could not be read.
    const fn is_mostly_unreadable(&self) -> bool {
        self.unreadable > self.lines / 2
    }
}

/// Some requests of a log.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) batch: OwnedBatch,
    /// No later piece has a request that began before.
    pub(super) watermark: Timestamp,
}

/// A log whose format is known.
pub(super) struct Log {
    source: Source,
    format: Format,
    /// What was read already, if it cannot be read again.
    begun: Option<Begun>,
    /// When its first request began; none if it has no request among its first lines.
    pub(super) first: Option<Timestamp>,
}

struct Begun {
    lines: Lines<Box<dyn Read + Send>>,
    first: Vec<u8>,
}

impl Log {
    /// Finds the format of a log, and when it begins.
    ///
    /// # Errors
    /// If it cannot be read, its format is none that is known, or a field that is wanted is none of the format.
    pub(super) fn new(
        source: Source,
        reading: &Reading,
        read: &Arc<AtomicU64>,
    ) -> Result<Self, ReplayError> {
        let fault = |error| ReplayError::Read(source.name(), error);
        // A file is read once more.
        let counted = match source {
            Source::File(_) => Arc::default(),
            Source::Stdin => Arc::clone(read),
        };
        let mut lines = Lines::new(source.open(counted).map_err(fault)?);
        let first = lines.next().map_err(fault)?.unwrap_or_default().to_vec();
        let sample: Vec<&[u8]> = each_line(&first).take(DETECTED_FROM).collect();
        let format = match reading.format {
            Some(format) => format,
            None => access_log::detect(&sample)
                .map_err(|error| ReplayError::UnknownFormat(source.name(), error))?,
        };
        let (mut reader, _) = reading.reader(format, &source.name())?;
        let mut first_start = None;
        for line in sample {
            let mut each = |record: Record<'_>| {
                first_start.get_or_insert(Timestamp::from_unix_nanos(record.start));
            };
            // Lines that cannot be read are counted later.
            let _ = reader.read(line, &mut each);
            if first_start.is_some() {
                break;
            }
        }
        let begun = (source == Source::Stdin).then_some(Begun { lines, first });
        Ok(Self { source, format, begun, first: first_start })
    }

    /// Reads it to its end, or until nobody takes its pieces any more.
    ///
    /// # Errors
    /// If it cannot be read, or most of its lines are not of its format.
    pub(super) fn read(
        mut self,
        reading: &Reading,
        read: Arc<AtomicU64>,
        batches: &Batches,
        pieces: &SyncSender<Piece>,
    ) -> Result<LineCounts, ReplayError> {
        let name = self.source.name();
        let fault = |error| ReplayError::Read(name.clone(), error);
        let (mut lines, first) = match self.begun.take() {
            Some(Begun { lines, first }) => (lines, first),
            None => (Lines::new(self.source.open(read).map_err(fault)?), Vec::new()),
        };
        let (mut reader, slots) = reading.reader(self.format, &name)?;
        let mut taking = Taking {
            reading,
            slots,
            scratch: reading.mapping.scratch(),
            lateness: Lateness::new(reading.window),
            batch: batches.get(),
            counts: LineCounts::default(),
        };
        let mut number = 0;
        let mut take = |piece: &[u8], taking: &mut Taking<'_>| {
            for line in each_line(piece) {
                number += 1;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                taking.counts.lines += 1;
                if let Err(error) = reader.read(line, &mut |record| taking.take(&record)) {
                    taking.counts.unreadable += 1;
                    if taking.counts.examples.len() < MAX_EXAMPLES {
                        let place = format!("{name}:{number}");
                        let reason = error.to_string();
                        let example = Unreadable { place, reason, line: sanitize(line) };
                        taking.counts.examples.push(example);
                    }
                }
            }
        };
        take(&first, &mut taking);
        drop(first);
        loop {
            if taking.counts.lines >= JUDGED_FROM && taking.counts.is_mostly_unreadable() {
                break;
            }
            let batch = std::mem::replace(&mut taking.batch, batches.get());
            let piece = Piece { batch, watermark: taking.lateness.watermark() };
            if !piece.batch.events.is_empty() && pieces.send(piece).is_err() {
                break;
            }
            let Some(piece) = lines.next().map_err(fault)? else { break };
            take(piece, &mut taking);
        }
        let mut counts = taking.counts;
        counts.mapped = Some(taking.scratch.counts().clone());
        let too_long = lines.too_long();
        counts.lines += too_long;
        counts.unreadable += too_long;
        if too_long > 0 && counts.examples.len() < MAX_EXAMPLES {
            let reason = format!("{too_long} lines are longer than {MAX_LINE} bytes");
            counts.examples.push(Unreadable { place: name.clone(), reason, line: "".into() });
        }
        if counts.is_mostly_unreadable() {
            let (format, examples) = (self.format, counts.examples);
            return Err(ReplayError::MostUnreadable { name, format, examples });
        }
        Ok(counts)
    }
}

/// Makes requests of records.
struct Taking<'r> {
    reading: &'r Reading,
    slots: Slots,
    scratch: Scratch,
    lateness: Lateness,
    batch: OwnedBatch,
    counts: LineCounts,
}

impl Taking<'_> {
    fn take(&mut self, record: &Record<'_>) {
        let (counts, reading) = (&mut self.counts, self.reading);
        let start = Timestamp::from_unix_nanos(record.start);
        counts.requests += 1;
        let is_early = reading.since.is_some_and(|since| start < since);
        if is_early || reading.until.is_some_and(|until| start >= until) {
            counts.other_times += 1;
            return;
        }
        if self.lateness.is_late(start) {
            counts.late += 1;
            return;
        }
        let Batch { events, requests } = &mut *self.batch;
        let mapping = &reading.mapping;
        let mut moved = Values::new();
        let (values, status) = self.slots.read(record.values, &mut moved);
        match mapping.read(values, &mut self.scratch, requests) {
            Ok(Mapped::Request) => {}
            Ok(Mapped::Skipped) => {
                counts.skipped += 1;
                return;
            }
            Ok(Mapped::NoDescriptor) => {
                counts.without_descriptor += 1;
                return;
            }
            Err(_) => {
                counts.faulty += 1;
                return;
            }
        }
        counts.whole_seconds += u64::from(record.is_whole_second);
        counts.without_duration += u64::from(record.duration.is_none());
        let (first, last) = counts.covered.get_or_insert((start, start));
        (*first, *last) = ((*first).min(start), (*last).max(start));
        events.push(Event {
            start,
            duration: record.duration.map(Nanos::new).unwrap_or_default(),
            is_whole_second: record.is_whole_second,
            was_denied: status == Some(TOO_MANY_REQUESTS),
            part: reading.parts.of_last(requests, mapping),
        });
    }
}

/// The lines of a piece, without their ends.
pub(super) fn each_line(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    let without_end = piece.strip_suffix(b"\n").unwrap_or(piece);
    let count = usize::from(!piece.is_empty());
    let lines = (0..count).flat_map(move |_| Split { rest: Some(without_end) });
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Splits at the ends of lines.
struct Split<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.rest = rest.get(end + 1..);
                rest.get(..end)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}
