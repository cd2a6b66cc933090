//! A store of either kind, in memory or the script in Redis, with a clock that the test sets.

use tollgate::clock::Timestamp;
use tollgate::decision::Charges;
use tollgate::descriptor::LeaseId;
use tollgate::limit::LimitChanges;
use tollgate::policy::Plan;
use tollgate::store::script::{
    self, Field, Function, KeyNames, LimitTimes, NewLease, Released, ScriptReply,
};
use tollgate::store::{Admission, Charge, MemoryStore, Outcomes};

use super::redis_server::Redis;

/// What a store is asked, of either kind.
pub trait Store {
    fn charge(&mut self, charges: &[Charge<'_>], now: Timestamp) -> (Admission, Outcomes);
    fn release(&mut self, lease: LeaseId, now: Timestamp) -> bool;

    fn decide(&mut self, plan: &Plan<'_>, now: Timestamp) -> (Admission, Outcomes) {
        self.charge(Charges::of(plan).all(), now)
    }
}

impl Store for MemoryStore {
    fn charge(&mut self, charges: &[Charge<'_>], now: Timestamp) -> (Admission, Outcomes) {
        let mut outcomes = Outcomes::new();
        let admission = Self::decide(self, charges, now, &mut outcomes).unwrap();
        (admission, outcomes)
    }

    fn release(&mut self, lease: LeaseId, now: Timestamp) -> bool {
        Self::release(self, lease, now)
    }
}

/// The script on a server whose clock is ours.
pub struct Scripted {
    pub connection: redis::Connection,
    names: KeyNames,
    leases: u128,
    /// Whether plain calls are made as all others are.
    pub is_spelled_out: bool,
    /// How many calls were plain, and charged as such.
    pub charged: u64,
}

impl Scripted {
    pub fn new(redis: &Redis) -> Self {
        let mut connection = redis.connect();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        let names = KeyNames { prefix: "test".into() };
        Self { connection, names, leases: 0, is_spelled_out: false, charged: 0 }
    }

    fn call(&mut self, function: script::Function, call: &script::ScriptCall) -> redis::Value {
        let mut command = redis::cmd("EVAL");
        command.arg(function.script()).arg(call.key_count());
        call.parts().for_each(|part| {
            command.arg(part);
        });
        command.query(&mut self.connection).unwrap()
    }

    /// What the script tells of these charges, and the id of the lease that it may have taken.
    pub fn ask(&mut self, charges: &[Charge<'_>], now: Timestamp) -> (LeaseId, ScriptReply) {
        self.leases += 1;
        let lease =
            LeaseId::in_partition(self.leases.to_be_bytes(), script::lease_partition(charges));
        let new = NewLease { lease, other_partitions: &[] };
        let times = |changes: &LimitChanges, interval| {
            LimitTimes::of(changes, interval, now.into(), |time| time)
        };
        let plain = script::charge(&self.names, charges, &times, Some(now));
        let (function, call) = match plain.filter(|_| !self.is_spelled_out) {
            Some(call) => (Function::Charge, call),
            None => (
                Function::Decide,
                script::decide(&self.names, charges, Some(new), &times, Some(now)),
            ),
        };
        let reply = match self.call(function, &call) {
            redis::Value::BulkString(charged) => {
                self.charged += 1;
                ScriptReply::read_charged(&charged, charges)
            }
            decided => ScriptReply::read(&fields(&decided), charges),
        };
        (lease, reply.unwrap())
    }

    /// Refunds what was charged in the states of `reply`.
    pub fn refund(&mut self, charges: &[Charge<'_>], reply: &ScriptReply, now: Timestamp) {
        let call = script::refund(&self.names, charges, reply, Some(now)).unwrap();
        self.call(Function::Decide, &call);
    }
}

fn fields(value: &redis::Value) -> Vec<Field<'_>> {
    let redis::Value::Array(values) = value else { panic!("{value:?}") };
    let field = |value| match value {
        &redis::Value::Nil => Field::Nil,
        &redis::Value::Int(number) => Field::Number(number),
        redis::Value::BulkString(text) => Field::Text(text),
        other => panic!("{other:?}"),
    };
    values.iter().map(field).collect()
}

impl Store for Scripted {
    fn charge(&mut self, charges: &[Charge<'_>], now: Timestamp) -> (Admission, Outcomes) {
        let (lease, reply) = self.ask(charges, now);
        assert_eq!(reply.now, now);
        let mut outcomes = Outcomes::new();
        let admission = reply.settle(charges, Some(lease), &mut outcomes).unwrap();
        (admission, outcomes)
    }

    fn release(&mut self, lease: LeaseId, now: Timestamp) -> bool {
        let call = script::release(&self.names, lease, lease.partition(), Some(now));
        let values = self.call(Function::Release, &call);
        Released::read(&fields(&values)).unwrap().was_held
    }
}
