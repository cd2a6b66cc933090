//! Reads several logs at a time, and puts their requests in order.
//!
//! Logs may follow one another, as rotated ones do, or cover the same time, as those of several Envoys do: a log is opened
//! once the others have come to its first request.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::ReplayError;
use super::batch::Batches;
use super::log::{LineCounts, Log, Piece};
use super::reading::Reading;
use super::reorder::{Ordered, Reorder};
use super::source::Source;
use crate::clock::{Nanos, Timestamp};

/// How many pieces of a log are read ahead.
const READ_AHEAD: usize = 2;

/// A log that is being read.
struct OpenLog {
    watermark: Timestamp,
    pieces: Receiver<Piece>,
    reader: JoinHandle<Result<LineCounts, ReplayError>>,
}

/// Several logs.
pub(super) struct Merge {
    reading: Arc<Reading>,
    read: Arc<AtomicU64>,
    /// Logs that are not open, the last to begin first.
    unopened: Vec<(Timestamp, Log)>,
    open: Vec<OpenLog>,
    /// Where batches come from and go to.
    batches: Batches,
    reorder: Reorder,
    counts: LineCounts,
    is_at_end: bool,
}

impl Merge {
    /// Finds the formats of the logs, and when they begin. What is read of files is added to `read`, in bytes.
    ///
    /// # Errors
    /// If a log cannot be read, or its format is none that is known.
    pub(super) fn new(
        sources: Vec<Source>,
        reading: Reading,
        read: Arc<AtomicU64>,
    ) -> Result<Self, ReplayError> {
        let logs = sources.into_iter().map(|source| {
            let log = Log::new(source, &reading, &read)?;
            Ok((log.first.unwrap_or_default(), log))
        });
        let mut unopened = logs.collect::<Result<Vec<_>, ReplayError>>()?;
        // Of logs that begin at one time, those that are named first are read first.
        unopened.reverse();
        unopened.sort_by_key(|(first, _)| std::cmp::Reverse(*first));
        Ok(Self {
            reading: Arc::new(reading),
            read,
            unopened,
            open: Vec::new(),
            batches: Batches::default(),
            reorder: Reorder::default(),
            counts: LineCounts::default(),
            is_at_end: false,
        })
    }

    /// The next requests, in order; none at the end of all logs. May be empty before.
    ///
    /// # Errors
    /// If a log cannot be read, or most of its lines are not of its format.
    pub(super) fn next(&mut self) -> Result<Option<Ordered>, ReplayError> {
        if self.is_at_end {
            return Ok(None);
        }
        self.open_due()?;
        let next = self.open.iter_mut().enumerate().min_by_key(|(_, log)| log.watermark);
        let Some((at, log)) = next else {
            self.is_at_end = true;
            return Ok(Some(self.reorder.take(Timestamp::from_unix_nanos(u64::MAX))));
        };
        match log.pieces.recv() {
            Ok(Piece { batch, watermark }) => {
                log.watermark = watermark;
                self.reorder.push(batch);
            }
            // It has been read to its end.
            Err(_) => {
                let log = self.open.remove(at);
                let counts = log.reader.join().map_err(|_| ReplayError::ThreadEnded)??;
                self.counts.add(counts);
            }
        }
        Ok(Some(self.reorder.take(whole_second(self.watermark()))))
    }

    /// Opens the logs whose first request may be the next of all.
    fn open_due(&mut self) -> Result<(), ReplayError> {
        while let Some((first, _)) = self.unopened.last() {
            let is_due = self.open.iter().all(|log| self.begin(*first) <= log.watermark);
            if !is_due {
                break;
            }
            let watermark = self.begin(*first);
            let Some((_, log)) = self.unopened.pop() else { break };
            let (sender, pieces) = sync_channel(READ_AHEAD);
            let (reading, read) = (Arc::clone(&self.reading), Arc::clone(&self.read));
            let batches = self.batches.clone();
            let thread = std::thread::Builder::new().name("log".to_owned());
            let reader = thread.spawn(move || log.read(&reading, read, &batches, &sender));
            let reader = reader.map_err(ReplayError::Thread)?;
            self.open.push(OpenLog { watermark, pieces, reader });
        }
        Ok(())
    }

    /// The time before which a log has no request, if its first line has one of `first`.
    fn begin(&self, first: Timestamp) -> Timestamp {
        first.before(self.reading.window)
    }

    /// No request comes any more that began before.
    fn watermark(&self) -> Timestamp {
        let unopened = self.unopened.last().map(|(first, _)| self.begin(*first));
        let open = self.open.iter().map(|log| log.watermark);
        open.chain(unopened).min().unwrap_or(Timestamp::from_unix_nanos(u64::MAX))
    }

    /// What was read, at the end of all logs.
    pub(super) fn counts(mut self) -> LineCounts {
        self.counts.late += self.reorder.late();
        self.counts
    }
}

/// The second in which a time lies: requests whose time is told in whole seconds are decided together.
const fn whole_second(time: Timestamp) -> Timestamp {
    let nanos = time.as_unix_nanos();
    time.before(Nanos::new(nanos % 1_000_000_000))
}
