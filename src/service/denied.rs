//! Denied calls in the log: so many a second at most, however many are denied.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::clock::{Nanos, Timestamp};
use crate::decision::{self, Decided, Verdict};
use crate::descriptor::Query;
use crate::policy::Policy;
use crate::store::Wait;

/// The most characters that are told of one value, and of a key that a client made up.
const LONGEST: usize = 64;

/// The most values that are told.
const MOST: usize = 8;

/// Writes denied calls to the log.
#[derive(Debug)]
pub(super) struct DeniedLog {
    most: u32,
    /// A second, in the upper half, and how many lines were written in it.
    written: AtomicU64,
    /// How many were not written since the last that was.
    left_out: AtomicU64,
}

impl DeniedLog {
    /// Writes so many lines a second at most.
    pub(super) const fn new(most: NonZeroU32) -> Self {
        Self { most: most.get(), written: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Tells of a call that was denied, unless too many were within the second.
    pub(super) fn note(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        now: Timestamp,
    ) {
        let Some(left_out) = self.take(now) else { return };
        let of_each: SmallVec<[_; 8]> = verdict.tightest_of_each(query.len()).collect();
        let domain = escaped(policy.domain());
        let Some(decided) = decision::tightest(&of_each) else {
            tracing::info!(domain, left_out, "denied, since the shared store is away");
            return;
        };
        let row = decided.met.row;
        let values = values(policy, query, decided);
        let (table, row) = (escaped(row.table()), escaped(row.name()));
        let wait = match decided.outcome.wait {
            Wait::No => Nanos::ZERO.to_string(),
            Wait::For(wait) => wait.to_string(),
            Wait::Forever => "forever".to_owned(),
        };
        tracing::info!(domain, table, row, values, wait, left_out, "denied");
    }

    /// Takes the place of a line. Returns how many were left out since the last.
    fn take(&self, now: Timestamp) -> Option<u64> {
        let second = std::time::Duration::from_nanos(now.as_unix_nanos()).as_secs();
        let next = |written: u64| {
            // A call that is later by its clock may have come first.
            let is_new = second > written >> 32;
            let written = if is_new { second << 32 } else { written };
            (written & u64::from(u32::MAX) < u64::from(self.most)).then_some(written + 1)
        };
        if self.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The values that name the bucket, or all of a descriptor that brought its limit along.
fn values(policy: &Policy, query: &Query<'_>, decided: &Decided<'_>) -> String {
    let mut told = String::new();
    let Some(descriptor) = query.descriptors().nth(decided.met.descriptor) else { return told };
    for (name, value) in policy.named_by(descriptor, decided.met.row).into_iter().take(MOST) {
        let space = if told.is_empty() { "" } else { " " };
        // A `String` takes all that is written to it.
        let _ = write!(told, "{space}{}={}", escaped(name), escaped(&value));
    }
    told
}

/// A text without what a terminal or a reader of lines would act on, and not too long.
fn escaped(text: &str) -> String {
    let mut cut: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_lines_are_written_within_a_second() {
        let log = DeniedLog::new(NonZeroU32::new(3).unwrap());
        let at = |seconds, more| Timestamp::default().after(Nanos::from_secs(seconds).plus(more));
        let half = Nanos::new(500_000_000);
        let take = |now| log.take(now);
        assert_eq!([(); 5].map(|()| take(at(7, half))), [Some(0), Some(0), Some(0), None, None]);
        // A second that is over does not come again.
        assert_eq!(take(at(6, half)), None);
        assert_eq!([(); 4].map(|()| take(at(8, Nanos::ZERO))), [Some(3), Some(0), Some(0), None]);
        assert_eq!(take(at(100, half)), Some(1));
    }

    #[test]
    fn nothing_that_is_acted_on_gets_through() {
        assert_eq!(
            escaped("Zoë \"a\"\r\n\u{1b}[31m\u{202e}\u{2028}\0"),
            "Zoë \\\"a\\\"\\r\\n\\u{1b}[31m\\u{202e}\\u{2028}\\0"
        );
        assert_eq!(escaped(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(escaped(&"ë".repeat(65)), "ë".repeat(64) + "…");
    }
}
