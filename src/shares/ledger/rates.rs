//! The rates of those who share buckets: what is fair, and what is given while other replicas have more than that.

use smallvec::SmallVec;

use super::Ledger;
use super::component::{Component, LEAST_WEIGHT, UNSETTLED};
use crate::clock::Timestamp;
use crate::shares::claims::BucketClaim;
use crate::shares::fair::{self, Claim};
use crate::shares::holder::{Holder, HolderId};
use crate::shares::shared_bucket::SharedBucket;

/// How much more than its last demand a holder wants.
const HEADROOM: f64 = 1.2;

/// The part of an equal share that a holder has at least, so that demand that comes is seen and served.
const FLOOR: f64 = 0.1;

/// Rates that differ by less than this part of them are equal.
const ROUNDING: f64 = 1e-3;

/// The rates of a component's holders, in their order, in requests a second.
pub(super) struct Rates {
    /// What is fair.
    pub(super) fair: Vec<f64>,
    /// What they are given now.
    pub(super) given: Vec<f64>,
}

/// What one holder claims.
struct HolderClaim {
    claim: Claim,
    /// What its Envoy goes on with, if that is gone or waits for its share.
    kept: Option<f64>,
    /// Whether another replica has its share among its own.
    is_elsewhere: bool,
}

/// What is known of one of a component's buckets while it is divided.
#[derive(Default)]
struct Divided {
    /// What all get who share it, if it is divided fairly.
    total: f64,
    /// What its holders get of that, and what they had before; without those that are gone or wait for their shares.
    fair: f64,
    before: f64,
    /// What the holders have of it, for other replicas.
    claim: BucketClaim,
}

impl Ledger {
    /// Divides the rates of a component's buckets.
    pub(super) fn rates(&mut self, component: &Component, now: Timestamp) -> Rates {
        let equal = self.equal_rates(component);
        let holders = component.holders.iter();
        let own: Vec<_> = holders.map(|holder| self.claim(*holder, component, &equal)).collect();
        let mut capacities: Vec<f64> = component.buckets.iter().map(|(_, rate)| *rate).collect();
        for of in &own {
            for_each(&of.claim, &mut capacities, |capacity| *capacity -= of.kept.unwrap_or(0.0));
        }
        for (capacity, (_, rate)) in capacities.iter_mut().zip(&component.buckets) {
            *capacity = capacity.max(rate * UNSETTLED);
        }
        let mut claims: Vec<_> = own.iter().map(|of| of.claim.clone()).collect();
        claims.extend(self.claims_of_others(component, &equal));
        let mut fair = fair::divide(&claims, &capacities);
        let given = self.replicas.are_there().then(|| {
            let mut divided = self.divided(component, &own, &claims, &fair, &capacities, now);
            let limits = self.limits(component, &divided, &capacities, now);
            claims.truncate(own.len());
            for (claim, fair) in claims.iter_mut().zip(&fair) {
                claim.wants = *fair;
            }
            let mut given = fair::fill(&claims, &limits);
            set_kept(&mut given, &own);
            for (of, given) in own.iter().zip(&given) {
                for_each(&of.claim, &mut divided, |divided| divided.claim.assigned += given);
            }
            for ((name, _), divided) in component.buckets.iter().zip(divided) {
                if let Some(bucket) = self.buckets.get_mut(name) {
                    bucket.claim = divided.claim;
                }
            }
            given
        });
        fair.truncate(own.len());
        set_kept(&mut fair, &own);
        Rates { given: given.unwrap_or_else(|| fair.clone()), fair }
    }

    /// What is to be known of the buckets, after all `claims` were given the rates `fair`, of which those of `own` come first.
    fn divided(
        &self,
        component: &Component,
        own: &[HolderClaim],
        claims: &[Claim],
        fair: &[f64],
        capacities: &[f64],
        now: Timestamp,
    ) -> Vec<Divided> {
        let mut buckets: Vec<Divided> = capacities.iter().map(|_| Divided::default()).collect();
        for (claim, rate) in claims.iter().zip(fair) {
            for_each(claim, &mut buckets, |bucket| bucket.total += rate);
        }
        for ((of, fair), holder) in own.iter().zip(fair).zip(&component.holders) {
            let holder = self.holders.get(holder);
            let rate = holder.map_or(0.0, |holder| holder.rate);
            let held = holder.map_or(0.0, |holder| holder.held(now));
            for at in &of.claim.buckets {
                let (Some(bucket), Some(capacity)) = (buckets.get_mut(*at), capacities.get(*at))
                else {
                    continue;
                };
                if of.is_elsewhere {
                    continue;
                }
                bucket.claim.held += held;
                if let Some(kept) = of.kept {
                    let is_gone = holder.is_some_and(|holder| holder.stream().is_none());
                    bucket.claim.gone = bucket.claim.gone.saturating_add(is_gone.into());
                    bucket.claim.satisfied.add(kept);
                    continue;
                }
                (bucket.fair, bucket.before) = (bucket.fair + fair, bucket.before + rate);
                let is_used_up = bucket.total >= capacity * (1.0 - ROUNDING);
                if is_used_up && *fair < of.claim.wants * (1.0 - ROUNDING) {
                    bucket.claim.hungry.add(of.claim.wants);
                } else {
                    bucket.claim.satisfied.add(of.claim.wants.min(*fair));
                }
            }
        }
        buckets
    }

