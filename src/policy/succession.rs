//! What changes when policies come into force after others.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Policy;
use super::identity::Salt;
use super::overrides::Override;
use super::rule::Rule;
use crate::clock::{Now, Timestamp};
use crate::limit::{
    Bucket, BucketLimits, ChangeTime, CompactInterval, Debt, LimitChanges, OwedStates, SlowedLimits,
};

/// The limits of all token buckets, as far as states that were written under earlier ones depend on them.
#[derive(Debug, Default)]
pub struct LimitHistory {
    by_salt: HashMap<Salt, Arc<LimitChanges>>,
    /// Those with a limit that is slower than another that the bucket had or has: nearly always none.
    with_faster: Vec<Arc<LimitChanges>>,
}

impl LimitHistory {
    /// Prepares policies to come into force at `at`, in place of those with the limits of this history; returns theirs.
    /// Limits that are not what they were change at `at`; all others changed when they last did.
    ///
    /// A changed size needs no note: a state tells what was used, whatever the size.
    pub(crate) fn succeed(&self, policies: &mut [Policy], at: &ChangeTime) -> Self {
        let limits = policies.iter().flat_map(|policy| policy.limits());
        let next: Self = limits
            .map(|(salt, limits)| {
                let before = self.by_salt.get(&salt).map(|before| &**before);
                (salt, LimitChanges::succeed(before, limits, at))
            })
            .collect();
        let tables = policies.iter_mut().flat_map(|policy| policy.tables.iter_mut());
        for row in tables.flat_map(|table| table.rows.iter_mut()) {
            for rule in row.rules.iter_mut().chain(row.overrides.rules_mut()) {
                rule.changes = next.by_salt.get(&rule.salt).cloned();
            }
        }
        next
    }

    /// The states of which something may be owed at `now` although they have lapsed.
    pub fn owed(&self, now: Now) -> OwedStates {
        let windows = self.with_faster.iter().flat_map(|changes| changes.windows(now));
        OwedStates::of(windows, now.steady)
    }

    /// The limits that policies have slowed which came into force after `since`, by the steady time.
    pub fn slowed_after(&self, since: Timestamp) -> SlowedLimits {
        let changed = self.with_faster.iter().filter(|changes| changes.changed_at.get() > since);
        changed.flat_map(|changes| changes.slowed()).collect()
    }

    /// The intervals of limits that are faster than another that their bucket has. Others owe nothing once they have
    /// lapsed.
    pub(crate) fn faster(&self) -> HashSet<CompactInterval> {
        self.by_salt.values().flat_map(|changes| changes.faster()).collect()
    }

    /// The limits of a place.
    pub(super) fn get(&self, salt: Salt) -> Option<&LimitChanges> {
        self.by_salt.get(&salt).map(|changes| &**changes)
    }

    /// The places in the policies that have token buckets, and their limits.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (Salt, &LimitChanges)> {
        self.by_salt.iter().map(|(salt, changes)| (*salt, &**changes))
    }
}

impl FromIterator<(Salt, LimitChanges)> for LimitHistory {
    fn from_iter<I: IntoIterator<Item = (Salt, LimitChanges)>>(limits: I) -> Self {
        let limits = limits.into_iter().map(|(salt, changes)| (salt, Arc::new(changes)));
        let by_salt: HashMap<Salt, Arc<LimitChanges>> = limits.collect();
        let with_faster = by_salt.values().filter(|changes| changes.has_faster());
        Self { with_faster: with_faster.cloned().collect(), by_salt }
    }
}

/// One of the limits of a bucket; for an override, with that; and how far the bucket may owe.
type Limit<'a> = (&'a Rule, Option<&'a Override>, Option<Debt>);

impl Policy {
    /// The limits of each token bucket.
    pub(super) fn limits(&self) -> impl Iterator<Item = (Salt, BucketLimits)> {
        let mut all: HashMap<Salt, Vec<Limit<'_>>> = HashMap::new();
        for row in self.tables.iter().flat_map(|table| table.rows.iter()) {
            let own = row.rules.iter().map(|rule| (rule, None));
            let others = row.overrides.listed().iter();
            let others = others.flat_map(|of| of.rules.iter().map(move |rule| (rule, Some(of))));
            for (rule, of) in own.chain(others) {
                if matches!(rule.bucket, Bucket::Tokens(_)) {
                    all.entry(rule.salt).or_default().push((rule, of, row.debt));
                }
            }
        }
        all.into_iter().map(|(salt, limits)| (salt, self.limits_of_bucket(&limits)))
    }

    /// The limits of one bucket, in the order of the policy.
    fn limits_of_bucket(&self, all: &[Limit<'_>]) -> BucketLimits {
        let mut limits = BucketLimits::default();
        let [digest, _] = self.key.hash(|hasher| {
            for (rule, of, debt) in all {
                let Bucket::Tokens(bucket) = &rule.bucket else { continue };
                let interval = bucket.compact_interval();
                limits.intervals.push(interval);
                let most_owed = debt.map_or(0, |debt| debt.most_owed().unwrap_or(u32::MAX));
                limits.size = limits.size.max(bucket.size().get().saturating_add(most_owed));
                hasher.value(&interval.to_bytes());
                let Some(Override { when, until, .. }) = of else { continue };
                limits.ends.extend(until.map(|until| (until, interval)));
                hasher.text(&when.describe(&self.keys));
                let until = until.map_or(0, Timestamp::as_unix_nanos);
                hasher.value(&until.to_le_bytes());
            }
        });
        BucketLimits { digest, ..limits }
    }
}
