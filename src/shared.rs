//! The store that replicas share: Redis or Valkey, one server, a cluster, or what sentinels say.
//!
//! What is asked there, and what the answers mean, is [`script`]'s affair. Here are the
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
mod health;
mod refusal;
pub mod target;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

pub use self::client::StoreClient;
use self::connection::{Function, Library, fields};
use self::health::Health;
use self::target::{Connector, Target};
use crate::clock::{Clock, Nanos, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::file;
use crate::limit::Bucket;
use crate::observe::telemetry::Telemetry;
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::Counter;
use crate::store::script::{self, KeyNames, NewLease, ObservedState, Released, ScriptReply, State};
use crate::store::{
    Admission, BucketState, Charge, MemoryStore, Mode, Outcome, Outcomes, StoreError, Wait,
    lease_bits,
};

/// How many releases wait for the store to come back; more are left to expire.
const MAX_PENDING_RELEASES: usize = 10_000;

/// How long it is remembered that a bucket was seen to be out of tokens: then the store is asked again.
const REMEMBERED_FOR: Nanos = Nanos::from_secs(10);

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
    seen: MemoryStore,
    /// Whose tokens it said not long ago that they are out, as buckets that are full when it is asked again.
    fresh: MemoryStore,
    /// What is decided without it.
    local: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    /// How far its clock is ahead of ours, in nanoseconds; rather too far.
    ahead: AtomicI64,
    /// Leases whose slots in a partition are to be freed once it is back.
    to_release: Mutex<VecDeque<(LeaseId, u16)>>,
    telemetry: Arc<Telemetry>,
}

