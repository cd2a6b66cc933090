//! The state of the memory store in a file, so that buckets and leases outlive the process. Written at an interval and
//! at exit, restored at the start.

mod file;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

pub use file::{InUse, NotAFile, PathLock, SnapshotFile};

use crate::clock::{Clock, Now};
use crate::live::ActivePolicies;
use crate::observe::telemetry::SnapshotCounters;
use crate::policy::fingerprint::FingerprintKey;
use crate::store::MemoryStore;

/// Writes a store to its snapshot file; logs and counts the results.
pub struct Writer {
    /// The file.
    pub file: SnapshotFile,
    /// The store.
    pub store: Arc<MemoryStore>,
    /// The key of the fingerprints in the store.
    pub key: FingerprintKey,
    /// The policies that limit its buckets.
    pub policies: Arc<ActivePolicies>,
    /// The clock of the store.
    pub clock: Arc<dyn Clock>,
    /// Counters of written and failed snapshots.
    pub counters: SnapshotCounters,
}

impl Writer {
    /// Writes on a thread of its own: at once, so that a path that cannot be written is logged at the start, then every
    /// `interval`, and once more at the end.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(self, interval: Duration) -> io::Result<WriterHandle> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            let mut is_failing = false;
            loop {
                let began = self.clock.read();
                is_failing = self.write(began, is_failing);
                let took = Duration::from(self.clock.now().since(began.steady));
                match stopped.recv_timeout(interval.saturating_sub(took)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Ok(never) => match never {},
                }
            }
            self.write(self.clock.read(), is_failing);
        })?;
        Ok(WriterHandle { stop, thread })
    }

    /// Writes once, and returns whether it failed. Every failure is counted; the first and the end of a series are
    /// logged, since a full disk may hold the log, too.
    fn write(&self, now: Now, was_failing: bool) -> bool {
        let (path, counters) = (self.file.path().display(), &self.counters);
        let policies = self.policies.load_full();
        match self.file.write(&self.store, self.key, policies.limits(), now) {
            Ok(keys) => {
                counters.record_success(now.wall, keys);
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
                        "the snapshot cannot be written: the previous one stays, and a restart would \
                         restore it; trying again at the next interval"
                    );
                }
                true
            }
        }
    }
}

/// A thread that writes snapshots. If this is dropped, the last snapshot is still written, but not waited for.
#[derive(Debug)]
pub struct WriterHandle {
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl WriterHandle {
    /// Waits until the last snapshot is written. To be called after the last decision, so that it is in the snapshot.
    pub fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread that writes snapshots has panicked: the last one is not written"
            );
        }
    }
}

#[cfg(test)]
mod tests;
