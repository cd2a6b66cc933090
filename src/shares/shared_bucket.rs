//! A bucket of the policy that holders share.

use std::sync::Arc;

use hashbrown::HashSet;

use super::claims::BucketClaim;
use super::holder::HolderId;
use super::terms::{Met, Row};
use super::{REPORT_INTERVAL, count, seconds, whole};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::Hits;
use crate::limit::{LimitChanges, TokenBucket};
use crate::policy::fingerprint::Fingerprint;

/// How often a bucket is charged at least and at most: a tenth of the time in which it fills, within these bounds.
const SHORTEST_TICK: Nanos = Nanos::new(100_000_000);
const LONGEST_TICK: Nanos = Nanos::from_secs(1);

/// Over how many seconds tokens are handed out that might be held and are not: as long as an assignment lasts.
const OUTAGE: f64 = 20.0;

/// The part of its rate that a bucket gives away however much it owes, so that demand is still seen.
const LEAST_SHARED: f64 = 0.05;

/// What the holders of a bucket want is known to other replicas as long as it is not above what these were told by more.
const ABOUT: f64 = 1.05;

/// Takings of others below this part of the rate are rounding.
const LEAST_TAKEN: f64 = 0.001;

/// Takings of others that change by less than this part of the rate change no share at once, nor do tokens that are not held
/// and are less than this part of the size.
const LEAST_CHANGE: f64 = 0.05;

/// Over how many seconds the takings of others are averaged.
const TAKEN_SPAN: f64 = 2.0;

/// A charge that is to be made in the store, also of a bucket that then owes something.
#[derive(Debug, Clone)]
pub struct DueCharge {
    /// The bucket.
    pub fingerprint: Fingerprint,
    /// Its limit.
    pub limit: TokenBucket,
    /// When the limit changed.
    pub changes: Option<Arc<LimitChanges>>,
    /// How much; 0 hits to see what is left.
    pub hits: Hits,
}

/// What is left in a bucket, and who meets it.
#[derive(Debug)]
pub(super) struct SharedBucket {
    limit: TokenBucket,
    /// Its rate, in tokens a second.
    rate: f64,
    changes: Option<Arc<LimitChanges>>,
    pub(super) row: Arc<Row>,
    pub(super) is_shadow: bool,
    pub(super) holders: HashSet<HolderId>,
    /// How many holders other replicas have.
    pub(super) holders_elsewhere: f64,
    /// How many tokens the store had, below 0 if it owed some, and when; `None` until the store has told.
    told: Option<(f64, Timestamp)>,
    /// What was used since, and is still to be charged; below 0 if too much was charged.
    uncharged: f64,
    /// How many tokens would be left if all that is used were charged at once: a bucket that is full stays full while it is
    /// used no faster than it refills.
    continuous: f64,
    /// Until when both are known.
    accrued_at: Timestamp,
    /// What holders are predicted to use, in tokens a second.
    predicted: f64,
    /// What others take, in tokens a second, averaged over [`TAKEN_SPAN`].
    taken: f64,
    /// The same when it was divided last.
    taken_when_divided: f64,
    /// Since when it is watched what others take.
    watched_since: Option<Timestamp>,
    /// What the holders have of it, for other replicas; `used` apart.
    pub(super) claim: BucketClaim,
    /// What they wanted when other replicas were told last, in requests a second, and since when they were told of so much.
    announced: Option<(f64, Timestamp)>,
    /// Whether its holders will get more once other replicas know what they want.
    pub(super) is_growing: bool,
    next_charge: Timestamp,
}

impl SharedBucket {
    pub(super) fn new(met: &Met, row: Arc<Row>, now: Timestamp) -> Self {
        Self {
            limit: met.limit,
            rate: rate_of(met.limit),
            changes: met.changes.clone(),
            row,
            is_shadow: met.is_shadow,
            holders: HashSet::new(),
            holders_elsewhere: 0.0,
            told: None,
            uncharged: 0.0,
            continuous: f64::from(met.limit.size().get()),
            accrued_at: now,
            predicted: 0.0,
            taken: 0.0,
            taken_when_divided: 0.0,
            watched_since: None,
            claim: BucketClaim::default(),
            announced: None,
            is_growing: false,
            next_charge: now,
        }
    }

    /// Takes over the limit that the policy has now. Returns whether it is another one.
    pub(super) fn update(&mut self, met: &Met, row: Arc<Row>, now: Timestamp) -> bool {
        let is_other = self.limit != met.limit || self.is_shadow != met.is_shadow;
        if is_other {
            self.accrue(now);
            // What is left under the new limit is for the store to say.
            (self.told, self.taken, self.next_charge) = (None, 0.0, now);
            self.watched_since = None;
        }
        (self.limit, self.rate) = (met.limit, rate_of(met.limit));
        self.changes = met.changes.clone();
        (self.row, self.is_shadow) = (row, met.is_shadow);
        is_other
    }

