//! A thread that writes the log, so that no other thread waits for the reader of the log.
//!
//! tracing-appender has such a thread as well. But if the reader stalls, its guard waits for more than a second at the
//! end and then prints to standard output, which may be the same pipe. It bounds the number of waiting lines, but not
//! their bytes, and it neither counts nor reports lines that it cannot write.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::clock::{Clock, Timestamp};
use crate::observe::telemetry::LogLines;

/// Maximum lines and bytes that wait to be written. A single line may be longer.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 4 << 20;

/// The minimum time between two reports of dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often [`Lines::flush`] checks whether all lines are written.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A bounded queue of log lines. A line beyond the bound is dropped and counted.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Box<[u8]>>,
    waiting: Arc<AtomicUsize>,
    counters: LogLines,
}

impl Lines {
    /// Starts the thread that writes to `out`. When a line is written after others were dropped, it calls `report` with
    /// the number of dropped lines since the last report and since the start, at most once a second.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        clock: Arc<dyn Clock>,
        report: impl Fn(u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MAX_LINES);
        let (waiting, counters) = (Arc::default(), LogLines::default());
        let sender = Self { queue, waiting, counters };
        let writer = LineWriter {
            out,
            waiting: Arc::clone(&sender.waiting),
            counters: sender.counters.clone(),
            clock,
            report,
            reported: 0,
            next_report: Timestamp::default(),
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(sender)
    }

    /// The counters of dropped lines.
    pub(super) const fn counters(&self) -> &LogLines {
        &self.counters
    }

    /// Queues a line, or drops it. Never blocks.
    fn push(&self, line: &[u8]) {
        let with_it = |waiting: usize| {
            let all = waiting.saturating_add(line.len());
            (waiting == 0 || all <= MAX_BYTES).then_some(all)
        };
        let has_room = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it);
        if has_room.is_err() {
            self.counters.dropped.inc();
        } else if self.queue.try_send(line.into()).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.counters.dropped.inc();
        }
    }

    /// Waits until all queued lines are written, at most for `timeout`. Polls, so that the writing thread needs no
    /// lock.
    pub(super) fn flush(&self, timeout: Duration) {
        let mut left = timeout;
        while self.waiting.load(Ordering::Acquire) > 0 && !left.is_zero() {
            std::thread::sleep(POLL_INTERVAL);
            left = left.saturating_sub(POLL_INTERVAL);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// The formatter writes one line per call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The state of the writing thread.
struct LineWriter<W, T> {
    out: W,
    /// Bytes that are queued and not written yet.
    waiting: Arc<AtomicUsize>,
    counters: LogLines,
    clock: Arc<dyn Clock>,
    report: T,
    /// The number of dropped lines that were reported.
    reported: u64,
    /// The earliest time of the next report.
    next_report: Timestamp,
}

impl<W: Write, T: Fn(u64, u64)> LineWriter<W, T> {
    /// Writes until all senders are dropped.
    fn run(mut self, lines: &Receiver<Box<[u8]>>) {
        let mut is_taken = false;
        loop {
            // The next line may be far away; the report must not wait for it.
            let next = if is_taken && self.unreported() > 0 {
                lines.recv_timeout(REPORT_INTERVAL)
            } else {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            // A line has just left the queue, so that there is space for the report. If `out` takes no lines, the
            // report would be dropped as well.
            if is_taken {
                self.report_dropped();
            }
            match next {
                Ok(line) => is_taken = self.write(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes a line, and returns whether `out` took it. If not, the line is lost.
    fn write(&mut self, line: &[u8]) -> bool {
        let is_taken = self.out.write_all(line).is_ok();
        if !is_taken {
            self.counters.dropped.inc();
        }
        self.waiting.fetch_sub(line.len(), Ordering::Release);
        is_taken
    }

    fn unreported(&self) -> u64 {
        self.counters.dropped.get().saturating_sub(self.reported)
    }

    fn report_dropped(&mut self) {
        let unreported = self.unreported();
        if unreported == 0 || self.clock.now() < self.next_report {
            return;
        }
        self.reported += unreported;
        self.next_report = self.clock.now().after(REPORT_INTERVAL.into());
        (self.report)(unreported, self.reported);
    }
}

#[cfg(test)]
mod tests;
