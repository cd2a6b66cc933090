//! States that have lapsed under the limit under which they were written, although under a slower one, which has come
//! since, something is still owed.

use super::{CompactInterval, MAX_FILL_TIME};
use crate::clock::{Nanos, Timestamp};

/// A call that is being decided while the limit changes writes a state of the old one a little later.
const IN_FLIGHT: Nanos = Nanos::from_secs(1);

/// When a bucket is full whose tokens had the interval `old` until `ended`, and have the interval `new` since: what was
/// used and not refilled by then is as many tokens. It is at most 2^62 ns, so that governor's arithmetic cannot overflow.
pub(crate) fn carried_over(
    full_at: Timestamp,
    ended: Timestamp,
    old: Nanos,
    new: Nanos,
) -> Timestamp {
    let owed = u128::from(full_at.since(ended).get()) * u128::from(new.get());
    let owed = owed / u128::from(old.get().max(1));
    ended.after(Nanos::new(u64::try_from(owed).unwrap_or(u64::MAX).min(MAX_FILL_TIME)))
}

/// The states of one interval that were written under a limit that ended at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwedSpan {
    interval: CompactInterval,
    ended: Timestamp,
    /// No state that was written by then lapses later.
    lapsed: Timestamp,
    /// The interval of the slowest limit that may have followed.
    slowest: Nanos,
}

impl OwedSpan {
    /// The states with this interval that owe at most `size` tokens at `ended`.
    pub(super) fn new(
        interval: CompactInterval,
        ended: Timestamp,
        size: u64,
        slowest: Nanos,
    ) -> Self {
        let lapsed = ended.after(interval.nanos().times(size)).after(IN_FLIGHT);
        Self { interval, ended, lapsed, slowest }
    }

    fn may_be_owed(&self, lapsed_at: Timestamp, now: Timestamp) -> bool {
        self.ended < lapsed_at
            && lapsed_at <= self.lapsed
            && now < carried_over(lapsed_at, self.ended, self.interval.nanos(), self.slowest)
    }
}

/// The lapsed states of which something may still be owed, as of one moment. A store knows of a state neither the row
/// nor the key, so that these are more than those that are: also states with the same interval of other rows that
/// lapsed at the same time. A decision finds out.
#[derive(Debug, Default)]
pub struct OwedStates {
    /// In the order of intervals.
    windows: Vec<OwedSpan>,
    now: Timestamp,
}

impl OwedStates {
    /// The states in any of the windows, at `now`.
    pub(crate) fn of(windows: impl Iterator<Item = OwedSpan>, now: Timestamp) -> Self {
        let mut windows: Vec<_> = windows.collect();
        windows.sort_unstable();
        // Rows that a policy has changed together have one window for all.
        windows.dedup_by(|next, kept| {
            let is_same = (next.interval, next.ended) == (kept.interval, kept.ended);
            if is_same {
                kept.lapsed = kept.lapsed.max(next.lapsed);
                kept.slowest = kept.slowest.max(next.slowest);
            }
            is_same
        });
        Self { windows, now }
    }

    /// Whether something may be owed of a state with this interval that lapsed at `lapsed_at`.
    pub fn contains(&self, interval: CompactInterval, lapsed_at: Timestamp) -> bool {
        let begin = self.windows.partition_point(|window| window.interval < interval);
        let of_interval = self.windows.get(begin..).unwrap_or_default().iter();
        of_interval
            .take_while(|window| window.interval == interval)
            .any(|window| window.may_be_owed(lapsed_at, self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn every(seconds: u64) -> CompactInterval {
        CompactInterval::of(Nanos::from_secs(seconds))
    }

    /// The states of a bucket of ten tokens whose interval changes at an hour, in seconds.
    fn changed(from: u64, to: u64) -> OwedSpan {
        OwedSpan::new(every(from), at(HOUR), 10, Nanos::from_secs(to))
    }

    #[test]
    fn a_state_of_a_faster_limit_is_owed_until_it_is_repaid_at_the_slower_rate() {
        let contains = |interval, lapsed_at, now| {
            let owed = OwedStates::of([changed(6, 60)].into_iter(), at(now));
            owed.contains(every(interval), at(lapsed_at))
        };
        // Thirty seconds of the old rate are five tokens: 300 seconds of the new one.
        assert!(contains(6, HOUR + 30, HOUR + 30));
        assert!(contains(6, HOUR + 30, HOUR + 299));
        assert!(!contains(6, HOUR + 30, HOUR + 300));
        assert!(!contains(6, HOUR, HOUR + 30), "it was full at the change");
        assert!(!contains(5, HOUR + 30, HOUR + 30), "it has another interval");
        assert!(!contains(60, HOUR + 30, HOUR + 30), "it was written after the change");
        // Ten tokens at the most were used, and a call may have been in flight.
        assert!(contains(6, HOUR + 61, HOUR + 61));
        assert!(!contains(6, HOUR + 62, HOUR + 62));
    }

    #[test]
    fn limits_that_change_together_have_one_window_for_each_interval() {
        let all = [changed(6, 60), changed(6, 600), changed(5, 60), changed(6, 7)];
        let owed = OwedStates::of(all.into_iter(), at(HOUR + 2_999));
        assert_eq!(owed.windows.len(), 2);
        assert!(owed.contains(every(6), at(HOUR + 30)), "the slowest of them counts");
    }
}
