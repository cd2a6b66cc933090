//! How much work a stream may make: what is beyond is not read until it may be.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos as GovernorNanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use prometheus_client::metrics::counter::Counter;

use crate::clock::Clock;

/// The work of one stream, each second. A report counts 1, and so does each of its bucket ids.
///
/// Envoy reports all bucket ids every 5 seconds, and the first request of each in a report of its own. With 50,000 of them, the
/// most of a stream, the reports are half of this, and 5,000 new bucket ids a second are the other half.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(20_000).unwrap();

/// The work that may come at once: a report of 50,000 bucket ids, and 5,000 first requests.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(60_000).unwrap();

/// How long it sleeps before it looks again at the clock, and whether the stream is over.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// The work that a stream may still make.
pub(super) struct Allowance(
    RateLimiter<NotKeyed, InMemoryState, Steady, NoOpMiddleware<GovernorNanos>>,
);

impl Allowance {
    /// The allowance of a new stream, by this clock.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(AT_ONCE);
        Self(RateLimiter::direct_with_clock(quota, Steady(clock)))
    }

    /// Charges a report of `ids` bucket ids, and waits until the allowance has covered it; a wait is counted in `delays`. Returns
    /// false if the stream `is_over` meanwhile.
    pub(super) async fn charge(
        &self,
        ids: u64,
        delays: &Counter,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let mut work = ids.saturating_add(1);
        let mut is_counted = false;
        while work > 0 {
            match self.pay(work) {
                Ok(rest) => work = rest,
                Err(wait) => {
                    if !std::mem::replace(&mut is_counted, true) {
                        delays.inc();
                    }
                    if is_over() {
                        return false;
                    }
                    tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
                }
            }
        }
        true
    }

    /// Pays for as much of this work as may come at once. Returns the rest.
    ///
    /// # Errors
    /// The time until it can.
    fn pay(&self, work: u64) -> Result<u64, Duration> {
        let part = u32::try_from(work).unwrap_or(u32::MAX).min(AT_ONCE.get());
        let Some(part) = NonZeroU32::new(part) else { return Ok(0) };
        match self.0.check_n(part) {
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.0.clock().now())),
            // It is no more than may come at once.
            Ok(Ok(())) | Err(_) => Ok(work.saturating_sub(part.get().into())),
        }
    }
}

/// The steady time, for governor.
struct Steady(Arc<dyn Clock>);

impl GovernorClock for Steady {
    type Instant = GovernorNanos;

    fn now(&self) -> GovernorNanos {
        GovernorNanos::new(self.0.now().as_unix_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Nanos, Timestamp};

    fn allowance() -> (Arc<ManualClock>, Allowance) {
        let clock =
            Arc::new(ManualClock::at(Timestamp::from_unix_nanos(1_800_000_000_000_000_000)));
        let allowance = Allowance::new(Arc::clone(&clock) as Arc<dyn Clock>);
        (clock, allowance)
    }

    #[test]
    fn an_envoy_with_the_most_bucket_ids_never_waits() {
        let (clock, allowance) = allowance();
        let mut ids = 0;
        // New bucket ids come all the time until it has all of them, and each report has those of before.
        for second in 1..60 {
            for _ in 0..5_000 {
                clock.advance(Nanos::new(200_000));
                if ids < 50_000 {
                    ids += 1;
                    assert_eq!(allowance.pay(2), Ok(0), "{ids}");
                }
            }
            if second % 5 == 0 {
                assert_eq!(allowance.pay(1 + ids), Ok(0), "{second}");
            }
        }
    }

    #[test]
    fn what_is_beyond_waits_until_it_is_paid_for() {
        let (clock, allowance) = allowance();
        // A report of twice what may come at once is paid for in parts.
        assert_eq!(allowance.pay(120_000), Ok(60_000));
        assert_eq!(allowance.pay(60_000), Err(Duration::from_secs(3)));
        clock.advance(Nanos::from_secs(2));
        assert_eq!(allowance.pay(60_000), Err(Duration::from_secs(1)));
        clock.advance(Nanos::from_secs(1));
        assert_eq!(allowance.pay(60_000), Ok(0));
        // One more needs its own time.
        assert_eq!(allowance.pay(1), Err(Duration::from_micros(50)));
        clock.advance(Nanos::from_secs(1));
        assert_eq!((0..20_001).filter(|_| allowance.pay(1).is_ok()).count(), 20_000);
    }

    #[test]
    fn a_report_without_bucket_ids_is_work_too_and_a_stream_that_is_over_waits_no_longer() {
        let (_, allowance) = allowance();
        let delays = Counter::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for _ in 0..60_000 {
                assert!(allowance.charge(0, &delays, || true).await);
            }
            assert_eq!(delays.get(), 0);
            assert!(!allowance.charge(0, &delays, || true).await);
            assert_eq!(delays.get(), 1);
        });
    }
}
