//! Deciding with the shared store, or locally without it.

use redis::Value;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::StoreClient;
use super::connection::{Function, fields};
use crate::clock::{Nanos, Now, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::{Bucket, CompactInterval, LimitChanges};
use crate::store::counter::Counter;
use crate::store::script::{self, LimitTimes, NewLease, ObservedState, ScriptReply, State};
use crate::store::{
    Admission, BucketState, Charge, Mode, Outcome, Outcomes, StoreError, Wait, lease_bits,
};

/// How long a denial is repeated without asking the store.
pub(super) const DENIAL_TTL: Nanos = Nanos::from_secs(10);

/// What was decided.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Whether the charges were made.
    pub admission: Admission,
    /// The time of the decision, by the store's clock.
    pub now: Timestamp,
}

impl StoreClient {
    /// Whether the charges are denied without asking the store: by the states that it reported last, or, also while the
    /// store is unavailable, since a bucket is blocked. `outcomes` is then computed from those states. Calls with a
    /// concurrency bucket always ask, since slots may be released at any time, as do calls with a charge that is made
    /// even if they are denied.
    pub fn would_deny(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> bool {
        let is_concurrency = |charge: &Charge<'_>| matches!(charge.bucket, Bucket::Concurrency(_));
        let is_blocked = charges.iter().any(Charge::is_denied);
        let store = &self.store;
        let now = store.read();
        let is_exhausted = |(charge, outcome): (&Charge<'_>, &Outcome)| {
            charge.mode == Mode::Enforced
                && outcome.wait != Wait::NONE
                && store.exhausted.state(charge.fingerprint, now.steady).is_some()
        };
        let is_denied = (is_blocked || self.is_up())
            && !charges.iter().any(Charge::is_asked_for_although_denied)
            && !charges.iter().any(is_concurrency)
            && store.observed.would_deny(charges, now, outcomes)
            && (is_blocked || charges.iter().zip(&*outcomes).any(is_exhausted));
        if is_denied && !is_blocked {
            store.telemetry.shared_store().cached_denials.inc();
        }
        is_denied
    }

    /// Denies charges of blocked buckets and admits all others: for a policy that allows calls while the store is
    /// unavailable. `outcomes` of a denial is as in [`Self::would_deny`].
    pub fn deny_blocked(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> Admission {
        if charges.iter().any(Charge::is_denied) {
            self.store.observed.would_deny(charges, self.store.read(), outcomes);
            Admission::Denied
        } else {
            Admission::Admitted { lease: None }
        }
    }

    /// Has the store decide all charges at once: all are made, or none but those that always are.
    ///
    /// On a cluster, buckets of several partitions may be on several servers. The partitions are decided one after
    /// another; if one denies, the charges in those before it are refunded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store did not reply, [`StoreError::Rejected`] if it rejects this call alone,
    /// [`StoreError::Reply`] if its reply is malformed, [`StoreError::Entropy`] if a lease gets no id. Except after the
    /// last, some of the charges may have been made.
    pub async fn decide(
        &self,
        charges: &[Charge<'_>],
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let sent = self.store.clock.now();
        let (lease, reply) = self.ask(charges, deadline).await?;
        let admission = self.record(charges, &reply, lease, sent, DENIAL_TTL, outcomes)?;
        Ok(Decision { admission, now: reply.now })
    }

    /// The store's reply to these charges, and the id of the lease that it may have taken.
    pub(super) async fn ask(
        &self,
        charges: &[Charge<'_>],
        deadline: Instant,
    ) -> Result<(Option<LeaseId>, ScriptReply), StoreError> {
        let takes_slots = charges.iter().any(script::takes_slots);
        let bits = if takes_slots { Some(lease_bits()?) } else { None };
        let partitions = self.partitions(charges);
        if !charges.iter().any(script::has_key) {
            Ok((None, ScriptReply::without_keys(charges, self.store.now())))
        } else if let [_] | [] = &*partitions {
            let lease =
                bits.map(|bits| LeaseId::in_partition(bits, script::lease_partition(charges)));
            Ok((lease, self.decide_in_one_call(charges, lease, &[], deadline).await?))
        } else {
            // Rare, and boxed so that the future of every other request stays small.
            Box::pin(self.decide_across_partitions(charges, &partitions, bits, deadline)).await
        }
    }

    /// The outcomes of a reply to a call that was sent at `sent`, and whether the charges are made. Records the states; a
    /// denial is repeated for at most `denial_ttl`.
    pub(super) fn record(
        &self,
        charges: &[Charge<'_>],
        reply: &ScriptReply,
        lease: Option<LeaseId>,
        sent: Timestamp,
        denial_ttl: Nanos,
        outcomes: &mut Outcomes,
    ) -> Result<Admission, StoreError> {
        let admission = reply.settle(charges, lease, outcomes)?;
        // The decision came after `sent`, so that a state lapses here no later than in the store.
        let seen = Now { steady: sent, wall: reply.now };
        for (charge, outcome) in charges.iter().zip(&*outcomes) {
            let Some(counter) = Counter::of_charge(charge) else { continue };
            let state = counter.observed(charge.hits, outcome, seen);
            self.store.observed.set_state(charge.fingerprint, state, seen);
            if outcome.remaining == 0 || outcome.wait != Wait::NONE {
                let lapses = BucketState::until(sent.after(denial_ttl), CompactInterval::UNKNOWN);
                self.store.exhausted.set_state(charge.fingerprint, lapses, sent);
            }
        }
        Ok(admission)
    }

    /// The partitions of the charges, ascending, if the store is a cluster; else none.
    pub(super) fn partitions(&self, charges: &[Charge<'_>]) -> SmallVec<[u16; 4]> {
        let mut partitions: SmallVec<[u16; 4]> = if self.store.is_cluster {
            let with_keys = charges.iter().filter(|charge| script::has_key(charge));
            with_keys.map(|charge| charge.fingerprint.partition()).collect()
        } else {
            SmallVec::new()
        };
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    async fn decide_in_one_call(
        &self,
        charges: &[Charge<'_>],
        lease: Option<LeaseId>,
        other_partitions: &[u16],
        deadline: Instant,
    ) -> Result<ScriptReply, StoreError> {
        let now = self.store.clock.read();
        let sent = now.steady;
        let lease = lease.map(|lease| NewLease { lease, other_partitions });
        let (function, call) = {
            let times = |changes: &LimitChanges, interval| {
                LimitTimes::of(changes, interval, now, |time| self.store.to_store_time(time))
            };
            let names = &self.store.names;
            match script::charge(names, charges, &times, None) {
                Some(call) => (Function::Charge, call),
                None => (Function::Decide, script::decide(names, charges, lease, &times, None)),
            }
        };
        let reply = match self.call(function, &call, deadline).await? {
            Value::BulkString(charged) => ScriptReply::read_charged(&charged, charges)?,
            decided => ScriptReply::read(&fields(&decided)?, charges)?,
        };
        self.store.record_offset(sent, reply.now);
        let took = self.store.clock.now().since(sent);
        self.store.telemetry.shared_store().observe(took);
        Ok(reply)
    }

    async fn decide_across_partitions(
        &self,
        charges: &[Charge<'_>],
        partitions: &[u16],
        bits: Option<[u8; 16]>,
        deadline: Instant,
    ) -> Result<(Option<LeaseId>, ScriptReply), StoreError> {
        let charges_in = |partition: u16| {
            let is_in = move |charge: &&Charge<'_>| {
                script::has_key(charge) && charge.fingerprint.partition() == partition
            };
            let mut charges: SmallVec<[Charge<'_>; 8]> =
                charges.iter().filter(is_in).copied().collect();
            // Whether the quotas are spent is known once all partitions have answered.
            for (at, charge) in charges.iter_mut().enumerate() {
                if charge.mode == Mode::Quota {
                    charge.mode = Mode::Shadow(at);
                }
            }
            charges
        };
        let hinto_quotas = charges.iter().any(|charge| charge.mode == Mode::Quota);
        let takes_slots = |partition: &u16| charges_in(*partition).iter().any(script::takes_slots);
        let with_slots: SmallVec<[u16; 4]> =
            partitions.iter().copied().filter(takes_slots).collect();
        let lease = bits.zip(with_slots.first());
        let lease = lease.map(|(bits, partition)| LeaseId::in_partition(bits, *partition));
        let mut replies: Vec<(u16, ScriptReply)> = Vec::with_capacity(partitions.len());
        let mut is_denied = charges.iter().any(Charge::is_denied);
        for partition in partitions {
            let mut charges = charges_in(*partition);
            if is_denied {
                // The outcomes of these buckets are reported, too.
                let others = charges.iter_mut().filter(|charge| !charge.is_always_made());
                others.for_each(|charge| charge.hits = Hits::PEEK);
            }
            let is_of_lease = Some(partition) == with_slots.first();
            let other_partitions =
                if is_of_lease { with_slots.get(1..).unwrap_or_default() } else { &[] };
            let reply = self.decide_in_one_call(&charges, lease, other_partitions, deadline).await;
            // The first partition that does not admit ends the charging.
            if !is_denied && !reply.as_ref().is_ok_and(|reply| reply.is_denied == Some(false)) {
                self.roll_back(&replies, lease, charges_in).await;
                is_denied = true;
            }
            replies.push((*partition, reply?));
        }
        let mut states: SmallVec<[_; 4]> =
            replies.iter().map(|(partition, reply)| (*partition, reply.states.iter())).collect();
        let now = replies.iter().map(|(_, reply)| reply.now).max().unwrap_or_default();
        let state = |charge: &Charge<'_>| {
            if !script::has_key(charge) {
                return Ok(ObservedState { at: now, state: State::Blocked });
            }
            let partition = charge.fingerprint.partition();
            let states = states.iter_mut().find(|(other, _)| *other == partition);
            states
                .and_then(|(_, states)| states.next().copied())
                .ok_or(StoreError::Reply("the reply of a partition is missing"))
        };
        let states = charges.iter().map(state).collect::<Result<_, _>>()?;
        let is_denied = (is_denied || !hinto_quotas).then_some(is_denied);
        Ok((lease, ScriptReply { now, is_denied, states }))
    }

    /// Refunds what was charged in these partitions. It has a deadline of its own: that of the request may have passed
    /// while another partition did not reply.
    async fn roll_back<'c>(
        &self,
        charged: &[(u16, ScriptReply)],
        lease: Option<LeaseId>,
        charges_in: impl Fn(u16) -> SmallVec<[Charge<'c>; 8]>,
    ) {
        let deadline = self.deadline();
        for (partition, reply) in charged {
            let charges = charges_in(*partition);
            if let Some(call) = script::refund(&self.store.names, &charges, reply, None) {
                // If this fails as well, the bucket refills at its rate.
                let _ = self.call(Function::Decide, &call, deadline).await;
            }
            if let Some(lease) = lease.filter(|_| charges.iter().any(script::takes_slots)) {
                self.release_from(lease, *partition, deadline).await;
            }
        }
    }

    /// Decides without the store, each bucket divided by the number of replicas.
    ///
    /// # Errors
    /// Those of [`MemoryStore::decide`](crate::store::MemoryStore::decide).
    pub fn decide_locally(
        &self,
        charges: &[Charge<'_>],
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let store = &self.store;
        let (now, replicas) = (store.read(), store.replicas());
        let parts: SmallVec<[Bucket; 8]> =
            charges.iter().map(|charge| charge.bucket.divided(replicas)).collect();
        for (whole, part) in charges.iter().zip(&parts) {
            let Charge { fingerprint, changes, .. } = *whole;
            if let (Some(whole), Some(part)) = (Counter::of(whole.bucket), Counter::of(part))
                && store.local.state(fingerprint, now).is_none()
                && let Some(state) = store.observed.state(fingerprint, now)
            {
                let state = part.part_of(whole, state, changes, now);
                store.local.set_state(fingerprint, state, now);
            }
        }
        let charges: SmallVec<[Charge<'_>; 8]> = charges
            .iter()
            .zip(&parts)
            .map(|(charge, bucket)| {
                let debt = charge.debt.map(|debt| debt.divided(replicas));
                Charge { bucket, debt, ..*charge }
            })
            .collect();
        let admission = store.local.decide(&charges, now, outcomes)?;
        store.telemetry.shared_store().local.inc();
        Ok(Decision { admission, now: now.wall })
    }
}
