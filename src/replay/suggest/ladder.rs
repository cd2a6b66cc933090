//! The rates at which the demand of a bucket is measured.

use super::super::charges::Charge;
use super::round;
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Bucket, Counting, Debt, Rate, TokenBucket};
use crate::policy::Policy;
use crate::policy::rule::Rule;
use crate::policy::table::Row;

/// The ladders of a policy, by the number of the rule; none for one that is blocked.
#[derive(Debug)]
pub(in crate::replay) struct Ladders(Vec<Option<Ladder>>);

/// A rule, and the rates at which it is found which sizes its keys need.
#[derive(Debug)]
pub(super) struct Ladder {
    pub(super) table: String,
    pub(super) row: String,
    pub(super) is_override: bool,
    pub(super) bucket: Bucket,
    pub(super) debt: Option<Debt>,
    pub(super) counting: Counting,
    /// The rates of a token bucket, the slowest first; empty for other buckets, which have a size alone.
    pub(super) rungs: Vec<Rung>,
}

/// A rate of a ladder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rung {
    pub(super) rate: Rate,
    interval: Nanos,
    /// The size of a bucket with this rate and with the shape of the policy's, which takes as long to fill: a round number.
    pub(super) size: u32,
    /// Whether it is the policy's own rate.
    pub(super) is_present: bool,
    /// Whether the rate is a round number.
    pub(super) is_round: bool,
}

impl Ladders {
    pub(in crate::replay) fn new(policy: &Policy) -> Self {
        let mut ladders = Vec::new();
        for row in policy.rows() {
            let of_overrides = row.overrides().iter().flat_map(|of| of.rules());
            let own = row.rules().iter().map(|rule| (rule, false));
            for (rule, is_override) in own.chain(of_overrides.map(|rule| (rule, true))) {
                let number = rule.id().get();
                if ladders.len() <= number {
                    ladders.resize_with(number + 1, || None);
                }
                if let Some(place) = ladders.get_mut(number).filter(|_| !rule.is_blocked()) {
                    *place = Some(Ladder::new(row, rule, is_override));
                }
            }
        }
        Self(ladders)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, rule: usize) -> Option<&Ladder> {
        self.0.get(rule)?.as_ref()
    }

    /// All of them, each with the number of its rule.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Ladder)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(rule, ladder)| Some((rule, ladder.as_ref()?)))
    }
}

impl Ladder {
    fn new(row: &Row, rule: &Rule, is_override: bool) -> Self {
        let rungs = match rule.bucket() {
            Bucket::Tokens(bucket) => rungs(bucket),
            Bucket::Concurrency(_) | Bucket::Window(_) | Bucket::Blocked(_) => Vec::new(),
        };
        Self {
            table: row.table().to_owned(),
            row: row.name().to_owned(),
            is_override,
            bucket: *rule.bucket(),
            debt: row.debt(),
            counting: row.counting(),
            rungs,
        }
    }

    /// How many sizes a key has: one for each rate, or one.
    pub(super) fn len(&self) -> usize {
        self.rungs.len().max(1)
    }

    /// The place of the size at the rate of the policy.
    pub(super) fn present(&self) -> usize {
        self.rungs.iter().position(|rung| rung.is_present).unwrap_or(0)
    }

    /// Charges the states of a key, whatever its sizes would admit, and raises the sizes to what the request needs.
    #[inline]
    pub(super) fn charge(
        &self,
        states: &mut [u64],
        needed: &mut [u32],
        hits: Hits,
        now: Timestamp,
    ) {
        let charge = Charge::new(hits, self.debt);
        if let Bucket::Tokens(_) = self.bucket {
            for ((rung, state), needed) in self.rungs.iter().zip(states).zip(needed) {
                charge.of_tokens(rung.interval, state, needed, now);
            }
        } else if let (Some(state), Some(needed)) = (states.first_mut(), needed.first_mut()) {
            match self.bucket {
                Bucket::Window(window) => charge.of_window(window, state, needed, now),
                Bucket::Concurrency(_) => charge.of_slots(state, needed),
                Bucket::Tokens(_) | Bucket::Blocked(_) => {}
            }
        }
    }
}

/// The rates that are tried for a bucket: every third round one, the first and the last of them, and its own.
fn rungs(bucket: &TokenBucket) -> Vec<Rung> {
    let present = bucket.rate();
    let all = round::rates(present);
    let last = all.len().saturating_sub(1);
    let chosen = all.iter().enumerate().filter(|(at, rate)| {
        let is_own = rate.interval() == present.interval();
        round::is_coarse(rate.tokens().get()) || *at == 0 || *at == last || is_own
    });
    let mut rungs: Vec<_> =
        chosen.filter_map(|(_, rate)| Rung::with_shape_of(bucket, *rate)).collect();
    if !rungs.iter().any(|rung| rung.is_present) {
        let own = Rung {
            rate: present,
            interval: present.interval(),
            size: bucket.size().get(),
            is_present: true,
            is_round: false,
        };
        let at = rungs.partition_point(|rung| rung.interval > own.interval);
        rungs.insert(at, own);
    }
    rungs
}

