//! The sweep of the memory store, which frees buckets that are full and leases that have expired.

use std::sync::Arc;
use std::time::Duration;

use super::shortage;
use crate::service::Core;
use crate::store::memory::Shortage;

/// Every shard is swept once in this time.
const SWEEP_ROUND: Duration = Duration::from_secs(10);

/// The maximum number of ticks of a round, so that an idle server seldom wakes up.
const MAX_SWEEP_TICKS: usize = 256;

/// Sweeps the store, some shards at each tick, and logs shortages. Never completes.
pub(super) async fn sweep(core: Arc<Core>) {
    let shards = core.shard_count();
    let shards_per_tick = shards.div_ceil(MAX_SWEEP_TICKS).max(1);
    let tick = SWEEP_ROUND / u32::try_from(shards.div_ceil(shards_per_tick)).unwrap_or(1).max(1);
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = Shortage::default();
    loop {
        ticks.tick().await;
        (0..shards_per_tick).for_each(|_| {
            core.sweep();
        });
        let now = core.memory().shortage(core.now());
        shortage::log_changes(std::mem::replace(&mut before, now), now);
    }
}
