//! What the holders of other replicas have, and what those of this one have for the others.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use super::{GRACE, Ledger};
use crate::clock::{Nanos, Timestamp};
use crate::policy::fingerprint::Fingerprint;
use crate::shares::claims::{BucketClaim, Claims, ReplicaId};
use crate::shares::holder::{Holder, HolderId};
use crate::shares::seconds;

/// A replica that has written nothing for so long has ended. It writes once a second at least.
const LOST: Nanos = Nanos::from_secs(3);

/// How long an Envoy waits for its share at least that comes from another replica: until that one has told that it is gone.
const SHORTEST_WAIT: Nanos = Nanos::from_secs(2);

/// What is known of another replica.
#[derive(Debug)]
struct Replica {
    claims: Claims,
    /// When it had written others before these.
    read_at: Timestamp,
}

/// The other replicas.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// Whether there are any, whatever they claim.
    are_there: bool,
    /// Until when there are some since one was the first with Envoys of a bucket, although it is not known which one.
    met_until: Timestamp,
    all: BTreeMap<ReplicaId, Replica>,
    /// How often this one has told the others of its claims.
    written: u64,
    /// Buckets that holders have met first, and of which no other replica is known to have any.
    new_buckets: Vec<Fingerprint>,
    /// Holders that come from other replicas, which may still have their shares among their own.
    pub(super) waiting: HashSet<HolderId>,
}

impl Replicas {
    /// Whether what is assigned here has to be told.
    pub(super) fn are_there(&self) -> bool {
        self.are_there
    }

    /// Notes a bucket of a shared store that holders meet first, of which other replicas have so many holders.
    pub(super) fn begin(&mut self, bucket: Fingerprint, holders_elsewhere: f64) {
        if holders_elsewhere == 0.0 {
            self.new_buckets.push(bucket);
        }
    }

    /// What each has of a bucket.
    pub(super) fn claims_of(&self, bucket: Fingerprint) -> impl Iterator<Item = &BucketClaim> {
        self.all.values().filter_map(move |replica| replica.claims.of_buckets.get(&bucket))
    }

    /// How many holders they have of a bucket.
    pub(super) fn holders_of(&self, bucket: Fingerprint) -> f64 {
        self.claims_of(bucket).map(BucketClaim::holders).sum()
    }

    /// What they have assigned of a bucket, in requests a second.
    pub(super) fn assigned(&self, bucket: Fingerprint) -> f64 {
        self.claims_of(bucket).map(|claim| claim.assigned).sum()
    }

    /// Whether some replica has holders of a bucket that are gone, or has ended itself: one of them may be back here.
    fn have_gone(&self, bucket: Fingerprint, now: Timestamp) -> bool {
        self.all.values().any(|replica| {
            let claim = replica.claims.of_buckets.get(&bucket);
            claim.is_some_and(|claim| claim.gone > 0 || now.since(replica.read_at) >= LOST)
        })
    }
}

impl Ledger {
    /// The other replicas of which to learn what they claim: those that are `there`, and those that have ended a while ago. If
    /// there are any, what is assigned here has to be told to them before it may grow: [`Self::claims`], then
    /// [`Self::exchanged`].
    pub fn other_replicas(&mut self, there: Vec<ReplicaId>, now: Timestamp) -> Vec<ReplicaId> {
        let known: HashSet<_> = self.replicas.all.keys().copied().chain(there).collect();
        self.set_are_there(!known.is_empty() || now < self.replicas.met_until);
        known.into_iter().collect()
    }

    fn set_are_there(&mut self, are_there: bool) {
        if std::mem::replace(&mut self.replicas.are_there, are_there) != are_there {
            self.moved.extend(self.buckets.keys());
        }
    }

    /// The buckets of a shared store that have got their first holders since this was asked last, and of which no other replica
    /// is known to have any. Whether this replica is the first that has some is then to be told with [`Self::begin_bucket`].
    pub fn take_new_buckets(&mut self) -> Vec<Fingerprint> {
        std::mem::take(&mut self.replicas.new_buckets)
    }

    /// Has the holders of a bucket get their part at once if this replica is the first that has some, and else once other
    /// replicas know of them.
    pub fn begin_bucket(&mut self, bucket: Fingerprint, is_first: bool, now: Timestamp) {
        if !is_first {
            // It may have come so lately that it is not known by name.
            self.replicas.met_until = now.after(LOST);
            self.set_are_there(true);
            return;
        }
        let known_since = now.before(self.known_after());
        if let Some(bucket) = self.buckets.get_mut(&bucket) {
            bucket.set_announced(known_since);
        }
    }

    /// How long to wait between two times at which this replica tells the others of its claims.
    pub fn claims_interval(&self) -> Nanos {
        let others = self.replicas.all.values().map(|replica| replica.claims.of_buckets.len());
        Claims::interval(others.fold(self.buckets.len(), usize::max))
    }

