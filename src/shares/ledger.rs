//! All holders and the buckets that they share.

mod assign;
mod component;
mod lists;
mod membership;
mod rates;
mod replicas;
mod sizes;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

pub use self::lists::Share;
use self::replicas::Replicas;
use super::holder::{HolderId, Place};
use super::holders::Holders;
use super::shared_bucket::{DueCharge, SharedBucket};
use super::terms::{Inexpressible, Row, WhyFree};
use super::{Action, BucketId, Order, StreamId, Usage, count};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::Hits;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;

/// How long the share of a stream that has ended is kept for its Envoy, and how long after its start a ledger gives
/// newcomers little: an Envoy that lives is back at its next report, within 5 seconds.
const GRACE: Nanos = Nanos::from_secs(6);

/// How a ledger divides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How long assignments last. A holder that has not reported for as long has none any more.
    pub ttl: Nanos,
    /// How long a holder may be without a request before its Envoy is told to forget it.
    pub idle: Nanos,
    /// The most bucket ids of one stream.
    pub max_ids: usize,
    /// The most holders.
    pub max_holders: usize,
    /// Whether other replicas may charge the same buckets.
    pub is_shared: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Nanos::from_secs(20),
            idle: Nanos::from_secs(60),
            max_ids: 50_000,
            max_holders: 500_000,
            is_shared: false,
        }
    }
}

/// A bucket id that is one of these is one holder.
type Name = (Arc<str>, Arc<BucketId>);

/// The holders of a stream.
#[derive(Debug)]
struct Stream {
    domain: Arc<str>,
    holders: HashMap<Arc<BucketId>, HolderId>,
}

/// What happened that is to be counted or logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Requests that an Envoy has reported of a row: let through, and denied.
    Used(Arc<Row>, [u64; 2]),
    /// Requests of a bucket id that nothing limits: let through, and denied.
    Free(WhyFree, [u64; 2]),
    /// A holder meets a row with something that no assignment can say.
    Inexpressible(Arc<Row>, Inexpressible),
    /// A bucket id was not taken: there are too many.
    TooMany,
}

/// All holders, and the buckets that they share. Times are steady, unless they are said to be otherwise.
#[derive(Debug)]
pub struct Ledger {
    settings: Settings,
    started_at: Timestamp,
    /// Whether the time is over in which those come back who had shares before the start.
    has_settled: bool,
    /// The other replicas that share the store.
    replicas: Replicas,
    streams: HashMap<StreamId, Stream>,
    holders: Holders,
    gone: HashMap<Name, SmallVec<[HolderId; 1]>>,
    buckets: HashMap<Fingerprint, SharedBucket>,
    /// Holders that are to be answered.
    touched: HashSet<HolderId>,
    /// Buckets to be divided anew.
    moved: HashSet<Fingerprint>,
    /// Nothing is over before this.
    next_expiry: Timestamp,
    /// Whether charges are looked for in all buckets, and not only in those that are to be divided.
    is_tick: bool,
    /// What Envoys have reported by row: let through, and denied.
    used: HashMap<Arc<Row>, [u64; 2]>,
    events: Vec<Event>,
}

