//! The store that replicas share: Redis or Valkey, as one server, as a cluster, or behind sentinels.
//!
//! The calls and replies are [`script`](crate::store::script)'s. This module has the connections, one for each thread,
//! and what happens to a request that the store is not asked for, or does not decide:
//!
//! - An admission that was charged ahead is spent on it, if there is one: [`prepaid`].
//! - A denial is repeated without asking the store until the bucket admits again, for the prepaid time at most, and
//!   where nothing is prepaid for ten seconds; then the store is asked, since hits may have been given back there. The
//!   states that the store reported are kept in a memory store. A bucket never refills earlier than its state says, so
//!   that the shared store would deny what that memory store denies. Since the state is kept and not the denial, a
//!   raised limit and hits given back count at once.
//! - While the store is unavailable, [`StoreClient::decide_locally`] decides in another memory store, with each bucket
//!   divided by the number of replicas and in the state that was reported last.
//!
//! A key ends when its bucket is full under the limit under which it was charged. When policies come into force with a
//! slower limit, [`Store::lengthen_keys`] goes through the keys once, and lets those of that limit end later. The limits
//! in force are kept in the store, so that it does so after a restart as well.
//!
//! Times in outcomes are the store's. Every reply has its time; in between, it is computed from this process's clock.
//! The memory stores go by this process's clock alone, which never jumps: a state is kept as a span of time from now,
//! whatever the store's clock says.

mod claims;
mod client;
mod connection;
mod decide;
mod error_scope;
mod give_back;
mod health;
mod lengthening;
mod limit_record;
pub mod prepaid;
mod prepay;
mod presence;
mod release;
mod scan;
pub mod target;
mod tls;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub use self::client::StoreClient;
use self::connection::Library;
pub use self::decide::Decision;
use self::health::Health;
use self::prepaid::Prepaid;
pub use self::prepay::Ask;
use self::presence::Presence;
use self::release::PendingReleases;
use self::target::{Connector, Target};
pub use self::tls::Tls;
use self::tls::TlsFiles;
use crate::clock::{Clock, Nanos, Now, Timestamp};
use crate::observe::telemetry::Telemetry;
use crate::store::MemoryStore;
use crate::store::script::KeyNames;

/// How the shared store is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address.
    pub target: Target,
    /// The certificates for TLS, if its address asks for TLS.
    pub tls: Tls,
    /// The prefix of all keys.
    pub prefix: String,
    /// How long one request waits for the store, over all of its calls.
    pub timeout: Duration,
    /// How many replicas share it at least; it may tell of more.
    pub replicas: NonZeroU32,
    /// For how long admissions are prepaid by policies that say nothing else; none are without it.
    pub prepaid_time: Option<Nanos>,
}

