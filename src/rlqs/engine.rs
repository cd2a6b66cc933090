//! The one who divides: takes reports, charges the store, and tells the streams.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tonic::Status;

use super::{Inbox, Settings};
use crate::clock::{Nanos, Timestamp};
use crate::live::LoadedPolicies;
use crate::observe::envoy_shares::MAX_LISTED;
use crate::observe::telemetry::{Ignored, Quotas as Metrics};
use crate::policy::Policy;
use crate::service::Service;
use crate::shares::{self, Action, Event, Inexpressible, Ledger, Row, StreamId, Usage};
use crate::text;
use crate::wire::quota::{self, RateLimitQuotaResponse};

/// How often it looks whether something is due.
const TICK: Duration = Duration::from_millis(100);

/// How many messages it takes before it charges and tells.
const MAX_BATCH: usize = 256;

/// How often it sets gauges and publishes shares.
const SURVEY: Nanos = Nanos::from_secs(1);

/// How many buckets near their limit it lists each second at most.
const MAX_NOTED: usize = 64;

/// What a stream is told, or how it ends.
pub(super) type Told = Result<RateLimitQuotaResponse, Status>;

/// What streams have to say.
pub(super) enum Message {
    /// A stream has opened.
    Open { stream: StreamId, domain: Arc<str>, to: mpsc::Sender<Told> },
    /// It reports.
    Report { stream: StreamId, usages: Vec<Usage>, arrived: Timestamp },
    /// It has ended.
    Close(StreamId),
}

/// The one who divides.
pub struct Engine {
    service: Arc<Service>,
    ledger: Ledger,
    ttl: u32,
    streams: HashMap<StreamId, mpsc::Sender<Told>>,
    policies: Arc<LoadedPolicies>,
    /// Streams whose clients have ended them.
    closed: Vec<StreamId>,
    /// The reports that are to be answered: whose, and when they arrived.
    arrivals: Vec<(StreamId, Timestamp)>,
    next_survey: Timestamp,
    next_exchange: Timestamp,
    has_failed: bool,
    has_debts: bool,
}

