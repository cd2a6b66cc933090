//! One token bucket, decided by governor on a state that the store keeps.
//!
//! The state is the theoretical arrival time of GCRA (the generic cell rate algorithm): the moment at which the bucket
//! is full again. A moment that has passed means the same as no state. governor works on a copy, so that the next state
//! is stored only once all buckets of a request have admitted.

use std::cell::Cell;
use std::num::{NonZeroU32, NonZeroU64};

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos as GovernorNanos;
use governor::state::{NotKeyed, StateStore};

use super::{Outcome, Wait};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{self, CompactInterval, TokenBucket};

/// Charges, gives back or peeks: the outcome, and the next state if it changes.
pub fn decide(
    bucket: &TokenBucket,
    full_at: Timestamp,
    now: Timestamp,
    hits: Hits,
) -> (Outcome, Option<Timestamp>) {
    let (charged, given) = (hits.charged(), hits.given_back());
    if given > 0 {
        let (outcome, next) = give_back(bucket, full_at, now, given);
        (outcome, Some(next))
    } else if charged > 0 {
        take(bucket, full_at, now, charged)
    } else {
        (peek(bucket, full_at, now), None)
    }
}

/// The outcome for a call of one token; nothing is charged.
pub fn peek(bucket: &TokenBucket, full_at: Timestamp, now: Timestamp) -> Outcome {
    let reset = full_at.since(now);
    let wait = Wait::none_if_zero(reset.plus(bucket.interval()).minus(bucket.fill_time()));
    Outcome { wait, remaining: remaining(bucket, reset), uncharged: 0, before: 0, reset }
}

/// Takes `hits` tokens: the outcome, and the next state if the bucket admits.
///
/// More hits than the bucket's size are denied without governor, whose arithmetic could overflow.
pub fn take(
    bucket: &TokenBucket,
    full_at: Timestamp,
    now: Timestamp,
    hits: u64,
) -> (Outcome, Option<Timestamp>) {
    // A denial reports what is left without the call.
    let denied = |wait| (Outcome { wait, ..peek(bucket, full_at, now) }, None);
    let fitting = u32::try_from(hits).ok().and_then(NonZeroU32::new);
    let Some(hits) = fitting.filter(|hits| *hits <= bucket.size()) else {
        return denied(Wait::NEVER);
    };
    let cell = StackCell { full_at, next: Cell::new(full_at) };
    let limiter = RateLimiter::<_, _, _, NoOpMiddleware<GovernorNanos>>::new(
        bucket.quota(),
        &cell,
        OneReading::of(now),
    );
    match limiter.check_n(hits) {
        Ok(Ok(())) => {
            let next = cell.next.get();
            let reset = next.since(now);
            let remaining = remaining(bucket, reset);
            let outcome = Outcome { wait: Wait::NONE, remaining, uncharged: 0, before: 0, reset };
            (outcome, Some(next))
        }
        Ok(Err(not_until)) => {
            let wait = not_until.wait_time_from(GovernorNanos::new(now.as_unix_nanos()));
            denied(Wait::of(wait.into()))
        }
        Err(_) => denied(Wait::NEVER),
    }
}

/// Returns `hits` tokens, until the bucket is full: the outcome and the next state.
pub fn give_back(
    bucket: &TokenBucket,
    full_at: Timestamp,
    now: Timestamp,
    hits: u64,
) -> (Outcome, Timestamp) {
    let reset = full_at.since(now).minus(bucket.interval().times(hits));
    let next = now.after(reset);
    (Outcome { wait: Wait::NONE, ..peek(bucket, next, now) }, next)
}

/// The next state of a bucket whose tokens had another interval until `ended`: what was used and not refilled by then is
/// as many tokens of the new interval. It is at most 2^62 ns, so that governor's arithmetic cannot overflow.
pub fn carry_over(
    bucket: &TokenBucket,
    full_at: Timestamp,
    interval: CompactInterval,
    ended: Timestamp,
) -> Timestamp {
    limit::carried_over(full_at, ended, interval.nanos(), bucket.interval())
}

/// The tokens in a bucket that is full after `reset`. `reset` exceeds the fill time, and nothing is left, if the bucket
/// was larger when it was charged.
fn remaining(bucket: &TokenBucket, reset: Nanos) -> u32 {
    let whole = bucket.fill_time().minus(reset).divided_by(bucket.interval());
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// The state of one bucket on the stack, as governor's state store.
struct StackCell {
    full_at: Timestamp,
    next: Cell<Timestamp>,
}

impl StateStore for &StackCell {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<GovernorNanos>) -> Result<(T, GovernorNanos), E>,
    {
        let state = NonZeroU64::new(self.full_at.as_unix_nanos());
        let (outcome, next) = decide(state.map(|nanos| GovernorNanos::new(nanos.get())))?;
        self.next.set(Timestamp::from_unix_nanos(next.as_u64()));
        Ok(outcome)
    }
}

/// governor's clock, which returns the request's one reading. A limiter counts time from its creation: the first answer
/// is 0, so that states are absolute and outlive the limiter.
struct OneReading {
    is_created: Cell<bool>,
    now: Timestamp,
}

impl OneReading {
    fn of(now: Timestamp) -> Self {
        Self { is_created: Cell::new(false), now }
    }
}