/// What it has decided.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Whether it was charged.
    pub admission: Admission,
    /// The server's time.
    pub now: Timestamp,
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
        let connector = target.client(root.as_deref())?.ok_or(SharedError::Memory)?;
        Ok(Arc::new(Self {
            connector: tokio::sync::Mutex::new(connector),
            library: Library::new(),
            names: KeyNames { prefix },
            deadline,
            replicas,
            is_cluster: matches!(target, Target::Cluster(_)),
            health: Health::new(target.to_string(), Arc::clone(&telemetry)),
            seen: MemoryStore::new(max_keys),
            fresh: MemoryStore::new(max_keys),
            local,
            clock,
            ahead: AtomicI64::new(0),
            to_release: Mutex::default(),
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
        self.in_its_time(self.clock.now())
    }

    /// A moment of our clock in the server's time.
    pub fn in_its_time(&self, ours: Timestamp) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let span = Nanos::new(ahead.unsigned_abs());
        if ahead < 0 { ours.before(span) } else { ours.after(span) }
    }

    /// Sweeps the next part of what is kept in memory of it.
    pub fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.health.mark_accepting(now);
        self.seen.sweep(now) + self.fresh.sweep(now)
    }

    /// The store in memory for what is decided without this one.
    pub fn local(&self) -> &MemoryStore {
        &self.local
    }

    fn releases_waiting(&self) -> usize {
        self.to_release.lock().len()
    }

    fn next_to_release(&self) -> Option<(LeaseId, u16)> {
        self.to_release.lock().pop_front()
    }

    fn release_later(&self, lease: LeaseId, partition: u16) {
        let mut waiting = self.to_release.lock();
        if waiting.len() < MAX_PENDING_RELEASES {
            waiting.push_back((lease, partition));
        }
    }

    fn note_time(&self, sent: Timestamp, now: Timestamp) {
        let ahead = match now.since(sent).get() {
            0 => i64::try_from(sent.since(now).get()).map_or(i64::MIN, |behind| -behind),
            ahead => i64::try_from(ahead).unwrap_or(i64::MAX),
        };
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

impl StoreClient {
    /// The shared store.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Denies what the store would deny by what it said last, without asking it; and what is blocked, also while
    /// the store is away. `outcomes` then tells how the buckets stand as far as is known. Slots may come back at
    /// any time, so that whoever wants some is to ask.
    pub fn would_deny(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> bool {
        let is_of_slots = |charge: &Charge<'_>| matches!(charge.bucket, Bucket::Concurrency(_));
        let is_blocked = charges.iter().any(Charge::is_denied);
        let store = &self.store;
        let now = store.clock.now();
        let is_fresh = |(charge, outcome): (&Charge<'_>, &Outcome)| {
            charge.mode == Mode::Enforced
                && outcome.wait != Wait::None
                && store.fresh.state(charge.fingerprint, now).is_some()
        };
        let is_denied = (is_blocked || self.is_up())
            && !charges.iter().any(is_of_slots)
            && store.seen.would_deny(charges, now, outcomes)
            && (is_blocked || charges.iter().zip(&*outcomes).any(is_fresh));
        if is_denied && !is_blocked {
            store.telemetry.shared_store().cached_denials.inc();
        }
        is_denied
    }

    /// Denies what is blocked, and nothing else: what is left to do while the store is away and calls are to
    /// pass. `outcomes` is as in [`Self::would_deny`].
    pub fn deny_blocked(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> Admission {
        if charges.iter().any(Charge::is_denied) {
            self.store.seen.would_deny(charges, self.store.clock.now(), outcomes);
            Admission::Denied
        } else {
            Admission::Admitted { lease: None }
        }
    }

    /// Has the store decide all charges at once: all are made, or none.
    ///
    /// On a cluster, buckets of several tenants are on several servers. They are decided one after another, and
    /// where one denies, what the others took is given back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it did not answer, [`StoreError::Refused`] where it answers others,
    /// [`StoreError::Reply`] where it answered something else. It may have charged some of it all the same.
    pub async fn decide(
        &self,
        charges: &[Charge<'_>],
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let sent = self.store.clock.now();
        let takes_slots = charges.iter().any(script::takes_slots);
        let bits = if takes_slots { Some(lease_bits()?) } else { None };
        let parts = self.parts(charges);
        let (lease, reply) = if !charges.iter().any(script::has_key) {
            (None, ScriptReply::without_keys(charges, self.store.now()))
        } else if let [_] | [] = &*parts {
            let lease =
                bits.map(|bits| LeaseId::in_partition(bits, script::lease_partition(charges)));
            (lease, self.ask(charges, lease, &[], deadline).await?)
        } else {
            // Rare and large: no part of the future of every other request.
            Box::pin(self.decide_in_parts(charges, &parts, bits, deadline)).await?
        };
        let admission = reply.settle(charges, lease, outcomes)?;
        for (charge, outcome) in charges.iter().zip(&*outcomes) {
            let Some(counter) = Counter::of(charge.bucket) else { continue };
            // It was decided later than it was sent, so that the debt ends here no later than there.
            self.store.seen.set_state(charge.fingerprint, counter.observed(outcome, sent), sent);
            if outcome.remaining == 0 || outcome.wait != Wait::None {
                let remembered = BucketState::until(sent.after(REMEMBERED_FOR));
                self.store.fresh.set_state(charge.fingerprint, remembered, sent);
            }
        }
        Ok(Decision { admission, now: reply.now })
    }

    /// The partitions of these charges, where they have to be asked apart.
    fn parts(&self, charges: &[Charge<'_>]) -> SmallVec<[u16; 4]> {
        let mut parts: SmallVec<[u16; 4]> = if self.store.is_cluster {
            let with_keys = charges.iter().filter(|charge| script::has_key(charge));
            with_keys.map(|charge| charge.fingerprint.partition()).collect()
        } else {
            SmallVec::new()
        };
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    async fn ask(
        &self,
        charges: &[Charge<'_>],
        lease: Option<LeaseId>,
        other_partitions: &[u16],
        deadline: Instant,
    ) -> Result<ScriptReply, StoreError> {
        let sent = self.store.clock.now();
        let lease = lease.map(|lease| NewLease { lease, other_partitions });
        let call = script::decide(&self.store.names, charges, lease, None);
        let answer = self.call(Function::Decide, &call, deadline).await?;
        let reply = ScriptReply::read(&fields(&answer)?, charges)?;
        self.store.note_time(sent, reply.now);
        let took = self.store.clock.now().since(sent);
        self.store.telemetry.shared_store().observe(took);
        Ok(reply)
    }

    async fn decide_in_parts(
        &self,
        charges: &[Charge<'_>],
        parts: &[u16],
        bits: Option<[u8; 16]>,
        deadline: Instant,
    ) -> Result<(Option<LeaseId>, ScriptReply), StoreError> {
        let of = |part: u16| {
            let is_mine = move |charge: &&Charge<'_>| {
                script::has_key(charge) && charge.fingerprint.partition() == part
            };
            let mine = charges.iter().filter(is_mine);
            mine.copied().collect::<SmallVec<[Charge<'_>; 8]>>()
        };
        let holds_slots = |part: &u16| of(*part).iter().any(script::takes_slots);
        let homes: SmallVec<[u16; 4]> = parts.iter().copied().filter(holds_slots).collect();
        let lease = bits.zip(homes.first());
        let lease = lease.map(|(bits, home)| LeaseId::in_partition(bits, *home));
        let mut replies: Vec<(u16, ScriptReply)> = Vec::with_capacity(parts.len());
        let mut denied = charges.iter().any(Charge::is_denied);
        for part in parts {
            let mut mine = of(*part);
            if denied {
                // How they stand is told all the same.
                mine.iter_mut().for_each(|charge| charge.hits = Hits::PEEK);
            }
            let other_partitions = homes.get(1..).unwrap_or_default();
            let other_partitions = if Some(part) == homes.first() { other_partitions } else { &[] };
            let reply = self.ask(&mine, lease, other_partitions, deadline).await;
            // The first that does not admit ends it: nothing is charged behind it.
            if !denied && !reply.as_ref().is_ok_and(|reply| !reply.is_denied) {
                self.take_back(&replies, lease, of).await;
                denied = true;
            }
            replies.push((*part, reply?));
        }
        let mut states: SmallVec<[_; 4]> =
            replies.iter().map(|(part, reply)| (*part, reply.states.iter())).collect();
        let now = replies.iter().map(|(_, reply)| reply.now).max().unwrap_or_default();
        let state = |charge: &Charge<'_>| {
            if !script::has_key(charge) {
                return Ok(ObservedState { at: now, state: State::Blocked });
            }
            let part = charge.fingerprint.partition();
            let of_part = states.iter_mut().find(|(other, _)| *other == part);
            of_part
                .and_then(|(_, states)| states.next().copied())
                .ok_or(StoreError::Reply("a part of it is missing"))
        };
        let states = charges.iter().map(state).collect::<Result<_, _>>()?;
        Ok((lease, ScriptReply { now, is_denied: denied, states }))
    }

    /// Gives back what these parts have charged. That has a deadline of its own: the request's may be over, since
    /// some other part was not answered.
    async fn take_back<'c>(
        &self,
        charged: &[(u16, ScriptReply)],
        lease: Option<LeaseId>,
        of: impl Fn(u16) -> SmallVec<[Charge<'c>; 8]>,
    ) {
        let deadline = self.deadline();
        for (part, reply) in charged {
            let charges = of(*part);
            if let Some(call) = script::refund(&self.store.names, &charges, reply, None) {
                // Where even that fails, it comes back by itself in time.
                let _ = self.call(Function::Decide, &call, deadline).await;
            }
            if let Some(lease) = lease.filter(|_| charges.iter().any(script::takes_slots)) {
                self.release_from(lease, *part, deadline).await;
            }
        }
    }

    /// Decides without the store, as if each replica had its part of each bucket.
    ///
    /// # Errors
    /// As [`MemoryStore::decide`].
    pub fn decide_locally(
        &self,
        charges: &[Charge<'_>],
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let store = &self.store;
        let now = store.clock.now();
        let parts: SmallVec<[Bucket; 8]> =
            charges.iter().map(|charge| charge.bucket.divided(store.replicas)).collect();
        let charges: SmallVec<[Charge<'_>; 8]> = charges
            .iter()
            .zip(&parts)
            .map(|(charge, bucket)| Charge { bucket, ..*charge })
            .collect();
        for charge in &charges {
            // A debt is a time, and a part owes as long as the whole does.
            if store.local.state(charge.fingerprint, now).is_none()
                && let Some(state) = store.seen.state(charge.fingerprint, now)
            {
                store.local.set_state(charge.fingerprint, state, now);
            }
        }
        let admission = store.local.decide(&charges, now, outcomes)?;
        store.telemetry.shared_store().local.inc();
        Ok(Decision { admission, now: store.in_its_time(now) })
    }

    /// Frees the slots of a lease, now or once the store is back. Returns whether it is known to have held any.
    pub async fn release(&self, lease: LeaseId, deadline: Instant) -> bool {
        self.store.local.release(lease, self.store.clock.now())
            || self.release_from(lease, lease.partition(), deadline).await
    }

    /// Whether a lease is held, here or there. While nobody can tell, it is.
    pub async fn holds(&self, lease: LeaseId, fingerprint: Fingerprint, deadline: Instant) -> bool {
        let call = script::lease(&self.store.names, lease);
        self.store.local.holds(lease, fingerprint)
            || !matches!(self.call(Function::Get, &call, deadline).await, Ok(redis::Value::Nil))
    }

    async fn release_from(&self, lease: LeaseId, partition: u16, deadline: Instant) -> bool {
        let mut was_held = false;
        let mut parts = vec![partition];
        while let Some(part) = parts.pop() {
            match self.release_in(lease, part, deadline).await {
                Ok(released) => {
                    was_held |= released.was_held;
                    parts.extend(released.other_partitions);
                }
                Err(error @ StoreError::Refused(_)) => {
                    // Nor will it be released later. Its slots come back when it expires.
                    tracing::debug!(%error, "a lease is not released");
                }
                Err(error) => {
                    tracing::debug!(%error, "a lease is released once the shared store is back");
                    self.store.release_later(lease, part);
                    self.releases_wait();
                }
            }
        }
        was_held
    }

    async fn release_in(
        &self,
        lease: LeaseId,
        partition: u16,
        deadline: Instant,
    ) -> Result<Released, StoreError> {
        let call = script::release(&self.store.names, lease, partition, None);
        let answer = self.call(Function::Release, &call, deadline).await?;
        Released::read(&fields(&answer)?)
    }
}
