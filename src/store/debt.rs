//! A token bucket whose charges are always made, whatever is left: `charge: always`.
//!
//! The state is that of [`gcra`]: the moment at which the bucket is full again. It may be further off than the time to
//! fill the bucket, which then owes the tokens that it gains until it is empty.

use super::{Outcome, Wait, gcra};
use crate::clock::Timestamp;
use crate::descriptor::Hits;
use crate::limit::{Debt, TokenBucket};

/// Charges, gives back or peeks: the outcome, and the next state if it changes.
///
/// A charge is always made, in full, up to the most that the bucket may owe. It is over the limit if not one whole token
/// was there before; the outcome then tells when one is there again. Without charges, the outcome is that of
/// [`gcra::decide`].
#[inline(never)] // The decisions of other buckets take less without it.
pub fn decide(
    bucket: &TokenBucket,
    debt: Debt,
    full_at: Timestamp,
    now: Timestamp,
    hits: Hits,
) -> (Outcome, Option<Timestamp>) {
    let (charged, given) = (hits.charged(), hits.given_back());
    if given > 0 {
        let (outcome, next) = gcra::give_back(bucket, full_at, now, given);
        return (outcome, Some(next));
    }
    let before = gcra::peek(bucket, full_at, now);
    if charged == 0 {
        return (before, None);
    }
    // A bucket that owes more already, by an earlier policy, is charged nothing.
    let longest = debt.longest_reset(bucket).max(before.reset);
    let wanted = before.reset.plus(bucket.interval().times(charged));
    let next = now.after(wanted.min(longest));
    let after = gcra::peek(bucket, next, now);
    let made = after.reset.minus(before.reset).divided_by(bucket.interval());
    let uncharged = if wanted > longest { charged.saturating_sub(made) } else { 0 };
    let wait = if before.wait == Wait::NONE { Wait::NONE } else { after.wait };
    let uncharged = u32::try_from(uncharged).unwrap_or(u32::MAX);
    (Outcome { wait, uncharged, ..after }, Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::limit::{Period, Rate, Unit};

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const FULL: Timestamp = Timestamp::from_unix_nanos(0);

    fn ten_a_second() -> TokenBucket {
        TokenBucket::new(10, Rate::new(10, Period::one(Unit::Second)).unwrap()).unwrap()
    }

    /// What each charge of a list tells, all at the same time: what is left, the wait, what was not charged; and the
    /// time until the bucket is full, in tenths of a second.
    fn charged(debt: Debt, charges: &[u64]) -> Vec<(u32, Wait, u32, u64)> {
        let (bucket, mut full_at) = (ten_a_second(), FULL);
        let charge = |hits: &u64| {
            let (outcome, next) = decide(&bucket, debt, full_at, NOW, Hits::charge(*hits));
            full_at = next.unwrap_or(full_at);
            let reset = full_at.since(NOW).get() / 100_000_000;
            assert_eq!(outcome.reset, full_at.since(NOW));
            (outcome.remaining, outcome.wait, outcome.uncharged, reset)
        };
        charges.iter().map(charge).collect()
    }

    fn tenths(count: u64) -> Wait {
        Wait::of(Nanos::new(count * 100_000_000))
    }

    #[test]
    fn the_call_that_crosses_the_line_passes_and_the_next_does_not() {
        assert_eq!(
            charged(Debt::UNBOUNDED, &[4, 500, 1]),
            [(6, Wait::NONE, 0, 4), (0, Wait::NONE, 0, 504), (0, tenths(496), 0, 505)]
        );
        // Nothing is left, and nothing is owed.
        assert_eq!(
            charged(Debt::UNBOUNDED, &[10, 3]),
            [(0, Wait::NONE, 0, 10), (0, tenths(4), 0, 13)]
        );
    }

    #[test]
    fn what_would_exceed_the_most_owed_is_told() {
        assert_eq!(
            charged(Debt::up_to(20), &[25, 25, 1]),
            [(0, Wait::NONE, 0, 25), (0, tenths(21), 20, 30), (0, tenths(21), 1, 30)]
        );
        assert_eq!(charged(Debt::up_to(0), &[11]), [(0, Wait::NONE, 1, 10)]);
        let [(left, wait, uncharged, _)] = charged(Debt::UNBOUNDED, &[u64::MAX])[..] else {
            panic!("one charge");
        };
        assert_eq!((left, wait, uncharged), (0, Wait::NONE, u32::MAX));
    }

    #[test]
    fn a_debt_above_a_lower_bound_is_only_repaid() {
        let bucket = ten_a_second();
        let owes = NOW.after(Nanos::from_secs(9));
        let (outcome, next) = decide(&bucket, Debt::up_to(5), owes, NOW, Hits::ONE);
        assert_eq!((outcome.uncharged, next), (1, Some(owes)));
        let (outcome, next) = decide(&bucket, Debt::up_to(5), owes, NOW, Hits::give_back(30));
        assert_eq!(
            (outcome.wait, outcome.remaining, next),
            (Wait::NONE, 0, Some(NOW.after(Nanos::from_secs(6))))
        );
    }

    #[test]
    fn a_question_is_answered_as_by_any_bucket() {
        let bucket = ten_a_second();
        let owes = NOW.after(Nanos::from_secs(3));
        let (outcome, next) = decide(&bucket, Debt::UNBOUNDED, owes, NOW, Hits::PEEK);
        assert_eq!((outcome.wait, outcome.remaining, next), (tenths(21), 0, None));
        let later = NOW.after(Nanos::new(2_100_000_000));
        assert_eq!(decide(&bucket, Debt::UNBOUNDED, owes, later, Hits::PEEK).0.wait, Wait::NONE);
    }
}
