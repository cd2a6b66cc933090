//! What changes when a policy comes into force after another.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Policy;
use super::identity::Salt;
use super::rule::Rule;
use crate::clock::Timestamp;
use crate::limit::{Bucket, ChangeTime, CompactInterval, LimitChanges};

/// One of the limits of a bucket.
#[derive(PartialEq, Eq)]
struct Limit {
    interval: CompactInterval,
    /// For an override: the calls to which it applies, and until when.
    scope: Option<(String, Option<Timestamp>)>,
}

impl Policy {
    /// Prepares the policy to come into force at `at`, in place of the one `before`. Limits that are not what they were
    /// there change at `at`; all others changed when they last did.
    ///
    /// A changed size needs no note: a state tells what was used, whatever the size.
    pub(crate) fn succeed(&mut self, before: Option<&Self>, at: &ChangeTime) {
        let earlier = before.map(Self::limits).unwrap_or_default();
        let mut changes: HashMap<Salt, Arc<LimitChanges>> = HashMap::new();
        for (salt, (limits, _)) in self.limits() {
            let unchanged = earlier.get(&salt).filter(|(before, _)| *before == limits);
            let of_salt = unchanged.and_then(|(_, rule)| rule.changes.clone());
            let new = || Arc::new(LimitChanges::new(at.clone(), ends(&limits)));
            changes.insert(salt, of_salt.unwrap_or_else(new));
        }
        for row in self.tables.iter_mut().flat_map(|table| table.rows.iter_mut()) {
            for rule in row.rules.iter_mut().chain(row.overrides.rules_mut()) {
                rule.changes = changes.get(&rule.salt).cloned();
            }
        }
    }

    /// The limits of each token bucket, in the order of the policy, and one of their rules.
    fn limits(&self) -> HashMap<Salt, (Vec<Limit>, &Rule)> {
        let mut all: HashMap<Salt, (Vec<Limit>, &Rule)> = HashMap::new();
        for row in self.tables.iter().flat_map(|table| table.rows.iter()) {
            let own = row.rules.iter().map(|rule| (rule, None));
            let others = row.overrides.listed().iter().flat_map(|other| {
                let scope = other.when.describe(&self.keys);
                other.rules.iter().map(move |rule| (rule, Some((scope.clone(), other.until))))
            });
            for (rule, scope) in own.chain(others) {
                let Bucket::Tokens(bucket) = &rule.bucket else { continue };
                let limit = Limit { interval: bucket.compact_interval(), scope };
                all.entry(rule.salt).or_insert_with(|| (Vec::new(), rule)).0.push(limit);
            }
        }
        all
    }
}

/// When overrides among these limits end.
fn ends(limits: &[Limit]) -> impl Iterator<Item = (Timestamp, CompactInterval)> {
    let end = |limit: &Limit| Some((limit.scope.as_ref()?.1?, limit.interval));
    limits.iter().filter_map(end)
}
