//! The log of denied calls: a bounded number of lines per second.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::bucket_label::BucketLabel;
use crate::clock::{Nanos, Timestamp};
use crate::decision::{self, Verdict};
use crate::descriptor::Query;
use crate::policy::Policy;
use crate::store::Wait;
use crate::text::sanitize;

/// Writes denied calls to the log.
#[derive(Debug)]
pub(crate) struct DeniedLog {
    max_per_second: u32,
    /// The current second in the upper half, and the lines written in it in the lower half.
    written: AtomicU64,
    /// Denied calls that were not logged since the last line.
    left_out: AtomicU64,
}

impl DeniedLog {
    /// A log of at most this many lines per second.
    pub(crate) const fn new(max_per_second: NonZeroU32) -> Self {
        Self {
            max_per_second: max_per_second.get(),
            written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Logs a denied call, unless the second has its maximum of lines.
    pub(crate) fn record(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        let Some(left_out) = self.take(now) else { return };
        let of_each: SmallVec<[_; 8]> = verdict.tightest_of_each(query.len()).collect();
        let Some(decided) = decision::tightest(&of_each) else {
            let domain = &*sanitize(policy.domain());
            tracing::info!(domain, left_out, "denied, since the shared store is unavailable");
            return;
        };
        let label = BucketLabel::of(policy, query, decided);
        let [domain, table, row] =
            [&label.domain, &label.table, &label.row].map(|name| sanitize(&**name));
        let (domain, table, row) = (&*domain, &*table, &*row);
        let values = label
            .key
            .iter()
            .map(|(name, value)| format!("{}={}", sanitize(&**name), sanitize(value)));
        let values = values.collect::<Vec<_>>().join(" ");
        let wait = match decided.outcome.wait {
            Wait::None => Nanos::ZERO.to_string(),
            Wait::For(wait) => wait.to_string(),
            Wait::Never => "forever".to_owned(),
        };
        tracing::info!(domain, table, row, values, wait, left_out, "denied");
    }

    /// Takes one line of the second's budget. Returns how many calls were left out since the last line, or `None` if
    /// the budget is spent.
    fn take(&self, now: Timestamp) -> Option<u64> {
        let second = std::time::Duration::from_nanos(now.as_unix_nanos()).as_secs();
        let next = |written: u64| {
            // Threads read the clock before they get here, so an earlier second may follow a later one.
            let is_new = second > written >> 32;
            let written = if is_new { second << 32 } else { written };
            (written & u64::from(u32::MAX) < u64::from(self.max_per_second)).then_some(written + 1)
        };
        if self.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_a_maximum_of_lines() {
        let log = DeniedLog::new(NonZeroU32::new(3).unwrap());
        let at = |seconds, more| Timestamp::default().after(Nanos::from_secs(seconds).plus(more));
        let half = Nanos::new(500_000_000);
        let take = |now| log.take(now);
        assert_eq!([(); 5].map(|()| take(at(7, half))), [Some(0), Some(0), Some(0), None, None]);
        // An earlier second has no budget of its own.
        assert_eq!(take(at(6, half)), None);
        assert_eq!([(); 4].map(|()| take(at(8, Nanos::ZERO))), [Some(3), Some(0), Some(0), None]);
        assert_eq!(take(at(100, half)), Some(1));
    }
}
