//! Divides the buckets that changed, and tells holders of their shares.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Ledger;
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::assignment::interval_for;
use crate::shares::fair::{self, Claim};
use crate::shares::holder::{Holder, HolderId};
use crate::shares::shared_bucket::SharedBucket;
use crate::shares::{Action, Assignment, Order, StreamId, count};

/// How much more than its last demand a holder wants.
const HEADROOM: f64 = 1.2;

/// The part of an equal share that a holder has at least, so that demand that comes is seen and served.
const FLOOR: f64 = 0.1;

/// The part of an equal size that a holder has at least, if there is enough.
const LEAST_SIZE: f64 = 0.5;

/// The part of a bucket's rate that a newcomer gets while it is not known who had shares before the start, or what other
/// replicas take; and all of them while those who have shares are not connected.
const UNSETTLED: f64 = 0.05;

/// A weight as good as none.
const LEAST_WEIGHT: f64 = 1e-9;

/// What one division is about: everybody who shares a bucket with somebody who shares one with them, and so on.
struct Component {
    /// In ascending order.
    holders: Vec<HolderId>,
    /// The buckets, and the rate at which each is shared; in ascending order.
    buckets: Vec<(Fingerprint, f64)>,
}

impl Component {
    /// The place of a bucket.
    fn place(&self, bucket: Fingerprint) -> Option<usize> {
        self.buckets.binary_search_by_key(&bucket, |(name, _)| *name).ok()
    }
}

impl Ledger {
    /// Divides all buckets that are met by holders who have reported, or whose holders have changed, and returns what each
    /// stream is to be told. Those that have reported are always answered, since that renews their assignments.
    pub fn assign(&mut self, now: Timestamp) -> HashMap<StreamId, Vec<Action>> {
        let touched = std::mem::take(&mut self.touched);
        let mut begin: Vec<Fingerprint> = self.moved.drain().collect();
        for holder in &touched {
            let Some(of) = self.holders.get(holder) else { continue };
            begin.extend(of.terms.enforced().map(|met| met.fingerprint));
        }
        // In an order that does not depend on a hash, so that equal ledgers tell the same.
        begin.sort_unstable();
        let mut told: HashMap<StreamId, Vec<Action>> = HashMap::new();
        let mut seen = HashSet::with_capacity(begin.len());
        for name in begin {
            if !seen.insert(name) {
                continue;
            }
            let component = self.component(name, &mut seen, now);
            let rates = self.rates(&component);
            let sizes = self.sizes(&component, &rates);
            for ((holder, rate), size) in component.holders.iter().zip(rates).zip(sizes) {
                self.tell(*holder, rate, size, touched.contains(holder), now, &mut told);
            }
        }
        for holder in touched {
            let is_limited = |of: &Holder| of.terms.enforced().next().is_some();
            if self.holders.get(&holder).is_some_and(|of| !is_limited(of)) {
                self.tell_whole(holder, now, &mut told);
            }
        }
        told
    }

    /// The component of a bucket; adds its buckets to those that are `seen`.
    fn component(
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
        // In an order that does not depend on a hash, as above.
        holders.sort_unstable();
        holders.dedup();
        names.sort_unstable();
        let buckets = names.iter().map(|name| (*name, self.shared_rate(name, now))).collect();
        Component { holders, buckets }
    }

    /// The rate at which a bucket is shared.
    fn shared_rate(&mut self, name: &Fingerprint, now: Timestamp) -> f64 {
        let Some(bucket) = self.buckets.get(name) else { return 0.0 };
        let met = bucket.holders.iter().filter_map(|holder| self.holders.get(holder));
        let handed_out = met.map(|of| self.equal_size(of)).sum();
        let bucket = self.buckets.get_mut(name);
        bucket.map_or(0.0, |bucket| bucket.shared_rate(handed_out, now))
    }

    /// About how many tokens a holder has at once, if all who meet a bucket have the same of it.
    fn equal_size(&self, holder: &Holder) -> f64 {
        let met = holder.terms.enforced().filter_map(|met| self.buckets.get(&met.fingerprint));
        let sizes = met.map(|bucket| bucket.size() / count(bucket.holders.len().max(1) as u64));
        sizes.fold(f64::INFINITY, f64::min)
    }