    pub(super) fn size(&self) -> f64 {
        f64::from(self.limit.size().get())
    }

    /// How many holders there are, also of other replicas; at least 1.
    pub(super) fn holders_everywhere(&self) -> f64 {
        (count(u64::try_from(self.holders.len()).unwrap_or(u64::MAX)) + self.holders_elsewhere)
            .max(1.0)
    }

    /// Tokens a second.
    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// What requests that are decided one by one take, in tokens a second.
    pub(super) fn taken(&self) -> f64 {
        if self.taken < self.rate() * LEAST_TAKEN { 0.0 } else { self.taken }
    }

    /// What its holders have of it, for other replicas.
    pub(super) fn claim(&self) -> BucketClaim {
        BucketClaim { used: self.predicted, ..self.claim }
    }

    /// Notes that other replicas were told that its holders want so much, in requests a second.
    pub(super) fn announced(&mut self, wants: f64, now: Timestamp) {
        let known = self.announced.filter(|(known, _)| wants <= known * ABOUT);
        self.announced = Some((wants, known.map_or(now, |(_, since)| since)));
    }

    /// Notes that its holders may have whatever they want, as if other replicas had known it since then.
    pub(super) fn set_announced(&mut self, since: Timestamp) {
        self.announced = Some((f64::INFINITY, since));
    }

    /// Whether other replicas have known for `span` that the holders want so much, in requests a second.
    pub(super) fn is_announced(&self, wants: f64, span: Nanos, now: Timestamp) -> bool {
        self.announced
            .is_some_and(|(known, since)| wants <= known * ABOUT && now.since(since) >= span)
    }

    /// Whether it is to be divided anew since other replicas have known for `span` what its holders want.
    pub(super) fn may_grow(&self, span: Nanos, now: Timestamp) -> bool {
        self.is_growing && self.is_announced(self.claim.wants(), span, now)
    }

    /// Whether the store has told what is left.
    pub(super) const fn is_known(&self) -> bool {
        self.told.is_some()
    }

    fn accrue(&mut self, now: Timestamp) {
        // A division asks many times at one time.
        if now <= self.accrued_at {
            return;
        }
        let span = seconds(now.since(self.accrued_at));
        self.uncharged += self.predicted * span;
        let gained = (self.rate() - self.predicted) * span;
        self.continuous = (self.continuous + gained).min(self.size());
        self.accrued_at = now;
    }

    /// Changes what is predicted, in tokens a second.
    pub(super) fn predict(&mut self, more: f64, now: Timestamp) {
        self.accrue(now);
        self.predicted = (self.predicted + more).max(0.0);
        if self.holders.is_empty() {
            self.predicted = 0.0;
        }
        if self.predicted > 0.0 {
            self.next_charge = self.next_charge.min(now.after(self.tick()));
        }
    }

    /// Takes tokens that were used beyond what was predicted; gives some back if there are less than 0.
    pub(super) fn correct(&mut self, tokens: f64) {
        self.uncharged += tokens;
        self.continuous = (self.continuous - tokens).min(self.size());
    }

    /// How many tokens are left at `now`; below 0 if some are owed. Full, as long as the store has not told.
    ///
    /// The use of one tick is charged at its end. So a bucket that is full is told to have less by that, which others then
    /// cannot take as well. If there was no charge for longer, what was used while the bucket refilled is not owed.
    pub(super) fn left(&mut self, now: Timestamp) -> f64 {
        self.accrue(now);
        let charged_at_last = self.refilled(now) - self.uncharged;
        let used_in_tick = self.predicted * seconds(self.tick());
        charged_at_last.max(self.continuous - used_in_tick).min(self.size())
    }

