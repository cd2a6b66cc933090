//! What requests charge buckets that admit all of them, and the sizes that they need for that.
//!
//! The size that a request needs is the least size of its bucket with which it would be admitted, after all requests before it
//! were. For a token bucket it is the backlog of one that is charged for every request: max(0, backlog - time x rate) + hits.
//! For a window it is what the window has counted, and for a concurrency bucket the slots that are taken at one time.

use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{Bucket, Debt, Window};
use crate::policy::MatchedBucket;

/// What a request asks of a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    /// The hits that must be there for it to be admitted; none if it gives some back.
    wanted: u64,
    /// Those that are taken.
    charged: u64,
    given_back: u64,
}

impl Charge {
    /// A bucket that may owe is only asked for one token, whatever it is charged. To look needs one as well.
    pub(super) fn new(hits: Hits, debt: Option<Debt>) -> Self {
        let (charged, given_back) = (hits.charged(), hits.given_back());
        let wanted = if debt.is_some() { 1 } else { charged.max(1) };
        Self { wanted: if given_back > 0 { 0 } else { wanted }, charged, given_back }
    }

    /// Charges a token bucket of this interval between two tokens, and raises the size to what that needs. `full_at` is when the
    /// bucket is full, in nanoseconds since the Unix epoch.
    #[inline]
    pub(super) fn of_tokens(
        self,
        interval: Nanos,
        full_at: &mut u64,
        needed: &mut u32,
        now: Timestamp,
    ) {
        let backlog = Timestamp::from_unix_nanos(*full_at).since(now);
        let backlog = backlog.minus(interval.times(self.given_back));
        let wanted = backlog.plus(interval.times(self.wanted));
        // A division takes longer than all else here.
        if wanted > interval.times((*needed).into()) {
            *needed = saturated(wanted.get().div_ceil(interval.get().max(1)));
        }
        *full_at = now.after(backlog.plus(interval.times(self.charged))).as_unix_nanos();
    }

    /// Counts hits in the window of now, whose number and count are the halves of the state.
    pub(super) fn of_window(
        self,
        window: Window,
        state: &mut u64,
        needed: &mut u32,
        now: Timestamp,
    ) {
        let seconds = u64::from(window.unit().seconds().max(1));
        let number = now.as_unix_nanos() / 1_000_000_000 / seconds % (1 << 32);
        let before = if *state >> 32 == number { *state % (1 << 32) } else { 0 };
        let after = before.saturating_add(self.charged).saturating_sub(self.given_back);
        let after = saturated(after);
        *state = number << 32 | u64::from(after);
        if self.given_back == 0 {
            *needed = (*needed).max(after);
        }
    }

    /// Takes slots of a concurrency bucket.
    pub(super) fn of_slots(self, held: &mut u64, needed: &mut u32) {
        *needed = (*needed).max(saturated(held.saturating_add(self.wanted)));
        *held = held.saturating_add(self.charged);
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The buckets that a request charges, each once, and how much.
pub(super) fn charges<'a>(
    matched: impl Iterator<Item = &'a MatchedBucket<'a>> + Clone,
) -> impl Iterator<Item = (&'a MatchedBucket<'a>, Hits)> {
    let all = matched.clone();
    matched.enumerate().filter_map(move |(at, of)| Some((of, hits_of(at, of, all.clone())?)))
}

/// How much a request charges the bucket at this place of those that it matched. A bucket that several descriptors match is
/// charged the most of their hits, a window all of them, at the first place; at the others nothing.
pub(super) fn hits_of<'a>(
    at: usize,
    of: &MatchedBucket<'_>,
    all: impl Iterator<Item = &'a MatchedBucket<'a>>,
) -> Option<Hits> {
    let same = all.enumerate().filter(|(_, other)| other.fingerprint == of.fingerprint);
    let mut hits = None;
    for (other_at, other) in same {
        hits = match hits {
            None if other_at < at => return None,
            None => Some(other.hits),
            Some(hits) if matches!(of.bucket, Bucket::Window(_)) => Some(other.hits.plus(hits)),
            Some(hits) => Some(other.hits.max(hits)),
        };
    }
    hits
}
