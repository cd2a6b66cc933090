//! Requests of logs as they are asked about, in one piece of memory.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{Nanos, Timestamp};
use crate::mapping::Requests;

/// In how many parts requests are divided that share no bucket with those of another part.
pub(super) const PARTS: u8 = 64;

/// One request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// When it began.
    pub(super) start: Timestamp,
    /// How long it took; zero if the log does not tell.
    pub(super) duration: Nanos,
    /// Whether the log tells its time in whole seconds.
    pub(super) is_whole_second: bool,
    /// Whether it was denied when the log was written.
    pub(super) was_denied: bool,
    /// Requests of different parts meet no bucket in common.
    pub(super) part: u8,
}

/// Requests in the order of their lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Of each request.
    pub(super) events: Vec<Event>,
    pub(super) requests: Requests,
}

/// Batches to be filled again: to get new memory for each takes a quarter of the time of a replay.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Batch>>>);

/// The most batches that are kept.
const MAX_KEPT: usize = 64;

impl Batches {
    /// An empty batch.
    pub(super) fn get(&self) -> OwnedBatch {
        let batch = self.0.lock().pop().unwrap_or_default();
        OwnedBatch { batch, from: self.clone() }
    }
}

/// A batch that is kept to be filled again when it is dropped.
#[derive(Debug, Default)]
pub(super) struct OwnedBatch {
    batch: Batch,
    from: Batches,
}

impl Drop for OwnedBatch {
    fn drop(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.events.clear();
        batch.requests.clear();
        let mut kept = self.from.0.lock();
        if kept.len() < MAX_KEPT {
            kept.push(batch);
        }
    }
}

impl Deref for OwnedBatch {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl DerefMut for OwnedBatch {
    fn deref_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}
