//! A simulation of Envoys that limit by themselves, and of a server that divides: the real ledger and the real memory
//! store. An Envoy here does what Envoy 1.40 does: a bucket begins full, keeps its ratio when it changes, and is reported
//! every five seconds from its first request on; before it is assigned it lets everything through.

#[path = "envoys.rs"]
mod envoys;
#[path = "exact_bucket.rs"]
mod exact_bucket;
#[path = "replicas.rs"]
mod replicas;

use std::collections::{BTreeMap, HashMap, HashSet};

use tollgate::clock::{Nanos, Now, Timestamp};
use tollgate::config::{self, Source};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Debt};
use tollgate::policy::Policies;
use tollgate::policy::fingerprint::{Fingerprint, FingerprintKey};
use tollgate::shares::{Action, Assignment, BucketId, DueCharge, Order, StreamId, Usage};
use tollgate::store::{Charge, MemoryStore, Mode, Outcomes};

use self::envoys::{Envoy, Stream};
use self::exact_bucket::Exact;
use self::replicas::Server;

/// When a run begins: far from the epoch, as in production.
const START: u64 = 1_800_000_000_000_000_000;

/// The domain of all policies here.
const DOMAIN: &str = "shop";

/// One step of the simulation.
pub(super) const STEP: Nanos = Nanos::new(20_000_000);

/// The same in seconds.
const STEP_SECONDS: f64 = 0.02;

/// How often the server looks whether something is due.
const TICK: Nanos = Nanos::new(100_000_000);

/// How often Envoy reports.
const REPORT: Nanos = Nanos::from_secs(5);

/// What was let through of some requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) allowed: u64,
}

/// The whole.
pub(super) struct Simulation {
    policies: Policies,
    store: MemoryStore,
    servers: Vec<Server>,
    /// When replicas know each other.
    meet_at: Timestamp,
    /// Which replica is the first with Envoys of a bucket, and until when.
    first: HashMap<Fingerprint, (u64, Timestamp)>,
    /// How many replicas there have been.
    replicas: u64,
    envoys: Vec<Envoy>,
    /// Which Envoy has a stream.
    of_stream: HashMap<StreamId, usize>,
    now: Timestamp,
    next_tick: Timestamp,
    next_stream: u64,
    is_away: bool,
    /// What is charged for all that is let through.
    exact: Vec<Exact>,
    /// The buckets of an exact server, which is asked about every request.
    asked: Vec<Exact>,
    pub(super) admitted_exactly: u64,
    seen: BTreeMap<(usize, usize), Seen>,
    /// Reports, and messages to Envoys.
    pub(super) messages: u64,
}

