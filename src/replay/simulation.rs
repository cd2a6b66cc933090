//! Decides the requests of logs: the server's own code, at the time of the log.

use super::batch::Event;
use super::figures::Figures;
use super::running::Running;
use super::suggest::{Ladders, Needs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ReplayError;
use crate::clock::Timestamp;
use crate::decision::{self, Verdict};
use crate::descriptor::Query;
use crate::observe::bucket_label::BucketLabel;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::{Plan, Policy};
use crate::store::MemoryStore;

/// After how many requests the keys are counted.
const COUNT_EVERY: u64 = 1_024;

/// After how many requests every shard of the store was swept once more.
const SWEEP_ALL_EVERY: u64 = 1 << 21;

/// How many requests are planned before the first of them is decided: meanwhile the processor fetches what all of them need of
/// the store and of the figures, instead of waiting for each in turn.
pub(super) const PLANNED: usize = 8;

/// A request to decide.
#[derive(Debug, Default)]
pub(super) struct Request<'q> {
    pub(super) query: Query<'q>,
    pub(super) event: Event,
    /// When it is decided.
    pub(super) now: Timestamp,
}

/// What requests match.
pub(super) type Plans<'a> = [Plan<'a>; PLANNED];

/// A policy, and the state of its buckets.
#[derive(Debug)]
pub(super) struct Simulation<'p> {
    policy: &'p Policy,
    store: MemoryStore,
    /// After how many requests the next shard of it is swept.
    sweep_every: u64,
    running: Running,
    figures: Figures<'p>,
    max_keys: usize,
    /// The keys of all simulations that divide the requests.
    keys: Arc<AtomicUsize>,
    /// How many of these are its own.
    own_keys: usize,
    decided: u64,
    /// Whether denials are told, not only counted.
    has_denials: bool,
}

impl<'p> Simulation<'p> {
    pub(super) fn new(policy: &'p Policy, max_keys: usize, keys: &Arc<AtomicUsize>) -> Self {
        // Keys are not spread evenly over the shards: with an eighth more none of them evicts before there are `max_keys`.
        let capacity = max_keys.saturating_add(max_keys / 8).saturating_add(1 << 16);
        let store = MemoryStore::of_one_thread(capacity);
        let shards = u64::try_from(store.shard_count()).unwrap_or(u64::MAX);
        Self {
            policy,
            sweep_every: (SWEEP_ALL_EVERY / shards.max(1)).max(1),
            store,
            running: Running::default(),
            figures: Figures::new(policy),
            max_keys,
            keys: Arc::clone(keys),
            own_keys: 0,
            decided: 0,
            has_denials: false,
        }
    }

    /// Finds what each of at most [`PLANNED`] requests matches, in plans that are empty, and has it fetched.
    pub(super) fn plan<'a>(&mut self, requests: &'a [Request<'_>], plans: &mut Plans<'a>)
    where
        'p: 'a,
    {
        for (Request { query, now, .. }, plan) in requests.iter().zip(plans) {
            self.policy.resolve_into(query, *now, plan);
            for matched in &plan.matched {
                self.store.prefetch(matched.fingerprint);
                self.figures.prefetch(matched.fingerprint);
            }
        }
    }

    /// Decides a request by its plan. Requests come in order of time. Returns what denied it.
    ///
    /// # Errors
    /// If there are more keys than the replay may have, or the store cannot decide.
    pub(super) fn decide(
        &mut self,
        Request { query, event, now }: &Request<'_>,
        plan: &Plan<'_>,
    ) -> Result<Option<Box<Denial>>, ReplayError> {
        let now = *now;
        self.running.end_until(now, &self.store, &mut self.figures);
        let mut verdict = Verdict::unlimited();
        decision::decide_into(plan, &self.store, now, &mut verdict)?;
        self.figures.count(query, &verdict, event, now);
        self.running.begin(&verdict, now, event.duration);
        self.decided += 1;
        if self.decided.is_multiple_of(self.sweep_every) {
            self.store.sweep(now);
        }
        if self.decided.is_multiple_of(COUNT_EVERY) {
            let own = self.figures.keys();
            let more = own - self.own_keys;
            self.own_keys = own;
            let all = self.keys.fetch_add(more, Ordering::Relaxed) + more;
            if all > self.max_keys || self.store.evictions() > 0 {
                return Err(ReplayError::TooManyKeys(self.max_keys));
            }
        }
        Ok(if self.has_denials { denial(self.policy, query, &verdict) } else { None })
    }

    /// Tells denials from now on.
    pub(super) fn with_denials(self) -> Self {
        Self { has_denials: true, ..self }
    }

    /// Finds from now on what keys need at the rates of these ladders.
    pub(super) fn with_ladders(mut self, ladders: Option<&'p Ladders>) -> Self {
        self.figures.needs = ladders.map(Needs::new);
        self
    }

    pub(super) fn finish(self) -> Figures<'p> {
        self.figures
    }
}

/// The bucket that denied a request. It is boxed, since it is large and mostly there is none.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) fingerprint: Fingerprint,
    /// The number of its rule.
    pub(super) rule: usize,
    pub(super) label: BucketLabel,
}

/// What denied a request: the bucket with the longest wait.
fn denial(policy: &Policy, query: &Query<'_>, verdict: &Verdict<'_>) -> Option<Box<Denial>> {
    let denying = verdict.decided.iter().filter(|decided| decided.denies());
    let tightest = denying.filter(|_| !verdict.is_admitted).max_by_key(|of| of.outcome.wait)?;
    Some(Box::new(Denial {
        fingerprint: tightest.matched.fingerprint,
        rule: tightest.matched.rule?.id().get(),
        label: BucketLabel::of(policy, query, tightest),
    }))
}