impl Rung {
    /// A round rate with the shape of a bucket: size / rate is the same, but for rounding up. None if no bucket is that
    /// large.
    pub(super) fn with_shape_of(bucket: &TokenBucket, rate: Rate) -> Option<Self> {
        let present = bucket.rate();
        let product = |a: u32, b: Nanos| u128::from(a) * u128::from(b.get());
        let per_period = product(rate.tokens().get(), present.period().length());
        let size = per_period.saturating_mul(bucket.size().get().into());
        let size = size.div_ceil(product(present.tokens().get(), rate.period().length()).max(1));
        let is_present = rate.interval() == present.interval();
        Some(Self {
            rate,
            interval: rate.interval(),
            size: round::up(u32::try_from(size).ok()?)?,
            is_present,
            is_round: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Unit, Window};

    fn bucket(size: u32, tokens: u32, unit: Unit) -> TokenBucket {
        TokenBucket::new(size, Rate::new(tokens, Period::one(unit)).unwrap()).unwrap()
    }

    #[test]
    fn a_ladder_has_few_rates_and_the_own_one_once() {
        for (bucket, is_round) in
            [(bucket(10, 10, Unit::Second), true), (bucket(5, 7, Unit::Minute), false)]
        {
            let rungs = rungs(&bucket);
            assert!((12..25).contains(&rungs.len()), "{}", rungs.len());
            assert!(rungs.windows(2).all(|two| two[0].interval > two[1].interval));
            let own: Vec<_> = rungs.iter().filter(|rung| rung.is_present).collect();
            assert_eq!(own.len(), 1);
            let told = (own[0].rate, own[0].size, own[0].is_round);
            assert_eq!(told, (bucket.rate(), bucket.size().get(), is_round));
        }
    }

    #[test]
    fn a_shape_is_the_time_to_fill() {
        let size = |bucket: &TokenBucket, tokens, unit| {
            let rate = Rate::new(tokens, Period::one(unit)).unwrap();
            Rung::with_shape_of(bucket, rate).unwrap().size
        };
        let plain = bucket(10, 10, Unit::Second);
        assert_eq!(size(&plain, 3, Unit::Second), 3);
        assert_eq!(size(&plain, 50, Unit::Minute), 1);
        let burst = bucket(70, 7, Unit::Second);
        assert_eq!([size(&burst, 3, Unit::Second), size(&burst, 80, Unit::Minute)], [30, 15]);
        let hour = bucket(1, 100, Unit::Hour);
        assert_eq!(size(&hour, 120, Unit::Hour), 2);
    }

    fn needs(ladder: &Ladder, charges: &[(u64, Hits)]) -> Vec<u32> {
        let (mut states, mut needed) = (vec![0; ladder.len()], vec![0; ladder.len()]);
        for (millis, hits) in charges {
            let now = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
            let now = now.after(Nanos::new(millis * 1_000_000));
            ladder.charge(&mut states, &mut needed, *hits, now);
        }
        needed
    }

    fn ladder(bucket: Bucket, debt: Option<Debt>) -> Ladder {
        let rungs = match &bucket {
            Bucket::Tokens(bucket) => rungs(bucket),
            _ => Vec::new(),
        };
        let (table, row) = (String::new(), String::new());
        let counting = Counting::AllOrNone;
        Ladder { table, row, is_override: false, bucket, debt, counting, rungs }
    }

    #[test]
    fn the_slower_the_rate_the_larger_the_size() {
        let ladder = ladder(Bucket::Tokens(bucket(10, 10, Unit::Second)), None);
        let charges: Vec<_> = (0..50).map(|n| (n * 100, Hits::charge(1 + n % 3))).collect();
        let needed = needs(&ladder, &charges);
        assert_eq!((needed[0], needed[needed.len() - 1]), (99, 3));
        assert!(needed.windows(2).all(|two| two[0] >= two[1]), "{needed:?}");
        // 99 tokens in 4.9 s, in which 49 are gained, and one more each tenth of a second.
        assert_eq!(needed[ladder.present()], 50);
    }

    #[test]
    fn a_look_needs_a_token_and_what_is_given_back_is_not_needed() {
        let plain = ladder(Bucket::Tokens(bucket(10, 10, Unit::Hour)), None);
        let at = plain.present();
        assert_eq!(needs(&plain, &[(0, Hits::charge(3)), (0, Hits::PEEK)])[at], 4);
        let back = [(0, Hits::charge(3)), (0, Hits::give_back(9)), (0, Hits::charge(2))];
        assert_eq!(needs(&plain, &back)[at], 3);
        // A bucket that may owe denies once nothing is left.
        let owing = ladder(plain.bucket, Some(Debt::UNBOUNDED));
        assert_eq!(needs(&owing, &[(0, Hits::charge(500))])[at], 1);
        assert_eq!(needs(&owing, &[(0, Hits::charge(500)), (0, Hits::ONE)])[at], 501);
    }

    #[test]
    fn windows_and_slots_need_what_is_there_at_one_time() {
        let minute = ladder(Bucket::Window(Window::new(5, Unit::Minute)), None);
        let hits = [(0, Hits::charge(4)), (59_999, Hits::ONE), (60_000, Hits::charge(3))];
        assert_eq!(needs(&minute, &hits), [5]);
        let slots = crate::limit::Concurrency::new(2, Nanos::from_secs(60)).unwrap();
        let slots = ladder(Bucket::Concurrency(slots), None);
        assert_eq!(needs(&slots, &[(0, Hits::charge(2)), (1, Hits::PEEK), (2, Hits::ONE)]), [3]);
    }
}
