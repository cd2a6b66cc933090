//! Counts over time, in a bounded number of steps.

use std::ops::Range;

use crate::clock::{Nanos, Timestamp};

/// The most steps. When a log covers more time, two steps become one.
const MAX_STEPS: usize = 1_440;

/// No step: no time is in it.
const NONE: (Range<Timestamp>, usize) = {
    let never = Timestamp::from_unix_nanos(0);
    (never..never, 0)
};

/// How many requests there were in one step of time, and how many of them were denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Requests that were admitted.
    pub(super) admitted: u64,
    /// Requests that were denied.
    pub(super) denied: u64,
}

/// Requests over time: steps of one length, a minute or a power of two of it, from a whole one of these on.
#[derive(Debug, Clone)]
pub(super) struct Series {
    first: u64,
    seconds: u64,
    steps: Vec<Step>,
    max_steps: usize,
    /// The step that was counted last: when it begins and ends, and its place. Most requests are of it, and a division takes
    /// longer than all else here.
    current: (Range<Timestamp>, usize),
}

impl Default for Series {
    fn default() -> Self {
        Self::with_most(MAX_STEPS)
    }
}

impl Series {
    /// A series of at most this many steps.
    pub(super) const fn with_most(max_steps: usize) -> Self {
        Self { first: 0, seconds: 60, steps: Vec::new(), max_steps, current: NONE }
    }

    /// Counts a request. Requests come in order of time.
    pub(super) fn count(&mut self, now: Timestamp, is_denied: bool) {
        let (times, place) = &self.current;
        let place = if times.contains(&now) { *place } else { self.begin_step(now) };
        if let Some(step) = self.steps.get_mut(place) {
            *(if is_denied { &mut step.denied } else { &mut step.admitted }) += 1;
        }
    }

    /// Makes the step of a time the current one. Returns its place.
    fn begin_step(&mut self, now: Timestamp) -> usize {
        let second = now.as_unix_nanos() / 1_000_000_000;
        if self.steps.is_empty() {
            self.first = second / self.seconds;
        }
        let place = loop {
            let place = (second / self.seconds).saturating_sub(self.first);
            match usize::try_from(place) {
                Ok(place) if place < self.max_steps => break place,
                _ => self.widen(),
            }
        };
        if place >= self.steps.len() {
            self.steps.resize(place + 1, Step::default());
        }
        let begin = second - second % self.seconds;
        let [begin, end] = [begin, begin.saturating_add(self.seconds)]
            .map(|second| Timestamp::default().after(Nanos::from_secs(second)));
        self.current = (begin..end, place);
        place
    }

    /// Makes one step of two.
    fn widen(&mut self) {
        let is_second_of_two = self.first % 2 == 1;
        let mut wide = Vec::with_capacity(self.steps.len() / 2 + 1);
        let mut steps = std::mem::take(&mut self.steps).into_iter();
        if is_second_of_two {
            wide.extend(steps.next());
        }
        while let Some(step) = steps.next() {
            let next = steps.next().unwrap_or_default();
            wide.push(Step {
                admitted: step.admitted + next.admitted,
                denied: step.denied + next.denied,
            });
        }
        (self.steps, self.current) = (wide, NONE);
        self.first /= 2;
        self.seconds *= 2;
    }

    /// Adds the counts of a part of the requests.
    pub(super) fn merge(&mut self, mut other: Self) {
        if other.steps.is_empty() {
            return;
        }
        if self.steps.is_empty() {
            *self = other;
            return;
        }
        loop {
            while self.seconds < other.seconds {
                self.widen();
            }
            while other.seconds < self.seconds {
                other.widen();
            }
            let first = self.first.min(other.first);
            let end = self.end().max(other.end());
            if usize::try_from(end - first).is_ok_and(|steps| steps <= self.max_steps) {
                let mut steps = vec![Step::default(); usize::try_from(end - first).unwrap_or(0)];
                for of in [&*self, &other] {
                    let skipped = usize::try_from(of.first - first).unwrap_or(0);
                    for (sum, step) in steps.iter_mut().skip(skipped).zip(&of.steps) {
                        sum.admitted += step.admitted;
                        sum.denied += step.denied;
                    }
                }
                (self.first, self.steps, self.current) = (first, steps, NONE);
                return;
            }
            self.widen();
        }
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.steps.len()).unwrap_or(0))
    }

    /// When the first step begins.
    pub(super) fn begin(&self) -> Timestamp {
        Timestamp::default().after(Nanos::from_secs(self.first.saturating_mul(self.seconds)))
    }

    /// The length of a step in seconds.
    pub(super) const fn step_seconds(&self) -> u64 {
        self.seconds
    }

    /// The steps.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Nanos::from_secs(seconds))
    }

    fn sum(series: &Series) -> [u64; 2] {
        let steps = series.steps.iter();
        steps.fold([0, 0], |[a, d], step| [a + step.admitted, d + step.denied])
    }

    #[test]
    fn a_series_counts_by_the_minute() {
        let mut series = Series::default();
        for (second, is_denied) in [(119, false), (120, true), (179, true), (241, false)] {
            series.count(at(second), is_denied);
        }
        let steps: Vec<_> = series.steps.iter().map(|step| (step.admitted, step.denied)).collect();
        assert_eq!(steps, [(1, 0), (0, 2), (0, 0), (1, 0)]);
        assert_eq!((series.begin(), series.step_seconds()), (at(60), 60));
    }

    #[test]
    fn steps_become_wider_and_lose_no_request() {
        let mut series = Series::with_most(4);
        (0..1_000).for_each(|minute| series.count(at(60 * (minute + 7)), minute % 10 == 0));
        assert_eq!(sum(&series), [900, 100]);
        assert!(series.steps.len() <= 4);
        assert_eq!(series.step_seconds(), 60 * 256);
        // The first minute lies in the first step.
        assert!(series.begin() <= at(420));
    }

    #[test]
    fn parts_add_up_to_what_one_counts() {
        let mut whole = Series::with_most(16);
        let mut parts = [Series::with_most(16), Series::with_most(16), Series::with_most(16)];
        for number in 0..600_u64 {
            let second = 977 + number * number / 20;
            whole.count(at(second), number % 3 == 0);
            let part = if number < 300 { 0 } else { 1 };
            parts[part].count(at(second), number % 3 == 0);
        }
        let [mut first, second, empty] = parts;
        first.merge(second);
        first.merge(empty);
        assert_eq!((first.begin(), first.step_seconds()), (whole.begin(), whole.step_seconds()));
        assert_eq!(first.steps, whole.steps);
    }
}
