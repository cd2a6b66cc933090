//! Deciding with the shared store, and without it.

use smallvec::SmallVec;
use tokio::time::Instant;

use super::StoreClient;
use super::connection::{Function, fields};
use crate::clock::{Nanos, Timestamp};
use crate::descriptor::{Hits, LeaseId};
use crate::limit::Bucket;
use crate::store::counter::Counter;
use crate::store::script::{self, NewLease, ObservedState, ScriptReply, State};
use crate::store::{
    Admission, BucketState, Charge, Mode, Outcome, Outcomes, StoreError, Wait, lease_bits,
};

/// How long it is remembered that a bucket was seen to be out of tokens: then the store is asked again.
const DENIAL_TTL: Nanos = Nanos::from_secs(10);

/// What it has decided.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Whether it was charged.
    pub admission: Admission,
    /// The server's time.
    pub now: Timestamp,
}

impl StoreClient {
    /// Denies what the store would deny by what it said last, without asking it; and what is blocked, also while
    /// the store is away. `outcomes` then tells how the buckets stand as far as is known. Slots may come back at
    /// any time, so that whoever wants some is to ask.
    pub fn would_deny(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> bool {
        let is_concurrency = |charge: &Charge<'_>| matches!(charge.bucket, Bucket::Concurrency(_));
        let is_blocked = charges.iter().any(Charge::is_denied);
        let store = &self.store;
        let now = store.clock.now();
        let is_exhausted = |(charge, outcome): (&Charge<'_>, &Outcome)| {
            charge.mode == Mode::Enforced
                && outcome.wait != Wait::None
                && store.exhausted.state(charge.fingerprint, now).is_some()
        };
        let is_denied = (is_blocked || self.is_up())
            && !charges.iter().any(is_concurrency)
            && store.observed.would_deny(charges, now, outcomes)
            && (is_blocked || charges.iter().zip(&*outcomes).any(is_exhausted));
        if is_denied && !is_blocked {
            store.telemetry.shared_store().cached_denials.inc();
        }
        is_denied
    }

    /// Denies what is blocked, and nothing else: what is left to do while the store is away and calls are to
    /// pass. `outcomes` is as in [`Self::would_deny`].
    pub fn deny_blocked(&self, charges: &[Charge<'_>], outcomes: &mut Outcomes) -> Admission {
        if charges.iter().any(Charge::is_denied) {
            self.store.observed.would_deny(charges, self.store.clock.now(), outcomes);
            Admission::Denied
        } else {
            Admission::Admitted { lease: None }
        }
    }

    /// Has the store decide all charges at once: all are made, or none.
    ///
    /// On a cluster, buckets of several tenants are on several servers. They are decided one after another, and
    /// where one denies, what the others took is given back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it did not answer, [`StoreError::Refused`] where it answers others,
    /// [`StoreError::Reply`] where it answered something else. It may have charged some of it all the same.
    pub async fn decide(
        &self,
        charges: &[Charge<'_>],
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let sent = self.store.clock.now();
        let takes_slots = charges.iter().any(script::takes_slots);
        let bits = if takes_slots { Some(lease_bits()?) } else { None };
        let parts = self.parts(charges);
        let (lease, reply) = if !charges.iter().any(script::has_key) {
            (None, ScriptReply::without_keys(charges, self.store.now()))
        } else if let [_] | [] = &*parts {
            let lease =
                bits.map(|bits| LeaseId::in_partition(bits, script::lease_partition(charges)));
            (lease, self.ask(charges, lease, &[], deadline).await?)
        } else {
            // Rare and large: no part of the future of every other request.
            Box::pin(self.decide_in_parts(charges, &parts, bits, deadline)).await?
        };
        let admission = reply.settle(charges, lease, outcomes)?;
        for (charge, outcome) in charges.iter().zip(&*outcomes) {
            let Some(counter) = Counter::of(charge.bucket) else { continue };
            // It was decided later than it was sent, so that the debt ends here no later than there.
            self.store.observed.set_state(charge.fingerprint, counter.observed(outcome, sent), sent);
            if outcome.remaining == 0 || outcome.wait != Wait::None {
                let lapses = BucketState::until(sent.after(DENIAL_TTL));
                self.store.exhausted.set_state(charge.fingerprint, lapses, sent);
            }
        }
        Ok(Decision { admission, now: reply.now })
    }

    /// The partitions of these charges, where they have to be asked apart.
    fn parts(&self, charges: &[Charge<'_>]) -> SmallVec<[u16; 4]> {
        let mut parts: SmallVec<[u16; 4]> = if self.store.is_cluster {
            let with_keys = charges.iter().filter(|charge| script::has_key(charge));
            with_keys.map(|charge| charge.fingerprint.partition()).collect()
        } else {
            SmallVec::new()
        };
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    async fn ask(
        &self,
        charges: &[Charge<'_>],
        lease: Option<LeaseId>,
        other_partitions: &[u16],
        deadline: Instant,
    ) -> Result<ScriptReply, StoreError> {
        let sent = self.store.clock.now();
        let lease = lease.map(|lease| NewLease { lease, other_partitions });
        let call = script::decide(&self.store.names, charges, lease, None);
        let answer = self.call(Function::Decide, &call, deadline).await?;
        let reply = ScriptReply::read(&fields(&answer)?, charges)?;
        self.store.record_offset(sent, reply.now);
        let took = self.store.clock.now().since(sent);
        self.store.telemetry.shared_store().observe(took);
        Ok(reply)
    }

    async fn decide_in_parts(
        &self,
        charges: &[Charge<'_>],
        parts: &[u16],
        bits: Option<[u8; 16]>,
        deadline: Instant,
    ) -> Result<(Option<LeaseId>, ScriptReply), StoreError> {
        let of = |part: u16| {
            let is_mine = move |charge: &&Charge<'_>| {
                script::has_key(charge) && charge.fingerprint.partition() == part
            };
            let mine = charges.iter().filter(is_mine);
            mine.copied().collect::<SmallVec<[Charge<'_>; 8]>>()
        };
        let holds_slots = |part: &u16| of(*part).iter().any(script::takes_slots);
        let homes: SmallVec<[u16; 4]> = parts.iter().copied().filter(holds_slots).collect();
        let lease = bits.zip(homes.first());
        let lease = lease.map(|(bits, home)| LeaseId::in_partition(bits, *home));
        let mut replies: Vec<(u16, ScriptReply)> = Vec::with_capacity(parts.len());
        let mut denied = charges.iter().any(Charge::is_denied);
        for part in parts {
            let mut mine = of(*part);
            if denied {
                // How they stand is told all the same.
                mine.iter_mut().for_each(|charge| charge.hits = Hits::PEEK);
            }
            let other_partitions = homes.get(1..).unwrap_or_default();
            let other_partitions = if Some(part) == homes.first() { other_partitions } else { &[] };
            let reply = self.ask(&mine, lease, other_partitions, deadline).await;
            // The first that does not admit ends it: nothing is charged behind it.
            if !denied && !reply.as_ref().is_ok_and(|reply| !reply.is_denied) {
                self.take_back(&replies, lease, of).await;
                denied = true;
            }
            replies.push((*part, reply?));
        }
        let mut states: SmallVec<[_; 4]> =
            replies.iter().map(|(part, reply)| (*part, reply.states.iter())).collect();
        let now = replies.iter().map(|(_, reply)| reply.now).max().unwrap_or_default();
        let state = |charge: &Charge<'_>| {
            if !script::has_key(charge) {
                return Ok(ObservedState { at: now, state: State::Blocked });
            }
            let part = charge.fingerprint.partition();
            let of_part = states.iter_mut().find(|(other, _)| *other == part);
            of_part
                .and_then(|(_, states)| states.next().copied())
                .ok_or(StoreError::Reply("a part of it is missing"))
        };
        let states = charges.iter().map(state).collect::<Result<_, _>>()?;
        Ok((lease, ScriptReply { now, is_denied: denied, states }))
    }

    /// Gives back what these parts have charged. That has a deadline of its own: the request's may be over, since
    /// some other part was not answered.
    async fn take_back<'c>(
        &self,
        charged: &[(u16, ScriptReply)],
        lease: Option<LeaseId>,
        of: impl Fn(u16) -> SmallVec<[Charge<'c>; 8]>,
    ) {
        let deadline = self.deadline();
        for (part, reply) in charged {
            let charges = of(*part);
            if let Some(call) = script::refund(&self.store.names, &charges, reply, None) {
                // Where even that fails, it comes back by itself in time.
                let _ = self.call(Function::Decide, &call, deadline).await;
            }
            if let Some(lease) = lease.filter(|_| charges.iter().any(script::takes_slots)) {
                self.release_from(lease, *part, deadline).await;
            }
        }
    }

    /// Decides without the store, as if each replica had its part of each bucket.
    ///
    /// # Errors
    /// As [`MemoryStore::decide`](crate::store::MemoryStore::decide).
    pub fn decide_locally(
        &self,
        charges: &[Charge<'_>],
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        let store = &self.store;
        let now = store.clock.now();
        let parts: SmallVec<[Bucket; 8]> =
            charges.iter().map(|charge| charge.bucket.divided(store.replicas)).collect();
        let charges: SmallVec<[Charge<'_>; 8]> = charges
            .iter()
            .zip(&parts)
            .map(|(charge, bucket)| Charge { bucket, ..*charge })
            .collect();
        for charge in &charges {
            // A debt is a time, and a part owes as long as the whole does.
            if store.local.state(charge.fingerprint, now).is_none()
                && let Some(state) = store.observed.state(charge.fingerprint, now)
            {
                store.local.set_state(charge.fingerprint, state, now);
            }
        }
        let admission = store.local.decide(&charges, now, outcomes)?;
        store.telemetry.shared_store().local.inc();
        Ok(Decision { admission, now: store.to_store_time(now) })
    }
}
