//! Who holds shares: holders come, meet other buckets, and go.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Event, Ledger};
use crate::clock::{Now, Timestamp};
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::holder::{Holder, HolderId, Place, Waiting};
use crate::shares::shared_bucket::SharedBucket;
use crate::shares::terms::Terms;
use crate::shares::{BucketId, StreamId, Usage, count};

impl Ledger {
    /// A bucket id that its stream has not reported before.
    ///
    /// # Errors
    /// The id, if there are too many.
    pub(super) fn begin(
        &mut self,
        stream: StreamId,
        domain: &Arc<str>,
        usage: Usage,
        policy: Option<&Policy>,
        now: Now,
    ) -> Result<HolderId, Arc<BucketId>> {
        let Usage { id, elapsed, allowed, denied } = usage;
        let id = Arc::new(id);
        let is_returner = elapsed > 0;
        if is_returner && let Some(back) = self.take_gone(domain, &id) {
            let more = self.holders.get_mut(&back).map_or(0.0, |holder| {
                holder.place = Place::Stream(stream);
                let used = holder.used_while_away(allowed, elapsed, now.steady);
                holder.report(used, count(denied), now.steady)
            });
            self.correct(back, more, now.steady);
            self.update_terms(back, policy, now);
            if let Some(of_stream) = self.streams.get_mut(&stream) {
                of_stream.holders.insert(id, back);
            }
            return Ok(back);
        }
        let Some(of_stream) = self.streams.get(&stream) else { return Err(id) };
        if of_stream.holders.len() >= self.settings.max_ids
            || self.holders.len() >= self.settings.max_holders
        {
            return Err(id);
        }
        let terms = Terms::find(domain, &id, policy, now.wall);
        let mut new = Holder::new(stream, Arc::clone(domain), Arc::clone(&id), terms, now.steady);
        let mut used = count(allowed);
        if is_returner {
            new.is_returner = true;
            new.demand = Some(count(allowed.saturating_add(denied)) / count(elapsed).max(1.0));
            if self.has_settled {
                // The replica from which it comes has charged what it was predicted to use.
                used = 0.0;
            }
        }
        if is_returner && self.has_settled && self.is_assigned_elsewhere(&new) {
            let uses = count(allowed) / (count(elapsed) + 0.5);
            new.waiting = Some(Waiting { since: now.steady, uses, is_counted: false });
        }
        let waits = new.waiting.is_some();
        let holder = self.holders.insert(new);
        if let Some(of_stream) = self.streams.get_mut(&stream) {
            of_stream.holders.insert(id, holder);
        }
        if waits {
            self.replicas.waiting.insert(holder);
        }
        self.join(holder, now.steady);
        if is_returner {
            // It used what the buckets gained at that time, too, so that it owes nothing.
            used = used.min(self.left(holder, now.steady));
        }
        self.correct(holder, used, now.steady);
        Ok(holder)
    }

    fn take_gone(&mut self, domain: &Arc<str>, id: &Arc<BucketId>) -> Option<HolderId> {
        let name = (Arc::clone(domain), Arc::clone(id));
        let of_name = self.gone.get_mut(&name)?;
        let back = of_name.pop();
        if of_name.is_empty() {
            self.gone.remove(&name);
        }
        back
    }

    /// Adds a holder to the buckets of its terms.
    fn join(&mut self, holder: HolderId, now: Timestamp) {
        let Some(of) = self.holders.get(&holder) else { return };
        let predicted = of.predicted();
        for met in &of.terms.met {
            let Some(row) = of.terms.rows.get(met.row) else { continue };
            let bucket = self.buckets.entry(met.fingerprint).or_insert_with(|| {
                let mut bucket = SharedBucket::new(met, Arc::clone(row), now);
                bucket.holders_elsewhere = self.replicas.holders_of(met.fingerprint);
                if self.settings.is_shared {
                    self.replicas.begin(met.fingerprint, bucket.holders_elsewhere);
                }
                bucket
            });
            bucket.update(met, Arc::clone(row), now);
            bucket.holders.insert(holder);
            bucket.predict(predicted, now);
            self.moved.insert(met.fingerprint);
        }
        for (row, what) in &of.terms.inexpressible {
            self.events.push(Event::Inexpressible(row.clone(), *what));
        }
    }

    /// Removes a holder from the buckets of its terms.
    fn leave(&mut self, holder: HolderId, now: Timestamp) {
        let Some(of) = self.holders.get(&holder) else { return };
        for met in &of.terms.met {
            if let Some(bucket) = self.buckets.get_mut(&met.fingerprint) {
                bucket.holders.remove(&holder);
                bucket.predict(-of.predicted(), now);
                self.moved.insert(met.fingerprint);
            }
        }
    }

    pub(super) fn remove(&mut self, holder: HolderId, now: Timestamp) {
        self.leave(holder, now);
        self.touched.remove(&holder);
        self.replicas.waiting.remove(&holder);
        let Some(Holder { place, domain, id, .. }) = self.holders.remove(&holder) else { return };
        match place {
            Place::Stream(stream) => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.holders.remove(&id);
                }
            }
            Place::Gone(_) => {
                let name = (domain, id);
                if let Some(of_name) = self.gone.get_mut(&name) {
                    of_name.retain(|other| *other != holder);
                    if of_name.is_empty() {
                        self.gone.remove(&name);
                    }
                }
            }
        }
    }

    /// Finds the terms of a holder again, by the policy in force.
    pub(super) fn update_terms(&mut self, holder: HolderId, policy: Option<&Policy>, now: Now) {
        let Some(of) = self.holders.get(&holder) else { return };
        let terms = Terms::find(&of.domain, &of.id, policy, now.wall);
        let names = |terms: &Terms| -> SmallVec<[(Fingerprint, bool); 4]> {
            terms.met.iter().map(|met| (met.fingerprint, met.is_shadow)).collect()
        };
        if names(&terms) != names(&of.terms) {
            self.leave(holder, now.steady);
            if let Some(of) = self.holders.get_mut(&holder) {
                of.terms = terms;
            }
            self.join(holder, now.steady);
            self.touched.insert(holder);
            return;
        }
        for met in &terms.met {
            let (Some(bucket), Some(row)) =
                (self.buckets.get_mut(&met.fingerprint), terms.rows.get(met.row))
            else {
                continue;
            };
            if bucket.update(met, Arc::clone(row), now.steady) {
                self.moved.insert(met.fingerprint);
            }
        }
        if let Some(of) = self.holders.get_mut(&holder) {
            if of.terms.is_blocked != terms.is_blocked {
                self.touched.insert(holder);
            }
            let known = &of.terms.inexpressible;
            let new = terms.inexpressible.iter().filter(|found| !known.contains(found));
            self.events.extend(new.map(|(row, what)| Event::Inexpressible(row.clone(), *what)));
            of.terms = terms;
        }
    }
}
