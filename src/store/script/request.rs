//! Calls of the script: their keys and arguments.

use std::io::Write;

use smallvec::SmallVec;

use super::{
    NANOS_PER_SECOND, ObservedState, ScriptReply, State, is_concurrency, is_counter, takes_slots,
};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::LeaseId;
use crate::limit::{CompactInterval, LimitChanges};
use crate::policy::fingerprint::Fingerprint;
use crate::store::counter::{Counter, StateKind};
use crate::store::tokens::Operation;
use crate::store::{Charge, Mode};

/// How many buckets a plain call has at most: the script takes the keys of all as values of one call.
const MAX_PLAIN: usize = 1000;

/// The longest time to fill of a bucket in a plain call, in nanoseconds: 52 days.
const MAX_PLAIN_FILL: u64 = 1 << 52;

/// How keys are named.
#[derive(Debug, Clone)]
pub struct KeyNames {
    /// The prefix of all keys.
    pub prefix: String,
}

impl KeyNames {
    fn bucket(&self, fingerprint: Fingerprint, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push_format(format_args!("{prefix}:{{{}}}:{fingerprint}", fingerprint.partition()));
    }

    /// The pattern of all keys, for the command SCAN.
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 3);
        for letter in self.prefix.chars() {
            // These have a meaning in patterns.
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push_str(":{*");
        pattern
    }

    /// The key of the limits that are or were in force. It is not of that pattern.
    pub fn limits(&self) -> String {
        format!("{}:limits", self.prefix)
    }

    /// The key of the replicas that use the store. It is not of that pattern either.
    pub fn replicas(&self) -> String {
        format!("{}:replicas", self.prefix)
    }

    /// The key of what a replica claims of the buckets that its Envoys share. It is not of that pattern either.
    pub fn claims(&self, replica: u64) -> String {
        format!("{}:claims:{replica:016x}", self.prefix)
    }

    /// The key that the first replica writes that has Envoys who share a bucket. It is not of that pattern either.
    pub fn first(&self, bucket: Fingerprint) -> String {
        format!("{}:first:{bucket}", self.prefix)
    }

    fn lease(&self, lease: LeaseId, partition: u16, to: &mut ScriptCall) {
        let Self { prefix } = self;
        to.push_format(format_args!("{prefix}:{{{partition}}}:lease:{lease}"));
    }
}

/// A call of the script: keys and then arguments, one after another in one buffer.
#[derive(Debug, Default)]
pub struct ScriptCall {
    bytes: Vec<u8>,
    ends: SmallVec<[usize; 8]>,
    key_count: usize,
}

impl ScriptCall {
    /// A call with capacity for this many buckets, of so many parts each, so that it usually allocates once.
    fn for_buckets(buckets: usize, parts: usize) -> Self {
        let buckets = buckets + 1;
        Self {
            bytes: Vec::with_capacity(buckets * 128),
            ends: SmallVec::with_capacity(buckets * parts),
            key_count: 0,
        }
    }

    /// How many bytes all parts have together.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all parts are empty.
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

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn push_text(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
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

    /// The name of an operation: its letter, and with it the longest time of a charge that is always made.
    fn push_operation(&mut self, operation: Operation) {
        match operation.longest {
            None => self.push_text(operation.letter),
            Some(longest) => self.push_format(format_args!("{}{longest}", operation.letter)),
        }
    }

    /// The operands of an operation, and when the limit of its bucket changed, which is now if that is not known; behind
    /// that, when it ends, and the interval of a slower one.
    fn push_operands(&mut self, operation: Operation, times: Option<LimitTimes>) {
        operation.spans.iter().for_each(|span| self.push_span(*span));
        self.push_number(operation.interval);
        let nanos = Timestamp::as_unix_nanos;
        match times {
            Some(LimitTimes { changed_at, ends: None }) => self.push_number(nanos(changed_at)),
            Some(LimitTimes { changed_at, ends: Some((end, slower)) }) => self
                .push_format(format_args!("{} {} {}", nanos(changed_at), nanos(end), slower.get())),
            None => self.push_text(""),
        }
    }

    fn end_keys(&mut self) {
        self.key_count = self.ends.len();
    }
}

/// When the limit of a bucket changes, by the server's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitTimes {
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it ends, if a slower one may follow, and the interval of that: the key of the bucket is kept for as long as
    /// it owes something then.
    pub ends: Option<(Timestamp, Nanos)>,
}

