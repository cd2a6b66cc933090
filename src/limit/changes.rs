//! When the limit of a bucket last changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CompactInterval;
use crate::clock::{Now, Timestamp};

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

    fn get(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// When the limit of a bucket changed, so that what was used before refills at the old rate until then, and at the new
/// rate from then on.
#[derive(Debug)]
pub struct LimitChanges {
    /// When a policy brought the limits that the bucket has now.
    changed_at: ChangeTime,
    /// When overrides of the bucket end by the wall clock, in order, and the intervals of their rates.
    ends: Box<[(Timestamp, CompactInterval)]>,
}

impl LimitChanges {
    /// The limits come into force at `changed_at`, and overrides with these intervals end at these times of the wall
    /// clock.
    pub fn new(
        changed_at: ChangeTime,
        ends: impl IntoIterator<Item = (Timestamp, CompactInterval)>,
    ) -> Self {
        let mut ends: Box<[_]> = ends.into_iter().collect();
        ends.sort_unstable();
        Self { changed_at, ends }
    }

    /// When the limit last changed before `now`, by the steady time. It may have been the limit of other keys in the
    /// same row.
    pub fn last(&self, now: Now) -> Timestamp {
        self.last_of(self.ended(now).last(), now)
    }

    /// When a limit with this interval last ended before `now`, by the steady time.
    pub fn last_end_of(&self, interval: CompactInterval, now: Now) -> Timestamp {
        self.last_of(self.ended(now).iter().rev().find(|(_, of)| *of == interval), now)
    }

    fn ended(&self, now: Now) -> &[(Timestamp, CompactInterval)] {
        self.ends.get(..self.ends.partition_point(|(end, _)| *end <= now.wall)).unwrap_or_default()
    }

    fn last_of(&self, ended: Option<&(Timestamp, CompactInterval)>, now: Now) -> Timestamp {
        let changed_at = self.changed_at.get();
        let ended = ended.map_or(changed_at, |(end, _)| now.to_steady(*end));
        changed_at.max(ended).min(now.steady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    #[test]
    fn the_last_change_is_a_reload_or_the_end_of_an_override() {
        let at = |seconds: u64| Timestamp::from_unix_nanos(seconds * 1_000_000_000);
        let [slow, fast] = [1, 2].map(|nanos| CompactInterval::of(Nanos::new(nanos)));
        let changes = LimitChanges::new(
            ChangeTime::at(at(10)),
            [(at(30), fast), (at(5), slow), (at(20), slow)],
        );
        let last = |now| {
            let of = |interval| changes.last_end_of(interval, at(now).into());
            (changes.last(at(now).into()), of(slow), of(fast))
        };
        assert_eq!(last(8), (at(8), at(8), at(8)));
        assert_eq!(last(15), (at(10), at(10), at(10)));
        assert_eq!(last(20), (at(20), at(20), at(10)));
        assert_eq!(last(99), (at(30), at(20), at(30)));
        // The wall clock was set an hour ahead: the override that ends at 3630 has ended.
        let ahead = LimitChanges::new(ChangeTime::at(at(10)), [(at(3_630), fast)]);
        let now = Now { steady: at(40), wall: at(3_640) };
        assert_eq!(ahead.last(now), at(30));
    }
}
