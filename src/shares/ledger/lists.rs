//! What a ledger tells for display and for metrics.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Ledger;
use crate::clock::Timestamp;
use crate::shares::holder::{Holder, HolderId};
use crate::shares::terms::Row;
use crate::shares::{Assignment, BucketId, StreamId};

/// A holder's share, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Its stream; `None` if that has ended.
    pub stream: Option<StreamId>,
    /// Its domain.
    pub domain: Arc<str>,
    /// Its bucket id.
    pub id: Arc<BucketId>,
    /// The rows whose buckets it meets.
    pub rows: Vec<Arc<Row>>,
    /// Requests a second that it had in its last report; `None` before one tells.
    pub demand: Option<f64>,
    /// What it was told last.
    pub assignment: Option<Assignment>,
}

impl Ledger {
    /// The largest shares, at most `max`, the largest first, and how many others there are. Bucket ids that nothing limits come
    /// last.
    pub fn largest_shares(&self, max: usize) -> (Vec<Share>, usize) {
        let mut all: Vec<_> = self.holders.iter().map(|(name, of)| (rank(of), name, of)).collect();
        let order = |a: &(f64, HolderId, &Holder), b: &(f64, HolderId, &Holder)| {
            b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))
        };
        if all.len() > max {
            all.select_nth_unstable_by(max, order);
            all.truncate(max);
        }
        all.sort_unstable_by(order);
        let omitted = self.holders.len() - all.len();
        (all.into_iter().map(|(_, _, holder)| share(holder)).collect(), omitted)
    }

    /// Bucket ids that meet the buckets of which less than a tenth is left, one for each bucket, at most `max`, with their
    /// domains.
    pub fn near_limit(&mut self, max: usize, now: Timestamp) -> Vec<(Arc<str>, Arc<BucketId>)> {
        let holders = &self.holders;
        let near = self.buckets.values_mut().filter_map(|bucket| {
            let is_near = bucket.left(now) < bucket.size() / 10.0;
            let holder = bucket.holders.iter().next().filter(|_| is_near)?;
            holders.get(holder).map(|of| (Arc::clone(&of.domain), Arc::clone(&of.id)))
        });
        near.take(max).collect()
    }

    /// How much the buckets owe together that owe something, in tokens, by row.
    pub fn owed(&mut self, now: Timestamp) -> HashMap<Arc<Row>, f64> {
        let mut owed = HashMap::new();
        for bucket in self.buckets.values_mut() {
            let left = bucket.left(now);
            if left < 0.0 {
                *owed.entry(Arc::clone(&bucket.row)).or_insert(0.0) -= left;
            }
        }
        owed
    }
}

/// What orders shares: the rate, below all rates if there is none.
fn rank(holder: &Holder) -> f64 {
    holder.sent.and_then(Assignment::rate).unwrap_or(-1.0)
}

fn share(holder: &Holder) -> Share {
    Share {
        stream: holder.stream(),
        domain: Arc::clone(&holder.domain),
        id: Arc::clone(&holder.id),
        rows: holder.terms.rows.to_vec(),
        demand: holder.demand,
        assignment: holder.sent,
    }
}
