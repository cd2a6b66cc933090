//! How long requests take, as a histogram and as single values.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Nanos;

/// The upper bounds of the histogram, in its unit.
///
/// # Source
/// Those that statsd_exporter has for a histogram that names none.
pub(super) const BOUNDS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The most values that are kept until they are sent: the latest.
const MAX_KEPT: usize = 256;

/// The unit of the histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    Seconds,
    /// Milliseconds, with the same bounds.
    Milliseconds,
}

impl TimeUnit {
    fn of(self, nanos: f64) -> f64 {
        match self {
            Self::Seconds => nanos / 1e9,
            Self::Milliseconds => nanos / 1e6,
        }
    }
}

/// The times of all requests.
#[derive(Debug)]
pub(super) struct ResponseTimes {
    unit: TimeUnit,
    /// How many were in each bucket and above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: AtomicU64,
    /// How many were recorded.
    recorded: AtomicU64,
    /// The latest, in nanoseconds.
    latest: Box<[AtomicU64]>,
}

/// The histogram, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Histogram {
    /// How many are at most each bound.
    pub(super) up_to: [u64; BOUNDS.len()],
    pub(super) count: u64,
    pub(super) sum: f64,
}

/// Single values, of which each stands for as many requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// In nanoseconds.
    pub nanos: Vec<u64>,
    /// How many requests each stands for: 1 if all are there.
    pub weight: f64,
    /// How many have been recorded since the start.
    pub recorded: u64,
}

impl ResponseTimes {
    pub(super) fn new(unit: TimeUnit) -> Self {
        Self {
            unit,
            buckets: Default::default(),
            sum: AtomicU64::default(),
            recorded: AtomicU64::default(),
            latest: (0..MAX_KEPT).map(|_| AtomicU64::default()).collect(),
        }
    }

    pub(super) fn observe(&self, took: Nanos) {
        let value = self.unit.of(took.get() as f64);
        let bucket = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(took.get(), Ordering::Relaxed);
        let number = self.recorded.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.latest.get(slot(number)) {
            slot.store(took.get(), Ordering::Relaxed);
        }
    }

    /// `None` if nothing was recorded.
    pub(super) fn histogram(&self) -> Option<Histogram> {
        let mut count = 0;
        let mut counted = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let mut up_to = [0; BOUNDS.len()];
        up_to.iter_mut().zip(counted.by_ref()).for_each(|(to, count)| *to = count);
        let count = counted.next()?;
        let sum = self.unit.of(self.sum.load(Ordering::Relaxed) as f64);
        (count > 0).then_some(Histogram { up_to, count, sum })
    }

    /// The latest values, after so many had been recorded.
    pub(super) fn since(&self, before: u64) -> Values {
        let recorded = self.recorded.load(Ordering::Relaxed);
        let new = recorded.saturating_sub(before);
        let kept = new.min(u64::try_from(MAX_KEPT).unwrap_or(u64::MAX));
        let numbers = recorded - kept..recorded;
        let slots = numbers.filter_map(|number| self.latest.get(slot(number)));
        let nanos: Vec<_> = slots.map(|slot| slot.load(Ordering::Relaxed)).collect();
        let weight = new as f64 / (nanos.len().max(1)) as f64;
        Values { nanos, weight, recorded }
    }
}

fn slot(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default() % MAX_KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(unit: TimeUnit, millis: &[u64]) -> ResponseTimes {
        let times = ResponseTimes::new(unit);
        millis.iter().for_each(|millis| times.observe(Nanos::new(millis * 1_000_000)));
        times
    }

    #[test]
    fn a_value_counts_in_the_bucket_of_its_bound_and_in_those_above() {
        let seconds = recorded(TimeUnit::Seconds, &[5, 6, 20_000]).histogram().unwrap();
        assert_eq!(seconds.up_to, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!((seconds.count, seconds.sum), (3, 20.011));
        let millis = recorded(TimeUnit::Milliseconds, &[5, 6, 20_000]).histogram().unwrap();
        assert_eq!(millis.up_to, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((millis.count, millis.sum), (3, 20_011.0));
        assert_eq!(recorded(TimeUnit::Seconds, &[]).histogram(), None);
    }

    #[test]
    fn values_are_told_once_and_of_many_the_latest_stand_for_all() {
        let times = recorded(TimeUnit::Seconds, &[1, 2]);
        let values = times.since(0);
        assert_eq!(
            (values.nanos, values.weight, values.recorded),
            (vec![1_000_000, 2_000_000], 1.0, 2)
        );
        assert_eq!(times.since(2), Values { nanos: vec![], weight: 0.0, recorded: 2 });
        (0..512).for_each(|nanos| times.observe(Nanos::new(nanos)));
        let values = times.since(2);
        assert_eq!(values.nanos, (256..512).collect::<Vec<_>>());
        assert_eq!((values.weight, values.recorded), (2.0, 514));
    }
}
