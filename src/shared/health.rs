//! Whether the shared store decides, for the log, the metrics and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use redis::RedisError;

use super::error_scope::{DownReason, words};
use crate::clock::{Nanos, Timestamp};
use crate::observe::telemetry::Telemetry;

/// How long after a rejected call the store counts as rejecting calls.
const REJECTION_WINDOW: Nanos = Nanos::from_secs(60);

/// The health of the store, over all threads.
pub(super) struct Health {
    /// The address of the store, without credentials.
    target: String,
    /// How many threads have no connection.
    down: AtomicUsize,
    /// Whether a thread has had a connection.
    was_up: AtomicBool,
    /// The error code with which the server explained that, if any.
    down_code: Mutex<Option<String>>,
    /// Whether it rejects calls for some keys.
    is_rejecting: AtomicBool,
    /// When it last rejected one, in nanoseconds since the Unix epoch.
    rejected_at: AtomicU64,
    telemetry: Arc<Telemetry>,
}

impl Health {
    pub(super) fn new(target: String, telemetry: Arc<Telemetry>) -> Self {
        Self {
            target,
            down: AtomicUsize::new(0),
            was_up: AtomicBool::new(false),
            down_code: Mutex::default(),
            is_rejecting: AtomicBool::new(false),
            rejected_at: AtomicU64::new(0),
            telemetry,
        }
    }

    /// The address of the store, without credentials.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Whether a thread has no connection.
    pub(super) fn is_degraded(&self) -> bool {
        self.down.load(Ordering::Relaxed) > 0
    }

    /// Whether a thread has, or has had, a connection.
    pub(super) fn was_up(&self) -> bool {
        self.was_up.load(Ordering::Relaxed)
    }

    /// Why requests are decided without the store; empty if none are.
    pub(super) fn shortfalls(&self, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        if self.is_degraded() {
            let code = self.down_code.lock().clone();
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            all.push(format!("the shared store is unavailable{code}"));
        }
        if self.has_rejected_recently(now) {
            all.push("the shared store rejects calls for some keys".to_owned());
        }
        all
    }

    /// Records that a thread has no connection; `is_new` unless that is recorded already.
    pub(super) fn mark_down(&self, reason: &DownReason, is_new: bool) {
        let DownReason { text, code } = reason;
        (*self.down_code.lock()).clone_from(code);
        if is_new && self.down.fetch_add(1, Ordering::Relaxed) == 0 {
            self.telemetry.shared_store().up.set(0);
            tracing::warn!(
                store = %self.target, reason = text,
                "the shared store is unavailable; deciding without it"
            );
        }
    }

    /// Records the first connection of a thread.
    pub(super) fn mark_up(&self) {
        self.was_up.store(true, Ordering::Relaxed);
        if !self.is_degraded() {
            self.telemetry.shared_store().up.set(1);
        }
    }

    /// Records that a thread has a connection again.
    pub(super) fn mark_recovered(&self) {
        self.was_up.store(true, Ordering::Relaxed);
        if self.down.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.telemetry.shared_store().up.set(1);
            tracing::info!(store = %self.target, "the shared store is available again");
        }
    }

    /// Records that the store rejected a call, but decides others.
    pub(super) fn mark_rejecting(&self, error: &RedisError, now: Timestamp) {
        self.telemetry.shared_store().refused.inc();
        self.rejected_at.store(now.as_unix_nanos(), Ordering::Relaxed);
        if !self.is_rejecting.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                store = %self.target, reason = words(error),
                "the shared store rejects calls for some keys; deciding these without it"
            );
        }
    }

    /// Logs once when the store has rejected no call for [`REJECTION_WINDOW`].
    pub(super) fn mark_accepting(&self, now: Timestamp) {
        if !self.has_rejected_recently(now) && self.is_rejecting.swap(false, Ordering::Relaxed) {
            tracing::info!(store = %self.target, "the shared store has rejected no call for a minute");
        }
    }

    fn has_rejected_recently(&self, now: Timestamp) -> bool {
        let at = Timestamp::from_unix_nanos(self.rejected_at.load(Ordering::Relaxed));
        self.is_rejecting.load(Ordering::Relaxed) && now.since(at) < REJECTION_WINDOW
    }
}
