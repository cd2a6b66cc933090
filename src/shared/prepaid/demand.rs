//! How often a plan is asked for.

use crate::clock::{Nanos, Timestamp};

/// Requests of one plan, counted in periods that follow one another, each as long as the prepaid time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// When the last request came.
    last: Timestamp,
    /// Requests in the period of that moment.
    requests: u32,
    /// Requests in the period before.
    before: u32,
}

impl Demand {
    /// Counts a request.
    pub(super) fn count(&mut self, now: Timestamp, length: Nanos) {
        self.go_on(now, length);
        self.requests = self.requests.saturating_add(1);
    }

    /// The requests of the last time of this length, if those before this period came evenly.
    pub(super) fn in_last(mut self, length: Nanos, now: Timestamp) -> u64 {
        self.go_on(now, length);
        let begun = Timestamp::from_unix_nanos(number(now, length).saturating_mul(length.get()));
        let gone = now.since(begun);
        let share = u128::from(length.minus(gone).get()) * u128::from(self.before);
        let share = share.checked_div(u128::from(length.get())).unwrap_or(0);
        u64::from(self.requests).saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Whether no request came within this time.
    pub(super) fn is_idle(self, within: Nanos, now: Timestamp) -> bool {
        now.since(self.last) >= within
    }

    fn go_on(&mut self, now: Timestamp, length: Nanos) {
        match number(now, length).checked_sub(number(self.last, length)) {
            Some(0) => {}
            Some(1) => (self.before, self.requests) = (self.requests, 0),
            _ => (self.before, self.requests) = (0, 0),
        }
        self.last = now;
    }
}

fn number(now: Timestamp, length: Nanos) -> u64 {
    now.since(Timestamp::default()).divided_by(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREPAID_TIME: Nanos = Nanos::new(100_000_000);

    fn at(millis: u64) -> Timestamp {
        Timestamp::default().after(Nanos::new(1_000_000).times(1_000_000 + millis))
    }

    #[test]
    fn requests_of_the_last_prepaid_time_count_and_older_ones_do_not() {
        let mut demand = Demand::default();
        (0..10).for_each(|request| demand.count(at(10 * request), PREPAID_TIME));
        assert_eq!(demand.in_last(PREPAID_TIME, at(99)), 10);
        assert_eq!(demand.in_last(PREPAID_TIME, at(150)), 5, "half of the period before");
        demand.count(at(150), PREPAID_TIME);
        assert_eq!(demand.in_last(PREPAID_TIME, at(150)), 6);
        assert_eq!(demand.in_last(PREPAID_TIME, at(300)), 0);
        assert!(!demand.is_idle(PREPAID_TIME, at(249)) && demand.is_idle(PREPAID_TIME, at(250)));
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_the_demand() {
        let mut demand = Demand::default();
        demand.count(at(500), PREPAID_TIME);
        demand.count(at(100), PREPAID_TIME);
        assert_eq!(demand.in_last(PREPAID_TIME, at(100)), 1);
        assert_eq!(demand.in_last(Nanos::ZERO, at(100)), 1);
    }
}