impl LimitTimes {
    /// Those of the limit with this interval.
    pub fn of(
        changes: &LimitChanges,
        interval: CompactInterval,
        now: Now,
        to_server: impl Fn(Timestamp) -> Timestamp,
    ) -> Self {
        let ends = changes.next_end_of(interval, now);
        let changed_at = to_server(changes.last(now));
        Self { changed_at, ends: ends.map(|(end, slower)| (to_server(end), slower)) }
    }
}

/// The lease of a call that may take slots.
#[derive(Debug, Clone, Copy)]
pub struct NewLease<'a> {
    /// Its id.
    pub lease: LeaseId,
    /// The other partitions in which it may hold slots.
    pub other_partitions: &'a [u16],
}

/// The call that decides all charges: by the server's clock, or at `time`, in whole microseconds. Blocked buckets are
/// not part of it; if one denies, it only peeks at the others, but for charges that are always made. `times` gives those
/// of the limit of a bucket with this interval.
///
/// On a cluster, all buckets must be in one partition.
pub fn decide(
    names: &KeyNames,
    charges: &[Charge<'_>],
    lease: Option<NewLease<'_>>,
    times: &dyn Fn(&LimitChanges, CompactInterval) -> LimitTimes,
    time: Option<Timestamp>,
) -> ScriptCall {
    let mut call = ScriptCall::for_buckets(charges.len(), 11);
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
        push_operation(charge, is_denied, times, &mut call);
    }
    call
}

