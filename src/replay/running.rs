//! Requests that hold slots of concurrency buckets until their lines end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smallvec::SmallVec;

use super::figures::Figures;
use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::descriptor::LeaseId;
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::store::MemoryStore;

/// The concurrency buckets that a request met: the numbers of their rules, and their names.
type Met = SmallVec<[(usize, Fingerprint); 2]>;

/// Requests that have not ended.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// When each ends, and its place in `requests`.
    ends: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The lease of each, if it was admitted, and the buckets that it met.
    requests: Vec<(Option<LeaseId>, Met)>,
    free: Vec<usize>,
}

impl Running {
    /// Ends the requests that have ended by `now`: their leases are released.
    pub(super) fn end_until(
        &mut self,
        now: Timestamp,
        store: &MemoryStore,
        figures: &mut Figures<'_>,
    ) {
        while let Some(Reverse((end, place))) = self.ends.peek().copied().filter(|of| of.0.0 <= now)
        {
            self.ends.pop();
            let Some((lease, met)) = self.requests.get_mut(place).map(std::mem::take) else {
                continue;
            };
            if let Some(lease) = lease {
                store.release(lease, end);
            }
            met.into_iter().for_each(|(rule, name)| figures.end(rule, name));
            self.free.push(place);
        }
    }

    /// Keeps a request that met concurrency buckets until `end`.
    pub(super) fn begin(&mut self, verdict: &Verdict<'_>, end: Timestamp) {
        let of_slots = verdict.decided.iter().filter_map(|decided| {
            let is_of_slots = matches!(decided.matched.bucket, Bucket::Concurrency(_));
            let rule = decided.matched.rule.filter(|_| is_of_slots)?;
            Some((rule.id().get(), decided.matched.fingerprint))
        });
        let met: Met = of_slots.collect();
        if met.is_empty() {
            return;
        }
        let request = (verdict.lease, met);
        let place = self.free.pop().filter(|place| *place < self.requests.len());
        let place = place.unwrap_or_else(|| {
            self.requests.push((None, Met::new()));
            self.requests.len() - 1
        });
        if let Some(free) = self.requests.get_mut(place) {
            *free = request;
            self.ends.push(Reverse((end, place)));
        }
    }
}
