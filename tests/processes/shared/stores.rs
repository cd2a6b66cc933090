//! A store of either kind, in memory or the script in Redis, with a clock that the test sets.

use tollgate::clock::Timestamp;
use tollgate::decision::Charges;
use tollgate::descriptor::LeaseId;
use tollgate::policy::Plan;
use tollgate::store::script::{self, Field, KeyNames, LimitTimes, NewLease, Released, ScriptReply};
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
}

impl Scripted {
    pub fn new(redis: &Redis) -> Self {
        let mut connection = redis.connect();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        Self { connection, names: KeyNames { prefix: "test".into() }, leases: 0 }
    }

    fn call(&mut self, function: &str, call: &script::ScriptCall) -> Vec<redis::Value> {
        let text = format!("{}\nreturn {function}(KEYS, ARGV)", script::DECIDE);
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(call.key_count());
        call.parts().for_each(|part| {
            command.arg(part);
        });
        command.query(&mut self.connection).unwrap()
    }
}

fn fields(values: &[redis::Value]) -> Vec<Field<'_>> {
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
        self.leases += 1;
        let lease =
            LeaseId::in_partition(self.leases.to_be_bytes(), script::lease_partition(charges));
        let new = NewLease { lease, other_partitions: &[] };
        let call = script::decide(
            &self.names,
            charges,
            Some(new),
            &|changes, interval| LimitTimes::of(changes, interval, now.into(), |time| time),
            Some(now),
        );
        let values = self.call("decide", &call);
        let reply = ScriptReply::read(&fields(&values), charges).unwrap();
        assert_eq!(reply.now, now);
        let mut outcomes = Outcomes::new();
        let admission = reply.settle(charges, Some(lease), &mut outcomes).unwrap();
        (admission, outcomes)
    }

    fn release(&mut self, lease: LeaseId, now: Timestamp) -> bool {
        let call = script::release(&self.names, lease, lease.partition(), Some(now));
        let values = self.call("release", &call);
        Released::read(&fields(&values)).unwrap().was_held
    }
}
