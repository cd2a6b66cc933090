//! Lets the keys of buckets end later whose limit has become slower.
//!
//! A key ends when its bucket is full under the limit under which it was charged: from then on its state would say
//! nothing. Under a slower limit that has come into force since, something is owed for longer. A call that meets the
//! bucket meanwhile writes it anew; for all others, this process goes through the keys once whenever it has put policies
//! in force that slow a limit, or when `limit_record` tells of limits that other processes had before. Every replica does,
//! since each may write keys under the old limit until it has the new one.
//!
//! A key only ever ends later than it would have, and never too early. It may end later than it must, which changes no
//! decision: the names of buckets are hashes, so that a key is recognised by the interval in its state, which other
//! buckets may have, too; and what is owed is reckoned from the moment at which the state was written, since the moment of
//! the change is another one on each replica.
//!
//! What a key owes that lapses between the change and the moment at which it is found is forgotten.

use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

use super::Store;
use super::client::{MIN_BACKOFF, with_jitter};
use super::connection::{CONNECT_TIMEOUT, Function, ReadyConnection};
use super::error_scope::words;
use super::scan::{self, Page};
use crate::clock::Timestamp;
use crate::limit::{CompactInterval, SlowedLimits};
use crate::live::ActivePolicies;
use crate::store::script;

/// The longest time for which calls are waited for that are being decided by the policies before. A call may take as long
/// as the store's timeout; but while they are waited for, keys lapse.
const MAX_IN_FLIGHT: Duration = Duration::from_secs(1);

/// How long the server may take to answer the commands for one page.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// All replicas together keep the server busy for at most one part of so many. The others are for decisions.
const SHARE: u32 = 5;

/// The shortest and the longest pause between two pages.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How often it is tried. With the backoff between, which doubles up to [`MAX_BACKOFF`], that takes six minutes.
const MAX_ATTEMPTS: u32 = 16;
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How many keys were found, and how many of them end later now.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    keys: usize,
    lengthened: u64,
}

impl Store {
    /// Keeps the limits in force in the store, and goes through the keys whenever limits have become slower, to let those
    /// end later that the slower limit needs for longer. Limits that become slower meanwhile have it begin again, with all
    /// that have since it was last done. Never completes.
    pub async fn lengthen_keys(&self, policies: &ActivePolicies) {
        let activated = Notify::new();
        let (sender, receiver) = unbounded_channel();
        tokio::join!(
            self.record_limits(policies, &activated, &sender),
            self.lengthen_slowed(policies, &activated, receiver),
        );
    }

    /// Goes through the keys for the limits that `policies` slow, and for those that `slowed_elsewhere` tells.
    async fn lengthen_slowed(
        &self,
        policies: &ActivePolicies,
        activated: &Notify,
        mut slowed_elsewhere: UnboundedReceiver<SlowedLimits>,
    ) {
        // All limits are done with that changed here until then.
        let mut done_until = Timestamp::default();
        let mut elsewhere = SlowedLimits::default();
        loop {
            let (changed_at, slowed) = {
                let loaded = policies.load();
                let here = loaded.limits().slowed_after(done_until);
                (loaded.changed_at(), here.with(&elsewhere))
            };
            let lengthening = async {
                if slowed.is_empty() || !self.lengthen_keys_of(&slowed).await {
                    std::future::pending().await
                }
            };
            tokio::select! {
                () = policies.activated() => activated.notify_one(),
                Some(more) = slowed_elsewhere.recv() => elsewhere = elsewhere.with(&more),
                () = lengthening => {
                    done_until = changed_at;
                    elsewhere = SlowedLimits::default();
                }
            }
        }
    }

    /// Returns whether it is done; logs that it is, or why not.
    async fn lengthen_keys_of(&self, slowed: &SlowedLimits) -> bool {
        sleep(self.timeout.min(MAX_IN_FLIGHT)).await;
        let begun = Instant::now();
        let (store, counters) = (self.health.target(), self.telemetry.shared_store());
        let walked = self.walk_until_done(slowed).await;
        match &walked {
            Ok(Counts { keys, lengthened }) => {
                counters.walks_finished.inc();
                tracing::info!(
                    %store, keys, lengthened, took = ?begun.elapsed(),
                    "a limit is slower than before: the keys of its buckets are kept for longer"
                );
            }
            Err(error) if is_forbidden(error) => {
                counters.walks_refused.inc();
                tracing::warn!(
                    %store, reason = words(error),
                    "a limit is slower than before, but the store's user may not keep its buckets for longer: one \
                     that no request meets until it would have been full before is full then. The user needs the \
                     commands SCAN, GET, PTTL, TIME and PEXPIREAT"
                );
            }
            Err(error) => {
                counters.walks_failed.inc();
                tracing::warn!(
                    %store, reason = words(error),
                    "a limit is slower than before, but the keys of its buckets could not be kept for longer: one \
                     that no request meets until it would have been full before is full then. The next policy that \
                     comes into force has it tried again"
                );
            }
        }
        walked.is_ok()
    }

