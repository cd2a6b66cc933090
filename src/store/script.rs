//! The store that replicas share, as far as it can be told without a connection: what is asked of Redis or Valkey,
//! and what its answers mean.
//!
//! Everything is decided there in one step, by [`DECIDE`] on the server's own clock, which only compares and
//! adds. It returns the time and how each bucket stood; what a client is told is computed from that by the
//! functions that decide in memory, so that the answers are the same.

pub(super) mod tokens;

use std::io::Write;

use super::counter::{Counter, Kept};
use super::slots::{self, Occupancy};
use super::{
    Admission, BucketState, Charge, Mode, Outcome, Outcomes, StoreError, Wait, blocked, settle,
};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;

/// The script, in Lua. It defines two functions of keys and arguments, `decide` and `release`.
pub const DECIDE: &str = include_str!("script/decide.lua");

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How many arguments come before those of the buckets.
const LEAD: usize = 3;

/// What keys are called.
#[derive(Debug, Clone)]
pub struct KeyNames {
    /// What all keys begin with.
    pub prefix: String,
}

impl KeyNames {
    fn bucket(&self, fingerprint: Fingerprint, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push(format_args!("{prefix}:{{{}}}:{fingerprint}", fingerprint.partition()));
    }

    fn lease(&self, lease: LeaseId, partition: u16, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push(format_args!("{prefix}:{{{partition}}}:lease:{lease}"));
    }
}

/// Keys and arguments of a call of the script, in that order.
#[derive(Debug, Default)]
pub struct ScriptCall {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    keys: usize,
}

impl ScriptCall {
    /// Room for what so many buckets need as a rule, so that it is made once.
    fn of(buckets: usize) -> Self {
        let parts = buckets + 1;
        Self {
            bytes: Vec::with_capacity(parts * 128),
            ends: Vec::with_capacity(parts * 9),
            keys: 0,
        }
    }

    /// How many bytes all parts have.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in any part.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many of its parts are keys.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    /// Its parts: the keys, and then the arguments.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let part = self.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            part
        })
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a vector does not fail.
        let _ = self.bytes.write_fmt(text);
        self.ends.push(self.bytes.len());
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn number(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number));
    }

    fn span(&mut self, nanos: u64) {
        self.number(nanos / NANOS_PER_SECOND);
        self.number(nanos % NANOS_PER_SECOND);
    }

    fn time(&mut self, time: Option<Timestamp>) {
        match time {
            Some(time) => self.span(time.as_unix_nanos()),
            None => {
                self.text("");
                self.text("");
            }
        }
    }

    fn keys_end(&mut self) {
        self.keys = self.ends.len();
    }
}

/// A lease that a call takes where it takes slots.
#[derive(Debug, Clone, Copy)]
pub struct NewLease<'a> {
    /// Its name.
    pub lease: LeaseId,
    /// In which other partitions it will hold slots.
    pub other_partitions: &'a [u16],
}