impl Ledger {
    /// A ledger without holders, begun at `now`.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            settings,
            started_at: now,
            has_settled: false,
            replicas: Replicas::default(),
            streams: HashMap::new(),
            holders: Holders::default(),
            gone: HashMap::new(),
            buckets: HashMap::new(),
            touched: HashSet::new(),
            moved: HashSet::new(),
            next_expiry: now,
            is_tick: false,
            used: HashMap::new(),
            events: Vec::new(),
        }
    }

    /// How many streams are open, and how many holders there are.
    pub fn counts(&self) -> [usize; 2] {
        [self.streams.len(), self.holders.len()]
    }

    /// What has happened since this was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.used.drain().map(|(row, used)| Event::Used(row, used)));
        events
    }

    /// Opens a stream for a domain.
    pub fn open(&mut self, stream: StreamId, domain: Arc<str>) {
        self.streams.entry(stream).or_insert_with(|| Stream { domain, holders: HashMap::new() });
    }

    /// Takes the report of a stream that is open, under the policies that [`Self::reload`] was told of last. Returns what is told
    /// of bucket ids that are not taken, since there are too many; what becomes of the others is for [`Self::assign`] to say.
    pub fn report<'p>(
        &mut self,
        stream: StreamId,
        usages: impl IntoIterator<Item = Usage>,
        policy_of: impl Fn(&str) -> Option<&'p Policy>,
        now: Now,
    ) -> Vec<Action> {
        let Some(domain) = self.streams.get(&stream).map(|of| Arc::clone(&of.domain)) else {
            return Vec::new();
        };
        let policy = policy_of(&domain);
        let mut refused = Vec::new();
        for usage in usages {
            let (allowed, denied) = (usage.allowed, usage.denied);
            let known = self.streams.get(&stream).and_then(|of| of.holders.get(&usage.id)).copied();
            let holder = match known {
                Some(known) => {
                    let more = self.holders.get_mut(&known).map_or(0.0, |holder| {
                        let more = holder.report(count(allowed), count(denied), now.steady);
                        if holder.is_counted_elsewhere() { 0.0 } else { more }
                    });
                    self.correct(known, more, now.steady);
                    if self.holders.get(&known).is_some_and(|of| !of.terms.hold_at(now.wall)) {
                        self.update_terms(known, policy, now);
                    }
                    known
                }
                None => match self.begin(stream, &domain, usage, policy, now) {
                    Ok(new) => new,
                    Err(id) => {
                        self.events.push(Event::TooMany);
                        // Else it would come with every report.
                        refused.push(Action { id, order: Order::Abandon });
                        continue;
                    }
                },
            };
            self.count_use(holder, [allowed, denied]);
            self.touched.insert(holder);
        }
        refused
    }

    /// Ends a stream. Its shares are kept for a while, since its Envoy limits by them until it is back.
    pub fn close(&mut self, stream: StreamId, now: Timestamp) {
        let Some(Stream { domain, holders }) = self.streams.remove(&stream) else { return };
        for (id, of) in holders {
            self.touched.remove(&of);
            let Some(holder) = self.holders.get_mut(&of) else { continue };
            holder.place = Place::Gone(now.after(GRACE));
            self.next_expiry = self.next_expiry.min(now.after(GRACE));
            self.gone.entry((Arc::clone(&domain), id)).or_default().push(of);
        }
    }

    /// Ends all streams.
    pub fn close_all(&mut self, now: Timestamp) {
        let all: Vec<_> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|stream| self.close(stream, now));
        self.moved.extend(self.buckets.keys());
    }

    /// Finds the terms of all holders again: other policies are in force.
    pub fn reload<'p>(&mut self, policy_of: impl Fn(&str) -> Option<&'p Policy>, now: Now) {
        let all: Vec<_> = self.holders.iter().map(|(id, _)| id).collect();
        for holder in all {
            let Some(of) = self.holders.get(&holder) else { continue };
            let policy = policy_of(&Arc::clone(&of.domain));
            self.update_terms(holder, policy, now);
        }
    }

    /// The least that is left in the buckets of a holder, at least 0.
    fn left(&mut self, holder: HolderId, now: Timestamp) -> f64 {
        let Some(of) = self.holders.get(&holder) else { return 0.0 };
        let met = of.terms.enforced().filter_map(|met| {
            self.buckets.get_mut(&met.fingerprint).map(|bucket| bucket.left(now))
        });
        met.fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Charges the buckets of a holder for what it has used beyond what was predicted.
    fn correct(&mut self, holder: HolderId, more: f64, now: Timestamp) {
        let Some(of) = self.holders.get(&holder) else { return };
        for met in &of.terms.met {
            if let Some(bucket) = self.buckets.get_mut(&met.fingerprint) {
                bucket.predict(0.0, now);
                bucket.correct(more);
            }
        }
    }

    fn count_use(&mut self, holder: HolderId, used: [u64; 2]) {
        let Some(of) = self.holders.get(&holder) else { return };
        if used == [0, 0] {
            return;
        }
        if let Some(why) = of.terms.why_free {
            self.events.push(Event::Free(why, used));
        }
        for row in &of.terms.rows {
            let of_row = self.used.entry_ref(row).or_default();
            for (sum, count) in of_row.iter_mut().zip(used) {
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// Ends what is over at `now`: the shares of Envoys that did not come back, and holders that report no more. Then the next
    /// [`Self::charges`] are those of all buckets; so this is called ten times a second.
    pub fn expire(&mut self, now: Timestamp) {
        self.is_tick = true;
        if !self.has_settled && now.since(self.started_at) >= GRACE {
            self.has_settled = true;
            self.moved.extend(self.buckets.keys());
            self.touched.extend(
                self.holders.iter().filter(|(_, of)| of.stream().is_some()).map(|(id, _)| id),
            );
        }
        self.end_waiting(now);
        if now < self.next_expiry {
            return;
        }
        // Who begins from now on is not over before this, and a report only puts off the end of a holder.
        self.next_expiry = now.after(self.settings.ttl);
        let mut over = Vec::new();
        for (id, holder) in self.holders.iter() {
            let end = match holder.place {
                Place::Gone(until) => until,
                Place::Stream(_) => {
                    holder.reported_at.after(self.settings.ttl).after(Nanos::new(1))
                }
            };
            if end <= now {
                over.push(id);
            } else {
                self.next_expiry = self.next_expiry.min(end);
            }
        }
        for holder in over {
            self.remove(holder, now);
        }
    }

    /// The charges of buckets that are about to be divided, and after [`Self::expire`] all that are due at `now`.
    pub fn charges(&mut self, now: Timestamp) -> Vec<DueCharge> {
        let (holders, touched) = (&self.holders, &self.touched);
        let met =
            touched.iter().filter_map(|holder| holders.get(holder)).flat_map(|of| &of.terms.met);
        let urgent: HashSet<_> =
            met.map(|met| met.fingerprint).chain(self.moved.iter().copied()).collect();
        let mut due = Vec::new();
        if std::mem::take(&mut self.is_tick) {
            self.buckets.retain(|name, bucket| {
                due.extend(bucket.due_charge(*name, urgent.contains(name), now));
                !bucket.is_done(now)
            });
        } else {
            for name in urgent {
                let bucket = self.buckets.get_mut(&name);
                due.extend(bucket.and_then(|bucket| bucket.due_charge(name, true, now)));
            }
        }
        due
    }

    /// Records that a charge was made, at `now`: the bucket is full again after `reset`.
    pub fn charged(&mut self, bucket: Fingerprint, hits: Hits, reset: Nanos, now: Timestamp) {
        let used_elsewhere = self.replicas.claims_of(bucket).map(|claim| claim.used).sum();
        let Some(of) = self.buckets.get_mut(&bucket) else { return };
        if of.charged(hits, reset, used_elsewhere, now) {
            self.moved.insert(bucket);
        }
    }
}
