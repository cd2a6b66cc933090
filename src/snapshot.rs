//! The store's state in a file, so that buckets and leases outlive the process: written again and again
//! while it serves and once more at its end, and restored when it starts.

mod file;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

pub use file::{InUse, NotAFile, PathLock, SnapshotFile};

use crate::clock::{Clock, Timestamp};
use crate::observe::telemetry::SnapshotCounters;
use crate::policy::fingerprint::FingerprintKey;
use crate::store::MemoryStore;

/// Writes a store to its file, and tells how that went.
pub struct Writer {
    /// Where to.
    pub file: SnapshotFile,
    /// What.
    pub store: Arc<MemoryStore>,
    /// The key under which the store's buckets are named.
    pub key: FingerprintKey,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub counters: SnapshotCounters,
}

impl Writer {
    /// Writes until it is finished: at once, so that a path that cannot be written to is told at the start,
    /// then every `interval`, and once more at the end. On a thread of its own, since a disk may take its
    /// time.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(self, interval: Duration) -> io::Result<WriterHandle> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            let mut is_failing = false;
            loop {
                let began = self.clock.now();
                is_failing = self.write(began, is_failing);
                let took = Duration::from(self.clock.now().since(began));
                match stopped.recv_timeout(interval.saturating_sub(took)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Ok(never) => match never {},
                }
            }
            self.write(self.clock.now(), is_failing);
        })?;
        Ok(WriterHandle { stop, thread })
    }

    /// Writes once. Failures are counted, but logged only when they begin and when they are over: a full
    /// disk is not to be filled with that. Returns whether it failed.
    fn write(&self, now: Timestamp, was_failing: bool) -> bool {
        let (path, counters) = (self.file.path().display(), &self.counters);
        match self.file.write(&self.store, self.key, now) {
            Ok(keys) => {
                counters.record_success(now, keys);
                if was_failing {
                    tracing::info!(%path, keys, "the snapshot is written again");
                }
                false
            }
            Err(error) => {
                counters.failed.inc();
                if !was_failing {
                    tracing::error!(
                        %path, %error,
                        "the snapshot cannot be written: the one before stays, and a restart would go \
                         back to it; trying again"
                    );
                }
                true
            }
        }
    }
}

/// A thread that writes snapshots. If it is dropped, the last one is still written, but not waited for.
#[derive(Debug)]
pub struct WriterHandle {
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl WriterHandle {
    /// Has the last snapshot written, and returns once it is. To be called when nobody decides any more, so
    /// that all that was decided is in it.
    pub fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread that writes snapshots ended early: the last is not written"
            );
        }
    }
}

#[cfg(test)]
mod tests;