/// Asks to decide all of these charges, on the server's clock unless a time is given. Whole microseconds
/// of it count. What is blocked is not asked about; where it denies, all others are only looked at.
///
/// The buckets must be of one partition where the server is a cluster.
pub fn decide(
    names: &KeyNames,
    charges: &[Charge<'_>],
    lease: Option<NewLease<'_>>,
    time: Option<Timestamp>,
) -> ScriptCall {
    let mut call = ScriptCall::of(charges.len());
    for charge in in_order(charges) {
        names.bucket(charge.fingerprint, &mut call);
    }
    let is_denied = charges.iter().any(Charge::is_denied);
    let lease = lease.filter(|_| !is_denied && charges.iter().any(takes_slots));
    if let Some(NewLease { lease, .. }) = lease {
        names.lease(lease, lease_partition(charges), &mut call);
    }
    call.keys_end();
    call.time(time);
    let counters = charges.iter().filter(|charge| is_counter(charge)).count();
    call.number(u64::try_from(counters).unwrap_or(u64::MAX));
    let slots = charges.iter().filter(|charge| is_of_slots(charge)).count();
    call.number(u64::try_from(slots).unwrap_or(u64::MAX));
    match lease {
        Some(NewLease { lease, other_partitions }) => {
            let other_partitions: Vec<_> = other_partitions.iter().map(u16::to_string).collect();
            call.push(format_args!("{lease}"));
            call.text(&other_partitions.join(" "));
        }
        None => {
            call.text("");
            call.text("");
        }
    }
    for charge in in_order(charges) {
        ask(charge, is_denied, &mut call);
    }
    call
}

/// The partition in which the lease of such charges is kept: that of the last concurrency bucket.
pub fn lease_partition(charges: &[Charge<'_>]) -> u16 {
    in_order(charges).last().map_or(0, |charge| charge.fingerprint.partition())
}

/// Asks to take back what was charged to the counters among these when they stood as `reply` tells. Refill since then is
/// not refunded again. A call that saw a stale full bucket in between is not corrected.
pub fn refund(
    names: &KeyNames,
    charges: &[Charge<'_>],
    reply: &ScriptReply,
    time: Option<Timestamp>,
) -> Option<ScriptCall> {
    let undone =
        |(charge, stood): (&Charge<'_>, &ObservedState)| match (Counter::of(charge.bucket)?, stood)
        {
            (counter, ObservedState { at, state: State::Counter(state) }) => {
                Some((charge.fingerprint, counter.undo(*state, *at, charge.hits)?))
            }
            _ => None,
        };
    let charged: Vec<_> = charges.iter().zip(&reply.states).filter_map(undone).collect();
    if charged.is_empty() {
        return None;
    }
    let mut call = ScriptCall::default();
    for (fingerprint, _) in &charged {
        names.bucket(*fingerprint, &mut call);
    }
    call.keys_end();
    call.time(time);
    call.number(u64::try_from(charged.len()).unwrap_or(u64::MAX));
    call.number(0);
    call.text("");
    call.text("");
    for (_, (op, spans)) in &charged {
        call.text(op);
        call.text("0");
        spans.iter().for_each(|span| call.span(*span));
    }
    Some(call)
}

/// Asks to charge a bucket that no policy has, to see whether that can be done, and to give it back. No key is left.
pub fn probe(names: &KeyNames) -> ScriptCall {
    let mut call = ScriptCall::default();
    let nobodys = Fingerprint::from_bytes([0; 16]);
    let steps = [("c", NANOS_PER_SECOND), ("g", u64::MAX)];
    for _ in steps {
        names.bucket(nobodys, &mut call);
    }
    call.keys_end();
    call.time(None);
    call.number(2);
    call.number(0);
    call.text("");
    call.text("");
    for (op, cost) in steps {
        call.text(op);
        call.text("0");
        call.span(cost);
        call.span(NANOS_PER_SECOND);
    }
    call
}

/// The key of a lease, which is there as long as it may hold slots.
pub fn lease(names: &KeyNames, lease: LeaseId) -> ScriptCall {
    let mut call = ScriptCall::default();
    names.lease(lease, lease.partition(), &mut call);
    call.keys_end();
    call
}

/// Asks to release a lease in a partition.
pub fn release(
    names: &KeyNames,
    lease: LeaseId,
    partition: u16,
    time: Option<Timestamp>,
) -> ScriptCall {
    let mut call = ScriptCall::default();
    names.lease(lease, partition, &mut call);
    call.keys_end();
    call.time(time);
    call.push(format_args!("{lease}"));
    call
}

/// Whether a charge takes slots where it is admitted.
pub fn takes_slots(charge: &Charge<'_>) -> bool {
    is_of_slots(charge) && charge.hits.charged() > 0
}

/// Whether a bucket has a key. One that is blocked has none: how it stands is known without the server.
pub const fn has_key(charge: &Charge<'_>) -> bool {
    !matches!(charge.bucket, Bucket::Blocked(_))
}

const fn is_counter(charge: &Charge<'_>) -> bool {
    Counter::of(charge.bucket).is_some()
}

const fn is_of_slots(charge: &Charge<'_>) -> bool {
    matches!(charge.bucket, Bucket::Concurrency(_))
}

/// Counters first: they are read together.
fn in_order<'c, 'a>(charges: &'c [Charge<'a>]) -> impl Iterator<Item = &'c Charge<'a>> {
    let slots = charges.iter().filter(|charge| is_of_slots(charge));
    charges.iter().filter(|charge| is_counter(charge)).chain(slots)
}

fn ask(charge: &Charge<'_>, is_denied: bool, call: &mut ScriptCall) {
    let (charged, given) = (charge.hits.charged(), charge.hits.given_back());
    let group = match charge.mode {
        Mode::Enforced => 0,
        Mode::Shadow(row) => u64::try_from(row).unwrap_or(u64::MAX).saturating_add(1),
    };
    let mut begin = |op| {
        call.text(op);
        call.number(group);
    };
    match charge.bucket.into() {
        Kept::Counter(counter) => {
            let (op, spans) = counter.ask(charge.hits, is_denied);
            begin(op);
            spans.iter().for_each(|span| call.span(*span));
        }
        Kept::Leases(bucket) => {
            begin(match (charged, given) {
                (_, 1..) => "q",
                (0, 0) => "l",
                _ if is_denied => "l",
                _ => "c",
            });
            // More than any bucket holds is as good as that.
            call.number(charged.clamp(1, u64::from(u32::MAX)));
            call.number(u64::from(bucket.slots().get()));
            call.span(bucket.ttl().get());
        }
        Kept::Nothing(_) => {}
    }
}

/// A part of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// Nothing is there.
    Nothing,
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a [u8]),
}

impl Field<'_> {
    fn number(self) -> Result<u64, StoreError> {
        match self {
            Self::Number(number) => u64::try_from(number).ok(),
            _ => None,
        }
        .ok_or(StoreError::Reply("a number is missing"))
    }
}

