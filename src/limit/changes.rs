//! When the limit of a bucket last changed, and which limits it had before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CompactInterval;
use super::owed::OwedSpan;
use crate::clock::{Nanos, Now, Timestamp};

/// When policies come into force, by the steady time. All limits that they change share it, since they are prepared some
/// time before.
#[derive(Debug, Clone, Default)]
pub struct ChangeTime(Arc<AtomicU64>);

impl ChangeTime {
    /// This time, until it is [`Self::set`].
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(time.as_unix_nanos())))
    }

    /// Sets the time, for all that share it.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_unix_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// The limits of a bucket: that of its row, and those of the overrides that change it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketLimits {
    /// A hash of the limits and of the calls to which they apply.
    pub(crate) digest: u64,
    /// The intervals of their rates.
    pub(crate) intervals: Vec<CompactInterval>,
    /// The most tokens that are owed under one of them: the size of the bucket, and the debt that it may have.
    pub(crate) size: u32,
    /// When overrides end by the wall clock, and the intervals of their rates.
    pub(crate) ends: Vec<(Timestamp, CompactInterval)>,
}

/// When the limit of a bucket changed, so that what was used before refills at the old rate until then, and at the new
/// rate from then on.
#[derive(Debug, Clone)]
pub struct LimitChanges {
    /// When a policy brought the limits that the bucket has now.
    pub(crate) changed_at: ChangeTime,
    /// The limits that the bucket has now. The ends are in order. The size is the largest that it ever had, so that no
    /// state owes more tokens.
    pub(crate) limits: BucketLimits,
    /// The intervals of the limits that it had before, while a state that was written under them may be owed.
    pub(crate) earlier: Vec<CompactInterval>,
    /// The longest of the intervals that it has now.
    slowest: Nanos,
    /// The ends in the order of intervals.
    ends_by_interval: Vec<(CompactInterval, Timestamp)>,
}

impl LimitChanges {
    /// Limits that came into force at `changed_at`, after limits with these intervals.
    pub(crate) fn new(
        changed_at: ChangeTime,
        mut limits: BucketLimits,
        earlier: Vec<CompactInterval>,
    ) -> Self {
        limits.ends.sort_unstable();
        limits.intervals.sort_unstable();
        limits.intervals.dedup();
        let slowest = limits.intervals.iter().map(|interval| interval.nanos()).max();
        let ends = limits.ends.iter().map(|(end, interval)| (*interval, *end));
        let mut ends_by_interval: Vec<_> = ends.collect();
        ends_by_interval.sort_unstable();
        let slowest = slowest.unwrap_or(Nanos::ZERO);
        Self { changed_at, limits, earlier, slowest, ends_by_interval }
    }

    /// The changes of a bucket that has had these since `before`: the same ones if the limits are the same, and else a
    /// change at `at`.
    pub(crate) fn succeed(
        before: Option<&Self>,
        mut limits: BucketLimits,
        at: &ChangeTime,
    ) -> Self {
        let Some(before) = before else {
            return Self::new(at.clone(), limits, Vec::new());
        };
        limits.size = limits.size.max(before.limits.size);
        if limits.digest == before.limits.digest {
            return Self::new(before.changed_at.clone(), limits, before.earlier.clone());
        }
        // What was owed at an earlier change is repaid within this time at its old rate.
        let is_owed = |interval: &&CompactInterval| {
            let most = interval.nanos().times(before.limits.size.into());
            before.changed_at.get().after(most) > at.get()
        };
        let mut earlier = before.limits.intervals.clone();
        earlier.extend(before.earlier.iter().filter(is_owed));
        earlier.sort_unstable();
        earlier.dedup();
        Self::new(at.clone(), limits, earlier)
    }

    /// When the limit last changed before `now`, by the steady time. It may have been the limit of other keys in the
    /// same row.
    pub fn last(&self, now: Now) -> Timestamp {
        self.last_of(self.ended(now).last().map(|(end, _)| *end), now)
    }

    /// When a limit with this interval last ended before `now`, by the steady time. It may have been the limit of other
    /// keys in the same row.
    pub fn last_end_of(&self, interval: CompactInterval, now: Now) -> Timestamp {
        let (ended, _) = self.ends_of(interval, now);
        self.last_of(ended, now)
    }

