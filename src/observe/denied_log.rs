//! The log of denials: a bounded number of lines per second.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::bucket_label::{BucketLabel, LabelEntry};
use crate::clock::Timestamp;
use crate::decision::{self, Decided, Verdict};
use crate::descriptor::Query;
use crate::policy::Policy;
use crate::text::sanitize;

/// Which denials are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// Calls that were denied.
    Enforced,
    /// Rows in shadow that would have denied a call.
    Shadow,
    /// Both.
    All,
}

/// Writes denials to the log.
#[derive(Debug)]
pub(crate) struct DeniedLog {
    max_per_second: u32,
    logged: Logged,
    /// The current second in the upper half, and the lines written in it in the lower half.
    written: AtomicU64,
    /// Denials that were not logged since the last line.
    left_out: AtomicU64,
}

impl DeniedLog {
    /// A log of at most this many lines per second.
    pub(crate) const fn new(max_per_second: NonZeroU32, logged: Logged) -> Self {
        Self {
            max_per_second: max_per_second.get(),
            logged,
            written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Logs a denied call, and each row in shadow that would have denied a call, unless the second has its maximum of
    /// lines.
    pub(crate) fn record(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        if !verdict.is_admitted && self.logged != Logged::Shadow {
            self.denied(policy, query, verdict, now);
        }
        if self.logged != Logged::Enforced {
            for row in verdict.rows() {
                let over = row.iter().filter(|of| of.is_over() && of.matched.row.is_shadow());
                if let Some(tightest) = over.min_by_key(|decided| decided.tightness()) {
                    self.in_shadow(policy, query, tightest, now);
                }
            }
        }
    }

    fn denied(&self, policy: &Policy, query: &Query<'_>, verdict: &Verdict<'_>, now: Timestamp) {
        let Some(left_out) = self.take(now) else { return };
        let of_each: SmallVec<[_; 8]> = verdict.tightest_of_each(query.len()).collect();
        let Some(decided) = decision::tightest(&of_each) else {
            let domain = &*sanitize(policy.domain());
            tracing::info!(domain, left_out, "denied, since the shared store is unavailable");
            return;
        };
        let Line { domain, table, row, values, wait } = Line::of(policy, query, decided);
        let (domain, table, row) = (&*domain, &*table, &*row);
        tracing::info!(domain, table, row, values, wait, left_out, "denied");
    }

    fn in_shadow(&self, policy: &Policy, query: &Query<'_>, decided: &Decided<'_>, now: Timestamp) {
        let Some(left_out) = self.take(now) else { return };
        let Line { domain, table, row, values, wait } = Line::of(policy, query, decided);
        let (domain, table, row, shadow) = (&*domain, &*table, &*row, true);
        tracing::info!(domain, table, row, values, wait, left_out, shadow, "would be denied");
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

/// What a line says of a bucket. Values come from a client, so that all texts are escaped.
struct Line {
    domain: Box<str>,
    table: Box<str>,
    row: Box<str>,
    values: String,
    wait: String,
}

impl Line {
    fn of(policy: &Policy, query: &Query<'_>, decided: &Decided<'_>) -> Self {
        let label = BucketLabel::of(policy, query, decided);
        let value =
            |(name, value): &LabelEntry| format!("{}={}", sanitize(&**name), sanitize(value));
        let values: Vec<_> = label.key.iter().map(value).collect();
        let wait = decided.outcome.wait.time();
        let wait = wait.map_or_else(|| "forever".to_owned(), |wait| wait.to_string());
        Self {
            domain: sanitize(&*label.domain),
            table: sanitize(&*label.table),
            row: sanitize(&*label.row),
            values: values.join(" "),
            wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    #[test]
    fn a_second_has_a_maximum_of_lines() {
        let log = DeniedLog::new(NonZeroU32::new(3).unwrap(), Logged::Enforced);
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
