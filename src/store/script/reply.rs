//! Replies of the script.

use super::{NANOS_PER_SECOND, is_counter};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::LeaseId;
use crate::store::counter::StateKind;
use crate::store::field::Field;
use crate::store::slots::{self, Occupancy};
use crate::store::{
    Admission, BucketState, Charge, Outcome, Outcomes, StoreError, Wait, are_in_order, blocked,
    settle, window,
};

/// How many fields come before those of the buckets: two of the time, and whether the request is denied.
const HEADER_FIELDS: usize = 3;

/// The state of a bucket before the call, and the time of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedState {
    /// The time, by the server's clock.
    pub at: Timestamp,
    /// The state at that time.
    pub state: State,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The state of a counter.
    Counter(BucketState),
    /// The occupancy of a concurrency bucket, and when enough slots will have expired for the call.
    Slots(Occupancy, Timestamp),
    /// A blocked bucket has no state.
    Blocked,
}

/// The reply to [`super::decide`].
#[derive(Debug, Clone)]
pub struct ScriptReply {
    /// The time of the decision, by the server's clock.
    pub now: Timestamp,
    /// Whether the request was denied, and nothing charged but what always is; `None` if that depends on quotas in several
    /// partitions, which do not know of one another.
    pub is_denied: Option<bool>,
    /// The states of the buckets before the call, in the order of the charges.
    pub states: Vec<ObservedState>,
}