impl Clock for OneReading {
    type Instant = GovernorNanos;

    fn now(&self) -> GovernorNanos {
        let now = if self.is_created.replace(true) { self.now.as_unix_nanos() } else { 0 };
        GovernorNanos::new(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Rate, Unit};

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const FULL: Timestamp = Timestamp::from_unix_nanos(0);

    fn bucket(size: u32, tokens: u32, unit: Unit) -> TokenBucket {
        TokenBucket::new(size, Rate::new(tokens, Period::one(unit)).unwrap()).unwrap()
    }

    #[test]
    fn a_bucket_starts_full_and_counts_down() {
        let bucket = bucket(10, 10, Unit::Second);
        assert_eq!(peek(&bucket, FULL, NOW).remaining, 10);
        let (outcome, next) = take(&bucket, FULL, NOW, 7);
        assert_eq!((outcome.wait, outcome.remaining), (Wait::NONE, 3));
        assert_eq!(outcome.reset, Nanos::new(700_000_000));
        assert_eq!(next, Some(NOW.after(Nanos::new(700_000_000))));
    }

    #[test]
    fn a_denial_reports_the_exact_wait_and_what_is_left() {
        let bucket = bucket(10, 10, Unit::Second);
        let full_at = take(&bucket, FULL, NOW, 7).1.unwrap();
        let (outcome, next) = take(&bucket, full_at, NOW, 5);
        assert_eq!(next, None);
        assert_eq!((outcome.wait, outcome.remaining), (Wait::of(Nanos::new(200_000_000)), 3));
        let later = NOW.after(Nanos::new(200_000_000));
        assert!(take(&bucket, full_at, later.before(Nanos::new(1)), 5).1.is_none());
        assert!(take(&bucket, full_at, later, 5).1.is_some());
    }

    #[test]
    fn hits_that_would_overflow_are_never_admitted() {
        let five_a_day = bucket(5, 5, Unit::Day);
        for hits in [6, 1_067_521, u64::from(u32::MAX), u64::MAX] {
            let (outcome, next) = take(&five_a_day, FULL, NOW, hits);
            assert_eq!((outcome.wait, outcome.remaining, next), (Wait::NEVER, 5, None), "{hits}");
        }
    }

    #[test]
    fn an_idle_bucket_admits_its_size_and_no_more() {
        let bucket = bucket(10, 10, Unit::Second);
        let long_ago = NOW.before(Nanos::from_secs(86_400));
        let full_at = take(&bucket, long_ago, NOW, 10).1.unwrap();
        assert_eq!(take(&bucket, full_at, NOW, 1).0.wait, Wait::of(Nanos::new(100_000_000)));
    }

    #[test]
    fn a_peek_reports_the_wait_for_one_token() {
        let bucket = bucket(2, 2, Unit::Second);
        let full_at = take(&bucket, FULL, NOW, 2).1.unwrap();
        assert_eq!(peek(&bucket, full_at, NOW).wait, Wait::of(Nanos::new(500_000_000)));
        assert_eq!(peek(&bucket, full_at, NOW.after(Nanos::new(500_000_000))).wait, Wait::NONE);
    }

    #[test]
    fn tokens_given_back_fill_a_bucket_and_never_overfill_it() {
        let bucket = bucket(10, 10, Unit::Second);
        let full_at = take(&bucket, FULL, NOW, 7).1.unwrap();
        let (outcome, next) = give_back(&bucket, full_at, NOW, 2);
        assert_eq!((outcome.remaining, next), (5, NOW.after(Nanos::new(500_000_000))));
        let (outcome, next) = give_back(&bucket, full_at, NOW, u64::MAX);
        assert_eq!((outcome.remaining, next), (10, NOW));
    }

    #[test]
    fn a_smaller_bucket_takes_over_the_debt_of_a_larger_one() {
        let (large, small) = (bucket(30, 10, Unit::Second), bucket(10, 10, Unit::Second));
        let full_at = take(&large, FULL, NOW, 25).1.unwrap();
        let (outcome, _) = take(&small, full_at, NOW, 1);
        assert_eq!((outcome.remaining, outcome.reset), (0, Nanos::new(2_500_000_000)));
        assert_eq!(outcome.wait, Wait::of(Nanos::new(1_600_000_000)));
        assert!(take(&small, full_at, NOW.after(Nanos::new(1_600_000_000)), 1).1.is_some());
        assert!(take(&small, full_at, NOW.after(Nanos::new(1_599_999_999)), 1).1.is_none());
    }

    #[test]
    fn the_arithmetic_never_overflows() {
        let year = Rate::new(1, Period::one(Unit::Year)).unwrap();
        let slowest = TokenBucket::new(146, year).unwrap();
        let mut full_at = FULL;
        for _ in 0..146 {
            full_at = take(&slowest, full_at, NOW, 1).1.unwrap();
        }
        for bucket in
            [slowest, bucket(1, 1_000_000, Unit::Second), bucket(u32::MAX, 100, Unit::Second)]
        {
            for hits in [1, 100, u64::MAX] {
                take(&bucket, full_at, NOW, hits);
                give_back(&bucket, full_at, NOW, hits);
            }
        }
        assert!(take(&slowest, full_at, NOW, 146).0.wait.time() > Some(Nanos::ZERO));
    }
}