    /// Goes through all keys, and does so again if that fails, unless the user may not.
    async fn walk_until_done(&self, slowed: &SlowedLimits) -> RedisResult<Counts> {
        let mut backoff = MIN_BACKOFF;
        for _ in 1..MAX_ATTEMPTS {
            match self.walk(slowed).await {
                Err(error) if !is_forbidden(&error) => {
                    tracing::debug!(reason = words(&error), "the keys are gone through again");
                }
                done => return done,
            }
            sleep(with_jitter(backoff)).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        self.walk(slowed).await
    }

    /// Goes through all keys once.
    async fn walk(&self, slowed: &SlowedLimits) -> RedisResult<Counts> {
        let opening = timeout(CONNECT_TIMEOUT, self.open()).await;
        let mut walk = Walk { store: self, ready: opening.map_err(|_| no_reply())??, slowed };
        let pattern = self.names.pattern();
        let first = scan::first_pages(&mut walk.ready.connection, &pattern);
        let mut pages = timeout(REPLY_TIMEOUT, first).await.map_err(|_| no_reply())??;
        let mut counts = Counts::default();
        while let Some(page) = pages.pop() {
            let begun = Instant::now();
            let of_page = async {
                counts.keys += page.keys.len();
                counts.lengthened += walk.lengthen(&page).await?;
                scan::next_page(&mut walk.ready.connection, &pattern, page).await
            };
            let next = timeout(REPLY_TIMEOUT, of_page).await.map_err(|_| no_reply())??;
            pages.extend(next);
            sleep(self.pause_after(begun.elapsed())).await;
        }
        Ok(counts)
    }

    fn pause_after(&self, busy: Duration) -> Duration {
        let parts = SHARE.saturating_mul(self.replicas().get());
        busy.saturating_mul(parts.saturating_sub(1)).clamp(MIN_PAUSE, MAX_PAUSE)
    }
}

/// One walk through the keys, over a connection of its own.
struct Walk<'a> {
    store: &'a Store,
    ready: ReadyConnection,
    slowed: &'a SlowedLimits,
}

impl Walk<'_> {
    /// Lets the keys of a page end later that must. Returns how many do.
    async fn lengthen(&mut self, page: &Page) -> RedisResult<u64> {
        let mut reads = redis::pipe();
        page.keys.iter().for_each(|key| {
            reads.cmd("GET").arg(key);
        });
        let mut calls = redis::pipe();
        for (key, value) in page.keys.iter().zip(self.send(page, reads).await?) {
            let Value::BulkString(state) = value else { continue };
            let Some(interval) = script::written_interval(&state) else { continue };
            let slowest = self.slowed.slowest_after(CompactInterval::of(interval));
            let Some(slowest) = slowest else { continue };
            let call = script::lengthen(key, interval, slowest);
            let command = self.ready.command(&self.store.library, Function::Lengthen, &call);
            calls.add_command(command);
        }
        let replies = self.send(page, calls).await?;
        let lengthened = replies.iter().filter(|reply| **reply == Value::Int(1)).count();
        let lengthened = u64::try_from(lengthened).unwrap_or(u64::MAX);
        self.store.telemetry.shared_store().lengthened.inc_by(lengthened);
        Ok(lengthened)
    }

    async fn send(&mut self, page: &Page, commands: Pipeline) -> RedisResult<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        scan::send_to_server_of(page, &mut self.ready.connection, commands).await
    }
}

/// Of errors of a command within a script, what servers say where the user may not run it: Redis 6.2; Redis 7.0; later
/// ones and Valkey.
const FORBIDDEN_IN_SCRIPT: [&str; 3] =
    ["-NOPERM ", "The user executing the script can't", "ACL failure in script"];

/// Whether the user may not run a command, or not on these keys.
fn is_forbidden(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.code() == Some("NOPERM")
        || FORBIDDEN_IN_SCRIPT.iter().any(|message| detail.contains(message))
}

fn no_reply() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "no reply in time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_may_not_is_told_from_a_server_that_cannot() {
        let is_forbidden = |line: &str| {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            is_forbidden(&answer.extract_error().unwrap_err())
        };
        for line in [
            "NOPERM User gate has no permissions to run the 'scan' command",
            "ERR Error running script (call to f_1): @user_script:1: -NOPERM The user executing the script",
            "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:1.",
            "ERR ACL failure in script: User gate has no permissions to run the 'pttl' command",
        ] {
            assert!(is_forbidden(line), "{line}");
        }
        for line in ["OOM command not allowed when used memory > 'maxmemory'.", "ERR other"] {
            assert!(!is_forbidden(line), "{line}");
        }
    }
}
