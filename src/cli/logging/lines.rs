//! The thread that writes the log, so that nobody else waits for whoever reads it.
//!
//! tracing-appender has such a thread, too. But where nobody reads, its guard waits for more than a second at the
//! end and then prints to standard output, which may be the same pipe; it bounds lines, and not their bytes; and
//! what could not be written it neither counts nor tells.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::clock::{Clock, Timestamp};
use crate::observe::telemetry::LogLines;

/// The most lines that wait to be written, and the most bytes, unless it is a single line.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 4 << 20;

/// How often it is told that lines were dropped, at most.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How often [`Lines::settle`] looks whether all is written.
const LOOKED_EVERY: Duration = Duration::from_millis(1);

/// Where log lines are handed over. A line for which there is no room is dropped, and counted.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Box<[u8]>>,
    waiting: Arc<AtomicUsize>,
    counters: LogLines,
}

impl Lines {
    /// Starts the thread that writes to `out`. Once a line was written after others were dropped, it calls `tell`
    /// with how many those were, and with how many it were since the start; once a second at most.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        clock: Arc<dyn Clock>,
        tell: impl Fn(u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MAX_LINES);
        let (waiting, counters) = (Arc::default(), LogLines::default());
        let handed_over = Self { queue, waiting, counters };
        let writing = Writing {
            out,
            waiting: Arc::clone(&handed_over.waiting),
            counters: handed_over.counters.clone(),
            clock,
            tell,
            told: 0,
            next: Timestamp::default(),
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.run(&lines))?;
        Ok(handed_over)
    }

    /// What was dropped.
    pub(super) const fn counters(&self) -> &LogLines {
        &self.counters
    }

    /// Hands over a line, or drops it. It never blocks.
    fn put(&self, line: &[u8]) {
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

    /// Waits until all that was handed over is written, for that long at most. It looks rather than be told, so
    /// that the thread that writes takes no lock.
    pub(super) fn settle(&self, most: Duration) {
        let mut left = most;
        while self.waiting.load(Ordering::Acquire) > 0 && !left.is_zero() {
            std::thread::sleep(LOOKED_EVERY);
            left = left.saturating_sub(LOOKED_EVERY);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// The formatter writes a line at a time.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the thread has.
struct Writing<W, T> {
    out: W,
    /// Bytes that are handed over and not written yet.
    waiting: Arc<AtomicUsize>,
    counters: LogLines,
    clock: Arc<dyn Clock>,
    tell: T,
    /// Of how many dropped lines it was told.
    told: u64,
    /// When it may be told again.
    next: Timestamp,
}

impl<W: Write, T: Fn(u64, u64)> Writing<W, T> {
    /// Writes until nobody is left who could hand over a line.
    fn run(mut self, lines: &Receiver<Box<[u8]>>) {
        let mut is_taken = false;
        loop {
            // Nobody may log for a long time.
            let next = if is_taken && self.untold() > 0 {
                lines.recv_timeout(TOLD_EVERY)
            } else {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            // Now that one has left the queue, there is room for that line. Where nothing is taken, it would not be
            // either, and only be dropped in its turn.
            if is_taken {
                self.tell_what_was_dropped();
            }
            match next {
                Ok(line) => is_taken = self.write(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Returns whether the line was taken; one that was not is lost.
    fn write(&mut self, line: &[u8]) -> bool {
        let is_taken = self.out.write_all(line).is_ok();
        if !is_taken {
            self.counters.dropped.inc();
        }
        self.waiting.fetch_sub(line.len(), Ordering::Release);
        is_taken
    }

    fn untold(&self) -> u64 {
        self.counters.dropped.get().saturating_sub(self.told)
    }

    fn tell_what_was_dropped(&mut self) {
        let untold = self.untold();
        if untold == 0 || self.clock.now() < self.next {
            return;
        }
        self.told += untold;
        self.next = self.clock.now().after(TOLD_EVERY.into());
        (self.tell)(untold, self.told);
    }
}

#[cfg(test)]
mod tests;