impl Engine {
    /// An engine that charges by this service.
    pub fn new(service: Arc<Service>, settings: Settings) -> Self {
        let now = service.now();
        let ttl = u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX).max(1);
        let of_ledger = shares::Settings {
            ttl: Nanos::from_secs(ttl.into()),
            idle: settings.idle.into(),
            is_shared: service.is_shared(),
            ..shares::Settings::default()
        };
        let policies = service.policies().load_full();
        Self {
            service,
            ledger: Ledger::new(of_ledger, now),
            ttl,
            streams: HashMap::new(),
            policies,
            closed: Vec::new(),
            arrivals: Vec::new(),
            next_survey: now,
            next_exchange: now,
            has_failed: false,
            has_debts: false,
        }
    }

    /// Divides until `draining` completes, then ends all streams, so that their Envoys go to another replica, and charges
    /// what is still to be charged.
    pub async fn run(mut self, inbox: Inbox, draining: impl Future<Output = ()>) {
        let Inbox(mut inbox) = inbox;
        let mut draining = std::pin::pin!(draining);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                () = &mut draining => break,
                _ = ticks.tick() => {
                    self.tick().await;
                    self.exchange_claims_if_due().await;
                }
                count = inbox.recv_many(&mut messages, MAX_BATCH) => {
                    if count == 0 {
                        break;
                    }
                }
            }
            for message in messages.drain(..) {
                self.take(message);
            }
            self.divide().await;
            // Now, so that a client that reports once and ends its side is answered.
            for stream in std::mem::take(&mut self.closed) {
                self.close(stream);
            }
        }
        self.streams.clear();
        self.ledger.expire(self.service.now());
        self.charge().await;
        self.leave().await;
    }

    /// Tells other replicas that all Envoys of this one are gone. Each goes on with its share, and comes to one of them.
    async fn leave(&mut self) {
        let now = self.service.now();
        self.ledger.close_all(now);
        self.ledger.assign(now);
        self.exchange_claims().await;
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open { stream, domain, to } => {
                if let Some(policy) = policy_of(&self.policies, &domain) {
                    self.metrics().create_rows(policy);
                }
                self.streams.insert(stream, to);
                self.ledger.open(stream, domain);
            }
            Message::Report { stream, usages, arrived } => {
                let now = self.service.core().read();
                let policies = Arc::clone(&self.policies);
                let refused =
                    self.ledger.report(stream, usages, |domain| policy_of(&policies, domain), now);
                self.arrivals.push((stream, arrived));
                self.tell(stream, refused);
            }
            Message::Close(stream) => self.closed.push(stream),
        }
    }

    async fn tick(&mut self) {
        let now = self.service.core().read();
        let policies = self.service.policies().load_full();
        if !Arc::ptr_eq(&policies, &self.policies) {
            self.policies = Arc::clone(&policies);
            self.ledger.reload(|domain| policy_of(&policies, domain), now);
            policies.policies().into_iter().for_each(|policy| self.metrics().renew_rows(policy));
            self.metrics().retain(|row| is_there(&policies, row));
        }
        self.ledger.expire(now.steady);
        if now.steady >= self.next_survey {
            self.next_survey = now.steady.after(SURVEY);
            let owed = self.ledger.owed(now.steady);
            if !owed.is_empty() || self.has_debts {
                self.metrics().set_owed(owed.iter().map(|(row, tokens)| (&**row, *tokens)));
            }
            self.has_debts = !owed.is_empty();
            let (shares, omitted) = self.ledger.largest_shares(MAX_LISTED);
            self.service.core().shares().publish(shares, omitted);
            for (domain, id) in self.ledger.near_limit(MAX_NOTED, now.steady) {
                // A list is not worth a line in the log.
                if self.service.note_buckets(&domain, &id).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn exchange_claims_if_due(&mut self) {
        let now = self.service.now();
        if now >= self.next_exchange {
            self.exchange_claims().await;
            self.next_exchange = now.after(self.ledger.claims_interval());
        }
    }

    /// Tells other replicas what its Envoys have of the buckets, and learns what those of the others have.
    async fn exchange_claims(&mut self) {
        let others = self.ledger.other_replicas(self.service.other_replicas(), self.service.now());
        if others.is_empty() {
            return;
        }
        let claims = self.ledger.claims();
        match self.service.exchange_claims(&claims, &others).await {
            Ok(told) => self.ledger.exchanged(&claims, told, self.service.now()),
            // Charges fail as well, and tell so.
            Err(error) => tracing::debug!(%error, "cannot tell other replicas of shares"),
        }
    }

    /// Charges what is due, and tells the streams what has changed.
    async fn divide(&mut self) {
        self.charge().await;
        self.begin_buckets().await;
        let mut told = self.ledger.assign(self.service.now());
        // Streams that wait for an answer come first: the messages to the others may be several times as long.
        for (stream, arrived) in std::mem::take(&mut self.arrivals) {
            if let Some(actions) = told.remove(&stream) {
                self.tell(stream, actions);
            }
            self.metrics().observe(self.service.now().since(arrived));
        }
        for (stream, actions) in told {
            self.tell(stream, actions);
        }
        self.count();
    }

    /// Asks the store which new buckets have no Envoys at other replicas. The Envoys of this replica get their parts of those at
    /// once.
    async fn begin_buckets(&mut self) {
        let new = self.ledger.take_new_buckets();
        if new.is_empty() {
            return;
        }
        let first = self.service.are_first(&new).await.unwrap_or_default();
        let now = self.service.now();
        for (at, bucket) in new.into_iter().enumerate() {
            // Without an answer, it waits until others know of it.
            self.ledger.begin_bucket(bucket, first.get(at) == Some(&true), now);
        }
    }

    async fn charge(&mut self) {
        let due = self.ledger.charges(self.service.now());
        if due.is_empty() {
            return;
        }
        match self.service.charge_shares(&due).await {
            Ok(outcomes) => {
                let now = self.service.now();
                for (charge, outcome) in due.into_iter().zip(outcomes) {
                    self.ledger.charged(charge.fingerprint, charge.hits, outcome.reset, now);
                }
                self.has_failed = false;
            }
            Err(error) => {
                let count = u64::try_from(due.len()).unwrap_or(u64::MAX);
                self.metrics().failures.inc_by(count);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(
                        %error,
                        "cannot charge for what Envoys use; shares go by what was left before"
                    );
                }
            }
        }
    }

    fn tell(&mut self, stream: StreamId, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let Some(to) = self.streams.get(&stream) else { return };
        self.metrics().count_actions(&actions);
        if to.try_send(Ok(quota::response(actions, self.ttl))).is_err() {
            // It does not read. Its Envoy opens another one, if it is there.
            self.metrics().count_ignored(Ignored::not_read, 1);
            self.close(stream);
        }
    }

    /// Ends a stream.
    fn close(&mut self, stream: StreamId) {
        self.ledger.close(stream, self.service.now());
        // Its client sees it end once that is done.
        self.streams.remove(&stream);
    }

    fn count(&mut self) {
        let [streams, shares] = self.ledger.counts();
        let telemetry = self.service.core().telemetry();
        let metrics = telemetry.quotas();
        metrics.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
        metrics.shares.set(i64::try_from(shares).unwrap_or(i64::MAX));
        for event in self.ledger.take_events() {
            match event {
                Event::Used(row, counts) => metrics.count_requests(&row, counts),
                Event::Free(why, [allowed, denied]) => {
                    metrics.count_free(why, allowed.saturating_add(denied));
                }
                Event::Inexpressible(row, what) => {
                    if metrics.count_inexpressible(&row, what) {
                        log_inexpressible(&row, what);
                    }
                }
                Event::TooMany => metrics.count_ignored(Ignored::too_many, 1),
            }
        }
    }

    fn metrics(&self) -> &Metrics {
        self.service.core().telemetry().quotas()
    }
}

fn policy_of<'p>(policies: &'p LoadedPolicies, domain: &str) -> Option<&'p Policy> {
    policies.get(domain).map(|loaded| &loaded.policy)
}

fn is_there(policies: &LoadedPolicies, row: &Row) -> bool {
    policy_of(policies, &row.domain).is_some_and(|policy| {
        policy.rows().any(|of| of.table() == &*row.table && of.name() == &*row.row)
    })
}

fn log_inexpressible(row: &Row, what: Inexpressible) {
    let Row { domain, table, row } = row;
    tracing::warn!(
        domain = %text::printable(domain),
        table = %text::printable(table),
        row = %text::printable(row),
        "{what}"
    );
}
