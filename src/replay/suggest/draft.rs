//! From what keys need to the limits that are tried.

use super::candidates::{Candidate, Candidates};
use super::keys::Keys;
use super::ladder::{Ladder, Rung};
use super::needs::Needs;
use super::report::{BucketSuggestion, CurvePoint, Suggested};
use super::round;
use super::share::Share;
use crate::limit::{Bucket, Concurrency, Rate, TokenBucket, Window};

/// What the keys of one rule need.
pub(super) struct Demand<'n, 'p> {
    pub(super) rule: usize,
    pub(super) ladder: &'p Ladder,
    pub(super) needs: &'n Needs<'p>,
    /// The same with the requests of a second spread over it.
    pub(super) spread: Option<&'n Needs<'p>>,
    pub(super) share: Share,
    /// Bounds the requests that hold slots at one time.
    pub(super) max_leases: usize,
}

/// A suggestion that lacks what its limits deny.
pub(super) struct Draft {
    bucket: BucketSuggestion,
    /// The places of the candidates.
    same_rate: Option<usize>,
    same_shape: Option<usize>,
    is_smallest_shape: bool,
    size_if_spread: Option<u32>,
}

impl<'p> Demand<'_, 'p> {
    /// The suggestion as far as it is known. What is to be tried is added to `candidates`.
    pub(super) fn draft(&self, candidates: &mut Vec<(usize, Candidates<'p>)>) -> Draft {
        let mut add = |of: Candidates<'p>| {
            candidates.push((self.rule, of));
            candidates.len() - 1
        };
        let same_rate = self.same_rate().map(&mut add);
        let same_shape = self.same_shape();
        let is_smallest_shape = same_shape.as_ref().is_some_and(|(_, is_smallest)| *is_smallest);
        let present = self.ladder.present();
        let of_spread = self.spread.map(|spread| self.sizes_of(spread, present).0);
        Draft {
            bucket: BucketSuggestion {
                table: self.ladder.table.clone(),
                row: self.ladder.row.clone(),
                limit: self.ladder.bucket.to_string(),
                is_override: self.ladder.is_override,
                requests: self.needs.requests(self.rule),
                keys: count(self.needs.keys(self.rule)),
                same_rate: None,
                same_shape: None,
                curve: self.curve(),
            },
            same_rate,
            same_shape: same_shape.map(|(of, _)| add(of)),
            is_smallest_shape,
            size_if_spread: of_spread.and_then(round::up),
        }
    }

    /// The smallest round size at the rate of the policy.
    fn same_rate(&self) -> Option<Candidates<'p>> {
        let present = self.ladder.present();
        let size = round::up(self.sizes_of(self.needs, present).0)?;
        let bucket = with_size(&self.ladder.bucket, size)?;
        Some(self.candidates(vec![bucket], self.needs.keys_above(self.rule, present, size)))
    }

    /// The round rates of which the smallest with the shape of the policy is, and whether there is no smaller one on the
    /// ladder.
    fn same_shape(&self) -> Option<(Candidates<'p>, bool)> {
        let Bucket::Tokens(bucket) = &self.ladder.bucket else { return None };
        let mut before: Option<(usize, Rung)> = None;
        for (at, rung) in self.ladder.rungs.iter().enumerate().filter(|(_, rung)| rung.is_round) {
            if self.sizes_of(self.needs, at).0 > rung.size {
                before = Some((at, *rung));
                continue;
            }
            let slower = before.map(|(_, before)| before.rate.interval());
            let is_between = |rate: &Rate| {
                rate.interval() > rung.rate.interval()
                    && slower.is_some_and(|slower| rate.interval() < slower)
            };
            let between = round::rates(bucket.rate()).into_iter().filter(is_between);
            let between = between.filter_map(|rate| Rung::with_shape_of(bucket, rate));
            let limits = between.chain([*rung]);
            let limits = limits.filter_map(|rung| TokenBucket::new(rung.size, rung.rate).ok());
            let (at, size) = before.map_or((at, rung.size), |(at, before)| (at, before.size));
            let keys = self.needs.keys_above(self.rule, at, size);
            let candidates = self.candidates(limits.map(Bucket::Tokens).collect(), keys);
            return Some((candidates, before.is_none()));
        }
        None
    }

    fn candidates(&self, limits: Vec<Bucket>, keys: Keys) -> Candidates<'p> {
        let all = self.needs.keys(self.rule);
        Candidates::new(self.ladder, limits, keys, all - self.share.of(all), self.max_leases)
    }

    fn curve(&self) -> Vec<CurvePoint> {
        let point = |(at, rung): (usize, &Rung)| {
            let (size, size_for_all) = self.sizes_of(self.needs, at);
            CurvePoint {
                rate: rung.rate.to_string(),
                tokens: rung.rate.tokens().get(),
                period_seconds: rung.rate.period().length().as_secs_ceil(),
                is_present: rung.is_present,
                size,
                size_for_all,
                sizes_if_spread: self.spread.map(|spread| self.sizes_of(spread, at).into()),
            }
        };
        self.ladder.rungs.iter().enumerate().map(point).collect()
    }

    /// The sizes that the part of the keys needs and that all need, at the rate at a place of the ladder.
    fn sizes_of(&self, needs: &Needs<'_>, at: usize) -> (u32, u32) {
        needs.sizes(self.rule, at, self.share.of(needs.keys(self.rule)))
    }
}

impl Draft {
    /// The suggestion with what its limits deny.
    pub(super) fn finish(self, candidates: &[(usize, Candidates<'_>)]) -> BucketSuggestion {
        let found = |at: Option<usize>| candidates.get(at?)?.1.found();
        let same_rate = found(self.same_rate).map(|of| {
            let size_if_spread = self.size_if_spread;
            Suggested { size_if_spread, ..suggested(of, false) }
        });
        let same_shape = found(self.same_shape).map(|of| suggested(of, self.is_smallest_shape));
        BucketSuggestion { same_rate, same_shape, ..self.bucket }
    }
}

fn suggested(found: &Candidate, is_smallest_tried: bool) -> Suggested {
    let (tokens, period_seconds) = match &found.bucket {
        Bucket::Tokens(bucket) => {
            let rate = bucket.rate();
            (Some(rate.tokens().get()), Some(rate.period().length().as_secs_ceil()))
        }
        Bucket::Window(window) => (Some(window.requests()), Some(window.unit().seconds().into())),
        Bucket::Concurrency(_) | Bucket::Blocked(_) => (None, None),
    };
    Suggested {
        limit: found.bucket.to_string(),
        size: found.bucket.size(),
        tokens,
        period_seconds,
        keys_denied: count(found.denied_keys()),
        denied: found.denied,
        is_smallest_tried,
        size_if_spread: None,
    }
}

/// The same bucket with another size; none if no bucket has it.
fn with_size(bucket: &Bucket, size: u32) -> Option<Bucket> {
    match bucket {
        Bucket::Tokens(bucket) => TokenBucket::new(size, bucket.rate()).ok().map(Bucket::Tokens),
        Bucket::Concurrency(bucket) => {
            Concurrency::new(size, bucket.ttl()).ok().map(Bucket::Concurrency)
        }
        Bucket::Window(window) => Some(Bucket::Window(Window::new(size, window.unit()))),
        Bucket::Blocked(_) => None,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
