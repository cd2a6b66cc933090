//! How often a plan is asked for.

use crate::clock::{Nanos, Timestamp};

/// Requests of one plan, counted in spans that follow one another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// When the last request came.
    last: Timestamp,
    /// Requests in the span of that moment.
    requests: u32,
    /// Requests in the span before.
    before: u32,
}

impl Demand {
    /// Counts a request.
    pub(super) fn count(&mut self, now: Timestamp, length: Nanos) {
        self.go_on(now, length);
        self.requests = self.requests.saturating_add(1);
    }

    /// The requests of the last span that ends now, if those before this span came evenly.
    pub(super) fn over_last_span(mut self, now: Timestamp, length: Nanos) -> u64 {
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

    const SPAN: Nanos = Nanos::new(100_000_000);

    fn at(millis: u64) -> Timestamp {
        Timestamp::default().after(Nanos::new(1_000_000).times(1_000_000 + millis))
    }

    #[test]
    fn requests_of_the_last_span_count_and_older_ones_do_not() {
        let mut demand = Demand::default();
        (0..10).for_each(|request| demand.count(at(10 * request), SPAN));
        assert_eq!(demand.over_last_span(at(99), SPAN), 10);
        assert_eq!(demand.over_last_span(at(150), SPAN), 5, "half of the span before");
        demand.count(at(150), SPAN);
        assert_eq!(demand.over_last_span(at(150), SPAN), 6);
        assert_eq!(demand.over_last_span(at(300), SPAN), 0);
        assert!(!demand.is_idle(SPAN, at(249)) && demand.is_idle(SPAN, at(250)));
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_the_demand() {
        let mut demand = Demand::default();
        demand.count(at(500), SPAN);
        demand.count(at(100), SPAN);
        assert_eq!(demand.over_last_span(at(100), SPAN), 1);
        assert_eq!(demand.over_last_span(at(100), Nanos::ZERO), 1);
    }
}
