//! The policies in force: one immutable snapshot, replaced as a whole, from any source.
//!
//! A source, such as [`policy_files`](crate::policy_files), delivers compiled policies with a version, or the problems
//! that it found. The handles of metrics and the encoded denials are prepared here, once for each set of policies
//! instead of once for each request.

mod control_plane;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub use self::control_plane::{ConnectionError, ConnectionState, ControlPlane};
use crate::clock::{Now, Timestamp};
use crate::descriptor::Name;
use crate::limit::ChangeTime;
use crate::observe::telemetry::ratelimit_stats::TreeStats;
use crate::observe::telemetry::{PolicyCounters, Telemetry};
use crate::policy::name_map::NameMap;
use crate::policy::{LimitHistory, Policies, Policy};
use crate::reply::Denials;
use crate::wire;

/// The version of a set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    id: String,
    sources: Vec<PolicySource>,
}

/// A text or resource that policies were compiled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// Its name: the path of a file, or the name of a resource.
    pub name: String,
    /// Its length in bytes. It shows that text has moved from one source to the next.
    pub length: usize,
}

impl PolicyVersion {
    /// A version with the id that the source gives it: the same on every replica with the same policies.
    pub const fn new(id: String, sources: Vec<PolicySource>) -> Self {
        Self { id, sources }
    }

    /// Its id; for files, a hash of their texts.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The names of the sources, in order.
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
    /// What their source warns of, one line per item.
    pub warnings: Vec<String>,
}

/// A policy, with what is prepared when it is loaded.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Policy,
    /// The handles of its metrics.
    pub counters: PolicyCounters,
    /// The handles of the statistics of envoyproxy/ratelimit, if it is a descriptor tree.
    pub stats: Option<TreeStats>,
    /// Its encoded denials.
    pub denials: Denials,
}

/// A set of policies that is ready for requests. A request uses one set from start to end.
#[derive(Debug)]
pub struct LoadedPolicies {
    by_domain: NameMap<LoadedPolicy>,
    version: PolicyVersion,
    warnings: Vec<String>,
    loaded_at: Timestamp,
    /// When the limits change that are not what they were before.
    changed_at: ChangeTime,
    limits: LimitHistory,
    /// Whether they stand for those that a source has not delivered yet.
    is_awaited: bool,
    has_tree: bool,
    has_metadata: bool,
}

impl LoadedPolicies {
    /// Prepares policies for requests, to come into force after others with these limits at `now`. Removes the metrics
    /// of rows that they do not have; see [`Telemetry::for_policies`].
    pub fn new(
        next: VersionedPolicies,
        before: &LimitHistory,
        telemetry: &Telemetry,
        now: Timestamp,
    ) -> Self {
        let changed_at = ChangeTime::at(now);
        let mut policies: Vec<_> = next.policies.into_policies().collect();
        let limits = before.succeed(&mut policies, &changed_at);
        policies.sort_unstable_by(|a, b| a.domain().cmp(b.domain()));
        let mut trees = policies.iter().filter_map(Policy::tree).peekable();
        let has_tree = trees.peek().is_some();
        let has_metadata = trees.any(|tree| tree.settings().has_metadata);
        let counters = telemetry.for_policies(&policies);
        let handles = counters.into_iter().zip(telemetry.ratelimit().for_policies(&policies));
        let loaded = policies.into_iter().zip(handles).map(|(policy, (counters, stats))| {
            let denials = Denials::of(&policy, wire::encode_place);
            let domain = policy.domain().as_bytes().into();
            (domain, LoadedPolicy { policy, counters, stats, denials })
        });
        let VersionedPolicies { version, warnings, .. } = next;
        let by_domain = loaded.collect();
        let loaded_at = now;
        let is_awaited = false;
        Self {
            by_domain,
            version,
            warnings,
            loaded_at,
            changed_at,
            limits,
            is_awaited,
            has_tree,
            has_metadata,
        }
    }

