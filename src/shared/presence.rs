//! Which replicas share the store: each tells the store once a second that it is there.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{RedisError, RedisResult};
use tokio::time::{sleep, timeout};

use super::connection::{CONNECT_TIMEOUT, ReadyConnection};
use super::{Store, StoreClient};
use crate::clock::{Nanos, Timestamp};

/// How often a replica tells that it is there.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// For how long it counts after that.
const TTL: Nanos = Nanos::from_secs(3);

/// This replica, and how many there are.
#[derive(Debug)]
pub(super) struct Presence {
    /// The name of this process among the replicas.
    id: u64,
    /// How many there were when the store was told last; 0 until then.
    seen: AtomicU32,
    /// The names of the others of them.
    others: Mutex<Vec<u64>>,
    /// When the store is told again, in nanoseconds since the epoch.
    next: AtomicU64,
}

impl Presence {
    /// Fails without random bits.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let (seen, next) = (AtomicU32::new(0), AtomicU64::new(0));
        Ok(Self { id: getrandom::u64()?, seen, others: Mutex::default(), next })
    }

    /// The name of this process among the replicas.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The names of the others that were seen last.
    pub(super) fn others(&self) -> Vec<u64> {
        self.others.lock().clone()
    }

    /// How many replicas were seen last, if any were.
    pub(super) fn seen(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.seen.load(Ordering::Relaxed))
    }

    /// Whether the caller is to tell the store: one thread of the process in each interval.
    fn is_due(&self, now: Timestamp) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let after = now.after(INTERVAL.into()).as_unix_nanos();
        now.as_unix_nanos() >= next
            && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Store {
    /// How many replicas share the store: as many as have told it so within three seconds, and at least as many as the
    /// settings say. While the store is down, as many as there were.
    pub fn replicas(&self) -> NonZeroU32 {
        self.presence.seen().map_or(self.replicas, |seen| seen.max(self.replicas))
    }

    /// Adds this replica to those that are there, each with the time at which it no longer counts. Returns the names of all.
    async fn replicas_with_this(&self, ready: &ReadyConnection) -> RedisResult<Vec<String>> {
        let key = self.names.replicas();
        let micros = |time: Timestamp| time.as_unix_nanos() / 1_000;
        let now = self.now();
        let ends = micros(now.after(TTL));
        let mut connection = ready.connection.clone();
        let mut gone = redis::cmd("ZREMRANGEBYSCORE");
        connection.send(gone.arg(&key).arg("-inf").arg(micros(now))).await?;
        let mut add = redis::cmd("ZADD");
        let name = format!("{:016x}", self.presence.id);
        connection.send(add.arg(&key).arg(ends).arg(name)).await?;
        let mut expire = redis::cmd("PEXPIREAT");
        connection.send(expire.arg(&key).arg(ends.div_ceil(1_000))).await?;
        let mut all = redis::cmd("ZRANGE");
        let reply = connection.send(all.arg(&key).arg(0).arg(-1)).await?;
        redis::from_redis_value(reply).map_err(RedisError::from)
    }
}

impl StoreClient {
    /// Tells the store again and again that this replica is there, and learns which are. A replica that has not asked the
    /// store yet uses none of it, and does not know its time. Never completes.
    pub(super) async fn tell_presence(&self) {
        let store = &self.store;
        loop {
            if store.knows_time()
                && store.presence.is_due(store.clock.now())
                && let Some(ready) = self.connected()
                && let Ok(Ok(names)) =
                    timeout(CONNECT_TIMEOUT, store.replicas_with_this(&ready)).await
            {
                let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
                let ids = names.iter().filter_map(|name| u64::from_str_radix(name, 16).ok());
                *store.presence.others.lock() = ids.filter(|id| *id != store.presence.id).collect();
                store.presence.seen.store(count, Ordering::Relaxed);
                store.telemetry.shared_store().replicas.set(count.into());
            }
            // Without an answer, the number stays.
            sleep(INTERVAL / 2).await;
        }
    }
}
