//! Metrics of snapshots.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{register, whole_seconds};
use crate::clock::Timestamp;

/// The snapshots of the store.
#[derive(Debug, Clone, Default)]
pub struct SnapshotCounters {
    taken_at: Gauge,
    keys: Gauge,
    /// Snapshots that could not be written.
    pub failed: Counter,
}

impl SnapshotCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let failed =
            register::counter(registry, "snapshot_errors", "Snapshots that could not be written");
        let help = "Time of the state in the last snapshot; 0 before the first";
        let taken_at = register::timestamp(registry, "snapshot_last_success_timestamp", help);
        let help = "Buckets that were not full, and leases, in the last snapshot";
        let keys = register::gauge(registry, "snapshot_keys", help);
        Self { taken_at, keys, failed }
    }

    /// Records that a snapshot of the state at `now`, with this many keys, was written.
    pub fn record_success(&self, now: Timestamp, keys: usize) {
        self.taken_at.set(whole_seconds(now));
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }
}
