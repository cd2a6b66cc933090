//! The policies in force: one immutable snapshot, replaced as a whole, whatever source they come from.
//!
//! A source (policy files are one, see [`policy_files`](crate::policy_files)) hands in compiled policies with a
//! version, or tells why it has none. What is prepared here once for each set of policies is what requests would
//! otherwise do again and again: the handles of metrics, and the denials as they go out.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::observe::telemetry::{PolicyCounters, Telemetry};
use crate::policy::{Policies, Policy};
use crate::reply::Denials;
use crate::wire;

/// What tells one set of policies from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    id: String,
    sources: Vec<PolicySource>,
}

/// One of the texts or resources that policies were compiled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// What it is called: the path of a file, the name of a resource.
    pub name: String,
    /// Its length in bytes: what moves from one source to the next is a change.
    pub length: usize,
}

impl PolicyVersion {
    /// A version under the name that its source gives it, the same on every replica that has the same policies.
    pub const fn new(id: String, sources: Vec<PolicySource>) -> Self {
        Self { id, sources }
    }

    /// Its name; of files, a hash of their texts.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What each source is called, in order.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| &*source.name)
    }
}

/// Compiled policies and their version.
#[derive(Debug)]
pub struct VersionedPolicies {
    /// The policies, by domain.
    pub policies: Policies,
    /// Their version.
    pub version: PolicyVersion,
}

/// A policy, and what is made of it once, when it is loaded.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Policy,
    /// The handles of its metrics.
    pub counters: PolicyCounters,
    /// Its denials as they go out.
    pub denials: Denials,
}

/// What a request sees, from its first step to its last.
#[derive(Debug)]
pub struct LoadedPolicies {
    by_domain: HashMap<Box<str>, LoadedPolicy>,
    version: PolicyVersion,
    loaded_at: Timestamp,
}

impl LoadedPolicies {
    /// Prepares policies for requests. The metrics of rows that they do not have go; see
    /// [`Telemetry::for_policies`].
    pub fn new(next: VersionedPolicies, telemetry: &Telemetry, now: Timestamp) -> Self {
        let policies: Vec<_> = next.policies.into_policies().collect();
        let counters = telemetry.for_policies(&policies);
        let loaded = policies.into_iter().zip(counters).map(|(policy, counters)| {
            let denials = Denials::of(&policy, wire::place);
            (policy.domain().into(), LoadedPolicy { policy, counters, denials })
        });
        Self { by_domain: loaded.collect(), version: next.version, loaded_at: now }
    }

    /// The policy of a domain.
    pub fn of(&self, domain: &str) -> Option<&LoadedPolicy> {
        self.by_domain.get(domain)
    }

    /// Every policy, ordered by domain.
    pub fn policies(&self) -> Vec<&Policy> {
        let mut policies: Vec<_> = self.by_domain.values().map(|loaded| &loaded.policy).collect();
        policies.sort_unstable_by(|a, b| a.domain().cmp(b.domain()));
        policies
    }

    /// Which policies they are.
    pub const fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// When they came into force.
    pub const fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }
}

/// Policies that were offered and did not come into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedPolicies {
    /// When they were offered.
    pub at: Timestamp,
    /// Everything that is wrong with them, one problem a line.
    pub problems: String,
}

/// The policies in force, and the means to replace them.
#[derive(Debug)]
pub struct ActivePolicies {
    loaded: ArcSwap<LoadedPolicies>,
    rejected: ArcSwapOption<RejectedPolicies>,
    /// Those before. They are kept until the next come, so that they are taken apart here, and not by whichever
    /// request was the last to read them: ten thousand rows take milliseconds.
    replaced: Mutex<Option<Arc<LoadedPolicies>>>,
    telemetry: Arc<Telemetry>,
}

impl ActivePolicies {
    /// Puts the first policies in force.
    pub fn new(first: VersionedPolicies, telemetry: Arc<Telemetry>, now: Timestamp) -> Self {
        let loaded = ArcSwap::from_pointee(LoadedPolicies::new(first, &telemetry, now));
        telemetry.reloads().record_loaded(now);
        Self { loaded, rejected: ArcSwapOption::empty(), replaced: Mutex::default(), telemetry }
    }

    /// The policies in force.
    pub fn load(&self) -> Guard<Arc<LoadedPolicies>> {
        self.loaded.load()
    }

    /// The same, for use over a longer time than a request decided in memory takes.
    pub fn load_full(&self) -> Arc<LoadedPolicies> {
        self.loaded.load_full()
    }

    /// What was offered last, if it was rejected.
    pub fn rejected(&self) -> Option<Arc<RejectedPolicies>> {
        self.rejected.load_full()
    }

    /// Prepares policies, to be put in force by [`Self::put`]. This takes time where there are many rows.
    pub fn prepare(&self, next: VersionedPolicies, now: Timestamp) -> LoadedPolicies {
        LoadedPolicies::new(next, &self.telemetry, now)
    }

    /// Puts prepared policies in force as a whole. Buckets whose identity is the same keep their state; see
    /// [`identity`](crate::policy::identity).
    pub fn put(&self, next: LoadedPolicies, now: Timestamp) {
        let replaced = self.loaded.swap(Arc::new(next));
        *self.replaced.lock() = Some(replaced);
        self.rejected.store(None);
        self.telemetry.reloads().record_loaded(now);
    }

    /// Prepares policies and puts them in force.
    pub fn replace(&self, next: VersionedPolicies, now: Timestamp) {
        self.put(self.prepare(next, now), now);
    }

    /// Notes that those in force were offered again.
    pub fn keep(&self) {
        self.rejected.store(None);
        self.telemetry.reloads().record_unchanged();
    }

    /// Notes what is wrong with policies that were offered; those in force stay. It is told by
    /// [`Self::rejected`] until what is offered is right.
    pub fn reject(&self, problems: String, now: Timestamp) {
        self.rejected.store(Some(Arc::new(RejectedPolicies { at: now, problems })));
        self.telemetry.reloads().record_rejected();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;
    use crate::store::MemoryStore;

    #[test]
    fn whoever_reads_replaced_policies_last_does_not_take_them_apart() {
        let none = || VersionedPolicies {
            policies: Policies::default(),
            version: PolicyVersion::new("1".to_owned(), Vec::new()),
        };
        let telemetry = Arc::new(Telemetry::new(Arc::new(MemoryStore::new(64))));
        let now = Timestamp::default();
        let active = ActivePolicies::new(none(), telemetry, now);
        let reading = active.load();
        let read = Arc::downgrade(&reading);
        active.replace(none(), now);
        drop(reading);
        assert!(read.upgrade().is_some(), "the reader took them apart");
        active.replace(none(), now);
        assert!(read.upgrade().is_none(), "they are kept for ever");
    }
}
