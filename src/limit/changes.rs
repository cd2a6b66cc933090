//! When the limit of a bucket last changed.

use super::CompactInterval;
use crate::clock::{Now, Timestamp};

/// When the limit of a bucket changed, so that what was used before refills at the old rate until then, and at the new
/// rate from then on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitChanges {
    /// When a policy brought the limits that the bucket has now, by the steady time.
    changed_at: Timestamp,
    /// When overrides of the bucket end by the wall clock, in order, and the intervals of their rates.
    ends: Box<[(Timestamp, CompactInterval)]>,
}

impl LimitChanges {
    /// The limits came into force at `changed_at` of the steady time, and overrides with these intervals end at these
    /// times of the wall clock.
    pub fn new(
        changed_at: Timestamp,
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
        let ended = ended.map_or(self.changed_at, |(end, _)| now.to_steady(*end));
        self.changed_at.max(ended).min(now.steady)
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
        let changes = LimitChanges::new(at(10), [(at(30), fast), (at(5), slow), (at(20), slow)]);
        let last = |now| {
            let of = |interval| changes.last_end_of(interval, at(now).into());
            (changes.last(at(now).into()), of(slow), of(fast))
        };
        assert_eq!(last(8), (at(8), at(8), at(8)));
        assert_eq!(last(15), (at(10), at(10), at(10)));
        assert_eq!(last(20), (at(20), at(20), at(10)));
        assert_eq!(last(99), (at(30), at(20), at(30)));
        // The wall clock was set an hour ahead: the override that ends at 3630 has ended.
        let ahead = LimitChanges::new(at(10), [(at(3_630), fast)]);
        let now = Now { steady: at(40), wall: at(3_640) };
        assert_eq!(ahead.last(now), at(30));
    }
}