/// How a bucket stood before the call, and when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedState {
    /// The server's time.
    pub at: Timestamp,
    /// How it stood then.
    pub state: State,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// That of a counter.
    Counter(BucketState),
    /// How many slots were held, and when enough of them come back for the call.
    Slots(Occupancy, Timestamp),
    /// There is none: it is blocked.
    Blocked,
}

/// What the script answered.
#[derive(Debug, Clone)]
pub struct ScriptReply {
    /// The server's time, at which it decided.
    pub now: Timestamp,
    /// Whether it denied, and charged nothing.
    pub is_denied: bool,
    /// How each bucket stood, in the order of the charges.
    pub states: Vec<ObservedState>,
}

impl ScriptReply {
    /// Reads the fields of the answer to [`decide`].
    ///
    /// # Errors
    /// [`StoreError::Reply`] where these are not what the script returns for such charges.
    pub fn read(fields: &[Field<'_>], charges: &[Charge<'_>]) -> Result<Self, StoreError> {
        let field = |at: usize| {
            fields.get(at).copied().ok_or(StoreError::Reply("there is too little of it"))
        };
        let moment = |micros: u64| Timestamp::from_unix_nanos(micros.saturating_mul(1_000));
        let now = field(0)?.number()?.saturating_mul(NANOS_PER_SECOND);
        let now = Timestamp::from_unix_nanos(now.saturating_add(field(1)?.number()?));
        let is_denied = field(2)?.number()? != 0 || charges.iter().any(Charge::is_denied);
        let mut counter_at = LEAD;
        let counters = charges.iter().filter(|charge| is_counter(charge)).count();
        let mut slots_at = LEAD + counters;
        let states = charges.iter().map(|charge| {
            let state = match charge.bucket.into() {
                Kept::Counter(counter) => {
                    counter_at += 1;
                    State::Counter(counter.read(field(counter_at - 1)?))
                }
                Kept::Leases(_) => {
                    let [slots, last, freed] = [0, 1, 2].map(|at| field(slots_at + at));
                    slots_at += 3;
                    let last_expiry = moment(last?.number()?);
                    let held = Occupancy { slots: slots?.number()?, last_expiry };
                    State::Slots(held, moment(freed?.number()?))
                }
                Kept::Nothing(_) => State::Blocked,
            };
            Ok(ObservedState { at: now, state })
        });
        Ok(Self { now, is_denied, states: states.collect::<Result<_, StoreError>>()? })
    }

