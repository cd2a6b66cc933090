//! What is asked of the script: keys and arguments.

use std::io::Write;

use super::{NANOS_PER_SECOND, ObservedState, ScriptReply, State, is_counter, is_concurrency, takes_slots};
use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::{Counter, StateKind};
use crate::store::{Charge, Mode};

/// What keys are called.
#[derive(Debug, Clone)]
pub struct KeyNames {
    /// What all keys begin with.
    pub prefix: String,
}

impl KeyNames {
    fn bucket(&self, fingerprint: Fingerprint, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push_format(format_args!("{prefix}:{{{}}}:{fingerprint}", fingerprint.partition()));
    }

    fn lease(&self, lease: LeaseId, partition: u16, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push_format(format_args!("{prefix}:{{{partition}}}:lease:{lease}"));
    }
}

/// Keys and arguments of a call of the script, in that order.
#[derive(Debug, Default)]
pub struct ScriptCall {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    key_count: usize,
}

impl ScriptCall {
    /// Room for what so many buckets need as a rule, so that it is made once.
    fn for_buckets(buckets: usize) -> Self {
        let parts = buckets + 1;
        Self {
            bytes: Vec::with_capacity(parts * 128),
            ends: Vec::with_capacity(parts * 9),
            key_count: 0,
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
    pub const fn key_count(&self) -> usize {
        self.key_count
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

    fn push_format(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a vector does not fail.
        let _ = self.bytes.write_fmt(text);
        self.ends.push(self.bytes.len());
    }

    fn push_text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn push_number(&mut self, number: u64) {
        self.push_text(itoa::Buffer::new().format(number));
    }

    fn push_span(&mut self, nanos: u64) {
        self.push_number(nanos / NANOS_PER_SECOND);
        self.push_number(nanos % NANOS_PER_SECOND);
    }

    fn push_time(&mut self, time: Option<Timestamp>) {
        match time {
            Some(time) => self.push_span(time.as_unix_nanos()),
            None => {
                self.push_text("");
                self.push_text("");
            }
        }
    }

    fn end_keys(&mut self) {
        self.key_count = self.ends.len();
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
    let mut call = ScriptCall::for_buckets(charges.len());
    for charge in in_order(charges) {
        names.bucket(charge.fingerprint, &mut call);
    }
    let is_denied = charges.iter().any(Charge::is_denied);
    let lease = lease.filter(|_| !is_denied && charges.iter().any(takes_slots));
    if let Some(NewLease { lease, .. }) = lease {
        names.lease(lease, lease_partition(charges), &mut call);
    }
    call.end_keys();
    call.push_time(time);
    let counters = charges.iter().filter(|charge| is_counter(charge)).count();
    call.push_number(u64::try_from(counters).unwrap_or(u64::MAX));
    let slots = charges.iter().filter(|charge| is_concurrency(charge)).count();
    call.push_number(u64::try_from(slots).unwrap_or(u64::MAX));
    match lease {
        Some(NewLease { lease, other_partitions }) => {
            let other_partitions: Vec<_> = other_partitions.iter().map(u16::to_string).collect();
            call.push_format(format_args!("{lease}"));
            call.push_text(&other_partitions.join(" "));
        }
        None => {
            call.push_text("");
            call.push_text("");
        }
    }
    for charge in in_order(charges) {
        push_operation(charge, is_denied, &mut call);
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
                Some((charge.fingerprint, counter.refund(*state, *at, charge.hits)?))
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
    call.end_keys();
    call.push_time(time);
    call.push_number(u64::try_from(charged.len()).unwrap_or(u64::MAX));
    call.push_number(0);
    call.push_text("");
    call.push_text("");
    for (_, (op, spans)) in &charged {
        call.push_text(op);
        call.push_text("0");
        spans.iter().for_each(|span| call.push_span(*span));
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
    call.end_keys();
    call.push_time(None);
    call.push_number(2);
    call.push_number(0);
    call.push_text("");
    call.push_text("");
    for (op, cost) in steps {
        call.push_text(op);
        call.push_text("0");
        call.push_span(cost);
        call.push_span(NANOS_PER_SECOND);
    }
    call
}

/// The key of a lease, which is there as long as it may hold slots.
pub fn lease_key(names: &KeyNames, lease: LeaseId) -> ScriptCall {
    let mut call = ScriptCall::default();
    names.lease(lease, lease.partition(), &mut call);
    call.end_keys();
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
    call.end_keys();
    call.push_time(time);
    call.push_format(format_args!("{lease}"));
    call
}

/// Counters first: they are read together.
fn in_order<'c, 'a>(charges: &'c [Charge<'a>]) -> impl Iterator<Item = &'c Charge<'a>> {
    let slots = charges.iter().filter(|charge| is_concurrency(charge));
    charges.iter().filter(|charge| is_counter(charge)).chain(slots)
}

fn push_operation(charge: &Charge<'_>, is_denied: bool, call: &mut ScriptCall) {
    let (charged, given) = (charge.hits.charged(), charge.hits.given_back());
    let group = match charge.mode {
        Mode::Enforced => 0,
        Mode::Shadow(row) => u64::try_from(row).unwrap_or(u64::MAX).saturating_add(1),
    };
    let mut begin = |op| {
        call.push_text(op);
        call.push_number(group);
    };
    match charge.bucket.into() {
        StateKind::Counter(counter) => {
            let (op, spans) = counter.operation(charge.hits, is_denied);
            begin(op);
            spans.iter().for_each(|span| call.push_span(*span));
        }
        StateKind::Leases(bucket) => {
            begin(match (charged, given) {
                (_, 1..) => "q",
                (0, 0) => "l",
                _ if is_denied => "l",
                _ => "c",
            });
            // More than any bucket holds is as good as that.
            call.push_number(charged.clamp(1, u64::from(u32::MAX)));
            call.push_number(u64::from(bucket.slots().get()));
            call.push_span(bucket.ttl().get());
        }
        StateKind::Stateless(_) => {}
    }
}
