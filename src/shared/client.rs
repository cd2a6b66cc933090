//! One thread's connection to the shared store. It is re-established in the background.
//!
//! A connection may be dead although the store is well: managed servers close connections that are idle, and a server
//! may have been restarted since the last call. A call that finds it dead is made again on the next connection, within
//! its deadline. Only if the first attempt to reconnect fails is the store taken to be unavailable; then no call waits
//! for a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{RedisError, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Store;
use super::connection::{CONNECT_TIMEOUT, Connection, Function, ReadyConnection};
use super::error_scope::{DownReason, ErrorScope, words};
use crate::store::StoreError;
use crate::store::script::{self, LimitTimes, ScriptCall};

/// The first and the longest backoff between attempts to connect, with a jitter of one half, so that replicas do not
/// all reconnect at once.
pub(super) const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// How often the server is pinged while there are no calls. Servers and load balancers that close idle connections do so
/// after a minute at the least.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The wait of a call whose deadline overflows the clock.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// How many calls in a row may time out before the connection is considered dead.
const MAX_TIMEOUTS: u32 = 3;

/// One thread's connection.
pub struct StoreClient {
    pub(super) store: Arc<Store>,
    ready: ArcSwapOption<ReadyConnection>,
    timed_out: AtomicU32,
    /// Whether a connection that was lost is being made again for the first time, so that calls wait for it.
    is_reconnecting: AtomicBool,
    /// There is a connection again, or the attempt has failed.
    reconnected: Notify,
    /// When calls waited for a connection last.
    reconnected_at: Mutex<Option<Instant>>,
    disconnected: Notify,
    /// Why it was disconnected.
    reason: Mutex<Option<DownReason>>,
    /// A call was rejected; a probe finds out whether all are.
    probe_needed: Notify,
    /// A release was queued.
    release_pending: Notify,
    /// Whether the first attempt to connect is over.
    attempted: watch::Sender<bool>,
}

impl StoreClient {
    /// Spawns a task on the current runtime that connects and reconnects until the runtime ends.
    pub(super) fn start(store: Arc<Store>) -> Arc<Self> {
        let client = Arc::new(Self {
            store,
            ready: ArcSwapOption::empty(),
            timed_out: AtomicU32::new(0),
            is_reconnecting: AtomicBool::new(false),
            reconnected: Notify::new(),
            reconnected_at: Mutex::default(),
            disconnected: Notify::new(),
            reason: Mutex::default(),
            probe_needed: Notify::new(),
            release_pending: Notify::new(),
            attempted: watch::Sender::new(false),
        });
        tokio::spawn(Arc::clone(&client).reconnect_loop());
        client
    }

    /// Completes once the first attempt to connect has succeeded or failed.
    pub async fn ready(&self) {
        // Fails only without a sender, which `self` owns.
        let _ = self.attempted.subscribe().wait_for(|attempted| *attempted).await;
    }

