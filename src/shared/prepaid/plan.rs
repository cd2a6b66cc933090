//! Plans: the buckets that a request meets, and the hits that it charges to them.

use crate::descriptor::Hits;
use crate::limit::{Bucket, Counting, LimitChanges};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::Counter;
use crate::store::{BucketState, Charge, Mode};

/// The most buckets of a plan that is prepaid. Plans of more are rare, and would make each answer dearer.
pub(super) const MAX_BUCKETS: usize = 8;

/// The name of a plan: it depends on the names of all of its buckets, on their order, and on the hits. So requests with many
/// hits, which may be denied while there is enough for others, are no demand for requests with few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanName(u128);

impl PlanName {
    /// The name of the plan with these charges. Names of buckets are hashes of which clients cannot choose two that are
    /// equal; the odd factor keeps the order.
    pub(super) fn of(charges: &[Charge<'_>]) -> Self {
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mix = |sum: u128, charge: &Charge<'_>| {
            sum.wrapping_mul(FACTOR)
                .wrapping_add(u128::from_le_bytes(charge.fingerprint.to_bytes()))
                .wrapping_mul(FACTOR)
                .wrapping_add(charge.hits.charged().into())
        };
        Self(charges.iter().fold(1, mix))
    }

    /// The bits by which plans are spread.
    pub(super) const fn hash(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A charge of a plan, kept beyond the request that brought it.
#[derive(Debug, Clone)]
pub struct PlannedCharge {
    pub(super) fingerprint: Fingerprint,
    pub(super) bucket: Bucket,
    changes: Option<LimitChanges>,
    pub(super) hits: Hits,
    pub(super) mode: Mode,
    counting: Counting,
}

impl From<&Charge<'_>> for PlannedCharge {
    fn from(charge: &Charge<'_>) -> Self {
        let Charge { fingerprint, bucket, changes, hits, mode, counting, debt: _ } = *charge;
        Self { fingerprint, bucket: *bucket, changes: changes.cloned(), hits, mode, counting }
    }
}

impl PlannedCharge {
    /// The charge for so many requests, which is made if all of them are admitted.
    pub fn times(&self, requests: u64) -> Charge<'_> {
        let Self { fingerprint, ref bucket, ref changes, hits, mode, counting: _ } = *self;
        let hits = Hits::charge(hits.charged().saturating_mul(requests));
        // Also of windows that count whatever they admit: for one request after another, that is the same while they do.
        let counting = Counting::AllOrNone;
        Charge { fingerprint, bucket, changes: changes.as_ref(), hits, mode, debt: None, counting }
    }

    /// The name of its bucket.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The state of its bucket without so many of its charges, if it is one of a counter.
    pub fn without(&self, state: BucketState, charges: u64) -> Option<BucketState> {
        Some(Counter::of(&self.bucket)?.without(state, self.hits, charges))
    }

    pub(super) fn is(&self, charge: &Charge<'_>) -> bool {
        let Self { fingerprint, bucket, hits, mode, counting, changes: _ } = self;
        *fingerprint == charge.fingerprint
            && *bucket == *charge.bucket
            && *hits == charge.hits
            && *mode == charge.mode
            && *counting == charge.counting
    }
}

/// Whether charges can be made ahead: each takes hits from a token bucket or a window that admits or denies. Leases, looks,
/// hits that are given back, debts, quotas, windows that are spared if others are over their limits, and buckets that admit
/// nothing are asked for call by call.
pub fn can_be_prepaid(charges: &[Charge<'_>]) -> bool {
    let can_be = |charge: &Charge<'_>| {
        let is_counted = match charge.bucket {
            Bucket::Tokens(_) => charge.debt.is_none(),
            Bucket::Window(_) => charge.counting != Counting::SpareOthers,
            Bucket::Concurrency(_) | Bucket::Blocked(_) => false,
        };
        is_counted && charge.hits.charged() > 0 && charge.mode != Mode::Quota
    };
    !charges.is_empty() && charges.len() <= MAX_BUCKETS && charges.iter().all(can_be)
}
