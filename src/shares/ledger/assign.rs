//! Divides the buckets that changed, and tells holders of their shares.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Ledger;
use super::component::UNSETTLED;
use super::rates::Rates;
use crate::clock::Timestamp;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::assignment::interval_for;
use crate::shares::holder::{Holder, HolderId};
use crate::shares::{Action, Assignment, Order, StreamId};

impl Ledger {
    /// Divides all buckets that are met by holders who have reported, or whose holders have changed, and returns what each
    /// stream is to be told. Those that have reported are always answered, since that renews their assignments.
    pub fn assign(&mut self, now: Timestamp) -> HashMap<StreamId, Vec<Action>> {
        let touched = std::mem::take(&mut self.touched);
        let mut begin: Vec<Fingerprint> = self.moved.drain().collect();
        for holder in &touched {
            let Some(of) = self.holders.get(holder) else { continue };
            begin.extend(of.terms.enforced().map(|met| met.fingerprint));
        }
        // In an order that does not depend on a hash, so that equal ledgers tell the same.
        begin.sort_unstable();
        let mut told: HashMap<StreamId, Vec<Action>> = HashMap::new();
        let mut seen = HashSet::with_capacity(begin.len());
        for name in begin {
            if !seen.insert(name) {
                continue;
            }
            let component = self.component(name, &mut seen, now);
            let Rates { fair, given } = self.rates(&component, now);
            let sizes = self.sizes(&component, &given);
            let rates = fair.into_iter().zip(given);
            for ((holder, (fair, given)), size) in component.holders.iter().zip(rates).zip(sizes) {
                let is_touched = touched.contains(holder);
                self.tell(*holder, [fair, given], size, is_touched, now, &mut told);
            }
        }
        for holder in touched {
            let is_limited = |of: &Holder| of.terms.enforced().next().is_some();
            if self.holders.get(&holder).is_some_and(|of| !is_limited(of)) {
                self.tell_whole(holder, now, &mut told);
            }
        }
        told
    }

    /// Sets a holder's share, and tells its Envoy if it has to know: of the rate that it is given now, which may be less than
    /// is fair.
    fn tell(
        &mut self,
        holder: HolderId,
        [fair, mut rate]: [f64; 2],
        mut size: f64,
        is_touched: bool,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let Some(of) = self.holders.get(&holder) else { return };
        let begins_full = of.begins_full();
        let before = match of.sent {
            Some(Assignment::Tokens { size, .. }) => f64::from(size),
            _ => 0.0,
        };
        let (mut part, mut most, mut fastest) = (1.0_f64, f64::INFINITY, f64::INFINITY);
        for met in of.terms.enforced() {
            let Some(bucket) = self.buckets.get_mut(&met.fingerprint) else { continue };
            if !self.has_settled && !of.is_returner {
                part = part.min(bucket.rate() * UNSETTLED / rate.max(f64::MIN_POSITIVE));
            }
            most = most.min(bucket.left(now).max(0.0) * (size / bucket.size()).min(1.0));
            fastest = fastest.min(bucket.fastest());
        }
        (rate, size, most) = (rate * part, size * part, most * part);
        if begins_full && rate < fair {
            size *= rate / fair;
        }
        // A bucket of Envoy that grows keeps its ratio: one that is full then holds more than it was given. So none grows
        // beyond its part of what is left.
        if begins_full {
            size = size.min(most);
        } else if !of.is_returner || of.sent.is_some() {
            size = size.min(most.max(before));
        }
        let assignment = if of.terms.is_blocked {
            Assignment::Nothing
        } else {
            Assignment::tokens(size, rate, interval_for(fastest))
        };
        self.set_rate(holder, if of.terms.is_blocked { 0.0 } else { rate }, now);
        self.send(holder, assignment, is_touched, now, told);
    }

    /// Tells the Envoy of a holder that no bucket limits.
    fn tell_whole(
        &mut self,
        holder: HolderId,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let Some(of) = self.holders.get(&holder) else { return };
        let (assignment, rate) = if of.terms.is_blocked {
            (Assignment::Nothing, 0.0)
        } else {
            (Assignment::All, f64::INFINITY)
        };
        // Rows in shadow are charged for what is used.
        let rate = of.demand.unwrap_or(0.0).min(rate);
        self.set_rate(holder, rate, now);
        self.send(holder, assignment, true, now, told);
    }

    fn set_rate(&mut self, holder: HolderId, rate: f64, now: Timestamp) {
        let Some(of) = self.holders.get_mut(&holder) else { return };
        let more = of.set_rate(rate, now);
        for met in &of.terms.met {
            if let Some(bucket) = self.buckets.get_mut(&met.fingerprint) {
                bucket.predict(more, now);
            }
        }
    }

    fn send(
        &mut self,
        holder: HolderId,
        assignment: Assignment,
        is_touched: bool,
        now: Timestamp,
        told: &mut HashMap<StreamId, Vec<Action>>,
    ) {
        let is_idle = is_touched && self.is_idle(holder, now);
        let has_settled = self.has_settled;
        let Some(of) = self.holders.get_mut(&holder) else { return };
        let Some(stream) = of.stream() else { return };
        if is_idle {
            let id = Arc::clone(&of.id);
            told.entry(stream).or_default().push(Action { id, order: Order::Abandon });
            self.remove(holder, now);
            return;
        }
        // It keeps the share that it was told by whoever knew of all others.
        let is_from_elsewhere = of.is_returner && of.sent.is_none() && !has_settled;
        let waits = (is_from_elsewhere || of.waiting.is_some())
            && matches!(assignment, Assignment::Tokens { .. });
        let is_news = of.sent.is_none_or(|sent| !assignment.is_about(sent));
        if waits || !is_touched && !is_news {
            return;
        }
        of.set_sent(assignment, now);
        let id = Arc::clone(&of.id);
        told.entry(stream).or_default().push(Action { id, order: Order::Assign(assignment) });
    }

    /// Whether Envoy may forget a holder: it had no request for long, and would not begin again with a full bucket that
    /// it has not waited for.
    fn is_idle(&mut self, holder: HolderId, now: Timestamp) -> bool {
        let Some(of) = self.holders.get(&holder) else { return false };
        if now.since(of.busy_at) < self.settings.idle {
            return false;
        }
        of.terms.enforced().all(|met| {
            let bucket = self.buckets.get_mut(&met.fingerprint);
            bucket.is_none_or(|bucket| bucket.left(now) >= bucket.size() - 0.5)
        })
    }
}