    async fn reconnect_loop(self: Arc<Self>) {
        let mut backoff = MIN_BACKOFF;
        let mut is_down = false;
        loop {
            let mut connecting = std::pin::pin!(timeout(CONNECT_TIMEOUT, self.connect()));
            let mut connected = None;
            if self.is_reconnecting.load(Ordering::Relaxed) {
                // Calls wait for this attempt, but no longer than for an answer.
                connected = timeout(self.store.timeout, &mut connecting).await.ok();
                if connected.is_none() {
                    let reason = DownReason::from(&*slow_connection(self.store.timeout));
                    self.store.health.mark_down(&reason, !std::mem::replace(&mut is_down, true));
                    self.end_waiting();
                }
            }
            let connected = match connected {
                Some(connected) => connected,
                None => connecting.await,
            };
            if let Ok(Ok(ready)) = &connected {
                self.timed_out.store(0, Ordering::Relaxed);
                self.ready.store(Some(Arc::new(ready.clone())));
            }
            self.end_waiting();
            let reason = match connected {
                Ok(Ok(_)) => {
                    if std::mem::take(&mut is_down) {
                        self.store.health.mark_recovered();
                    } else {
                        self.store.health.mark_up();
                    }
                    self.attempted.send_replace(true);
                    let connected = Instant::now();
                    self.serve_until_disconnected().await;
                    if connected.elapsed() > MAX_BACKOFF {
                        backoff = MIN_BACKOFF;
                    }
                    let reason = self.reason.lock().take();
                    // Set by what disconnected.
                    let reason = reason.unwrap_or_else(|| "disconnected".into());
                    if self.is_reconnecting.load(Ordering::Relaxed) {
                        tracing::debug!(reason = reason.text, "reconnecting to the shared store");
                        continue;
                    }
                    reason
                }
                Ok(Err(error)) => DownReason::from(&error),
                Err(_) => DownReason::from(&*slow_connection(CONNECT_TIMEOUT)),
            };
            self.store.health.mark_down(&reason, !std::mem::replace(&mut is_down, true));
            self.attempted.send_replace(true);
            tokio::time::sleep(with_jitter(backoff)).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Has the calls go on that wait for a connection.
    fn end_waiting(&self) {
        self.is_reconnecting.store(false, Ordering::Relaxed);
        self.reconnected.notify_waiters();
    }

    /// A connection that has passed a probe: it has charged a bucket that no policy has. On a cluster the probe writes
    /// nothing, so that one server that cannot write does not keep calls from the others.
    async fn connect(&self) -> RedisResult<ReadyConnection> {
        let mut ready = self.store.open().await?;
        let probe = if self.store.is_cluster {
            script::decide(&self.store.names, &[], None, &|_, _| LimitTimes::default(), None)
        } else {
            script::probe(&self.store.names)
        };
        self.verify(&mut ready, &probe).await?;
        Ok(ready)
    }

    async fn verify(&self, ready: &mut ReadyConnection, probe: &ScriptCall) -> RedisResult<()> {
        let decided = ready.call(&self.store.library, Function::Decide, probe);
        timeout(self.store.timeout, decided).await.map_err(|_| verify_timeout())??;
        Ok(())
    }

    /// The shared store.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.ready.load().is_some()
    }

    /// The connection, if there is one.
    pub(super) fn connected(&self) -> Option<Arc<ReadyConnection>> {
        self.ready.load_full()
    }

    /// The deadline of a request that begins now.
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.store.timeout).unwrap_or_else(|| now + MAX_WAIT)
    }

    /// Calls the script, and waits for the reply until the deadline. After the deadline it sends nothing. If the
    /// connection turns out to be dead, calls again on the next one. If the store died between charging and replying,
    /// both calls are charged.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a connection or a reply in time; the call may have charged.
    /// [`StoreError::Rejected`] if the store rejects this call alone.
    pub(super) async fn call(
        &self,
        function: Function,
        call: &ScriptCall,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        let Some(used) = self.connection(deadline).await else {
            return Err(StoreError::Unavailable("no connection".into()));
        };
        let failed = match self.call_over(&used, function, call, deadline).await {
            Err(error @ StoreError::Unavailable(_)) => error,
            other => return other,
        };
        match self.connection(deadline).await {
            Some(next) if !Arc::ptr_eq(&next, &used) => {
                self.call_over(&next, function, call, deadline).await
            }
            // Still connected: there was no reply in time.
            _ => Err(failed),
        }
    }

    /// The connection; one that was lost is waited for until the deadline, while the first attempt to make it again
    /// lasts.
    async fn connection(&self, deadline: Instant) -> Option<Arc<ReadyConnection>> {
        if let Some(ready) = self.ready.load_full() {
            return Some(ready);
        }
        let mut reconnected = std::pin::pin!(self.reconnected.notified());
        reconnected.as_mut().enable();
        if self.is_reconnecting.load(Ordering::Relaxed) {
            timeout_at(deadline, reconnected).await.ok()?;
        }
        self.ready.load_full()
    }

    async fn call_over(
        &self,
        used: &Arc<ReadyConnection>,
        function: Function,
        call: &ScriptCall,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        if deadline <= Instant::now() {
            // The call that used up the time has been counted as a timeout.
            return Err(StoreError::Unavailable("the request's deadline has passed".into()));
        }
        let mut ready = ReadyConnection::clone(used);
        let library = &self.store.library;
        let answer = timeout_at(deadline, ready.call(library, function, call)).await;
        let counters = self.store.telemetry.shared_store();
        match answer {
            Ok(Ok(value)) => {
                self.timed_out.store(0, Ordering::Relaxed);
                counters.answered.inc();
                Ok(value)
            }
            Ok(Err(error)) => Err(self.handle_error(used, &error)),
            Err(_) => {
                counters.timed_out.inc();
                if self.timed_out.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_TIMEOUTS {
                    let reason = format!(
                        "no reply to {MAX_TIMEOUTS} calls in a row, {:?} each",
                        self.store.timeout
                    );
                    self.disconnect(used, &DownReason::from(&*reason), false);
                }
                Err(StoreError::Unavailable(format!("no reply within {:?}", self.store.timeout)))
            }
        }
    }

    /// Disconnects if the error affects all calls; else reports it as a rejection.
    fn handle_error(&self, used: &Arc<ReadyConnection>, error: &RedisError) -> StoreError {
        self.timed_out.store(0, Ordering::Relaxed);
        match ErrorScope::of(error) {
            ErrorScope::Keys => {
                self.store.health.mark_rejecting(error, self.store.clock.now());
                self.probe_needed.notify_one();
                StoreError::Rejected(words(error).into())
            }
            ErrorScope::Server if self.store.is_cluster => {
                self.store.health.mark_rejecting(error, self.store.clock.now());
                StoreError::Unavailable(words(error).into())
            }
            ErrorScope::Server | ErrorScope::All => {
                self.store.telemetry.shared_store().failed.inc();
                self.disconnect(used, &error.into(), true);
                StoreError::Unavailable(words(error).into())
            }
        }
    }

    /// Drops a connection, and has another made; nothing if it has been dropped already. If `calls_may_wait`, they wait
    /// for the next connection, at most once a second: a server that hangs, or loses each connection, is not waited for.
    fn disconnect(&self, used: &Arc<ReadyConnection>, reason: &DownReason, calls_may_wait: bool) {
        let was = self.ready.compare_and_swap(used, None);
        if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, used)) {
            *self.reason.lock() = Some(reason.clone());
            let mut last = self.reconnected_at.lock();
            if calls_may_wait && last.is_none_or(|at| at.elapsed() > MAX_BACKOFF) {
                *last = Some(Instant::now());
                self.is_reconnecting.store(true, Ordering::Relaxed);
            }
            self.disconnected.notify_one();
        }
    }

    /// Has the pending releases retried. A release that timed out does not disconnect, so nothing else would retry it.
    pub(super) fn notify_pending_release(&self) {
        self.release_pending.notify_one();
    }

    /// Runs pending releases, and probes the connection when a call was rejected.
    async fn serve_until_disconnected(&self) {
        let mut probed: Option<Instant> = None;
        let mut telling = std::pin::pin!(self.tell_presence());
        loop {
            self.run_pending_releases().await;
            let release_due = async {
                self.release_pending.notified().await;
                tokio::time::sleep(with_jitter(MIN_BACKOFF)).await;
            };
            tokio::select! {
                () = self.disconnected.notified() => return,
                () = self.probe_needed.notified() => {
                    if !self.store.is_cluster
                        && probed.is_none_or(|at| at.elapsed() >= MAX_BACKOFF)
                    {
                        self.probe().await;
                        probed = Some(Instant::now());
                    }
                }
                () = release_due => {}
                () = &mut telling => {}
                () = tokio::time::sleep(KEEPALIVE) => self.ping().await,
            }
        }
    }

    /// Keeps the connection from being idle, and disconnects if it is dead. A cluster's client looks after its own.
    async fn ping(&self) {
        let Some(used) = self.ready.load_full() else { return };
        let Connection::Server(connection) = &used.connection else { return };
        let (mut connection, ping) = (connection.clone(), redis::cmd("PING"));
        let answer = timeout(CONNECT_TIMEOUT, connection.send_packed_command(&ping)).await;
        match answer {
            Ok(Err(error)) if ErrorScope::of(&error) == ErrorScope::All => {
                self.disconnect(&used, &DownReason::from(&error), true);
            }
            Ok(_) => {}
            Err(_) => {
                let reason = format!("no reply to PING within {CONNECT_TIMEOUT:?}");
                self.disconnect(&used, &DownReason::from(&*reason), false);
            }
        }
    }

    /// Disconnects if nothing can be charged.
    async fn probe(&self) {
        let Some(used) = self.ready.load_full() else { return };
        let mut ready = ReadyConnection::clone(&used);
        if let Err(error) = self.verify(&mut ready, &script::probe(&self.store.names)).await {
            self.disconnect(&used, &DownReason::from(&error), true);
        }
    }

    async fn run_pending_releases(&self) {
        // A release that fails is queued behind the others, and retried after a backoff.
        for _ in 0..self.store.pending_releases.len() {
            if !self.is_up() {
                return;
            }
            let Some((lease, partition)) = self.store.pending_releases.pop() else { return };
            self.release_from(lease, partition, self.deadline()).await;
        }
    }
}

fn slow_connection(patience: Duration) -> String {
    format!("no connection within {patience:?}")
}

fn verify_timeout() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "it connects, but its probe timed out"))
}

pub(super) fn with_jitter(backoff: Duration) -> Duration {
    // Without random bits there is no jitter.
    let jitter = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
    backoff.mul_f64(0.5 + jitter)
}