    /// No policies: those of the source are still to come, after others with these limits.
    fn awaited(before: LimitHistory, now: Timestamp) -> Self {
        Self {
            by_domain: NameMap::default(),
            version: PolicyVersion::new(String::new(), Vec::new()),
            warnings: Vec::new(),
            loaded_at: now,
            changed_at: ChangeTime::at(now),
            limits: before,
            is_awaited: true,
            has_tree: false,
            has_metadata: false,
        }
    }

    /// Whether any of them is a descriptor tree.
    pub const fn has_tree(&self) -> bool {
        self.has_tree
    }

    /// Whether the answers of a domain without a policy have dynamic metadata of the request: where descriptor trees are in
    /// force whose settings say so.
    pub const fn has_metadata(&self) -> bool {
        self.has_metadata
    }

    /// Whether the source has delivered no policies yet. There is none then, and calls fail.
    pub const fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Whether there is no policy.
    pub fn is_empty(&self) -> bool {
        self.by_domain.values().next().is_none()
    }

    /// The policy of a domain.
    pub fn get<'n>(&self, domain: impl Into<Name<'n>>) -> Option<&LoadedPolicy> {
        self.by_domain.get(domain.into().as_bytes())
    }

    /// Every policy, ordered by domain.
    pub fn policies(&self) -> Vec<&Policy> {
        let mut policies: Vec<_> = self.by_domain.values().map(|loaded| &loaded.policy).collect();
        policies.sort_unstable_by(|a, b| a.domain().cmp(b.domain()));
        policies
    }

    /// The version of the policies.
    pub const fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// What their source warns of: what is valid, but may not be meant. One line per item.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The limits of their buckets.
    pub const fn limits(&self) -> &LimitHistory {
        &self.limits
    }

    /// When limits changed that are not what they were before, by the steady time.
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at.get()
    }

    /// When they came into force, by the steady time.
    pub const fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }
}

/// Why the last policies from a source were rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedPolicies {
    /// When they were rejected, by the steady time.
    pub at: Timestamp,
    /// All problems, one per line.
    pub problems: String,
}

/// The policies in force, and the means to replace them.
#[derive(Debug)]
pub struct ActivePolicies {
    loaded: ArcSwap<LoadedPolicies>,
    rejected: ArcSwapOption<RejectedPolicies>,
    /// The previous policies. They are kept until the next reload, which then frees them: freeing ten thousand rows
    /// takes milliseconds, which a request that happens to use them last should not spend.
    replaced: Mutex<Option<Arc<LoadedPolicies>>>,
    activated: Notify,
    telemetry: Arc<Telemetry>,
    /// Where they come from, if not from files.
    control_plane: Option<ControlPlane>,
    /// Whether a source has delivered policies.
    has_loaded: watch::Sender<bool>,
}

impl ActivePolicies {
    /// Puts the first policies in force.
    pub fn new(first: VersionedPolicies, telemetry: Arc<Telemetry>, now: impl Into<Now>) -> Self {
        Self::after(&LimitHistory::default(), first, telemetry, now)
    }

    /// Puts the first policies of this process in force. `before` has the limits of those that were in force when the
    /// state of the store was written.
    pub fn after(
        before: &LimitHistory,
        first: VersionedPolicies,
        telemetry: Arc<Telemetry>,
        now: impl Into<Now>,
    ) -> Self {
        let Now { steady, wall } = now.into();
        let first = LoadedPolicies::new(first, before, &telemetry, steady);
        telemetry.reloads().record_loaded(wall);
        Self::with(first, telemetry, None)
    }

    /// Awaits the first policies from a control plane. `before` is as in [`Self::after`].
    pub fn awaiting(
        control_plane: ControlPlane,
        before: LimitHistory,
        telemetry: Arc<Telemetry>,
        now: Timestamp,
    ) -> Self {
        Self::with(LoadedPolicies::awaited(before, now), telemetry, Some(control_plane))
    }

    /// Begins without policies, since the first ones of the source have these problems: calls fail until it delivers
    /// valid ones. `before` is as in [`Self::after`].
    pub fn without_first(
        problems: String,
        before: LimitHistory,
        telemetry: Arc<Telemetry>,
        now: impl Into<Now>,
    ) -> Self {
        let now = now.into();
        let none = Self::with(LoadedPolicies::awaited(before, now.steady), telemetry, None);
        none.record_rejected(problems, now);
        none
    }

