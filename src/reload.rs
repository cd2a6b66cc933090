//! The policies in force: one immutable snapshot, replaced as a whole.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use hashbrown::HashMap;

use crate::clock::Timestamp;
use crate::config::{self, Problems, Source};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};
use crate::telemetry::{PolicyCounters, Telemetry};

/// What a request sees, from its first step to its last.
#[derive(Debug)]
pub struct Snapshot {
    policies: Policies,
    counters: HashMap<Box<str>, PolicyCounters>,
    sources: Vec<String>,
    loaded_at: Timestamp,
}

impl Snapshot {
    /// The policy of a domain with its counters.
    pub fn of(&self, domain: &str) -> Option<(&Policy, &PolicyCounters)> {
        self.policies.get(domain).zip(self.counters.get(domain))
    }

    /// Every policy.
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What it was compiled from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// When it came into force.
    pub const fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }
}

/// The snapshot in force, and the means to replace it.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    key: FingerprintKey,
    telemetry: Arc<Telemetry>,
}

impl Live {
    /// Compiles the first policies.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(
        sources: &[Source],
        key: FingerprintKey,
        telemetry: Arc<Telemetry>,
        now: Timestamp,
    ) -> Result<Self, Problems> {
        let snapshot = ArcSwap::from_pointee(snapshot(sources, key, &telemetry, now)?);
        Ok(Self { snapshot, key, telemetry })
    }

    /// The snapshot in force.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Compiles other policies and puts them in force as a whole. Buckets whose domain, table, row, key
    /// and period are the same keep their state.
    ///
    /// # Errors
    /// Everything that is wrong with them; the old ones stay in force then.
    pub fn replace(&self, sources: &[Source], now: Timestamp) -> Result<(), Problems> {
        let next = snapshot(sources, self.key, &self.telemetry, now)?;
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}

fn snapshot(
    sources: &[Source],
    key: FingerprintKey,
    telemetry: &Telemetry,
    now: Timestamp,
) -> Result<Snapshot, Problems> {
    let policies = config::compile(sources, key)?;
    let counters =
        policies.iter().map(|policy| (policy.domain().into(), telemetry.for_policy(policy)));
    Ok(Snapshot {
        counters: counters.collect(),
        policies,
        sources: sources.iter().map(|source| source.name.clone()).collect(),
        loaded_at: now,
    })
}