/// The same call, for a function that takes less time, if the charges are plain: each charges a token bucket that is
/// enforced and owes no debt, is not slow to fill, and has a limit that no slower one follows.
pub fn charge(
    names: &KeyNames,
    charges: &[Charge<'_>],
    times: &dyn Fn(&LimitChanges, CompactInterval) -> LimitTimes,
    time: Option<Timestamp>,
) -> Option<ScriptCall> {
    if charges.is_empty() || charges.len() > MAX_PLAIN {
        return None;
    }
    let mut call = ScriptCall::for_buckets(charges.len(), 2);
    for charge in charges {
        names.bucket(charge.fingerprint, &mut call);
    }
    call.end_keys();
    for charge in charges {
        let operation = plain_operation(charge)?;
        for span in operation.spans {
            // Exact up to 2^53.
            call.bytes.extend_from_slice(&(span as f64).to_le_bytes());
        }
        call.bytes.push(b' ');
        call.bytes.extend_from_slice(itoa::Buffer::new().format(operation.interval).as_bytes());
        call.bytes.push(0);
    }
    for charge in charges {
        if let (Some(changes), Some(counter)) = (charge.changes, Counter::of(charge.bucket)) {
            let LimitTimes { changed_at, ends: None } = times(changes, counter.interval()) else {
                return None;
            };
            let changed_at = changed_at.as_unix_nanos();
            call.bytes.extend_from_slice(itoa::Buffer::new().format(changed_at).as_bytes());
        }
        call.bytes.push(0);
    }
    call.push_bytes(&[]);
    if let Some(time) = time {
        let nanos = time.as_unix_nanos();
        call.push_number(nanos / NANOS_PER_SECOND);
        call.push_number(nanos % NANOS_PER_SECOND / 1_000);
    }
    Some(call)
}

/// The operation of a charge on a token bucket, if it is plain.
fn plain_operation(charge: &Charge<'_>) -> Option<Operation> {
    let StateKind::Counter(counter @ Counter::Tokens(_)) = charge.into() else { return None };
    let operation = counter.operation(charge.hits, false);
    let [cost, fill] = operation.spans;
    let is_plain = charge.mode == Mode::Enforced
        && operation.letter == "c"
        && cost > 0
        && fill <= MAX_PLAIN_FILL;
    is_plain.then_some(operation)
}

/// The partition of the lease of these charges: that of the last concurrency bucket.
pub fn lease_partition(charges: &[Charge<'_>]) -> u16 {
    in_order(charges).last().map_or(0, |charge| charge.fingerprint.partition())
}

/// The call that refunds what was charged to counters in the states of `reply`; `None` if nothing was. Refill since
/// then is not refunded again. A denial in between is not corrected. Charges that are always made stay.
pub fn refund(
    names: &KeyNames,
    charges: &[Charge<'_>],
    reply: &ScriptReply,
    time: Option<Timestamp>,
) -> Option<ScriptCall> {
    let refund = |(charge, state): (&Charge<'_>, &ObservedState)| match (charge.into(), state) {
        (StateKind::Counter(counter), ObservedState { at, state: State::Counter(state) }) => {
            Some((charge.fingerprint, counter.refund(*state, *at, charge.hits)?))
        }
        _ => None,
    };
    let refunds: Vec<_> = charges.iter().zip(&reply.states).filter_map(refund).collect();
    if refunds.is_empty() {
        return None;
    }
    let mut call = ScriptCall::default();
    for (fingerprint, _) in &refunds {
        names.bucket(*fingerprint, &mut call);
    }
    call.end_keys();
    call.push_time(time);
    call.push_number(u64::try_from(refunds.len()).unwrap_or(u64::MAX));
    call.push_number(0);
    call.push_text("");
    call.push_text("");
    for (_, operation) in refunds {
        call.push_operation(operation);
        call.push_text("0");
        call.push_operands(operation, None);
    }
    Some(call)
}

/// A call that charges a bucket that no policy has and gives the charge back, to find out whether the server can
/// decide. It leaves no key.
pub fn probe(names: &KeyNames) -> ScriptCall {
    let mut call = ScriptCall::default();
    let unused = Fingerprint::from_bytes([0; 16]);
    let steps = [("c", NANOS_PER_SECOND), ("g", u64::MAX)];
    for _ in steps {
        names.bucket(unused, &mut call);
    }
    call.end_keys();
    call.push_time(None);
    call.push_number(2);
    call.push_number(0);
    call.push_text("");
    call.push_text("");
    for (letter, cost) in steps {
        call.push_text(letter);
        call.push_text("0");
        let spans = [cost, NANOS_PER_SECOND];
        let operation = Operation { letter, spans, interval: NANOS_PER_SECOND, longest: None };
        call.push_operands(operation, None);
    }
    call
}

/// The key of a lease, which exists as long as the lease may hold slots.
pub fn lease_key(names: &KeyNames, lease: LeaseId) -> ScriptCall {
    let mut call = ScriptCall::default();
    names.lease(lease, lease.partition(), &mut call);
    call.end_keys();
    call
}

/// The call that releases a lease in a partition.
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

/// The call that lets the key of a token bucket end later, whose state has this interval and whose limit may have the
/// interval `slowest` since. It returns 1 if the key ends later than it did, else 0.
pub fn lengthen(key: &[u8], interval: Nanos, slowest: Nanos) -> ScriptCall {
    let mut call = ScriptCall::default();
    call.push_bytes(key);
    call.end_keys();
    call.push_number(interval.get());
    call.push_number(slowest.get());
    call
}

/// The charges with a key, in the order of the script: counters first, since it reads them together.
fn in_order<'c, 'a>(charges: &'c [Charge<'a>]) -> impl Iterator<Item = &'c Charge<'a>> {
    let slots = charges.iter().filter(|charge| is_concurrency(charge));
    charges.iter().filter(|charge| is_counter(charge)).chain(slots)
}

fn push_operation(
    charge: &Charge<'_>,
    is_denied: bool,
    times: &dyn Fn(&LimitChanges, CompactInterval) -> LimitTimes,
    call: &mut ScriptCall,
) {
    let (charged, given) = (charge.hits.charged(), charge.hits.given_back());
    let mut buffer = itoa::Buffer::new();
    let group = match charge.mode {
        Mode::Enforced => "0",
        Mode::Quota => "q",
        Mode::Shadow(row) => buffer.format(row.saturating_add(1)),
    };
    match charge.into() {
        StateKind::Counter(counter) => {
            let operation = counter.operation(charge.hits, is_denied);
            call.push_operation(operation);
            call.push_text(group);
            let times = charge.changes.map(|changes| times(changes, counter.interval()));
            call.push_operands(operation, times);
        }
        StateKind::Leases(bucket) => {
            call.push_text(match (charged, given) {
                (_, 1..) => "q",
                (0, 0) => "l",
                _ if is_denied => "l",
                _ => "c",
            });
            call.push_text(group);
            // No bucket has that many slots, so that the cap changes no decision.
            call.push_number(charged.clamp(1, u64::from(u32::MAX)));
            call.push_number(u64::from(bucket.slots().get()));
            call.push_span(bucket.ttl().get());
            call.push_text("");
            call.push_text("");
        }
        StateKind::Stateless(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_for_itself_in_the_pattern_of_all_keys() {
        let pattern = |prefix: &str| KeyNames { prefix: prefix.to_owned() }.pattern();
        assert_eq!(pattern("tollgate"), "tollgate:{*");
        assert_eq!(pattern("a*[b]?\\^é"), "a\\*\\[b\\]\\?\\\\^é:{*");
    }
}
