//! The limits in force, kept in the store itself: so a process knows which limits became slower while it was not there,
//! or that others had until they ended.
//!
//! One sorted set has a member for each set of limits, [`RecordedLimits`], and as its score when a process last had them in
//! force, in milliseconds by the store's clock. Each process adds its own, at its start, when policies come into force, and
//! from time to time; it changes no member of others, whatever their domains.
//!
//! Limits that are faster than those of this process are told to the walk through the keys: when this process meets them
//! first, and again if processes may have written keys under them since, once none has them any more.

use std::time::Duration;

use hashbrown::HashMap;
use redis::{RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};

use super::Store;
use super::connection::{CONNECT_TIMEOUT, Connection};
use super::error_scope::words;
use crate::clock::{Nanos, Now, Timestamp};
use crate::limit::{CompactInterval, SlowedLimits};
use crate::live::{ActivePolicies, LoadedPolicies};
use crate::policy::{LimitHistory, RecordedLimits, longest_owed, recorded_history};

/// How often a process says that its limits are in force.
const PERIOD: Duration = Duration::from_secs(20);

/// After this time without a word, no process has the limits any more.
const QUIET: Nanos = Nanos::from_secs(60);

/// How long all commands of one time may take together.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// A member is read again that was written so long before the last reading, by a process that was slower.
const OVERLAP: Nanos = Nanos::from_secs(5);

/// The shortest time for which limits are kept that are no longer in force.
const MIN_KEPT: Nanos = Nanos::from_secs(600);

/// The most sets of limits that are kept, and the most bytes that one may have. Of more, the oldest are removed.
const MAX_SETS: usize = 32;
const MAX_BYTES: usize = 1 << 20;

impl Store {
    /// The limits that were in force last, and since when. Without an answer of the store, none were.
    pub async fn limits_before(&self) -> LimitHistory {
        let reading = async {
            let mut connection = self.connect_plainly().await?;
            let now = self.time(&mut connection).await?;
            // What cannot be read is told when it is read for the record.
            let mut record = LimitRecord { has_warned_of_damage: true, ..LimitRecord::default() };
            record.read(&mut connection, &self.names.limits(), now.wall).await?;
            Ok::<_, RedisError>(recorded_history(&record.sets, now))
        };
        match timeout(CONNECT_TIMEOUT, reading).await {
            Ok(Ok(limits)) => return limits,
            Ok(Err(error)) => {
                tracing::debug!(reason = words(&error), "the limits before are not known");
            }
            Err(_) => tracing::debug!("the limits before are not known: no reply in time"),
        }
        LimitHistory::default()
    }

    /// Keeps the limits in force in the store, and tells of limits that have been slowed elsewhere. Never completes.
    pub(super) async fn record_limits(
        &self,
        policies: &ActivePolicies,
        activated: &Notify,
        slowed: &UnboundedSender<SlowedLimits>,
    ) {
        let mut record = LimitRecord::default();
        let mut connection = None;
        loop {
            let loaded = policies.load_full();
            if loaded.is_awaited() {
                // No limits are in force yet.
                activated.notified().await;
                continue;
            }
            let updating = self.update_record(&mut record, &mut connection, &loaded, slowed);
            match timeout(CONNECT_TIMEOUT + REPLY_TIMEOUT, updating).await {
                Ok(Ok(())) => record.is_failing = false,
                Ok(Err(error)) => {
                    connection = None;
                    self.record_failed(&mut record, &error);
                }
                Err(_) => {
                    connection = None;
                    tracing::debug!("the limits in force are not recorded: no reply in time");
                }
            }
            tokio::select! {
                () = sleep(PERIOD) => {}
                () = activated.notified() => {}
            }
        }
    }

    async fn update_record(
        &self,
        record: &mut LimitRecord,
        connection: &mut Option<Connection>,
        loaded: &LoadedPolicies,
        slowed: &UnboundedSender<SlowedLimits>,
    ) -> RedisResult<()> {
        let connection = match connection {
            Some(connection) => connection,
            none => none.insert(self.connect_plainly().await?),
        };
        let now = self.time(connection).await?;
        let key = self.names.limits();
        record.read(connection, &key, now.wall).await?;
        let (limits, changed_at) = (loaded.limits(), loaded.changed_at());
        let own = record.put(limits, now.to_wall(changed_at), now.wall);
        let told = record.slowed_by(limits, changed_at, now.wall);
        if !told.is_empty() {
            // Fails only without a receiver, which lives as long as this.
            let _ = slowed.send(told);
        }
        record.write(connection, &key, own, now.wall).await
    }

    fn record_failed(&self, record: &mut LimitRecord, error: &RedisError) {
        // All else is told where calls are decided.
        let is_told = matches!(error.code(), Some("NOPERM" | "WRONGTYPE"));
        if is_told && !std::mem::replace(&mut record.is_failing, true) {
            tracing::warn!(
                store = %self.health.target(), key = self.names.limits(), reason = words(error),
                "the limits in force cannot be kept in the shared store: after a restart with a slower limit, a bucket \
                 that no request meets until it would have been full before is full then"
            );
        } else {
            tracing::debug!(reason = words(error), "the limits in force are not recorded");
        }
    }

    /// The time of the store, and the steady time of this process.
    async fn time(&self, connection: &mut Connection) -> RedisResult<Now> {
        let reply = connection.send(&redis::cmd("TIME")).await?;
        let steady = self.clock.now();
        let (seconds, micros): (u64, u64) = redis::from_redis_value(reply)?;
        let wall = Nanos::from_secs(seconds).plus(Nanos::new(micros.saturating_mul(1_000)));
        Ok(Now { steady, wall: Timestamp::default().after(wall) })
    }
}