    /// The rates of a component's holders, in their order.
    fn rates(&self, component: &Component) -> Vec<f64> {
        let count_of = |name| {
            self.buckets.get(name).map_or(1, |bucket: &SharedBucket| bucket.holders.len()).max(1)
        };
        let taken = |name| self.buckets.get(name).map_or(0.0, SharedBucket::taken);
        // Others of whom nothing more is known count as one for each replica.
        let others = f64::from((self.replicas - 1).max(1));
        let equal: Vec<f64> = component
            .buckets
            .iter()
            .map(|(name, rate)| {
                let of_others = if taken(name) > 0.0 { others } else { 0.0 };
                rate / (count(count_of(name) as u64) + of_others)
            })
            .collect();
        let mut capacities: Vec<f64> = component.buckets.iter().map(|(_, rate)| *rate).collect();
        let claim = |holder: &HolderId| {
            let of = self.holders.get(holder);
            let met = of.into_iter().flat_map(|of| of.terms.enforced());
            let buckets: smallvec::SmallVec<[usize; 4]> =
                met.filter_map(|met| component.place(met.fingerprint)).collect();
            let equal = buckets.iter().filter_map(|at| equal.get(*at).copied());
            if let Some(kept) = of.and_then(Holder::kept_rate) {
                let shared = buckets.iter().filter_map(|at| component.buckets.get(*at));
                let kept = shared.fold(kept, |kept, (_, shared)| kept.min(*shared));
                for at in &buckets {
                    if let Some(capacity) = capacities.get_mut(*at) {
                        *capacity -= kept;
                    }
                }
                return (Claim { buckets, weight: LEAST_WEIGHT, wants: 0.0 }, Some(kept));
            }
            let equal = equal.fold(f64::INFINITY, f64::min);
            let demand = of.and_then(|of| of.demand);
            let wants = demand.map_or(equal, |demand| (demand * HEADROOM).max(equal * FLOOR));
            (Claim { buckets, weight: 1.0, wants }, None)
        };
        let (mut claims, kept): (Vec<Claim>, Vec<_>) = component.holders.iter().map(claim).unzip();
        // What others take is theirs, and they share what is left.
        for (at, (name, _)) in component.buckets.iter().enumerate() {
            let taken = taken(name);
            if taken > 0.0 {
                let buckets = [at].into_iter().collect();
                let floor = equal.get(at).map_or(0.0, |equal| equal * FLOOR);
                let wants = (taken * HEADROOM).max(taken + floor);
                claims.push(Claim { buckets, weight: others, wants });
            }
        }
        for (capacity, (_, rate)) in capacities.iter_mut().zip(&component.buckets) {
            *capacity = capacity.max(rate * UNSETTLED);
        }
        let mut rates = fair::divide(&claims, &capacities);
        rates.truncate(component.holders.len());
        for (rate, kept) in rates.iter_mut().zip(kept) {
            *rate = kept.unwrap_or(*rate);
        }
        rates
    }

    /// The sizes of a component's holders, in their order: what they may have at once, together no more than the buckets
    /// hold. They go by the rates; but who has little of a bucket since another one is slow may still have many at once.
    fn sizes(&self, component: &Component, rates: &[f64]) -> Vec<f64> {
        let claim = |(holder, rate): (&HolderId, &f64)| {
            let (mut buckets, mut wants) = (smallvec::SmallVec::new(), f64::INFINITY);
            for met in self.holders.get(holder).into_iter().flat_map(|of| of.terms.enforced()) {
                let Some(at) = component.place(met.fingerprint) else { continue };
                let shared = component.buckets.get(at).map_or(0.0, |(_, shared)| *shared);
                let Some(bucket) = self.buckets.get(&met.fingerprint) else { continue };
                let least = LEAST_SIZE / count(bucket.holders.len().max(1) as u64);
                let part = (rate / shared.max(f64::MIN_POSITIVE)).clamp(least, 1.0);
                wants = wants.min(bucket.size() * part);
                buckets.push(at);
            }
            Claim { buckets, weight: wants.max(LEAST_WEIGHT), wants }
        };
        let claims: Vec<Claim> = component.holders.iter().zip(rates).map(claim).collect();
        // Others may hold their part of what is there, too.
        let size_of = |bucket: &SharedBucket| {
            bucket.size() * (1.0 - bucket.taken() / bucket.rate()).max(UNSETTLED)
        };
        let sizes = component.buckets.iter();
        let sizes: Vec<_> =
            sizes.map(|(name, _)| self.buckets.get(name).map_or(0.0, size_of)).collect();
        fair::divide(&claims, &sizes)
    }

