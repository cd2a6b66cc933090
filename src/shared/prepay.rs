//! Asks the store for admissions ahead, and spends them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::StoreClient;
use super::decide::{DENIAL_TTL, Decision};
use super::give_back::UnderWay;
use super::prepaid::{self, GrantName, GrantRequest, PlanName, Step, can_be_prepaid};
use crate::clock::{Nanos, Now, Timestamp};
use crate::store::{Admission, Charge, Mode, Outcomes, StoreError, Wait};

/// How long a denial is repeated where admissions are prepaid for this long: what others hold may be given back by then.
fn denial_ttl(prepaid_time: Option<Nanos>) -> Nanos {
    prepaid_time.map_or(DENIAL_TTL, |time| time.min(DENIAL_TTL))
}

/// What a request is to do that was not admitted by a prepaid admission: ask the store, and with its question for more, if
/// told.
#[derive(Debug, Default)]
pub struct Ask {
    ahead: Option<GrantRequest>,
    /// The plan, if it can be prepaid.
    plan: Option<PlanName>,
    /// For how long admissions are prepaid, if they are.
    prepaid_time: Option<Nanos>,
}

impl StoreClient {
    /// Spends a prepaid admission on a request, and has more charged in the background if few are left. `prepaid_time` is
    /// that of its policy, if it has admissions prepaid. `outcomes` has an entry for each charge if one was spent. The
    /// steady time is `now`.
    pub fn spend_prepaid(
        self: &Arc<Self>,
        charges: &[Charge<'_>],
        prepaid_time: Option<Nanos>,
        now: Timestamp,
        outcomes: &mut Outcomes,
    ) -> Result<Decision, Ask> {
        let Some(of_plan) = prepaid_time.filter(|_| can_be_prepaid(charges)) else {
            return Err(Ask { prepaid_time, ..Ask::default() });
        };
        let store = &self.store;
        let now = Now { steady: now, wall: store.to_store_time(now) };
        match store.prepaid.begin(charges, of_plan, now, || self.share(charges, now), outcomes) {
            Step::Ask { ahead, plan } => Err(Ask { ahead, plan: Some(plan), prepaid_time }),
            Step::Spent(ahead) => {
                store.telemetry.shared_store().prepaid.spent.inc();
                if let Some(ahead) = ahead {
                    self.spawn_ask(ahead, false, self.deadline());
                }
                Ok(Decision { admission: Admission::Admitted { lease: None }, now: now.wall })
            }
        }
    }

    /// As [`Self::would_deny`], for a request that found no prepaid admission.
    pub fn would_deny_ahead(
        &self,
        ask: &Ask,
        charges: &[Charge<'_>],
        outcomes: &mut Outcomes,
    ) -> bool {
        let is_denied = self.would_deny(charges, outcomes);
        if let Some(plan) = ask.plan.filter(|_| is_denied) {
            self.store.prepaid.denied(plan, charges, || self.store.read(), outcomes);
        }
        is_denied
    }

    /// As [`Self::decide`], and asks for admissions ahead with the same question. If there is too little for these, the
    /// request is asked for alone.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_ahead(
        self: &Arc<Self>,
        Ask { ahead, plan, prepaid_time }: Ask,
        charges: &[Charge<'_>],
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<Decision, StoreError> {
        if let Some(ahead) = ahead {
            // A task of its own: if the caller goes away, what was charged ahead is kept.
            match self.spawn_ask(ahead, true, deadline).await {
                Ok(Ok(Some((decision, of_own)))) => {
                    *outcomes = of_own;
                    return Ok(decision);
                }
                Ok(Err(error)) => return Err(error),
                // There is too little. The task ends early only with the runtime.
                Ok(Ok(None)) | Err(_) => {}
            }
        }
        let sent = self.store.clock.now();
        let (lease, reply) = self.ask(charges, deadline).await?;
        let ttl = denial_ttl(prepaid_time);
        let admission = self.record(charges, &reply, lease, sent, ttl, outcomes)?;
        let decision = Decision { admission, now: reply.now };
        if let Some(plan) = plan {
            let is_admitted = admission != Admission::Denied;
            let answered = Now { steady: self.store.clock.now(), wall: reply.now };
            self.store.prepaid.answered(plan, charges, is_admitted, sent, answered, outcomes);
        }
        Ok(decision)
    }

    /// How many admissions this replica may ask for, by the states of the buckets that it saw last; none without a
    /// connection, and none if it ends.
    fn share(&self, charges: &[Charge<'_>], now: Now) -> u64 {
        if !self.is_up() || self.store.is_ending.load(Ordering::Relaxed) {
            return 0;
        }
        let mut outcomes = Outcomes::new();
        self.store.observed.would_deny(charges, now, &mut outcomes);
        let left = charges.iter().zip(&outcomes).map(|(charge, outcome)| {
            u64::from(outcome.remaining).checked_div(charge.hits.charged()).unwrap_or(0)
        });
        prepaid::share_of(left.min().unwrap_or(0), self.store.replicas())
    }

    fn spawn_ask(
        self: &Arc<Self>,
        ahead: GrantRequest,
        has_own: bool,
        deadline: Instant,
    ) -> JoinHandle<Result<Option<(Decision, Outcomes)>, StoreError>> {
        let (client, under_way) = (Arc::clone(self), UnderWay::begin(&self.store));
        tokio::spawn(async move {
            let answer = client.ask_for_grant(ahead, has_own, deadline).await;
            drop(under_way);
            answer
        })
    }

    /// Asks for admissions ahead, and for that of a request if `has_own`: its decision and outcomes. `None` if there is too
    /// little; then nothing stays charged.
    async fn ask_for_grant(
        self: &Arc<Self>,
        ahead: GrantRequest,
        has_own: bool,
        deadline: Instant,
    ) -> Result<Option<(Decision, Outcomes)>, StoreError> {
        let counters = &self.store.telemetry.shared_store().prepaid;
        let (count, ttl) = (
            ahead.count().saturating_add(u64::from(has_own)),
            denial_ttl(Some(ahead.prepaid_time())),
        );
        let sent = self.store.clock.now();
        let asked = {
            let charges: SmallVec<[Charge<'_>; 8]> =
                ahead.plan().iter().map(|charge| charge.times(count)).collect();
            self.ask(&charges, deadline).await
        };
        let reply = match asked {
            Ok((_, reply)) => reply,
            Err(error) => {
                counters.lost.inc_by(ahead.count());
                return Err(error);
            }
        };
        let mut outcomes = Outcomes::new();
        let over: SmallVec<[Mode; 4]> = {
            let charges: SmallVec<[Charge<'_>; 8]> =
                ahead.plan().iter().map(|charge| charge.times(count)).collect();
            let admission = self.record(&charges, &reply, None, sent, ttl, &mut outcomes)?;
            if admission == Admission::Denied {
                return Ok(None);
            }
            let over =
                charges.iter().zip(&outcomes).filter(|(_, outcome)| outcome.wait != Wait::NONE);
            over.map(|(charge, _)| charge.mode).collect()
        };
        if !over.is_empty() {
            let back = ahead.charged_in_part(&reply.states, has_own, &over);
            self.give_back(&[back]).await;
            return Ok(None);
        }
        counters.charged.inc_by(ahead.count());
        let now = Now { steady: self.store.clock.now(), wall: reply.now };
        let grant = ahead.granted(&reply.states, has_own, sent, now, &mut outcomes);
        tokio::spawn(Arc::clone(self).end_grant(grant));
        let admission = Admission::Admitted { lease: None };
        Ok(Some((Decision { admission, now: reply.now }, outcomes)))
    }

    /// Waits until the time of a grant is over, and gives back what is not spent.
    async fn end_grant(self: Arc<Self>, grant: GrantName) {
        loop {
            match grant.until().since(self.store.clock.now()) {
                Nanos::ZERO => break,
                left => sleep(left.into()).await,
            }
        }
        let _under_way = UnderWay::begin(&self.store);
        if let Some(back) = self.store.prepaid.end(grant) {
            self.give_back(&[back]).await;
        }
    }
}