/// What a process knows of the record.
#[derive(Default)]
struct LimitRecord {
    sets: Vec<RecordedLimits>,
    /// When it was read last, by the store's clock.
    read_at: Timestamp,
    /// When the policies came into force that this process last had in the record, by the steady time.
    changed_at: Timestamp,
    /// The limits of which the walk through the keys has been told: their intervals, the longest ones since, and when.
    told: HashMap<CompactInterval, (Nanos, Timestamp)>,
    is_failing: bool,
    has_warned_of_damage: bool,
    has_warned_of_size: bool,
}

impl LimitRecord {
    /// Reads the members that have been written since it last was.
    async fn read(
        &mut self,
        connection: &mut Connection,
        key: &str,
        now: Timestamp,
    ) -> RedisResult<()> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(key).arg(millis(self.read_at.before(OVERLAP))).arg("+inf");
        let reply = connection.send(range.arg("BYSCORE").arg("WITHSCORES")).await?;
        let members: Vec<(Vec<u8>, f64)> = redis::from_redis_value(reply)?;
        self.read_at = now;
        for (bytes, score) in members {
            match RecordedLimits::from_bytes(&bytes, from_millis(score).min(now)) {
                Some(read) => self.add(read),
                None if !std::mem::replace(&mut self.has_warned_of_damage, true) => {
                    tracing::warn!(
                        key,
                        "limits that were in force cannot be read in the shared store, and are ignored: they are \
                         damaged, or of another version of tollgate"
                    );
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Adds limits; if they are known, the earlier beginning and the later end count.
    fn add(&mut self, mut read: RecordedLimits) {
        self.sets.iter().for_each(|set| read.raise_sizes(set));
        match self.sets.iter_mut().find(|set| set.has_limits_of(&read)) {
            Some(known) => {
                known.since = known.since.min(read.since);
                known.until = known.until.max(read.until);
                known.raise_sizes(&read);
            }
            None => self.sets.push(read),
        }
    }

    /// Adds the limits in force to those that are known. Returns them.
    fn put(&mut self, limits: &LimitHistory, since: Timestamp, now: Timestamp) -> RecordedLimits {
        let own = RecordedLimits::of(limits, since.min(now), now);
        self.add(own.clone());
        let known = self.sets.iter().find(|set| set.has_limits_of(&own));
        known.cloned().unwrap_or(own)
    }

    /// The limits of which the walk through the keys is to be told: those that are faster than the ones in force and
    /// that were met first, or that processes may have had after the walk was last told.
    fn slowed_by(
        &mut self,
        limits: &LimitHistory,
        changed_at: Timestamp,
        now: Timestamp,
    ) -> SlowedLimits {
        // The walk knows of limits that this process has slowed itself.
        for (interval, slowest) in limits.slowed_after(self.changed_at).iter() {
            self.told.insert(interval, (slowest, now));
        }
        self.changed_at = changed_at;
        let mut slowed = Vec::new();
        for set in &self.sets {
            let is_quiet = now >= set.until.after(QUIET);
            // A process may have had them for so long without a word.
            let period = Nanos::from(PERIOD);
            let of_set = set.slowed_by(limits, now.before(period));
            slowed.extend(of_set.filter(|(interval, slowest)| {
                self.told.get(interval).is_none_or(|(told, at)| {
                    told < slowest || (is_quiet && *at < set.until.after(period))
                })
            }));
        }
        let slowed: SlowedLimits = slowed.into_iter().collect();
        for (interval, slowest) in slowed.iter() {
            self.told.insert(interval, (slowest, now));
        }
        slowed
    }

    /// Writes the limits in force, and removes those under which nothing can be owed any more.
    async fn write(
        &mut self,
        connection: &mut Connection,
        key: &str,
        own: RecordedLimits,
        now: Timestamp,
    ) -> RedisResult<()> {
        let kept = longest_owed(&self.sets).max(MIN_KEPT);
        let removed_until = self.remove_before(now.before(kept));
        let bytes = own.to_bytes();
        if bytes.len() <= MAX_BYTES {
            let mut add = redis::cmd("ZADD");
            connection.send(add.arg(key).arg("GT").arg(millis(now)).arg(bytes)).await?;
        } else if !std::mem::replace(&mut self.has_warned_of_size, true) {
            tracing::warn!(
                bytes = bytes.len(),
                max = MAX_BYTES,
                "the policies have too many limits to keep them in the shared store: after a restart with a slower \
                 limit, a bucket that no request meets until it would have been full before is full then"
            );
        }
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        connection.send(remove.arg(key).arg("-inf").arg(millis(removed_until))).await?;
        let mut expire = redis::cmd("PEXPIREAT");
        connection.send(expire.arg(key).arg(millis(now.after(kept).after(QUIET)))).await?;
        Ok(())
    }

    /// Forgets limits that were in force last before this time, and the oldest of too many. Returns the time until which
    /// none are left.
    fn remove_before(&mut self, time: Timestamp) -> Timestamp {
        self.sets.sort_unstable_by_key(|set| std::cmp::Reverse(set.until));
        let oldest = self.sets.get(MAX_SETS).map_or(time, |set| set.until.max(time));
        self.sets.retain(|set| set.until > oldest);
        oldest
    }
}

/// A time as the score of a member.
fn millis(time: Timestamp) -> u64 {
    time.as_unix_nanos() / 1_000_000
}

/// The time of a score, which may be any number.
fn from_millis(score: f64) -> Timestamp {
    let span = Duration::try_from_secs_f64(score / 1e3).unwrap_or_default();
    Timestamp::default().after(span.into())
}

#[cfg(test)]
mod tests;
