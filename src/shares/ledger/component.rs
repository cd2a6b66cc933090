//! Which holders and buckets are divided together, and how much there is of each bucket.

use hashbrown::{HashMap, HashSet};

use super::Ledger;
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::Assignment;
use crate::shares::holder::{Holder, HolderId};

/// The part of a bucket's rate that a newcomer gets while it is not known who had shares before the start, and that all
/// holders get of a bucket whose rate is assigned to those who are not connected or to those of other replicas.
pub(super) const UNSETTLED: f64 = 0.05;

/// A weight as good as none.
pub(super) const LEAST_WEIGHT: f64 = 1e-9;

/// What one division is about: everybody who shares a bucket with somebody who shares one with them, and so on.
pub(super) struct Component {
    pub(super) holders: Vec<HolderId>,
    /// The buckets, and the rate at which each is shared.
    pub(super) buckets: Vec<(Fingerprint, f64)>,
    pub(super) place: HashMap<Fingerprint, usize>,
}

impl Ledger {
    /// Everybody whose shares go by these buckets.
    pub(super) fn component(&mut self, begin: HashSet<Fingerprint>, now: Timestamp) -> Component {
        let mut left: Vec<_> = begin.iter().copied().collect();
        let (mut seen, mut holders) = (begin, Vec::new());
        let mut seen_holders = HashSet::new();
        let mut names = Vec::new();
        while let Some(name) = left.pop() {
            let Some(bucket) = self.buckets.get(&name) else { continue };
            if bucket.is_shadow {
                continue;
            }
            names.push(name);
            for holder in &bucket.holders {
                if !seen_holders.insert(*holder) {
                    continue;
                }
                holders.push(*holder);
                let Some(of) = self.holders.get(holder) else { continue };
                left.extend(
                    of.terms.enforced().map(|met| met.fingerprint).filter(|met| seen.insert(*met)),
                );
            }
        }
        // In an order that does not depend on a hash, so that equal ledgers tell the same.
        holders.sort_unstable();
        names.sort_unstable();
        let place = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let buckets = names.iter().map(|name| (*name, self.shared_rate(name, now))).collect();
        Component { holders, buckets, place }
    }

    /// The rate at which a bucket is shared.
    fn shared_rate(&mut self, name: &Fingerprint, now: Timestamp) -> f64 {
        let Some(bucket) = self.buckets.get(name) else { return 0.0 };
        let met = bucket.holders.iter().filter_map(|holder| self.holders.get(holder));
        let held: f64 = met.map(|of| self.held(of, now)).sum();
        let held_elsewhere: f64 = self.replicas.claims_of(*name).map(|claim| claim.held).sum();
        let bucket = self.buckets.get_mut(name);
        bucket.map_or(0.0, |bucket| bucket.shared_rate(held + held_elsewhere, now))
    }

    /// How many tokens an Envoy holds at most, or will hold once it has been told of its share.
    fn held(&self, holder: &Holder, now: Timestamp) -> f64 {
        if let Some(Assignment::Tokens { .. }) = holder.sent {
            return holder.held(now);
        }
        let met = holder.terms.enforced().filter_map(|met| self.buckets.get(&met.fingerprint));
        let sizes = met.map(|bucket| bucket.size() / bucket.holders_everywhere());
        sizes.fold(f64::INFINITY, f64::min)
    }
}