fn entries(pairs: &[(&str, &str)]) -> BucketId {
    BucketId::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

impl Simulation {
    /// A server with a policy, which has run for long; and an exact bucket of that size and rate beside all requests.
    pub(super) fn new(policy: &str, size: u32, rate: f64) -> Self {
        let text = format!("domain: {DOMAIN}\n{policy}");
        let source = Source { name: "shop.yaml".into(), text };
        let policies = config::compile(&[source], FingerprintKey::shared()).unwrap();
        let now = Timestamp::from_unix_nanos(START);
        let mut simulation = Self {
            policies,
            store: MemoryStore::new(1_000_000),
            servers: Vec::new(),
            meet_at: now,
            first: HashMap::new(),
            replicas: 0,
            envoys: Vec::new(),
            of_stream: HashMap::new(),
            now,
            next_tick: now,
            next_stream: 0,
            is_away: false,
            exact: vec![Exact::full(size, rate)],
            asked: vec![Exact::full(size, rate)],
            admitted_exactly: 0,
            seen: BTreeMap::new(),
            messages: 0,
        };
        simulation.server();
        simulation
    }

    /// With another exact bucket that every request meets.
    pub(super) fn with_bucket(mut self, size: u32, rate: f64) -> Self {
        self.exact.push(Exact::full(size, rate));
        self.asked.push(Exact::full(size, rate));
        self
    }

    /// Adds an Envoy with these bucket ids. Returns its number.
    pub(super) fn envoy(&mut self, ids: &[&[(&str, &str)]]) -> usize {
        self.envoy_of(0, ids)
    }

    /// As [`Self::envoy`], with its stream at that replica.
    pub(super) fn envoy_of(&mut self, server: usize, ids: &[&[(&str, &str)]]) -> usize {
        let stream = |id: &&[(&str, &str)]| Stream {
            id: entries(id),
            due: 0.0,
            tokens: 0.0,
            assignment: None,
            since_report: [0; 2],
            is_known: false,
        };
        self.next_stream += 1;
        self.of_stream.insert(StreamId(self.next_stream), self.envoys.len());
        self.envoys.push(Envoy {
            server,
            streams: ids.iter().map(stream).collect(),
            is_alive: true,
            stream: StreamId(self.next_stream),
            next_report: None,
            last_report: self.now,
            is_cut: false,
        });
        self.envoys.len() - 1
    }

    /// How many Envoys there have been.
    pub(super) fn count(&self) -> usize {
        self.envoys.len()
    }

    /// Runs for `seconds`. `demand` tells the requests a second of an Envoy's bucket id, by their numbers.
    pub(super) fn run(&mut self, seconds: f64, demand: impl Fn(usize, usize) -> f64) {
        let steps = (seconds / STEP_SECONDS).round();
        let mut step = 0.0;
        while step < steps {
            step += 1.0;
            self.now = self.now.after(STEP);
            self.exact.iter_mut().chain(&mut self.asked).for_each(Exact::refill);
            for at in 0..self.envoys.len() {
                if self.envoys[at].is_alive {
                    self.requests(at, &demand);
                    self.report_if_due(at);
                }
            }
            if self.now >= self.next_tick && !self.is_away {
                self.next_tick = self.now.after(TICK);
                for server in 0..self.servers.len() {
                    if self.servers[server].is_up {
                        self.servers[server].ledger.expire(self.now);
                        self.answer(server, Vec::new());
                        self.exchange_if_due(server);
                    }
                }
            }
        }
    }

    fn requests(&mut self, at: usize, demand: &impl Fn(usize, usize) -> f64) {
        for of in 0..self.envoys[at].streams.len() {
            let stream = &mut self.envoys[at].streams[of];
            if let Some(Assignment::Tokens { size, .. }) = stream.assignment {
                let rate = stream.assignment.and_then(Assignment::rate).unwrap();
                stream.tokens = (stream.tokens + rate * STEP_SECONDS).min(f64::from(size));
            }
            stream.due += demand(at, of) * STEP_SECONDS;
            while self.envoys[at].streams[of].due >= 1.0 {
                let stream = &mut self.envoys[at].streams[of];
                stream.due -= 1.0;
                let is_allowed = match stream.assignment {
                    None | Some(Assignment::All) => true,
                    Some(Assignment::Nothing) => false,
                    Some(Assignment::Tokens { .. }) => {
                        let has_one = stream.tokens >= 1.0;
                        stream.tokens -= if has_one { 1.0 } else { 0.0 };
                        has_one
                    }
                };
                stream.since_report[usize::from(!is_allowed)] += 1;
                let is_first = !std::mem::replace(&mut stream.is_known, true);
                let seen = self.seen.entry((at, of)).or_default();
                seen.requests += 1;
                if is_allowed {
                    seen.allowed += 1;
                    self.exact.iter_mut().for_each(Exact::take);
                }
                if self.asked.iter().all(|bucket| bucket.left >= 1.0) {
                    self.asked.iter_mut().for_each(Exact::take);
                    self.admitted_exactly += 1;
                }
                if is_first {
                    self.report(at, &[of], 0);
                }
            }
        }
    }

    fn report_if_due(&mut self, at: usize) {
        let envoy = &mut self.envoys[at];
        if envoy.next_report.is_none_or(|next| next > self.now) {
            return;
        }
        if self.is_away {
            // What it would have reported is lost.
            envoy.streams.iter_mut().for_each(|stream| stream.since_report = [0; 2]);
            (envoy.next_report, envoy.last_report) = (Some(self.now.after(REPORT)), self.now);
            envoy.is_cut = true;
            return;
        }
        let elapsed = self.now.since(envoy.last_report).get() / 1_000_000_000;
        let known: Vec<_> =
            (0..envoy.streams.len()).filter(|of| envoy.streams[*of].is_known).collect();
        self.report(at, &known, elapsed);
    }

    fn report(&mut self, at: usize, which: &[usize], elapsed: u64) {
        let now = self.now;
        let envoy = &mut self.envoys[at];
        if self.is_away {
            envoy.next_report.get_or_insert(now.after(REPORT));
            return;
        }
        if std::mem::take(&mut envoy.is_cut) {
            self.next_stream += 1;
            self.of_stream.remove(&envoy.stream);
            envoy.stream = StreamId(self.next_stream);
            self.of_stream.insert(envoy.stream, at);
        }
        if elapsed > 0 || envoy.next_report.is_none() {
            (envoy.next_report, envoy.last_report) = (Some(now.after(REPORT)), now);
        }
        let usages: Vec<_> = which
            .iter()
            .map(|of| {
                let stream = &mut envoy.streams[*of];
                let [allowed, denied] = std::mem::take(&mut stream.since_report);
                Usage { id: stream.id.clone(), elapsed, allowed, denied }
            })
            .collect();
        let (stream, server) = (envoy.stream, envoy.server);
        self.messages += 1;
        let ledger = &mut self.servers[server].ledger;
        ledger.open(stream, DOMAIN.into());
        let refused = ledger.report(stream, usages, |domain| self.policies.get(domain), now.into());
        self.answer(server, refused.into_iter().map(|action| (stream, action)).collect());
    }

    /// What a server does after each message, and at each tick.
    fn answer(&mut self, server: usize, mut told: Vec<(StreamId, Action)>) {
        let ledger = &mut self.servers[server].ledger;
        for DueCharge { fingerprint, limit, changes, hits } in ledger.charges(self.now) {
            let bucket = Bucket::Tokens(limit);
            let charge = Charge {
                fingerprint,
                bucket: &bucket,
                changes: changes.as_deref(),
                hits,
                mode: Mode::Enforced,
                debt: Some(Debt::UNBOUNDED),
                counting: Counting::AllOrNone,
            };
            let mut outcomes = Outcomes::new();
            self.store.decide(&[charge], self.now, &mut outcomes).unwrap();
            ledger.charged(fingerprint, hits, outcomes[0].reset, self.now);
        }
        self.begin_buckets(server);
        let ledger = &mut self.servers[server].ledger;
        for (stream, actions) in ledger.assign(self.now) {
            told.extend(actions.into_iter().map(|action| (stream, action)));
        }
        let streams: HashSet<_> = told.iter().map(|(stream, _)| *stream).collect();
        self.messages += streams.len() as u64;
        for (stream, Action { id, order }) in told {
            let at = self.of_stream.get(&stream);
            let envoy = at.and_then(|at| self.envoys.get_mut(*at)).filter(|envoy| envoy.is_alive);
            let Some(envoy) = envoy else { continue };
            let of = envoy.streams.iter_mut().find(|of| of.id == *id).unwrap();
            match order {
                Order::Assign(assignment) => of.apply(assignment),
                Order::Abandon => (of.assignment, of.is_known) = (None, false),
            }
        }
    }

    /// Ends an Envoy without a word: its connection ends with it.
    pub(super) fn kill(&mut self, envoy: usize) {
        self.envoys[envoy].is_alive = false;
        let Envoy { server, stream, .. } = self.envoys[envoy];
        self.servers[server].ledger.close(stream, self.now);
    }

    /// Ends all connections. The server does not answer for `seconds`; then it goes on with the same ledger or, if
    /// `is_restart`, with a new one over the same store.
    pub(super) fn away(
        &mut self,
        seconds: f64,
        is_restart: bool,
        demand: impl Fn(usize, usize) -> f64,
    ) {
        self.is_away = true;
        for envoy in &mut self.envoys {
            self.servers[envoy.server].ledger.close(envoy.stream, self.now);
            envoy.is_cut = true;
        }
        self.run(seconds, demand);
        self.is_away = false;
        if is_restart {
            self.restart_servers();
        }
    }

    /// Replaces the policy by one with this size and rate. What was used stays used.
    pub(super) fn reload_to(&mut self, policy: &str, size: u32, rate: f64) {
        for exact in &mut self.exact {
            let left = exact.left + f64::from(size) - exact.size;
            // What was let through by the limit before is no excess.
            exact.left = left.max(exact.left.min(0.0)).min(size.into());
            (exact.size, exact.rate) = (size.into(), rate);
        }
        self.reload(policy);
    }

    /// Replaces the policy.
    pub(super) fn reload(&mut self, policy: &str) {
        let text = format!("domain: {DOMAIN}\n{policy}");
        let source = Source { name: "shop.yaml".into(), text };
        self.policies = config::compile(&[source], FingerprintKey::shared()).unwrap();
        for server in 0..self.servers.len() {
            let ledger = &mut self.servers[server].ledger;
            ledger.reload(|domain| self.policies.get(domain), self.now.into());
            self.answer(server, Vec::new());
        }
    }

    /// Charges a bucket as a request does that is decided one by one. Returns whether it is admitted.
    pub(super) fn ask(&mut self, id: &[(&str, &str)]) -> bool {
        let mut query = tollgate::descriptor::Query::default();
        query.begin(DOMAIN, 1).unwrap();
        for (key, value) in id {
            query.entry(*key, *value);
        }
        query.close(Hits::ONE, None).unwrap();
        let policy = self.policies.get(DOMAIN).unwrap();
        let plan = policy.resolve(&query, self.now);
        let is_admitted = tollgate::decision::decide(&plan, &self.store, Now::from(self.now))
            .unwrap()
            .is_admitted;
        if is_admitted {
            self.exact.iter_mut().for_each(Exact::take);
        }
        is_admitted
    }

    /// What was seen of an Envoy's bucket id since this was asked last.
    pub(super) fn take(&mut self, envoy: usize, id: usize) -> Seen {
        std::mem::take(self.seen.entry((envoy, id)).or_default())
    }

    /// What was seen of all since this was asked last.
    pub(super) fn take_all(&mut self) -> Seen {
        let all = std::mem::take(&mut self.seen);
        all.values().fold(Seen::default(), |sum, seen| Seen {
            requests: sum.requests + seen.requests,
            allowed: sum.allowed + seen.allowed,
        })
    }

    /// The most that was let through beyond size + rate x t, over any time t.
    pub(super) fn worst(&self) -> f64 {
        self.exact.iter().map(|exact| exact.worst).fold(0.0, f64::max)
    }

    /// What an Envoy was told last.
    pub(super) fn assignment(&self, envoy: usize, id: usize) -> Option<Assignment> {
        self.envoys[envoy].streams[id].assignment
    }
}
