//! The limits that have become slower, for stores that let go of a state once it has lapsed.

use super::CompactInterval;
use crate::clock::Nanos;

/// The intervals of limits that have been replaced by slower ones, each with the longest interval that any bucket with
/// such a limit has since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowedLimits {
    /// In the order of intervals, one of each.
    by_interval: Vec<(CompactInterval, Nanos)>,
}

impl SlowedLimits {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.by_interval.is_empty()
    }

    /// These and others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        self.iter().chain(others.iter()).collect()
    }

    /// The intervals that have been replaced, each with the longest one since.
    pub fn iter(&self) -> impl Iterator<Item = (CompactInterval, Nanos)> {
        self.by_interval.iter().copied()
    }

    /// The longest interval that a bucket may have since, if a state with this interval may be of a slowed limit.
    pub fn slowest_after(&self, interval: CompactInterval) -> Option<Nanos> {
        let at = self.by_interval.binary_search_by_key(&interval, |(old, _)| *old).ok()?;
        self.by_interval.get(at).map(|(_, slowest)| *slowest)
    }
}

impl FromIterator<(CompactInterval, Nanos)> for SlowedLimits {
    fn from_iter<I: IntoIterator<Item = (CompactInterval, Nanos)>>(limits: I) -> Self {
        let mut by_interval: Vec<_> = limits.into_iter().collect();
        // The slowest first, which is then the one that stays.
        by_interval.sort_unstable_by(|a, b| b.cmp(a));
        by_interval.dedup_by_key(|(interval, _)| *interval);
        by_interval.reverse();
        Self { by_interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_limits_with_the_same_interval_the_slowest_that_followed_counts() {
        let seconds = |count| Nanos::from_secs(count);
        let every = |count| CompactInterval::of(seconds(count));
        let slowed = [(6, 60), (5, 7), (6, 600), (6, 7)];
        let slowed: SlowedLimits =
            slowed.iter().map(|(old, new)| (every(*old), seconds(*new))).collect();
        assert_eq!(slowed.slowest_after(every(6)), Some(seconds(600)));
        assert_eq!(slowed.slowest_after(every(5)), Some(seconds(7)));
        assert_eq!(slowed.slowest_after(every(7)), None);
        assert_eq!(slowed.slowest_after(CompactInterval::UNKNOWN), None);
        assert!(!slowed.is_empty() && SlowedLimits::default().is_empty());
    }
}