    fn with(
        loaded: LoadedPolicies,
        telemetry: Arc<Telemetry>,
        control_plane: Option<ControlPlane>,
    ) -> Self {
        let has_loaded = watch::Sender::new(!loaded.is_awaited);
        Self {
            loaded: ArcSwap::from_pointee(loaded),
            rejected: ArcSwapOption::empty(),
            replaced: Mutex::default(),
            activated: Notify::new(),
            telemetry,
            control_plane,
            has_loaded,
        }
    }

    /// The control plane that they come from, if any.
    pub const fn control_plane(&self) -> Option<&ControlPlane> {
        self.control_plane.as_ref()
    }

    /// Completes once a source has delivered policies: at once, unless they come from a control plane.
    pub async fn loaded(&self) {
        // The sender is `self`.
        let _ = self.has_loaded.subscribe().wait_for(|has_loaded| *has_loaded).await;
    }

    /// The policies in force.
    pub fn load(&self) -> Guard<Arc<LoadedPolicies>> {
        self.loaded.load()
    }

    /// The policies in force, for use over a longer time than a request in memory takes.
    pub fn load_full(&self) -> Arc<LoadedPolicies> {
        self.loaded.load_full()
    }

    /// The problems of the last policies, if they were rejected.
    pub fn rejected(&self) -> Option<Arc<RejectedPolicies>> {
        self.rejected.load_full()
    }

    /// Prepares policies, to be put in force by [`Self::activate`]. It takes time in proportion to the number of rows.
    pub fn prepare(&self, next: VersionedPolicies, now: impl Into<Now>) -> LoadedPolicies {
        LoadedPolicies::new(next, self.load().limits(), &self.telemetry, now.into().steady)
    }

    /// Puts prepared policies in force as a whole. Buckets with the same identity keep their state; see
    /// [`identity`](crate::policy::identity).
    pub fn activate(&self, next: LoadedPolicies, now: impl Into<Now>) {
        let Now { steady, wall } = now.into();
        next.changed_at.set(steady);
        let replaced = self.loaded.swap(Arc::new(next));
        *self.replaced.lock() = Some(replaced);
        self.rejected.store(None);
        self.telemetry.reloads().record_loaded(wall);
        self.activated.notify_one();
        self.has_loaded.send_replace(true);
    }

    /// Completes once policies have replaced others since it last completed; for one caller at a time.
    pub async fn activated(&self) {
        self.activated.notified().await;
    }

    /// Prepares policies and puts them in force.
    pub fn replace(&self, next: VersionedPolicies, now: impl Into<Now>) {
        let now: Now = now.into();
        self.activate(self.prepare(next, now), now);
    }

    /// Records that a source delivered the policies in force again.
    pub fn record_unchanged(&self) {
        self.rejected.store(None);
        self.telemetry.reloads().record_unchanged();
    }

    /// Records the problems of rejected policies; those in force stay. [`Self::rejected`] returns the problems
    /// until a source delivers valid policies.
    pub fn record_rejected(&self, problems: String, now: impl Into<Now>) {
        let at = now.into().steady;
        self.rejected.store(Some(Arc::new(RejectedPolicies { at, problems })));
        self.telemetry.reloads().record_rejected();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;
    use crate::store::MemoryStore;

    #[test]
    fn the_last_reader_of_replaced_policies_does_not_free_them() {
        let none = || VersionedPolicies {
            policies: Policies::default(),
            version: PolicyVersion::new("1".to_owned(), Vec::new()),
            warnings: Vec::new(),
        };
        let telemetry = Arc::new(Telemetry::new(Arc::new(MemoryStore::new(64))));
        let now = Timestamp::default();
        let active = ActivePolicies::new(none(), telemetry, now);
        let reading = active.load();
        let read = Arc::downgrade(&reading);
        active.replace(none(), now);
        drop(reading);
        assert!(read.upgrade().is_some(), "the reader freed them");
        active.replace(none(), now);
        assert!(read.upgrade().is_none(), "they are never freed");
    }
}