    /// What would be answered at that time to charges of which none [has a key](has_key).
    pub fn without_keys(charges: &[Charge<'_>], now: Timestamp) -> Self {
        let is_denied = charges.iter().any(Charge::is_denied);
        let states =
            charges.iter().map(|_| ObservedState { at: now, state: State::Blocked }).collect();
        Self { now, is_denied, states }
    }

    /// What each bucket says, and whether all of them together deny. The lease is taken where slots were.
    ///
    /// # Errors
    /// [`StoreError::Reply`] where the script has decided otherwise than memory would have.
    pub fn settle(
        &self,
        charges: &[Charge<'_>],
        lease: Option<LeaseId>,
        outcomes: &mut Outcomes,
    ) -> Result<Admission, StoreError> {
        outcomes.clear();
        let mut takes: Vec<_> = Vec::new();
        for (charge, stood) in charges.iter().zip(&self.states) {
            let (outcome, taken) = outcome_of(charge, stood)?;
            outcomes.push(outcome);
            takes.push(taken);
        }
        let is_denied = settle(charges, outcomes, |at, charge| {
            if let Some(takes) = takes.get_mut(at) {
                *takes = false;
            }
            self.peek(charge, at)
        });
        if is_denied != self.is_denied {
            return Err(StoreError::Reply("it decided otherwise than it should have"));
        }
        Ok(if is_denied {
            Admission::Denied
        } else {
            Admission::Admitted { lease: lease.filter(|_| takes.contains(&true)) }
        })
    }

    /// The bucket of a charge as it stood.
    fn peek(&self, charge: &Charge<'_>, at: usize) -> Outcome {
        match (charge.bucket.into(), self.states.get(at)) {
            (Kept::Counter(counter), Some(ObservedState { at, state: State::Counter(state) })) => {
                counter.peek(*state, *at)
            }
            (Kept::Leases(bucket), Some(ObservedState { at, state: State::Slots(held, _) })) => {
                slots::peek(bucket, *held, *at)
            }
            (Kept::Nothing(of), _) => blocked::peek(of, self.now),
            _ => {
                let remaining = charge.bucket.size();
                Outcome { wait: Wait::None, remaining, reset: Nanos::ZERO }
            }
        }
    }
}

/// What one bucket says, and whether it takes slots.
fn outcome_of(charge: &Charge<'_>, stood: &ObservedState) -> Result<(Outcome, bool), StoreError> {
    let now = stood.at;
    match (charge.bucket.into(), stood.state) {
        (Kept::Counter(counter), State::Counter(state)) => {
            Ok((counter.decide(state, now, charge.hits).0, false))
        }
        (Kept::Leases(bucket), State::Slots(held, freed)) => {
            let freed = |_| freed.since(now);
            let (outcome, taken) = slots::decide(bucket, held, now, charge.hits, freed);
            Ok((outcome, taken.is_some()))
        }
        (Kept::Nothing(of), State::Blocked) => Ok((blocked::decide(of, now, charge.hits), false)),
        _ => Err(StoreError::Reply("it is about buckets of another kind")),
    }
}

/// What a release has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Whether the lease still held slots.
    pub was_held: bool,
    /// In which other partitions it may hold some.
    pub other_partitions: Vec<u16>,
}

impl Released {
    /// Reads the fields of the answer to [`release`].
    ///
    /// # Errors
    /// [`StoreError::Reply`] where these are not what the script returns.
    pub fn read(fields: &[Field<'_>]) -> Result<Self, StoreError> {
        let [was_held, Field::Text(other_partitions)] = fields else {
            return Err(StoreError::Reply("two fields tell what a release has come to"));
        };
        let other_partitions = std::str::from_utf8(other_partitions).unwrap_or_default();
        let other_partitions =
            other_partitions.split(' ').filter_map(|partition| partition.parse().ok());
        Ok(Self { was_held: was_held.number()? != 0, other_partitions: other_partitions.collect() })
    }
}
