//! Which holders and buckets are divided together, and how much there is of each bucket.

use hashbrown::HashSet;

use super::Ledger;
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::holder::{Holder, HolderId};
use crate::shares::{Assignment, count};

/// The part of a bucket's rate that a newcomer gets while it is not known who had shares before the start, and that all
/// holders get of a bucket whose rate is assigned to those who are not connected or to those of other replicas.
pub(super) const UNSETTLED: f64 = 0.05;

/// A weight as good as none.
pub(super) const LEAST_WEIGHT: f64 = 1e-9;

/// What one division is about: everybody who shares a bucket with somebody who shares one with them, and so on.
pub(super) struct Component {
    /// In ascending order.
    pub(super) holders: Vec<HolderId>,
    /// The buckets, and the rate at which each is shared; in ascending order.
    pub(super) buckets: Vec<(Fingerprint, f64)>,
}

impl Component {
    /// The place of a bucket.
    pub(super) fn place(&self, bucket: Fingerprint) -> Option<usize> {
        self.buckets.binary_search_by_key(&bucket, |(name, _)| *name).ok()
    }
}

impl Ledger {
    /// The component of a bucket; adds its buckets to those that are `seen`.
    pub(super) fn component(
        &mut self,
        begin: Fingerprint,
        seen: &mut HashSet<Fingerprint>,
        now: Timestamp,
    ) -> Component {
        let (mut left, mut names, mut holders) = (vec![begin], Vec::new(), Vec::new());
        while let Some(name) = left.pop() {
            let Some(bucket) = self.buckets.get(&name) else { continue };
            if bucket.is_shadow {
                continue;
            }
            names.push(name);
            holders.extend(&bucket.holders);
            for of in bucket.holders.iter().filter_map(|holder| self.holders.get(holder)) {
                let met = of.terms.enforced().map(|met| met.fingerprint);
                left.extend(met.filter(|met| seen.insert(*met)));
            }
        }
        // In an order that does not depend on a hash, as that of the components.
        holders.sort_unstable();
        holders.dedup();
        names.sort_unstable();
        let buckets = names.iter().map(|name| (*name, self.shared_rate(name, now))).collect();
        Component { holders, buckets }
    }

    /// The rate at which a bucket is shared.
    fn shared_rate(&mut self, name: &Fingerprint, now: Timestamp) -> f64 {
        let Some(bucket) = self.buckets.get(name) else { return 0.0 };
        let (mut equal, mut held) = (0.0, 0.0);
        for holder in bucket.holders.iter().filter_map(|holder| self.holders.get(holder)) {
            let of_holder = self.equal_size(holder);
            equal += of_holder;
            held += match holder.sent {
                Some(Assignment::Tokens { .. }) => holder.held(now),
                // Once it has been told of its share.
                _ => of_holder,
            };
        }
        // Those of other replicas have as much each.
        let own = count(u64::try_from(bucket.holders.len()).unwrap_or(u64::MAX)).max(1.0);
        equal *= bucket.holders_everywhere() / own;
        held += self.replicas.claims_of(*name).map(|claim| claim.held).sum::<f64>();
        let bucket = self.buckets.get_mut(name);
        bucket.map_or(0.0, |bucket| bucket.shared_rate(equal, held, now))
    }

    /// About how many tokens a holder has at once, if all who meet a bucket have the same of it.
    fn equal_size(&self, holder: &Holder) -> f64 {
        let met = holder.terms.enforced().filter_map(|met| self.buckets.get(&met.fingerprint));
        let sizes = met.map(|bucket| bucket.size() / bucket.holders_everywhere());
        sizes.fold(f64::INFINITY, f64::min)
    }
}
