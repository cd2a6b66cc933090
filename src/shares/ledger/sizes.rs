//! How many requests each of those who share buckets may have at once.

use super::Ledger;
use super::component::{Component, LEAST_WEIGHT, UNSETTLED};
use crate::shares::fair::{self, Claim};
use crate::shares::holder::HolderId;
use crate::shares::shared_bucket::SharedBucket;

/// The part of an equal size that a holder has at least, if there is enough.
const LEAST_SIZE: f64 = 0.5;

impl Ledger {
    /// The sizes of a component's holders, in their order: what they may have at once, together no more than the buckets
    /// hold. They go by the rates; but who has little of a bucket since another one is slow may still have many at once.
    pub(super) fn sizes(&self, component: &Component, rates: &[f64]) -> Vec<f64> {
        let claim = |(holder, rate): (&HolderId, &f64)| {
            let (mut buckets, mut wants) = (smallvec::SmallVec::new(), f64::INFINITY);
            for met in self.holders.get(holder).into_iter().flat_map(|of| of.terms.enforced()) {
                let Some(at) = component.place(met.fingerprint) else { continue };
                let shared = component.buckets.get(at).map_or(0.0, |(_, shared)| *shared);
                let Some(bucket) = self.buckets.get(&met.fingerprint) else { continue };
                let least = LEAST_SIZE / bucket.holders_everywhere();
                let part = (rate / shared.max(f64::MIN_POSITIVE)).clamp(least, 1.0);
                wants = wants.min(bucket.size() * part);
                buckets.push(at);
            }
            Claim { buckets, weight: wants.max(LEAST_WEIGHT), wants }
        };
        let mut claims: Vec<Claim> = component.holders.iter().zip(rates).map(claim).collect();
        for (at, (name, shared)) in component.buckets.iter().enumerate() {
            let Some(bucket) = self.buckets.get(name) else { continue };
            for claim in self.replicas.claims_of(*name) {
                let least = LEAST_SIZE * claim.holders() / bucket.holders_everywhere();
                let part = claim.assigned / shared.max(f64::MIN_POSITIVE);
                let wants = bucket.size() * part.max(least).min(1.0);
                let buckets = [at].into_iter().collect();
                claims.push(Claim { buckets, weight: wants.max(LEAST_WEIGHT), wants });
            }
        }
        // Who is asked about each request may hold its part of what is there, too.
        let size_of = |bucket: &SharedBucket| {
            bucket.size() * (1.0 - bucket.taken() / bucket.rate()).max(UNSETTLED)
        };
        let sizes = component.buckets.iter();
        let sizes: Vec<_> =
            sizes.map(|(name, _)| self.buckets.get(name).map_or(0.0, size_of)).collect();
        fair::divide(&claims, &sizes)
    }
}