/// Why a shared store cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The target is memory.
    #[error("memory is not a shared store; name a Redis or Valkey server")]
    Memory,
    /// A file with certificates cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The Redis client rejects the address or the certificates.
    #[error("the store's address cannot be used: {0}")]
    Client(#[from] redis::RedisError),
    /// There are no random bits for the name of this replica.
    #[error("the operating system has no random bits for the name of this replica: {0}")]
    Entropy(#[from] getrandom::Error),
}

/// The offset of a clock that is not known yet.
const UNKNOWN_OFFSET: i64 = i64::MIN;

/// The shared store, as one process sees it.
pub struct Store {
    connector: tokio::sync::Mutex<Connector>,
    library: Library,
    names: KeyNames,
    timeout: Duration,
    replicas: NonZeroU32,
    presence: Presence,
    prepaid_time: Option<Nanos>,
    prepaid: Arc<Prepaid>,
    /// How many questions charge ahead or give back, and are not answered yet.
    under_way: watch::Sender<usize>,
    /// Whether this process ends, so that it has nothing charged ahead any more.
    is_ending: AtomicBool,
    is_cluster: bool,
    health: Health,
    /// The states of counters that it reported last, by this process's clock.
    observed: MemoryStore,
    /// Buckets that it reported as out of tokens. Their states lapse when it is to be asked again.
    exhausted: MemoryStore,
    /// The buckets that decide while it is unavailable.
    local: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    /// How far its clock is ahead of this process's steady time, in nanoseconds; overestimated by up to a round trip.
    /// [`UNKNOWN_OFFSET`] until it has answered.
    clock_offset: AtomicI64,
    /// Leases to release once it is available.
    pending_releases: PendingReleases,
    telemetry: Arc<Telemetry>,
}

impl Store {
    /// A store without a connection yet. Each memory store beside it keeps at most `max_keys` keys.
    ///
    /// # Errors
    /// [`SharedError`] if the settings are invalid or the CA certificates cannot be read.
    pub fn new(
        settings: Settings,
        max_keys: usize,
        local: Arc<MemoryStore>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, SharedError> {
        let Settings { target, tls, prefix, timeout, replicas, prepaid_time } = settings;
        let connector = target.connector(&TlsFiles::read(tls)?)?.ok_or(SharedError::Memory)?;
        Ok(Arc::new(Self {
            connector: tokio::sync::Mutex::new(connector),
            library: Library::new(),
            names: KeyNames { prefix },
            timeout,
            replicas,
            presence: Presence::new()?,
            prepaid_time,
            prepaid: Prepaid::new(max_keys),
            under_way: watch::Sender::new(0),
            is_ending: AtomicBool::new(false),
            is_cluster: matches!(target, Target::Cluster(_)),
            health: Health::new(target.to_string(), Arc::clone(&telemetry)),
            observed: MemoryStore::new(max_keys),
            exhausted: MemoryStore::new(max_keys),
            local,
            clock,
            clock_offset: AtomicI64::new(UNKNOWN_OFFSET),
            pending_releases: PendingReleases::default(),
            telemetry,
        }))
    }

    /// A client with its own connection, driven by the current runtime.
    pub fn connect(self: &Arc<Self>) -> Arc<StoreClient> {
        StoreClient::start(Arc::clone(self))
    }

    /// Whether a thread has no connection, and decides without the store.
    pub fn is_degraded(&self) -> bool {
        self.health.is_degraded()
    }

    /// Whether a thread has, or has had, a connection.
    pub fn was_reached(&self) -> bool {
        self.health.was_up()
    }

    /// Why requests are decided without the store; empty if none are.
    pub fn shortfalls(&self) -> Vec<String> {
        self.health.shortfalls(self.clock.now())
    }

    /// The store's time now, as far as known; up to a round trip too late.
    pub fn now(&self) -> Timestamp {
        self.read().wall
    }

    /// Whether the store has told its time.
    fn knows_time(&self) -> bool {
        self.clock_offset.load(Ordering::Relaxed) != UNKNOWN_OFFSET
    }

    /// The steady time of this process.
    pub fn steady_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The steady time of this process, and the same moment by the store's clock.
    fn read(&self) -> Now {
        let steady = self.clock.now();
        Now { steady, wall: self.to_store_time(steady) }
    }

    /// The store's time at a moment of this process's steady time; that of the wall clock until the store has answered.
    pub fn to_store_time(&self, ours: Timestamp) -> Timestamp {
        let offset = self.clock_offset.load(Ordering::Relaxed);
        if offset == UNKNOWN_OFFSET {
            return self.clock.read().to_wall(ours);
        }
        let span = Nanos::new(offset.unsigned_abs());
        if offset < 0 { ours.before(span) } else { ours.after(span) }
    }

    /// Sweeps the next shard of the states that it reported. Returns how many keys were removed.
    pub fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.health.mark_accepting(now);
        self.prepaid.sweep(now);
        self.observed.sweep(now) + self.exhausted.sweep(now)
    }

    /// For how long admissions are prepaid by policies that say nothing else, if any are.
    pub const fn prepaid_time(&self) -> Option<Nanos> {
        self.prepaid_time
    }

    /// The memory store that decides while this one is unavailable.
    pub fn local(&self) -> &MemoryStore {
        &self.local
    }

    /// Computes the offset of the store's clock from its time in a reply to a call sent at `sent`.
    fn record_offset(&self, sent: Timestamp, now: Timestamp) {
        let offset = match now.since(sent).get() {
            0 => i64::try_from(sent.since(now).get()).map_or(-i64::MAX, |behind| -behind),
            ahead => i64::try_from(ahead).unwrap_or(i64::MAX),
        };
        self.clock_offset.store(offset, Ordering::Relaxed);
    }
}
