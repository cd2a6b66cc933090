//! The store that replicas share: Redis or Valkey, one server, a cluster, or what sentinels say.
//!
//! What is asked there, and what the answers mean, is [`script`](crate::store::script)'s affair. Here are the
//! connections, one for each thread, and what becomes of a request without an answer from them:
//!
//! - A denial is remembered until it ends, and for ten seconds at most: then the store is asked again, which may have
//!   been told otherwise. States that were seen are kept in a store in memory, as debts: a bucket never refills sooner
//!   than the state says, so that what denies there would be denied. Since the state is kept and not the denial, a
//!   limit that is raised counts at once, and so does what is given back.
//! - While the store is away, [`StoreClient::decide_locally`] decides in another store in memory, of buckets divided
//!   by the number of replicas, each as indebted as it was seen last.
//!
//! All times that are told are the server's. It is asked for them with every answer; in between they go on with our
//! clock. What is remembered goes by our clock alone, which never jumps: a debt is a span of time, whatever the
//! server's clock said when it told of it.

mod client;
mod connection;
mod decide;
mod error_scope;
mod health;
mod release;
pub mod target;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub use self::client::StoreClient;
use self::connection::Library;
pub use self::decide::Decision;
use self::health::Health;
use self::release::PendingReleases;
use self::target::{Connector, Target};
use crate::clock::{Clock, Nanos, Timestamp};
use crate::file;
use crate::observe::telemetry::Telemetry;
use crate::store::MemoryStore;
use crate::store::script::KeyNames;

/// How the shared store is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub target: Target,
    /// The certificates that vouch for it over TLS, in PEM; those of the system, if not said.
    pub root: Option<PathBuf>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a request waits for it, however often it has to be asked.
    pub deadline: Duration,
    /// How many replicas share it.
    pub replicas: NonZeroU32,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Buckets are kept in memory.
    #[error("memory is not shared")]
    Memory,
    /// Certificates cannot be read.
    #[error("{}: {error}", path.display())]
    Root {
        /// Where they should be.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The client does not take what is said.
    #[error("the store's address cannot be used: {0}")]
    Client(#[from] redis::RedisError),
}

/// The shared store, as one process sees it.
pub struct Store {
    connector: tokio::sync::Mutex<Connector>,
    library: Library,
    names: KeyNames,
    deadline: Duration,
    replicas: NonZeroU32,
    is_cluster: bool,
    health: Health,
    /// What it said last.
    observed: MemoryStore,
    /// Whose tokens it said not long ago that they are out, as buckets that are full when it is asked again.
    exhausted: MemoryStore,
    /// What is decided without it.
    local: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    /// How far its clock is ahead of ours, in nanoseconds; rather too far.
    clock_offset: AtomicI64,
    /// What is to be released once it is back.
    pending_releases: PendingReleases,
    telemetry: Arc<Telemetry>,
}

impl Store {
    /// Nothing is connected yet. Of what it says, and of what is decided without it, `max_keys` keys are kept.
    ///
    /// # Errors
    /// [`SharedError`] where the settings cannot be meant.
    pub fn new(
        settings: Settings,
        max_keys: usize,
        local: Arc<MemoryStore>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, SharedError> {
        let Settings { target, root, prefix, deadline, replicas } = settings;
        let read = |path: PathBuf| {
            file::read(&path, file::MAX_PEM).map_err(|error| SharedError::Root { path, error })
        };
        let root = root.map(read).transpose()?;
        let connector = target.connector(root.as_deref())?.ok_or(SharedError::Memory)?;
        Ok(Arc::new(Self {
            connector: tokio::sync::Mutex::new(connector),
            library: Library::new(),
            names: KeyNames { prefix },
            deadline,
            replicas,
            is_cluster: matches!(target, Target::Cluster(_)),
            health: Health::new(target.to_string(), Arc::clone(&telemetry)),
            observed: MemoryStore::new(max_keys),
            exhausted: MemoryStore::new(max_keys),
            local,
            clock,
            clock_offset: AtomicI64::new(0),
            pending_releases: PendingReleases::default(),
            telemetry,
        }))
    }

    /// A connection for the calling thread's runtime.
    pub fn connect(self: &Arc<Self>) -> Arc<StoreClient> {
        StoreClient::start(Arc::clone(self))
    }

    /// Whether some thread has no connection to it, and decides without.
    pub fn is_degraded(&self) -> bool {
        self.health.is_degraded()
    }

    /// Why requests are decided without it; nothing where none are.
    pub fn shortfalls(&self) -> Vec<String> {
        self.health.shortfalls(self.clock.now())
    }

    /// The server's time as far as it is known; rather too late than too early.
    pub fn now(&self) -> Timestamp {
        self.to_store_time(self.clock.now())
    }

    /// A moment of our clock in the server's time.
    pub fn to_store_time(&self, ours: Timestamp) -> Timestamp {
        let offset = self.clock_offset.load(Ordering::Relaxed);
        let span = Nanos::new(offset.unsigned_abs());
        if offset < 0 { ours.before(span) } else { ours.after(span) }
    }

    /// Sweeps the next part of what is kept in memory of it.
    pub fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.health.mark_accepting(now);
        self.observed.sweep(now) + self.exhausted.sweep(now)
    }

    /// The store in memory for what is decided without this one.
    pub fn local(&self) -> &MemoryStore {
        &self.local
    }

    fn record_offset(&self, sent: Timestamp, now: Timestamp) {
        let offset = match now.since(sent).get() {
            0 => i64::try_from(sent.since(now).get()).map_or(i64::MIN, |behind| -behind),
            ahead => i64::try_from(ahead).unwrap_or(i64::MAX),
        };
        self.clock_offset.store(offset, Ordering::Relaxed);
    }
}