    /// Sets a holder's share, and tells its Envoy if it has to know.
    fn tell(
        &mut self,
        holder: HolderId,
        mut rate: f64,
        mut size: f64,
        is_touched: bool,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let Some(of) = self.holders.get(&holder) else { return };
        let begins_full = of.begins_full();
        let before = match of.sent {
            Some(Assignment::Tokens { size, .. }) => f64::from(size),
            _ => 0.0,
        };
        let (mut part, mut most, mut fastest) = (1.0_f64, f64::INFINITY, f64::INFINITY);
        for met in of.terms.enforced() {
            let Some(bucket) = self.buckets.get_mut(&met.fingerprint) else { continue };
            let is_known = self.replicas == 1 || bucket.is_watched(now);
            let gets_little =
                if self.has_settled { begins_full && !is_known } else { !of.is_returner };
            if gets_little {
                part = part.min(bucket.rate() * UNSETTLED / rate.max(f64::MIN_POSITIVE));
            }
            most = most.min(bucket.left(now).max(0.0) * (size / bucket.size()).min(1.0));
            fastest = fastest.min(bucket.fastest());
        }
        (rate, size, most) = (rate * part, size * part, most * part);
        // A bucket of Envoy that grows keeps its ratio: one that is full then holds more than it was given. So none grows
        // beyond its part of what is left.
        if begins_full {
            size = size.min(most);
        } else if !of.is_returner || of.sent.is_some() {
            size = size.min(most.max(before));
        }
        let assignment = if of.terms.is_blocked {
            Assignment::Nothing
        } else {
            Assignment::tokens(size, rate, interval_for(fastest))
        };
        self.set_rate(holder, if of.terms.is_blocked { 0.0 } else { rate }, now);
        self.send(holder, assignment, is_touched, now, told);
    }

    /// Tells the Envoy of a holder that no bucket limits.
    fn tell_whole(
        &mut self,
        holder: HolderId,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let Some(of) = self.holders.get(&holder) else { return };
        let (assignment, rate) = if of.terms.is_blocked {
            (Assignment::Nothing, 0.0)
        } else {
            (Assignment::All, f64::INFINITY)
        };
        // Rows in shadow are charged for what is used.
        let rate = of.demand.unwrap_or(0.0).min(rate);
        self.set_rate(holder, rate, now);
        self.send(holder, assignment, true, now, told);
    }

    fn set_rate(&mut self, holder: HolderId, rate: f64, now: Timestamp) {
        let Some(of) = self.holders.get_mut(&holder) else { return };
        let more = of.set_rate(rate, now);
        for met in &of.terms.met {
            if let Some(bucket) = self.buckets.get_mut(&met.fingerprint) {
                bucket.predict(more, now);
            }
        }
    }

    fn send(
        &mut self,
        holder: HolderId,
        assignment: Assignment,
        is_touched: bool,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let is_idle = is_touched && self.is_idle(holder, now);
        let has_settled = self.has_settled;
        let Some(of) = self.holders.get_mut(&holder) else { return };
        let Some(stream) = of.stream() else { return };
        if is_idle {
            let id = Arc::clone(&of.id);
            told.entry(stream).or_default().push(Action { id, order: Order::Abandon });
            self.remove(holder, now);
            return;
        }
        // It keeps what it was told by whoever knew of all others.
        let waits = of.is_returner && of.sent.is_none() && !has_settled;
        let is_news = of.sent.is_none_or(|sent| !assignment.is_about(sent));
        if waits || !is_touched && !is_news {
            return;
        }
        of.sent = Some(assignment);
        let id = Arc::clone(&of.id);
        told.entry(stream).or_default().push(Action { id, order: Order::Assign(assignment) });
    }

    /// Whether Envoy may forget a holder: it had no request for long, and would not begin again with a full bucket that
    /// it has not waited for.
    fn is_idle(&mut self, holder: HolderId, now: Timestamp) -> bool {
        let Some(of) = self.holders.get(&holder) else { return false };
        if now.since(of.busy_at) < self.settings.idle {
            return false;
        }
        of.terms.enforced().all(|met| {
            let bucket = self.buckets.get_mut(&met.fingerprint);
            bucket.is_none_or(|bucket| bucket.left(now) >= bucket.size() - 0.5)
        })
    }
}
