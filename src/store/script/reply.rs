//! What the script's answers mean.

use super::{NANOS_PER_SECOND, is_counter};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::store::counter::StateKind;
use crate::store::slots::{self, Occupancy};
use crate::store::{
    Admission, BucketState, Charge, Outcome, Outcomes, StoreError, Wait, blocked, settle,
};

/// How many arguments come before those of the buckets.
const HEADER_FIELDS: usize = 3;

/// A part of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// Nothing is there.
    Nil,
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
    /// Reads the fields of the answer to [`super::decide`].
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
        let mut counter_at = HEADER_FIELDS;
        let counters = charges.iter().filter(|charge| is_counter(charge)).count();
        let mut slots_at = HEADER_FIELDS + counters;
        let states = charges.iter().map(|charge| {
            let state = match charge.bucket.into() {
                StateKind::Counter(counter) => {
                    counter_at += 1;
                    State::Counter(counter.read(field(counter_at - 1)?))
                }
                StateKind::Leases(_) => {
                    let [slots, last, freed] = [0, 1, 2].map(|at| field(slots_at + at));
                    slots_at += 3;
                    let last_expiry = moment(last?.number()?);
                    let held = Occupancy { slots: slots?.number()?, last_expiry };
                    State::Slots(held, moment(freed?.number()?))
                }
                StateKind::Stateless(_) => State::Blocked,
            };
            Ok(ObservedState { at: now, state })
        });
        Ok(Self { now, is_denied, states: states.collect::<Result<_, StoreError>>()? })
    }

    /// What would be answered at that time to charges of which none [has a key](super::has_key).
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
            (StateKind::Counter(counter), Some(ObservedState { at, state: State::Counter(state) })) => {
                counter.peek(*state, *at)
            }
            (StateKind::Leases(bucket), Some(ObservedState { at, state: State::Slots(held, _) })) => {
                slots::peek(bucket, *held, *at)
            }
            (StateKind::Stateless(of), _) => blocked::peek(of, self.now),
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
        (StateKind::Counter(counter), State::Counter(state)) => {
            Ok((counter.decide(state, now, charge.hits).0, false))
        }
        (StateKind::Leases(bucket), State::Slots(held, freed)) => {
            let freed = |_| freed.since(now);
            let (outcome, taken) = slots::decide(bucket, held, now, charge.hits, freed);
            Ok((outcome, taken.is_some()))
        }
        (StateKind::Stateless(of), State::Blocked) => Ok((blocked::decide(of, now, charge.hits), false)),
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
    /// Reads the fields of the answer to [`super::release`].
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
