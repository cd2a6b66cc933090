//! One shard: the state of its buckets, with a hard bound on its token buckets. Leases are bounded for all shards
//! together, and are never evicted.

use hashbrown::HashTable;

use super::counter_entry::CounterEntry;
use super::holders::{Holder, Holders};
use super::leases::Leases;
use super::live_entries::LiveEntries;
use super::shrink::shrink;
use crate::clock::{Now, Timestamp};
use crate::descriptor::LeaseId;
use crate::limit::{Concurrency, OwedStates, TokenBucket};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::{Counter, StateKind};
use crate::store::slots::{self, Occupancy};
use crate::store::{BucketState, Charge, Outcome, blocked};

/// How many entries are compared to find one to evict.
const EVICTION_SAMPLE: usize = 16;

/// How many buckets of the table are searched for those entries first: a table that was large once may be nearly empty.
const MAX_BUCKETS_SEARCHED: usize = 256;

/// The index of a stored counter. It has 32 bits, so that a [`Change`] is small: no shard has as many places, since the
/// hash that chooses one has no more bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(u32);

impl Place {
    fn of(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Self)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a charge would change in the shard.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Change {
    /// Nothing: the charge only peeks, or the bucket does not admit.
    #[default]
    Nothing,
    /// The counter gets this state; the place at which it was found, if it is stored.
    State(BucketState, Option<Place>),
    /// This many slots are taken, until this time.
    Slots(u32, Timestamp),
}

/// The answer of one bucket to a charge.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) change: Change,
    /// Whether the state of a counter was written under another limit; see [`Shard::carry_over`].
    pub(super) is_carried: bool,
}

impl From<(Outcome, Change)> for Answer {
    fn from((outcome, change): (Outcome, Change)) -> Self {
        Self { outcome, change, is_carried: false }
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    counters: HashTable<CounterEntry>,
    holders: HashTable<(Fingerprint, Holders)>,
    /// The leases in all concurrency buckets together.
    lease_count: usize,
}

impl Shard {
    /// How many keys there are: counters and leases.
    pub(super) fn len(&self) -> usize {
        self.counters.len() + self.lease_count
    }

    /// How many counters there are, and how many leases.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.counters.len(), self.lease_count)
    }

    /// Adds the live entries to `into`, and those that may be owed.
    pub(super) fn copy_live(&self, owed: &OwedStates, now: Now, into: &mut LiveEntries) {
        into.counters.extend(self.counters.iter().filter(|entry| is_kept(entry, owed, now)));
        for (fingerprint, holders) in &self.holders {
            into.leases.extend(holders.live(now.steady).map(|holder| (*fingerprint, *holder)));
        }
    }

    /// As [`Self::decide`], of a charge of this token bucket.
    #[inline(always)]
    pub(super) fn decide_tokens(
        &self,
        bucket: &TokenBucket,
        charge: &Charge<'_>,
        now: Now,
    ) -> Answer {
        self.decide_counter(Counter::Tokens(bucket), charge, now)
    }

    /// The outcome of a charge in one bucket, and what the charge would change. Outlined, so that token buckets, which most
    /// buckets are, take less by [`Self::decide_tokens`].
    #[inline(never)]
    pub(super) fn decide(&self, charge: &Charge<'_>, now: Now) -> Answer {
        match charge.into() {
            StateKind::Counter(counter) => self.decide_counter(counter, charge, now),
            StateKind::Leases(bucket) => self.decide_slots(bucket, charge, now.steady).into(),
            StateKind::Stateless(of) => {
                (blocked::decide(of, now.wall, charge.hits), Change::Nothing).into()
            }
        }
    }

    #[inline(always)]
    fn decide_counter(&self, counter: Counter<'_>, charge: &Charge<'_>, now: Now) -> Answer {
        let (state, at) = self.state(charge.fingerprint);
        let carried = counter.carried_over(state, charge.changes, now);
        let is_carried = carried.is_some();
        let state = carried.unwrap_or(state);
        let (outcome, next) = counter.decide(state, now, charge.hits);
        let change = next.map_or(Change::Nothing, |next| Change::State(next, at));
        Answer { outcome, change, is_carried }
    }

