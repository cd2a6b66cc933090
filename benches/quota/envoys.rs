//! An Envoy with its token buckets.

use tollgate::clock::Timestamp;
use tollgate::shares::{Assignment, BucketId, StreamId};

/// The requests of a bucket id in one Envoy.
pub(super) struct Stream {
    pub(super) id: BucketId,
    /// Part of a request that is still to come.
    pub(super) due: f64,
    pub(super) tokens: f64,
    pub(super) assignment: Option<Assignment>,
    pub(super) since_report: [u64; 2],
    pub(super) is_known: bool,
}

/// An Envoy with its bucket ids.
pub(super) struct Envoy {
    /// The replica to which its next stream goes.
    pub(super) server: usize,
    pub(super) streams: Vec<Stream>,
    pub(super) is_alive: bool,
    pub(super) stream: StreamId,
    /// When it reports next; `None` before its first request.
    pub(super) next_report: Option<Timestamp>,
    pub(super) last_report: Timestamp,
    /// Whether its next report opens a stream.
    pub(super) is_cut: bool,
}

impl Stream {
    /// A bucket keeps its ratio when it changes.
    pub(super) fn apply(&mut self, next: Assignment) {
        if let Assignment::Tokens { size, .. } = next {
            let ratio = match self.assignment {
                Some(Assignment::Tokens { size: before, .. }) => self.tokens / f64::from(before),
                _ => 1.0,
            };
            self.tokens = ratio * f64::from(size);
        }
        self.assignment = Some(next);
    }
}