impl ScriptReply {
    /// Reads the fields of a reply to a call with these charges.
    ///
    /// # Errors
    /// [`StoreError::Reply`] if the script returns no such fields for these charges.
    pub fn read(fields: &[Field<'_>], charges: &[Charge<'_>]) -> Result<Self, StoreError> {
        let field =
            |at: usize| fields.get(at).copied().ok_or(StoreError::Reply("fields are missing"));
        let moment = |micros: u64| Timestamp::from_unix_nanos(micros.saturating_mul(1_000));
        let now = field(0)?.number()?.saturating_mul(NANOS_PER_SECOND);
        let now = Timestamp::from_unix_nanos(now.saturating_add(field(1)?.number()?));
        let is_denied = field(2)?.number()? != 0 || charges.iter().any(Charge::is_denied);
        let mut counter_at = HEADER_FIELDS;
        let counters = charges.iter().filter(|charge| is_counter(charge)).count();
        let mut slots_at = HEADER_FIELDS + counters;
        let states = charges.iter().map(|charge| {
            let state = match charge.into() {
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
        let is_denied = Some(is_denied);
        Ok(Self { now, is_denied, states: states.collect::<Result<_, StoreError>>()? })
    }

    /// Reads a reply to a call of [`super::charge`] that made these charges: lines with the seconds and the microseconds
    /// of the time, and with the states.
    ///
    /// # Errors
    /// [`StoreError::Reply`] if the script returns no such lines for these charges.
    pub fn read_charged(text: &[u8], charges: &[Charge<'_>]) -> Result<Self, StoreError> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut line = || lines.next().ok_or(StoreError::Reply("lines are missing"));
        let number = |text: &[u8]| {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
            number.ok_or(StoreError::Reply("a line is not a number"))
        };
        let seconds = number(line()?)?.saturating_mul(NANOS_PER_SECOND);
        let now = seconds.saturating_add(number(line()?)?.saturating_mul(1_000));
        let now = Timestamp::from_unix_nanos(now);
        let mut states = Vec::with_capacity(charges.len());
        for charge in charges {
            let StateKind::Counter(counter) = charge.into() else {
                return Err(StoreError::Reply("only counters are charged alone"));
            };
            // What the state tells behind when it is full is for the script.
            let full = line()?.split(|byte| *byte == b' ').next().unwrap_or_default();
            states.push(ObservedState {
                at: now,
                state: State::Counter(counter.read(Field::Text(full))),
            });
        }
        Ok(Self { now, is_denied: Some(false), states })
    }

    /// The reply to charges of which none [has a key](super::has_key), without a call.
    pub fn without_keys(charges: &[Charge<'_>], now: Timestamp) -> Self {
        let is_denied = Some(charges.iter().any(Charge::is_denied));
        let states =
            charges.iter().map(|_| ObservedState { at: now, state: State::Blocked }).collect();
        Self { now, is_denied, states }
    }

    /// The outcome of each charge, and whether the request is admitted, with the lease if it took slots.
    ///
    /// # Errors
    /// [`StoreError::Reply`] if a memory store in these states would have decided otherwise.
    pub fn settle(
        &self,
        charges: &[Charge<'_>],
        lease: Option<LeaseId>,
        outcomes: &mut Outcomes,
    ) -> Result<Admission, StoreError> {
        outcomes.clear();
        let mut takes: Vec<_> = Vec::new();
        for (charge, observed) in charges.iter().zip(&self.states) {
            let (outcome, taken) = outcome_of(charge, observed)?;
            outcomes.push(outcome);
            takes.push(taken);
        }
        let is_denied = settle(charges, outcomes, |at, charge| {
            if let Some(takes) = takes.get_mut(at) {
                *takes = false;
            }
            self.peek(charge, at)
        });
        if are_in_order(charges) {
            window::charge_in_order(charges, outcomes, |_, _| {});
        }
        if self.is_denied.is_some_and(|told| told != is_denied) {
            return Err(StoreError::Reply("its decision does not follow from its states"));
        }
        Ok(if is_denied {
            Admission::Denied
        } else {
            Admission::Admitted { lease: lease.filter(|_| takes.contains(&true)) }
        })
    }

    /// The outcome of a bucket without the charge.
    fn peek(&self, charge: &Charge<'_>, at: usize) -> Outcome {
        match (charge.into(), self.states.get(at)) {
            (
                StateKind::Counter(counter),
                Some(ObservedState { at, state: State::Counter(state) }),
            ) => counter.peek(*state, (*at).into()),
            (
                StateKind::Leases(bucket),
                Some(ObservedState { at, state: State::Slots(held, _) }),
            ) => slots::peek(bucket, *held, *at),
            (StateKind::Stateless(of), _) => blocked::peek(of, self.now),
            _ => {
                let remaining = charge.bucket.size();
                Outcome { wait: Wait::NONE, remaining, uncharged: 0, before: 0, reset: Nanos::ZERO }
            }
        }
    }
}

/// The outcome of a charge, and whether it takes slots.
fn outcome_of(
    charge: &Charge<'_>,
    observed: &ObservedState,
) -> Result<(Outcome, bool), StoreError> {
    let now = observed.at;
    match (charge.into(), observed.state) {
        (StateKind::Counter(counter), State::Counter(state)) => {
            Ok((counter.decide(state, now.into(), charge.hits).0, false))
        }
        (StateKind::Leases(bucket), State::Slots(held, freed)) => {
            let freed = |_| freed.since(now);
            let (outcome, taken) = slots::decide(bucket, held, now, charge.hits, freed);
            Ok((outcome, taken.is_some()))
        }
        (StateKind::Stateless(of), State::Blocked) => {
            Ok((blocked::decide(of, now, charge.hits), false))
        }
        _ => Err(StoreError::Reply("it has states of other kinds of buckets")),
    }
}

/// The interval between two tokens of the limit under which the value of a key was written, if it is the state of a token
/// bucket that tells that.
pub fn written_interval(value: &[u8]) -> Option<Nanos> {
    let mut numbers = std::str::from_utf8(value).ok()?.split(' ');
    let (_full, _owed, interval) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let interval = interval.parse().ok().filter(|interval| *interval > 0)?;
    numbers.next().is_none().then_some(Nanos::new(interval))
}

/// The reply to [`super::release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Whether the lease still held slots.
    pub was_held: bool,
    /// The other partitions in which it may hold some.
    pub other_partitions: Vec<u16>,
}

impl Released {
    /// Reads the fields of a reply.
    ///
    /// # Errors
    /// [`StoreError::Reply`] if the script returns no such fields.
    pub fn read(fields: &[Field<'_>]) -> Result<Self, StoreError> {
        let [was_held, Field::Text(other_partitions)] = fields else {
            return Err(StoreError::Reply("a release returns a number and a text"));
        };
        let other_partitions = std::str::from_utf8(other_partitions).unwrap_or_default();
        let other_partitions =
            other_partitions.split(' ').filter_map(|partition| partition.parse().ok());
        Ok(Self { was_held: was_held.number()? != 0, other_partitions: other_partitions.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_state_of_a_token_bucket_tells_an_interval() {
        assert_eq!(written_interval(b"5 3 1000"), Some(Nanos::new(1_000)));
        for other in ["", "5", "5 3", "5 3 0", "5 3 x", "5 3 1 4", "2\n1 tollgate:{1}:0"] {
            assert_eq!(written_interval(other.as_bytes()), None, "{other}");
        }
    }
}
