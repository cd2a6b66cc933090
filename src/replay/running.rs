//! Requests that hold slots of concurrency buckets until their lines end.

use std::collections::BTreeMap;

use super::charges::hits_of;
use super::figures::Figures;
use crate::clock::{Nanos, Timestamp};
use crate::decision::Verdict;
use crate::descriptor::LeaseId;
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::store::MemoryStore;

/// What ends with a request, or before it.
#[derive(Debug)]
enum Held {
    /// A lease, of a request that was admitted.
    Lease(LeaseId),
    /// The slots that a request asked of a bucket, whether it was admitted or not.
    Slots { rule: usize, name: Fingerprint, count: u64 },
}

/// Requests that have not ended.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// By when it ends, and a number of its own.
    held: BTreeMap<(Timestamp, u64), Held>,
    count: u64,
}

impl Running {
    /// Ends what has ended by `now`: leases are released.
    pub(super) fn end_until(
        &mut self,
        now: Timestamp,
        store: &MemoryStore,
        figures: &mut Figures<'_>,
    ) {
        while let Some(first) = self.held.first_entry().filter(|first| first.key().0 <= now) {
            let ((end, _), held) = first.remove_entry();
            match held {
                Held::Lease(lease) => {
                    store.release(lease, end);
                }
                Held::Slots { rule, name, count } => figures.end(rule, name, count),
            }
        }
    }

    /// Keeps what a request that began at `now` holds for its `duration`; of a bucket, no longer than its `ttl`.
    pub(super) fn begin(&mut self, verdict: &Verdict<'_>, now: Timestamp, duration: Nanos) {
        let all = verdict.decided.iter().map(|decided| decided.matched);
        for (at, matched) in all.clone().enumerate() {
            let (Bucket::Concurrency(bucket), Some(rule)) = (matched.bucket, matched.rule) else {
                continue;
            };
            let Some(hits) = hits_of(at, matched, all.clone()) else { continue };
            let (rule, name) = (rule.id().get(), matched.fingerprint);
            let held = Held::Slots { rule, name, count: hits.charged() };
            self.hold(now.after(duration.min(bucket.ttl())), held);
        }
        if let Some(lease) = verdict.lease {
            self.hold(now.after(duration), Held::Lease(lease));
        }
    }

    fn hold(&mut self, until: Timestamp, held: Held) {
        self.count += 1;
        self.held.insert((until, self.count), held);
    }
}