    /// When a limit with this interval ends next, by the steady time, and the longest interval that may follow, if that
    /// is longer. It may be the limit of other keys in the same row.
    pub fn next_end_of(&self, interval: CompactInterval, now: Now) -> Option<(Timestamp, Nanos)> {
        // Most buckets have no limits that end.
        if self.ends_by_interval.is_empty() || interval.nanos() >= self.slowest {
            return None;
        }
        let (_, next) = self.ends_of(interval, now);
        next.map(|end| (now.to_steady(end), self.slowest))
    }

    /// When limits with this interval ended last and end next, by the wall clock.
    fn ends_of(
        &self,
        interval: CompactInterval,
        now: Now,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let ends = &self.ends_by_interval;
        let next = ends.partition_point(|end| *end <= (interval, now.wall));
        let end = |at: Option<usize>| {
            let (of, end) = ends.get(at?)?;
            (*of == interval).then_some(*end)
        };
        (end(next.checked_sub(1)), end(Some(next)))
    }

    /// Whether a limit that the bucket had, or an override that will end, is faster than one that it has: a state that
    /// was written under the faster one lapses before what it tells is repaid.
    pub(crate) fn has_faster(&self) -> bool {
        let slowest = self.slowest;
        let of_ends = self.limits.ends.iter().map(|(_, interval)| interval);
        self.earlier.iter().chain(of_ends).any(|interval| interval.nanos() < slowest)
    }

    /// The intervals of limits that the bucket has or had and that are faster than another that it has.
    pub(crate) fn faster(&self) -> impl Iterator<Item = CompactInterval> {
        let (all, slowest) = (self.earlier.iter().chain(&self.limits.intervals), self.slowest);
        all.filter(move |interval| interval.nanos() < slowest).copied()
    }

    /// The intervals of limits that the bucket had before the last change and that are faster than another that it has
    /// since, each with the longest one since.
    pub(crate) fn slowed(&self) -> impl Iterator<Item = (CompactInterval, Nanos)> {
        let slowest = self.slowest;
        let slowed = self.earlier.iter().filter(move |interval| interval.nanos() < slowest);
        slowed.map(move |interval| (*interval, slowest))
    }

    /// The longest of the intervals that the bucket has now.
    pub(crate) const fn slowest(&self) -> Nanos {
        self.slowest
    }

    /// The states, by their intervals, of which something may be owed at `now` although they have lapsed.
    pub(crate) fn windows(&self, now: Now) -> impl Iterator<Item = OwedSpan> {
        let (ended, slowest) = (self.last(now), self.slowest);
        let size = u64::from(self.limits.size);
        let changed_at = self.changed_at.get();
        let since = self.ended(now).iter().rev();
        let since = since.take_while(move |(end, _)| now.to_steady(*end) >= changed_at);
        let faster = self.earlier.iter().chain(since.map(|(_, interval)| interval));
        // All of it is repaid by then, whatever is owed.
        let is_over = now.steady >= ended.after(slowest.times(size));
        let faster = faster.filter(move |interval| !is_over && interval.nanos() < slowest);
        faster.map(move |interval| OwedSpan::new(*interval, ended, size, slowest))
    }

    fn ended(&self, now: Now) -> &[(Timestamp, CompactInterval)] {
        let ends = &self.limits.ends;
        ends.get(..ends.partition_point(|(end, _)| *end <= now.wall)).unwrap_or_default()
    }