    /// What the holders may have of each bucket together beside those of other replicas, in requests a second. They never have
    /// to give up what is fair for that; but who wants more than other replicas know of has no more than before.
    fn limits(
        &mut self,
        component: &Component,
        divided: &[Divided],
        capacities: &[f64],
        now: Timestamp,
    ) -> Vec<f64> {
        let span = self.known_after();
        let mut limits = Vec::with_capacity(capacities.len());
        for (((name, rate), divided), capacity) in
            component.buckets.iter().zip(divided).zip(capacities)
        {
            let free = capacity - self.replicas.assigned(*name);
            let Divided { fair, before, claim, .. } = divided;
            let mut limit = free.max(before.min(*fair));
            if let Some(bucket) = self.buckets.get_mut(name) {
                let is_announced = bucket.is_announced(claim.wants(), span, now);
                if !is_announced {
                    limit = limit.min(*before);
                }
                bucket.is_growing = !is_announced && limit < *fair;
            }
            limits.push(limit.max(rate * UNSETTLED));
        }
        limits
    }

    /// The rate of each of a component's buckets that each of its holders would have if all had the same.
    fn equal_rates(&self, component: &Component) -> Vec<f64> {
        let each = |(name, rate): &(_, f64)| {
            let Some(bucket) = self.buckets.get(name) else { return *rate };
            // Others of whom nothing more is known count as one.
            let others = if bucket.taken() > 0.0 { 1.0 } else { 0.0 };
            rate / (bucket.holders_everywhere() + others)
        };
        component.buckets.iter().map(each).collect()
    }

    fn claim(&self, holder: HolderId, component: &Component, equal: &[f64]) -> HolderClaim {
        let of = self.holders.get(&holder);
        let met = of.into_iter().flat_map(|of| of.terms.enforced());
        let buckets: SmallVec<[usize; 4]> =
            met.filter_map(|met| component.place(met.fingerprint)).collect();
        let is_elsewhere = of.is_some_and(Holder::is_counted_elsewhere);
        let kept = of.and_then(Holder::kept_rate).map(|kept| {
            let shared = buckets.iter().filter_map(|at| component.buckets.get(*at));
            shared.fold(kept, |kept, (_, shared)| kept.min(*shared))
        });
        if is_elsewhere || kept.is_some() {
            let claim = Claim { buckets, weight: LEAST_WEIGHT, wants: 0.0 };
            return HolderClaim { claim, kept, is_elsewhere };
        }
        let equal = buckets.iter().filter_map(|at| equal.get(*at).copied());
        let equal = equal.fold(f64::INFINITY, f64::min);
        let demand = of.and_then(|of| of.demand);
        let wants = demand.map_or(equal, |demand| (demand * HEADROOM).max(equal * FLOOR));
        HolderClaim { claim: Claim { buckets, weight: 1.0, wants }, kept, is_elsewhere }
    }

    /// What requests claim that are decided one by one, and the holders of other replicas.
    fn claims_of_others(&self, component: &Component, equal: &[f64]) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (at, (name, _)) in component.buckets.iter().enumerate() {
            let mut claim = |weight: f64, wants: f64| {
                if weight > 0.0 {
                    claims.push(Claim { buckets: [at].into_iter().collect(), weight, wants });
                }
            };
            let taken = self.buckets.get(name).map_or(0.0, SharedBucket::taken);
            if taken > 0.0 {
                // What they take is theirs, and they share what is left.
                let floor = equal.get(at).map_or(0.0, |equal| equal * FLOOR);
                claim(1.0, (taken * HEADROOM).max(taken + floor));
            }
            for BucketClaim { satisfied, hungry, .. } in self.replicas.claims_of(*name) {
                claim(satisfied.weight(), satisfied.rate);
                claim(hungry.weight(), hungry.rate);
            }
        }
        claims
    }
}

/// Does something for each bucket that a claim meets.
fn for_each<T>(claim: &Claim, of_buckets: &mut [T], mut then: impl FnMut(&mut T)) {
    for at in &claim.buckets {
        if let Some(of_bucket) = of_buckets.get_mut(*at) {
            then(of_bucket);
        }
    }
}

/// Sets the rates with which those go on who are gone or wait for their shares.
fn set_kept(rates: &mut [f64], own: &[HolderClaim]) {
    for (rate, of) in rates.iter_mut().zip(own) {
        *rate = of.kept.unwrap_or(*rate);
    }
}
