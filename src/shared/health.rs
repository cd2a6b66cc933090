//! Whether the shared store decides, as the log, the metrics and `/readyz` tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use redis::RedisError;

use super::error_scope::DownReason;
use crate::clock::{Nanos, Timestamp};
use crate::observe::telemetry::Telemetry;

/// For how long it is told that calls were refused.
const REFUSAL_WINDOW: Nanos = Nanos::from_secs(60);

/// How the store is, as all threads see it.
pub(super) struct Health {
    /// What the store is called.
    target: String,
    /// How many threads have no connection to it.
    down: AtomicUsize,
    /// The server's word for that, if it said one.
    down_code: Mutex<Option<String>>,
    /// Whether it refuses calls of some keys, and when it did last, in nanoseconds since the Unix epoch.
    is_refusing: AtomicBool,
    refused_at: AtomicU64,
    telemetry: Arc<Telemetry>,
}

impl Health {
    pub(super) fn new(target: String, telemetry: Arc<Telemetry>) -> Self {
        Self {
            target,
            down: AtomicUsize::new(0),
            down_code: Mutex::default(),
            is_refusing: AtomicBool::new(false),
            refused_at: AtomicU64::new(0),
            telemetry,
        }
    }

    /// Whether some thread has no connection to it.
    pub(super) fn is_degraded(&self) -> bool {
        self.down.load(Ordering::Relaxed) > 0
    }

    /// Why requests are decided without it; nothing where none are.
    pub(super) fn shortfalls(&self, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        if self.is_degraded() {
            let code = self.down_code.lock().clone();
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            all.push(format!("the shared store is away{code}"));
        }
        if self.has_refused_recently(now) {
            all.push("the shared store refuses calls of some keys".to_owned());
        }
        all
    }

    /// A thread has no connection to it, which is new or not.
    pub(super) fn mark_down(&self, reason: &DownReason, is_new: bool) {
        let DownReason { text, code } = reason;
        (*self.down_code.lock()).clone_from(code);
        if is_new && self.down.fetch_add(1, Ordering::Relaxed) == 0 {
            self.telemetry.shared_store().up.set(0);
            tracing::warn!(
                store = %self.target, reason = text,
                "the shared store is away; deciding without it"
            );
        }
    }

    /// A thread has its first connection.
    pub(super) fn mark_up(&self) {
        if !self.is_degraded() {
            self.telemetry.shared_store().up.set(1);
        }
    }

    /// A thread has a connection again.
    pub(super) fn mark_recovered(&self) {
        if self.down.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.telemetry.shared_store().up.set(1);
            tracing::info!(store = %self.target, "the shared store is back");
        }
    }

    /// It did not do what a call asked, and does what others ask.
    pub(super) fn mark_refusing(&self, error: &RedisError, now: Timestamp) {
        self.telemetry.shared_store().refused.inc();
        self.refused_at.store(now.as_unix_nanos(), Ordering::Relaxed);
        if !self.is_refusing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                store = %self.target, reason = %error,
                "the shared store refuses calls of some keys; deciding these without it"
            );
        }
    }

    /// Tells when that is over.
    pub(super) fn mark_accepting(&self, now: Timestamp) {
        if !self.has_refused_recently(now) && self.is_refusing.swap(false, Ordering::Relaxed) {
            tracing::info!(store = %self.target, "the shared store has refused no call for a minute");
        }
    }

    fn has_refused_recently(&self, now: Timestamp) -> bool {
        let at = Timestamp::from_unix_nanos(self.refused_at.load(Ordering::Relaxed));
        self.is_refusing.load(Ordering::Relaxed) && now.since(at) < REFUSAL_WINDOW
    }
}
