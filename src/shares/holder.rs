//! A holder: one bucket id of one stream.

use std::sync::Arc;

use super::terms::Terms;
use super::{Assignment, BucketId, StreamId, count, seconds};
use crate::clock::{Nanos, Timestamp};

/// The number of a holder, as long as there is that holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct HolderId(pub(super) usize);

/// Two reports of a holder this close say nothing of its demand.
const SHORTEST_SPAN: Nanos = Nanos::new(500_000_000);

/// Where a holder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its stream is open.
    Stream(StreamId),
    /// Its stream has ended. Its Envoy may still limit by what it was told, and come back until then.
    Gone(Timestamp),
}

/// An Envoy that comes from another replica and is not told of a share yet: the other one may have its share among its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) since: Timestamp,
    /// Requests a second that it lets through meanwhile.
    pub(super) uses: f64,
    /// Whether no other replica may count and charge that any more.
    pub(super) is_counted: bool,
}

/// What is known of a holder.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) place: Place,
    pub(super) domain: Arc<str>,
    pub(super) id: Arc<BucketId>,
    pub(super) terms: Terms,
    /// Requests a second that it had in its last report, let through or denied; `None` before one tells.
    pub(super) demand: Option<f64>,
    /// What it may use, in requests a second.
    pub(super) rate: f64,
    /// What it is predicted to use, in requests a second.
    predicted: f64,
    /// What it is predicted to have used since its last report, until `accrued_at`.
    accrued: f64,
    accrued_at: Timestamp,
    pub(super) reported_at: Timestamp,
    /// When it last had a request.
    pub(super) busy_at: Timestamp,
    /// What it was told last.
    pub(super) sent: Option<Assignment>,
    /// How many tokens its Envoy held at `held_at`, at most.
    held: f64,
    held_at: Timestamp,
    /// Whether it had an assignment already when it was first seen: of another replica, or of this one before a restart.
    pub(super) is_returner: bool,
    /// Whether it waits for its share.
    pub(super) waiting: Option<Waiting>,
}

impl Holder {
    pub(super) fn new(
        stream: StreamId,
        domain: Arc<str>,
        id: Arc<BucketId>,
        terms: Terms,
        now: Timestamp,
    ) -> Self {
        Self {
            place: Place::Stream(stream),
            domain,
            id,
            terms,
            demand: None,
            rate: 0.0,
            predicted: 0.0,
            accrued: 0.0,
            accrued_at: now,
            reported_at: now,
            busy_at: now,
            sent: None,
            held: 0.0,
            held_at: now,
            is_returner: false,
            waiting: None,
        }
    }

    pub(super) const fn stream(&self) -> Option<StreamId> {
        match self.place {
            Place::Stream(stream) => Some(stream),
            Place::Gone(_) => None,
        }
    }

    /// The rate that its Envoy goes on with, whatever others get, since it is not connected and cannot be told, or has a
    /// share of another replica that this one does not know.
    pub(super) fn kept_rate(&self) -> Option<f64> {
        match self.place {
            Place::Gone(_) => self.sent.and_then(Assignment::rate),
            Place::Stream(_) => {
                self.waiting.and_then(|waiting| waiting.is_counted.then_some(waiting.uses))
            }
        }
    }

    /// Whether another replica counts and charges what it uses.
    pub(super) fn is_counted_elsewhere(&self) -> bool {
        self.waiting.is_some_and(|waiting| !waiting.is_counted)
    }

    /// Takes over from another replica, which has charged what it used until `now`: its next report is charged from then on.
    /// Returns what it uses, in requests a second; `None` if no other replica counted it.
    pub(super) fn take_over(&mut self, now: Timestamp) -> Option<f64> {
        let waiting = self.waiting.as_mut().filter(|waiting| !waiting.is_counted)?;
        waiting.is_counted = true;
        self.accrued = waiting.uses * seconds(now.since(self.reported_at));
        self.accrued_at = now;
        Some(waiting.uses)
    }

    fn accrue(&mut self, now: Timestamp) {
        self.accrued += self.predicted * seconds(now.since(self.accrued_at));
        self.accrued_at = self.accrued_at.max(now);
    }

    /// Sets what it may use, in requests a second. Returns by how much its predicted use changes.
    pub(super) fn set_rate(&mut self, rate: f64, now: Timestamp) -> f64 {
        self.accrue(now);
        let before = self.predicted;
        self.rate = rate;
        self.predicted = self.demand.map_or(rate, |demand| demand.min(rate));
        self.predicted - before
    }

    /// How many tokens its Envoy holds at most: those it was given with its assignment, and those it has gained since, less
    /// what it has reported.
    pub(super) fn held(&self, now: Timestamp) -> f64 {
        match self.sent {
            Some(sent @ Assignment::Tokens { size, .. }) => {
                let gained = sent.rate().unwrap_or(0.0) * seconds(now.since(self.held_at));
                (self.held + gained).min(size.into())
            }
            _ => 0.0,
        }
    }

    /// Notes what it is told. A bucket of Envoy begins full, and keeps its ratio if it changes.
    pub(super) fn set_sent(&mut self, assignment: Assignment, now: Timestamp) {
        if let Assignment::Tokens { size, .. } = assignment {
            self.held = match self.sent {
                Some(Assignment::Tokens { size: before, .. }) => {
                    self.held(now) / f64::from(before) * f64::from(size)
                }
                _ => size.into(),
            };
            self.held_at = now;
        } else {
            // Its next bucket begins full, whatever it had.
            self.is_returner = false;
        }
        self.sent = Some(assignment);
    }

    /// What it is predicted to use, in requests a second.
    pub(super) const fn predicted(&self) -> f64 {
        self.predicted
    }

    /// Records a report. Returns by how much more it has used than predicted.
    pub(super) fn report(&mut self, allowed: f64, denied: f64, now: Timestamp) -> f64 {
        self.accrue(now);
        let span = now.since(self.reported_at);
        if span >= SHORTEST_SPAN {
            self.demand = Some((allowed + denied) / seconds(span));
        }
        if allowed + denied > 0.0 {
            self.busy_at = now;
        }
        if let Some(waiting) = &mut self.waiting
            && span >= SHORTEST_SPAN
        {
            waiting.uses = allowed / seconds(span);
        }
        if let Some(rate) = self.sent.and_then(Assignment::rate) {
            // What it could not hold as its bucket was full is not subtracted, so that it is never more.
            let gained = rate * seconds(now.since(self.held_at));
            self.held = (self.held + gained - allowed).max(0.0);
            self.held_at = now;
        }
        self.reported_at = now;
        allowed - std::mem::take(&mut self.accrued)
    }

    /// What an Envoy has used that came back: it tells of its last `elapsed` seconds only, rounded down, and not of those
    /// before in which nobody listened.
    pub(super) fn used_while_away(&self, allowed: u64, elapsed: u64, now: Timestamp) -> f64 {
        let told = count(elapsed) + 0.5;
        let span = seconds(now.since(self.reported_at));
        count(allowed) * (span / told).max(1.0)
    }

    /// Whether Envoy would begin with a full bucket if it were told of one.
    pub(super) const fn begins_full(&self) -> bool {
        !matches!(self.sent, Some(Assignment::Tokens { .. })) && !self.is_returner
    }
}
