//! Max-min fair rates: nobody can be given more without taking it from somebody who has no more.
//!
//! The rates of all holders rise together until a holder has what it wants, or until a bucket that it meets is used up;
//! then it keeps its rate, and the others go on (*progressive filling*, Bertsekas and Gallager, Data Networks, 6.5.2).
//! The level at which a bucket is used up only rises when a holder stops, so the events are kept in a heap and looked
//! at again when their turn comes: the time is O(n log n) in the number of pairs of a holder and a bucket.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use smallvec::SmallVec;

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
    /// Who meets it.
    claims: Vec<usize>,
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

struct Filling<'a> {
    claims: &'a [Claim],
    buckets: Vec<Bucket>,
    rates: Vec<f64>,
    is_rising: Vec<bool>,
}

/// What happens at a level.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Event {
    level: f64,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Claim(usize),
    Bucket(usize),
}

impl Eq for Event {}

/// The lowest level is the greatest, since a heap returns that first.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        other.level.total_cmp(&self.level).then_with(|| other.of.cmp(&self.of))
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
        let mut buckets: Vec<_> = capacities.iter().map(bucket).collect();
        for (at, claim) in claims.iter().enumerate() {
            for met in &claim.buckets {
                if let Some(bucket) = buckets.get_mut(*met) {
                    bucket.claims.push(at);
                }
            }
        }
        let (rates, is_rising) = (vec![0.0; claims.len()], vec![false; claims.len()]);
        Self { claims, buckets, rates, is_rising }
    }

    /// Raises all rates from what they are, each up to `most`.
    fn raise(&mut self, most: impl Fn(&Claim) -> f64) {
        let mut events = BinaryHeap::with_capacity(self.claims.len() + self.buckets.len());
        for bucket in &mut self.buckets {
            (bucket.at, bucket.weight, bucket.rising) = (0.0, 0.0, 0);
        }
        let bases = self.rates.clone();
        for (at, claim) in self.claims.iter().enumerate() {
            let base = bases.get(at).copied().unwrap_or(0.0);
            let level = (most(claim) - base) / claim.weight;
            let is_rising = level > 0.0 && !claim.buckets.is_empty();
            if let Some(rising) = self.is_rising.get_mut(at) {
                *rising = is_rising;
            }
            if !is_rising {
                continue;
            }
            for met in &claim.buckets {
                if let Some(bucket) = self.buckets.get_mut(*met) {
                    bucket.weight += claim.weight;
                    bucket.rising += 1;
                }
            }
            if level.is_finite() {
                events.push(Event { level, of: Of::Claim(at) });
            }
        }
        for (at, bucket) in self.buckets.iter().enumerate() {
            if bucket.rising > 0 {
                events.push(Event { level: bucket.used_up_at(), of: Of::Bucket(at) });
            }
        }
        while let Some(Event { level, of }) = events.pop() {
            match of {
                Of::Claim(at) => self.stop(at, level, &bases),
                Of::Bucket(at) => {
                    let Some(bucket) = self.buckets.get(at) else { continue };
                    if bucket.rising == 0 {
                        continue;
                    }
                    let used_up_at = bucket.used_up_at();
                    if used_up_at > level + EPSILON * level.max(EPSILON) {
                        events.push(Event { level: used_up_at, of });
                        continue;
                    }
                    for claim in bucket.claims.clone() {
                        self.stop(claim, level, &bases);
                    }
                }
            }
        }
    }

    /// Ends the rise of a claim at a level.
    fn stop(&mut self, at: usize, level: f64, bases: &[f64]) {
        let (Some(claim), Some(is_rising)) = (self.claims.get(at), self.is_rising.get_mut(at))
        else {
            return;
        };
        if !std::mem::take(is_rising) {
            return;
        }
        if let (Some(rate), Some(base)) = (self.rates.get_mut(at), bases.get(at)) {
            *rate = base + claim.weight * level;
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

#[cfg(test)]
mod tests;