    /// What the holders have, for other replicas.
    pub fn claims(&mut self) -> Claims {
        self.replicas.written += 1;
        let shared = self.buckets.iter().filter(|(_, of)| !of.is_shadow && !of.holders.is_empty());
        let of_buckets = shared.map(|(name, bucket)| (*name, bucket.claim())).collect();
        Claims { written: self.replicas.written, of_buckets }
    }

    /// After how long what was told is known to all other replicas: they read it when they tell their own, and have then
    /// divided by it when they do so again.
    pub(super) fn known_after(&self) -> Nanos {
        self.claims_interval().times(2)
    }

    /// Notes that what this replica claims was told to the others, which will soon have divided by it, and what all claim of
    /// them that claim something.
    pub fn exchanged(&mut self, own: &Claims, told: Vec<(ReplicaId, Claims)>, now: Timestamp) {
        let span = self.known_after();
        for (name, claim) in &own.of_buckets {
            let Some(bucket) = self.buckets.get_mut(name) else { continue };
            bucket.announced(claim.wants(), now);
            if bucket.may_grow(span, now) {
                self.moved.insert(*name);
            }
        }
        let mut before = std::mem::take(&mut self.replicas.all);
        let mut given_up = Vec::new();
        for (id, claims) in told {
            let known = before.remove(&id);
            let known_claims = known.as_ref().map(|known| &known.claims);
            let is_same = known_claims.is_some_and(|known| known.written == claims.written);
            if !is_same {
                let none = Claims::default();
                let known_claims = known_claims.unwrap_or(&none);
                Self::note_changes(&mut self.moved, self.buckets.keys(), known_claims, &claims);
                given_up.extend(claims.less_gone_than(known_claims).map(|bucket| (bucket, now)));
            }
            let read_at = known.filter(|_| is_same).map_or(now, |known| known.read_at);
            self.replicas.all.insert(id, Replica { claims, read_at });
        }
        for Replica { claims, read_at } in before.into_values() {
            let none = Claims::default();
            Self::note_changes(&mut self.moved, self.buckets.keys(), &claims, &none);
            // It has ended, and charged nothing since.
            given_up.extend(claims.of_buckets.keys().map(|bucket| (*bucket, read_at)));
        }
        if !self.replicas.waiting.is_empty() {
            self.take_over(&given_up.into_iter().collect(), now);
        }
        for name in &self.moved {
            if let Some(bucket) = self.buckets.get_mut(name) {
                bucket.holders_elsewhere = self.replicas.holders_of(*name);
            }
        }
    }

    /// Begins to count and charge what waiting holders use that meet one of these buckets. Another replica has given up a share
    /// of each, and has charged for it until that time.
    fn take_over(&mut self, given_up: &HashMap<Fingerprint, Timestamp>, now: Timestamp) {
        let waiting: Vec<_> = self.replicas.waiting.iter().copied().collect();
        for id in waiting {
            let Some(holder) = self.holders.get_mut(&id) else { continue };
            let met = holder.terms.enforced().filter_map(|met| given_up.get(&met.fingerprint));
            let Some(charged_until) = met.min().copied() else { continue };
            let Some(uses) = holder.take_over(now) else { continue };
            // It may have come from another replica than that one, so it is not to owe for it.
            let used = (uses * seconds(now.since(charged_until))).min(self.left(id, now));
            self.correct(id, used, now);
        }
    }

    /// Has buckets divided anew whose claims are others now.
    fn note_changes<'b>(
        moved: &mut HashSet<Fingerprint>,
        buckets: impl Iterator<Item = &'b Fingerprint>,
        before: &Claims,
        after: &Claims,
    ) {
        let is_changed = |bucket: &&Fingerprint| match (
            before.of_buckets.get(*bucket),
            after.of_buckets.get(*bucket),
        ) {
            (Some(before), Some(after)) => !after.is_about(before),
            (None, None) => false,
            _ => true,
        };
        moved.extend(buckets.filter(is_changed));
    }

    /// Whether other replicas may have the share of a holder among what they have assigned.
    pub(super) fn is_assigned_elsewhere(&self, holder: &Holder) -> bool {
        holder.terms.enforced().any(|met| self.replicas.assigned(met.fingerprint) > 0.0)
    }

    /// Has holders told of their shares that waited, if no other replica has these any more.
    pub(super) fn end_waiting(&mut self, now: Timestamp) {
        let Self { replicas, holders, .. } = self;
        let is_over = |holder: &Holder| {
            let waited = holder.waiting.map_or(LOST, |waiting| now.since(waiting.since));
            let is_elsewhere =
                || holder.terms.enforced().any(|met| replicas.have_gone(met.fingerprint, now));
            waited >= GRACE.plus(LOST) || waited >= SHORTEST_WAIT && !is_elsewhere()
        };
        let waiting = replicas.waiting.iter().copied();
        let over: Vec<_> = waiting.filter(|id| holders.get(id).is_none_or(&is_over)).collect();
        for id in over {
            self.replicas.waiting.remove(&id);
            let Some(holder) = self.holders.get_mut(&id) else { continue };
            holder.take_over(now);
            holder.waiting = None;
            self.touched.insert(id);
        }
    }
}