    fn last_of(&self, ended: Option<Timestamp>, now: Now) -> Timestamp {
        let changed_at = self.changed_at.get();
        let ended = ended.map_or(changed_at, |end| now.to_steady(end));
        changed_at.max(ended).min(now.steady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn every(seconds: u64) -> CompactInterval {
        CompactInterval::of(Nanos::from_secs(seconds))
    }

    fn limits(digest: u64, size: u32, intervals: &[u64]) -> BucketLimits {
        let intervals = intervals.iter().map(|seconds| every(*seconds)).collect();
        BucketLimits { digest, intervals, size, ends: Vec::new() }
    }

    #[test]
    fn the_last_change_is_a_reload_or_the_end_of_an_override() {
        let [slow, fast] = [1, 2].map(|nanos| CompactInterval::of(Nanos::new(nanos)));
        let of = |ends: Vec<_>| {
            let limits = BucketLimits { ends, ..BucketLimits::default() };
            LimitChanges::succeed(None, limits, &ChangeTime::at(at(10)))
        };
        let changes = of(vec![(at(30), fast), (at(5), slow), (at(20), slow)]);
        let last = |now| {
            let of = |interval| changes.last_end_of(interval, at(now).into());
            (changes.last(at(now).into()), of(slow), of(fast))
        };
        assert_eq!(last(8), (at(8), at(8), at(8)));
        assert_eq!(last(15), (at(10), at(10), at(10)));
        assert_eq!(last(20), (at(20), at(20), at(10)));
        assert_eq!(last(99), (at(30), at(20), at(30)));
        assert_eq!(changes.next_end_of(fast, at(8).into()), None, "there is no slower limit");
        // The wall clock was set an hour ahead: the override that ends at 3630 has ended.
        let ahead = of(vec![(at(3_630), fast)]);
        let now = Now { steady: at(40), wall: at(3_640) };
        assert_eq!(ahead.last(now), at(30));
    }

    #[test]
    fn limits_before_the_last_change_are_kept_while_their_states_may_be_owed() {
        let first = LimitChanges::succeed(None, limits(1, 10, &[5]), &ChangeTime::at(at(0)));
        let same = LimitChanges::succeed(Some(&first), limits(1, 10, &[5]), &ChangeTime::at(at(9)));
        assert_eq!((same.changed_at.get(), same.earlier), (at(0), vec![]));
        let second =
            LimitChanges::succeed(Some(&first), limits(2, 4, &[7]), &ChangeTime::at(at(100)));
        assert_eq!((second.changed_at.get(), &second.earlier), (at(100), &vec![every(5)]));
        assert_eq!(second.limits.size, 10, "ten may have been used");
        let third = |now| {
            LimitChanges::succeed(Some(&second), limits(3, 4, &[6]), &ChangeTime::at(at(now)))
        };
        assert_eq!(third(149).earlier, [every(5), every(7)]);
        assert_eq!(third(150).earlier, [every(7)], "all ten are repaid, five seconds each");
    }

    #[test]
    fn states_may_be_owed_after_a_change_to_a_slower_limit_until_all_is_repaid() {
        let changed = |from, to| {
            let before =
                LimitChanges::succeed(None, limits(1, 10, &[from]), &ChangeTime::at(at(0)));
            LimitChanges::succeed(Some(&before), limits(2, 10, &[to]), &ChangeTime::at(at(100)))
        };
        let windows = |changes: LimitChanges, now| changes.windows(at(now).into()).count();
        assert_eq!([699, 700].map(|now| windows(changed(6, 60), now)), [1, 0]);
        assert_eq!(windows(changed(60, 6), 100), 0);
        assert!(changed(6, 60).has_faster() && !changed(60, 6).has_faster());
        assert_eq!(changed(6, 60).faster().collect::<Vec<_>>(), [every(6)]);
        let slowed = |from, to| changed(from, to).slowed().collect::<Vec<_>>();
        assert_eq!(slowed(6, 60), [(every(6), Nanos::from_secs(60))]);
        assert_eq!(slowed(60, 6), []);
    }

    #[test]
    fn states_may_be_owed_after_the_end_of_a_faster_override() {
        let with_override =
            BucketLimits { ends: vec![(at(200), every(6))], ..limits(1, 10, &[6, 60]) };
        let changes = LimitChanges::succeed(None, with_override, &ChangeTime::at(at(100)));
        assert!(changes.has_faster());
        let windows = |now: u64| changes.windows(at(now).into()).count();
        assert_eq!([199, 200, 799, 800].map(windows), [0, 1, 1, 0]);
        let next = |interval, now| changes.next_end_of(every(interval), at(now).into());
        assert_eq!(next(6, 199), Some((at(200), Nanos::from_secs(60))));
        assert_eq!([next(6, 200), next(60, 199), next(5, 199)], [None; 3]);
        // At a start after the end, it is not known to have been in force.
        let ended = BucketLimits { ends: vec![(at(200), every(6))], ..limits(1, 10, &[6, 60]) };
        let later = LimitChanges::succeed(None, ended, &ChangeTime::at(at(300)));
        assert_eq!(later.windows(at(301).into()).count(), 0);
    }
}