    fn decide_slots(
        &self,
        bucket: &Concurrency,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> (Outcome, Change) {
        let none = Holders::default();
        let holders = self.holders(charge.fingerprint).unwrap_or(&none);
        let freed = |slots| holders.time_until_freed(now, slots);
        let held = holders.occupancy(now);
        let (outcome, taken) = slots::decide(bucket, held, now, charge.hits, freed);
        (outcome, taken.map_or(Change::Nothing, |(slots, until)| Change::Slots(slots, until)))
    }

    /// The outcome of the bucket without the charge. `change` is what [`Self::decide`] returned under the same lock: it
    /// saves looking the counter up again.
    #[inline(always)]
    pub(super) fn peek(&self, charge: &Charge<'_>, change: &Change, now: Now) -> Outcome {
        match charge.plain_tokens() {
            Some(bucket) => self.peek_counter(Counter::Tokens(bucket), charge, change, now),
            None => self.peek_other(charge, change, now),
        }
    }

    /// Outlined, as [`Self::decide`].
    #[inline(never)]
    fn peek_other(&self, charge: &Charge<'_>, change: &Change, now: Now) -> Outcome {
        match charge.into() {
            StateKind::Counter(counter) => self.peek_counter(counter, charge, change, now),
            StateKind::Leases(bucket) => {
                let holders = self.holders(charge.fingerprint);
                slots::peek(
                    bucket,
                    holders.map_or(Occupancy::default(), |holders| holders.occupancy(now.steady)),
                    now.steady,
                )
            }
            StateKind::Stateless(of) => blocked::peek(of, now.wall),
        }
    }

    #[inline(always)]
    fn peek_counter(
        &self,
        counter: Counter<'_>,
        charge: &Charge<'_>,
        change: &Change,
        now: Now,
    ) -> Outcome {
        let state = match change {
            Change::State(_, at) => self.state_at(*at),
            Change::Nothing | Change::Slots(..) => self.state(charge.fingerprint).0,
        };
        let state = counter.carried_over(state, charge.changes, now).unwrap_or(state);
        counter.peek(state, now)
    }

    /// The state of a counter, and its place if it is stored.
    #[inline(always)]
    pub(super) fn state(&self, fingerprint: Fingerprint) -> (BucketState, Option<Place>) {
        let at = self.place_of(fingerprint);
        (self.state_at(at), at)
    }

    /// The state of the counter at a place; without one, that of a counter that is not stored.
    #[inline(always)]
    fn state_at(&self, at: Option<Place>) -> BucketState {
        let entry = at.and_then(|at| self.counters.get_bucket(at.index()));
        entry.map_or(BucketState::NONE, CounterEntry::state)
    }

    #[inline(always)]
    fn place_of(&self, fingerprint: Fingerprint) -> Option<Place> {
        let name = fingerprint.short();
        let found =
            self.counters.find_bucket_index(fingerprint.hash64(), |entry| entry.name() == name);
        found.and_then(Place::of)
    }

    fn holders(&self, fingerprint: Fingerprint) -> Option<&Holders> {
        self.holders
            .find(fingerprint.hash64(), |(name, _)| *name == fingerprint)
            .map(|(_, holders)| holders)
    }

    /// Replaces a state that was written under another limit, whether or not the call is admitted: what was used is
    /// repaid at the new rate from now on.
    #[cold]
    pub(super) fn carry_over(&mut self, charge: &Charge<'_>, now: Now) {
        let (state, at) = self.state(charge.fingerprint);
        let carried = Counter::of(charge.bucket)
            .and_then(|counter| counter.carried_over(state, charge.changes, now));
        let entry = at.and_then(|at| self.counters.get_bucket_mut(at.index()));
        if let (Some(entry), Some(state)) = (entry, carried) {
            *entry = CounterEntry::new(entry.name(), state);
        }
    }

    /// Sets the state of a counter, which was found at the place `at`, if it is stored. Returns whether a live counter was
    /// evicted for it.
    #[inline(always)]
    pub(super) fn set(
        &mut self,
        fingerprint: Fingerprint,
        at: Option<Place>,
        state: BucketState,
        now: Now,
        max: usize,
    ) -> bool {
        let entry = CounterEntry::new(fingerprint.short(), state);
        match at.and_then(|at| self.counters.get_bucket_mut(at.index())) {
            Some(old) if old.name() == entry.name() => {
                *old = entry;
                false
            }
            _ => self.set_anywhere(fingerprint, entry, now, max),
        }
    }

    /// As [`Self::set`], for a counter that is not stored, or that another bucket of the same request has evicted or moved
    /// since it was found.
    #[cold]
    #[inline(never)]
    fn set_anywhere(
        &mut self,
        fingerprint: Fingerprint,
        entry: CounterEntry,
        now: Now,
        max: usize,
    ) -> bool {
        let at = self.place_of(fingerprint);
        if let Some(old) = at.and_then(|at| self.counters.get_bucket_mut(at.index())) {
            *old = entry;
            return false;
        }
        self.insert(entry, now, max)
    }

    /// Adds a counter that is not stored, unless its state has lapsed. If there are `max` already, one is evicted;
    /// returns whether that one was live.
    pub(super) fn insert(&mut self, entry: CounterEntry, now: Now, max: usize) -> bool {
        if entry.lapses_at(now) <= now.steady {
            return false;
        }
        let was_live = self.make_room(entry.hash64(), now, max);
        self.counters.insert_unique(entry.hash64(), entry, CounterEntry::hash64);
        was_live
    }

    /// Adds a counter that is not stored and whose state has lapsed, if there are fewer than `max`.
    pub(super) fn insert_lapsed(&mut self, entry: CounterEntry, max: usize) {
        if self.counters.len() < max {
            self.counters.insert_unique(entry.hash64(), entry, CounterEntry::hash64);
        }
    }

    /// Adds a holder to a concurrency bucket. Capacity for it has been reserved.
    pub(super) fn add_holder(
        &mut self,
        fingerprint: Fingerprint,
        holder: Holder,
        now: Timestamp,
        leases: &Leases,
    ) {
        self.drop_expired(fingerprint, now, leases);
        let hash = fingerprint.hash64();
        self.holders
            .entry(hash, |(name, _)| *name == fingerprint, |(name, _)| name.hash64())
            .or_insert_with(|| (fingerprint, Holders::default()))
            .into_mut()
            .1
            .add(holder);
        self.lease_count += 1;
        leases.add(holder.lease, fingerprint);
    }

    /// Removes the expired leases of one bucket.
    pub(super) fn drop_expired(
        &mut self,
        fingerprint: Fingerprint,
        now: Timestamp,
        leases: &Leases,
    ) {
        let found = self.holders.find_mut(fingerprint.hash64(), |(name, _)| *name == fingerprint);
        let Some((_, holders)) = found else { return };
        self.lease_count -= drop_expired(fingerprint, holders, now, leases);
    }

    /// Removes all expired leases. Returns how many.
    pub(super) fn drop_all_expired(&mut self, now: Timestamp, leases: &Leases) -> usize {
        let mut expired = 0;
        self.holders.retain(|(fingerprint, holders)| {
            expired += drop_expired(*fingerprint, holders, now, leases);
            !holders.is_empty()
        });
        self.lease_count -= expired;
        expired
    }

    /// Removes a lease from one bucket. Returns whether it still held slots there.
    pub(super) fn release(
        &mut self,
        fingerprint: Fingerprint,
        lease: LeaseId,
        now: Timestamp,
        leases: &Leases,
    ) -> bool {
        let found = self.holders.find_entry(fingerprint.hash64(), |(name, _)| *name == fingerprint);
        let Ok(mut entry) = found else { return false };
        let holder = entry.get_mut().1.remove(lease);
        if entry.get().1.is_empty() {
            entry.remove();
        }
        if holder.is_some() {
            self.lease_count -= 1;
            leases.free(1);
        }
        holder.is_some_and(|holder| holder.expires > now)
    }

    /// Makes room for one more counter, by evicting of a sample the one that lapses first. Returns whether that one was
    /// live; a lapsed one means the same as none.
    fn make_room(&mut self, near: u64, now: Now, max: usize) -> bool {
        if self.counters.len() < max {
            return false;
        }
        let soonest = |searched| sample(&self.counters, near, now, searched);
        match soonest(MAX_BUCKETS_SEARCHED).or_else(|| soonest(usize::MAX)) {
            Some((at, lapses_at)) => self.evict(at, lapses_at, now.steady),
            None => false,
        }
    }

    #[cold]
    fn evict(&mut self, at: usize, lapses_at: Timestamp, now: Timestamp) -> bool {
        let found = self.counters.get_bucket_entry(at);
        found.map(|entry| entry.remove()).is_ok() && lapses_at > now
    }

    /// Removes lapsed counters, except those that may be owed, and expired leases, and returns memory. Returns how many
    /// keys it removed.
    pub(super) fn sweep(&mut self, owed: &OwedStates, now: Now, leases: &Leases) -> usize {
        let before = self.len();
        self.counters.retain(|entry| is_kept(entry, owed, now));
        self.drop_all_expired(now.steady, leases);
        shrink(&mut self.counters, CounterEntry::hash64);
        shrink(&mut self.holders, |(name, _)| name.hash64());
        before - self.len()
    }
}

/// Whether a counter's state has not lapsed, or may be owed all the same.
fn is_kept(entry: &CounterEntry, owed: &OwedStates, now: Now) -> bool {
    let state = entry.state();
    let lapses_at = state.lapses_at(now);
    lapses_at > now.steady || owed.contains(state.interval(), lapses_at)
}

/// Removes the expired leases of a bucket, also from the index. Returns how many.
fn drop_expired(
    fingerprint: Fingerprint,
    holders: &mut Holders,
    now: Timestamp,
    leases: &Leases,
) -> usize {
    let expired = holders.remove_expired(now);
    for holder in &expired {
        leases.remove_bucket(holder.lease, fingerprint);
    }
    leases.free(expired.len());
    expired.len()
}

/// The counter that lapses first among [`EVICTION_SAMPLE`] from `near` on: its index, and when it lapses. The first
/// lapsed one ends the search, as do `searched` buckets.
fn sample(
    table: &HashTable<CounterEntry>,
    near: u64,
    now: Now,
    searched: usize,
) -> Option<(usize, Timestamp)> {
    let buckets = table.num_buckets();
    let start = usize::try_from(near).unwrap_or(0) % buckets.max(1);
    let mut soonest: Option<(usize, Timestamp)> = None;
    let mut sampled = 0;
    for at in (start..buckets).chain(0..start).take(searched) {
        let until = table.get_bucket(at).map(|entry| entry.lapses_at(now));
        let Some(until) = until else { continue };
        if soonest.is_none_or(|(_, best)| until < best) {
            soonest = Some((at, until));
        }
        sampled += 1;
        if sampled == EVICTION_SAMPLE || until <= now.steady {
            break;
        }
    }
    soonest
}
