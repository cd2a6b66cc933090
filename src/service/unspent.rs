//! What a process has prepaid of buckets in a shared store. The state in the store lacks it, so the two are told together.

use hashbrown::HashMap;

use crate::clock::Timestamp;
use crate::descriptor::Hits;
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::store::Outcome;
use crate::store::counter::Counter;

/// The tokens of buckets that this process has charged in a shared store ahead of the requests, and not spent.
#[derive(Debug, Default)]
pub struct Unspent(HashMap<Fingerprint, u64>);

impl Unspent {
    pub(super) const fn new(by_bucket: HashMap<Fingerprint, u64>) -> Self {
        Self(by_bucket)
    }

    /// How many of the tokens that are left according to `outcome` these are, if any.
    pub fn among(&self, bucket: Fingerprint, outcome: &Outcome) -> Option<u32> {
        let tokens = u32::try_from(*self.0.get(&bucket)?).unwrap_or(u32::MAX);
        Some(tokens.min(outcome.remaining)).filter(|tokens| *tokens > 0)
    }

    /// The outcome of a look at `at` in the store, as a call to this process is told it: these tokens are left as well.
    pub(super) fn added_to(
        &self,
        outcome: Outcome,
        (fingerprint, bucket): (Fingerprint, &Bucket),
        at: Timestamp,
    ) -> Outcome {
        let (Some(tokens), Some(counter)) = (self.0.get(&fingerprint), Counter::of(bucket)) else {
            return outcome;
        };
        let state = counter.observed(Hits::PEEK, &outcome, at.into());
        let (outcome, _) =
            counter.decide(counter.without(state, Hits::ONE, *tokens), at.into(), Hits::PEEK);
        outcome
    }
}

/// When the state of buckets was read, and what this process had prepaid of them then.
#[derive(Debug)]
pub struct Reading {
    /// When it was, by the store's wall clock.
    pub at: Timestamp,
    /// What is left has these tokens.
    pub unspent: Unspent,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::limit::{Period, Rate, TokenBucket, Unit};
    use crate::store::Wait;

    const AT: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

    fn name(number: u8) -> Fingerprint {
        Fingerprint::from_bytes([number; 16])
    }

    fn unspent(tokens: u64) -> Unspent {
        Unspent::new(HashMap::from([(name(1), tokens)]))
    }

    fn per_second(size: u32) -> Bucket {
        let rate = Rate::new(size, Period::one(Unit::Second)).unwrap();
        Bucket::Tokens(TokenBucket::new(size, rate).unwrap())
    }

    fn spent(wait: Wait) -> Outcome {
        let reset = Nanos::from_secs(1);
        Outcome { wait, remaining: 0, uncharged: 0, before: 0, reset }
    }

    #[test]
    fn tokens_that_are_prepaid_here_are_left() {
        let (bucket, empty) = (per_second(10), spent(Wait::NONE));
        let outcome = unspent(3).added_to(empty, (name(1), &bucket), AT);
        assert_eq!((outcome.remaining, outcome.reset), (3, Nanos::new(700_000_000)));
        assert_eq!(unspent(3).among(name(1), &outcome), Some(3));
    }

    #[test]
    fn a_bucket_of_which_none_are_prepaid_is_told_as_the_store_has_it() {
        let (bucket, empty) = (per_second(10), spent(Wait::NONE));
        assert_eq!(unspent(3).added_to(empty, (name(2), &bucket), AT), empty);
        assert_eq!(unspent(3).among(name(2), &empty), None);
        assert_eq!(unspent(3).among(name(1), &empty), None, "what is left was read before");
    }

    #[test]
    fn no_bucket_has_more_than_its_size() {
        let (bucket, empty) = (per_second(10), spent(Wait::NONE));
        let outcome = unspent(25).added_to(empty, (name(1), &bucket), AT);
        assert_eq!((outcome.remaining, outcome.reset), (10, Nanos::ZERO));
        assert_eq!(unspent(25).among(name(1), &outcome), Some(10));
    }
}