    /// How often it is charged.
    fn tick(&self) -> Nanos {
        let tick = Nanos::new(self.limit.fill_time().get() / 10);
        tick.clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    /// What the store has by `now` if nobody else takes any of it.
    fn refilled(&self, now: Timestamp) -> f64 {
        let Some((left, at)) = self.told else { return self.size() };
        (left + self.rate() * seconds(now.since(at))).min(self.size())
    }

    /// The rate that its holders may have together, in tokens a second: its own, and what it owes, or has beyond what they may
    /// hold if all hold the same (`equal`), over the time until the next reports. What they do not hold of that, since they hold
    /// `held` tokens at most, comes over a longer time: while this server is away, they go on with the rate that they have.
    pub(super) fn shared_rate(&mut self, equal: f64, held: f64, now: Timestamp) -> f64 {
        let (left, rate) = (self.left(now), self.rate());
        self.taken_when_divided = self.taken();
        let beyond = (left - equal.max(held)).max(0.0);
        let missing = left - held - beyond;
        let missing = if missing > self.size() * LEAST_CHANGE { missing } else { 0.0 };
        let more = (beyond + left.min(0.0)) / REPORT_INTERVAL + missing / OUTAGE;
        (rate + more).max(rate * LEAST_SHARED)
    }

    /// The fastest that it may ever be shared, in tokens a second.
    pub(super) fn fastest(&self) -> f64 {
        self.rate() + self.size() / REPORT_INTERVAL
    }

    /// What is to be charged so that the store has what is left; below 0 if it is to be given back.
    fn uncharged(&mut self, now: Timestamp) -> f64 {
        let left = self.left(now);
        self.refilled(now) - left
    }

    /// The charge to make now, if it is time for one or `is_urgent`. Without a charge the store is still asked what is left,
    /// as long as the bucket has holders.
    pub(super) fn due_charge(
        &mut self,
        fingerprint: Fingerprint,
        is_urgent: bool,
        now: Timestamp,
    ) -> Option<DueCharge> {
        if !is_urgent && self.next_charge > now && self.is_known() {
            return None;
        }
        let uncharged = self.uncharged(now);
        let tokens = whole(uncharged.abs());
        let hits = match tokens {
            0 if self.holders.is_empty() && self.is_known() => return None,
            0 => Hits::PEEK,
            tokens if uncharged > 0.0 => Hits::charge(tokens),
            tokens => Hits::give_back(tokens),
        };
        // A bucket that nobody uses is only looked at, for what others take.
        let is_used = self.predicted > 0.0 || hits != Hits::PEEK;
        self.next_charge = now.after(if is_used { self.tick() } else { LONGEST_TICK });
        let (limit, changes) = (self.limit, self.changes.clone());
        Some(DueCharge { fingerprint, limit, changes, hits })
    }

    /// Records a charge that was made: until when the bucket fills, and when that was told. The holders of other replicas use
    /// `used_elsewhere` tokens a second. Returns whether the bucket should be divided anew: others take more or less than when
    /// it was divided, or it was refilled.
    pub(super) fn charged(
        &mut self,
        hits: Hits,
        reset: Nanos,
        used_elsewhere: f64,
        now: Timestamp,
    ) -> bool {
        let made = count(hits.charged()) - count(hits.given_back());
        let left = self.size() - seconds(reset) * self.rate();
        let uncharged = self.uncharged(now) - made;
        let mut is_refilled = false;
        // A bucket that is full after something was given back had more than fits: what it had before is not known.
        if hits.given_back() == 0 || reset > Nanos::ZERO {
            // What others have taken meanwhile, or, below 0, given.
            let missing = self.refilled(now) - (left + made).min(self.size());
            is_refilled = missing < -1.0 - self.size() * LEAST_CHANGE;
            let span = self.told.map_or(0.0, |(_, at)| seconds(now.since(at)));
            if span > 0.0 {
                self.average_taken((missing / span).max(0.0) - used_elsewhere, span, now);
            }
        }
        self.watched_since.get_or_insert(now);
        (self.told, self.uncharged) = (Some((left, now)), uncharged);
        self.continuous = (left - uncharged).min(self.size());
        let change = (self.taken() - self.taken_when_divided).abs();
        is_refilled || change > self.rate() * LEAST_CHANGE
    }

    /// Adds the takings of others over the last `span` seconds, in tokens a second, to their average.
    fn average_taken(&mut self, rate: f64, span: f64, now: Timestamp) {
        // An average of all that was seen, until that is longer than what it is to cover.
        let watched = self.watched_since.map_or(span, |since| seconds(now.since(since)));
        let weight = (span / watched.min(TAKEN_SPAN).max(span)).min(1.0);
        // Below 0 for a moment if the holders of other replicas use less than was predicted.
        self.taken += (rate - self.taken) * weight;
    }

    /// Whether nobody meets it and nothing is to be charged.
    pub(super) fn is_done(&mut self, now: Timestamp) -> bool {
        self.holders.is_empty() && self.uncharged(now).abs() < 1.0
    }
}

/// The rate of a limit, in tokens a second.
fn rate_of(limit: TokenBucket) -> f64 {
    1.0 / seconds(limit.interval()).max(1e-9)
}
