//! Max-min fair rates: nobody can be given more without taking it from somebody who has no more.
//!
//! The rates of all holders rise together until a holder has what it wants, or until a bucket that it meets is used up;
//! then it keeps its rate, and the others go on (*progressive filling*, Bertsekas and Gallager, Data Networks, 6.5.2).
//! The level at which a holder has what it wants is known at the start. The level at which a bucket is used up only rises
//! when a holder stops, so these are kept in a heap and looked at again when their turn comes: the time is O(n log n) in
//! the number of pairs of a holder and a bucket.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

use smallvec::{SmallVec, smallvec};

/// Rates this much smaller than a capacity are none: sums of shares are exact to about 1e-15 of it.
const EPSILON: f64 = 1e-9;

/// Somebody who shares buckets with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The buckets that it meets, by their place in the list of capacities; at least one.
    pub buckets: SmallVec<[usize; 4]>,
    /// How fast its rate rises, relative to others; above 0.
    pub weight: f64,
    /// The rate that it wants, in requests a second.
    pub wants: f64,
}

/// The rates of claims: first each as much as it wants, as far as the buckets have it, then what is left to all by their
/// weights. `capacities` are the rates of the buckets; the rates of those who meet a bucket are together at most that.
/// What is below 0 counts as 0.
pub fn divide(claims: &[Claim], capacities: &[f64]) -> Vec<f64> {
    let mut filling = Filling::new(claims, capacities);
    filling.raise(|claim| claim.wants.max(0.0));
    filling.raise(|_| f64::INFINITY);
    filling.rates
}

/// The rates of claims up to what each wants, as far as the buckets have it: [`divide`] without what is left over.
pub fn fill(claims: &[Claim], capacities: &[f64]) -> Vec<f64> {
    let mut filling = Filling::new(claims, capacities);
    filling.raise(|claim| claim.wants.max(0.0));
    filling.rates
}

/// A bucket while the rates rise.
#[derive(Debug, Clone, Default)]
struct Bucket {
    left: f64,
    /// The level at which `left` was right.
    at: f64,
    /// The weights of those whose rates still rise.
    weight: f64,
    rising: usize,
    /// The places of those who meet it in [`Filling::met`].
    claims: Range<usize>,
}

impl Bucket {
    /// The level at which nothing is left.
    fn used_up_at(&self) -> f64 {
        self.at + self.left.max(0.0) / self.weight
    }

    fn rise_to(&mut self, level: f64) {
        self.left -= self.weight * (level - self.at);
        self.at = level;
    }
}

/// Most divisions are small, and allocate nothing but what they return and a heap.
struct Filling<'a> {
    claims: &'a [Claim],
    buckets: SmallVec<[Bucket; 2]>,
    /// Who meets each bucket, one bucket after the other.
    met: SmallVec<[usize; 16]>,
    /// The rates of those that do not rise; of the others, those from which they rise.
    rates: Vec<f64>,
    is_rising: SmallVec<[bool; 16]>,
}

/// A claim or a bucket, and the level at which the claim has what it wants, or the bucket is used up.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Event {
    level: f64,
    of: usize,
}

impl Eq for Event {}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.level.total_cmp(&other.level).then_with(|| self.of.cmp(&other.of))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> Filling<'a> {
    fn new(claims: &'a [Claim], capacities: &[f64]) -> Self {
        let bucket = |capacity: &f64| Bucket { left: capacity.max(0.0), ..Bucket::default() };
        let mut buckets: SmallVec<_> = capacities.iter().map(bucket).collect();
        let met = group(claims, &mut buckets);
        let is_rising = smallvec![false; claims.len()];
        Self { claims, buckets, met, rates: vec![0.0; claims.len()], is_rising }
    }

    /// Raises all rates from what they are, each up to `most`.
    fn raise(&mut self, most: impl Fn(&Claim) -> f64) {
        for bucket in &mut self.buckets {
            (bucket.at, bucket.weight, bucket.rising) = (0.0, 0.0, 0);
        }
        // The level at which a claim has what it wants is known from the start.
        let mut satisfied: SmallVec<[Event; 16]> = SmallVec::new();
        let states = self.rates.iter().zip(&mut self.is_rising);
        for (of, (claim, (base, is_rising))) in self.claims.iter().zip(states).enumerate() {
            let level = (most(claim) - base) / claim.weight;
            *is_rising = level > 0.0 && !claim.buckets.is_empty();
            if !*is_rising {
                continue;
            }
            for met in &claim.buckets {
                if let Some(bucket) = self.buckets.get_mut(*met) {
                    bucket.weight += claim.weight;
                    bucket.rising += 1;
                }
            }
            if level.is_finite() {
                satisfied.push(Event { level, of });
            }
        }
        satisfied.sort_unstable();
        let rising = self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.rising > 0);
        let used_up = rising.map(|(of, bucket)| Reverse(Event { level: bucket.used_up_at(), of }));
        let mut used_up: BinaryHeap<_> = used_up.collect();
        let mut satisfied = satisfied.into_iter().peekable();
        while let Some(Reverse(Event { level, of })) = used_up.pop() {
            while let Some(claim) = satisfied.next_if(|claim| claim.level <= level) {
                self.stop(claim.of, claim.level);
            }
            let Some(bucket) = self.buckets.get(of) else { continue };
            if bucket.rising == 0 {
                continue;
            }
            let used_up_at = bucket.used_up_at();
            if used_up_at > level + EPSILON * level.max(EPSILON) {
                used_up.push(Reverse(Event { level: used_up_at, of }));
                continue;
            }
            for place in bucket.claims.clone() {
                if let Some(claim) = self.met.get(place) {
                    self.stop(*claim, level);
                }
            }
        }
    }

    /// Ends the rise of a claim at a level.
    fn stop(&mut self, at: usize, level: f64) {
        let (Some(claim), Some(is_rising)) = (self.claims.get(at), self.is_rising.get_mut(at))
        else {
            return;
        };
        if !std::mem::take(is_rising) {
            return;
        }
        if let Some(rate) = self.rates.get_mut(at) {
            *rate += claim.weight * level;
        }
        for met in &claim.buckets {
            let Some(bucket) = self.buckets.get_mut(*met) else { continue };
            bucket.rise_to(level);
            bucket.rising -= 1;
            // Exactly none, and not what rounding leaves.
            bucket.weight = if bucket.rising == 0 { 0.0 } else { bucket.weight - claim.weight };
        }
    }
}

/// Who meets each bucket, one bucket after the other; sets the places of each bucket.
fn group(claims: &[Claim], buckets: &mut [Bucket]) -> SmallVec<[usize; 16]> {
    for met in claims.iter().flat_map(|claim| &claim.buckets) {
        if let Some(bucket) = buckets.get_mut(*met) {
            bucket.claims.end += 1;
        }
    }
    let mut all = 0;
    for Bucket { claims, .. } in &mut *buckets {
        let begin = all;
        all += claims.end;
        *claims = begin..begin;
    }
    let mut grouped = smallvec![0; all];
    for (at, claim) in claims.iter().enumerate() {
        for met in &claim.buckets {
            let Some(Bucket { claims, .. }) = buckets.get_mut(*met) else { continue };
            if let Some(place) = grouped.get_mut(claims.end) {
                *place = at;
            }
            claims.end += 1;
        }
    }
    grouped
}

#[cfg(test)]
mod tests;
