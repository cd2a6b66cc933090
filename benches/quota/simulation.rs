//! A simulation of Envoys that limit by themselves, and of a server that divides: the real ledger and the real memory
//! store. An Envoy here does what Envoy 1.40 does: a bucket begins full, keeps its ratio when it changes, and is reported
//! every five seconds from its first request on; before it is assigned it lets everything through.

use std::collections::{BTreeMap, HashMap, HashSet};

use tollgate::clock::{Nanos, Now, Timestamp};
use tollgate::config::{self, Source};
use tollgate::descriptor::Hits;
use tollgate::limit::{Bucket, Counting, Debt};
use tollgate::policy::Policies;
use tollgate::policy::fingerprint::{Fingerprint, FingerprintKey};
use tollgate::shares::{
    Action, Assignment, BucketId, Claims, DueCharge, Ledger, Order, ReplicaId, Settings, StreamId,
    Usage,
};
use tollgate::store::{Charge, MemoryStore, Mode, Outcomes};

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

/// How long what a replica claims is kept in the store.
const CLAIMS_KEPT: Nanos = Nanos::from_secs(6);

/// How often Envoy reports.
const REPORT: Nanos = Nanos::from_secs(5);

/// The requests of a bucket id in one Envoy.
struct Stream {
    id: BucketId,
    /// Part of a request that is still to come.
    due: f64,
    tokens: f64,
    assignment: Option<Assignment>,
    since_report: [u64; 2],
    is_known: bool,
}

/// A replica of the server.
struct Server {
    ledger: Ledger,
    is_up: bool,
    next_exchange: Timestamp,
    /// What it has in the store for other replicas, and until when.
    claims: Option<(Claims, Timestamp)>,
}

/// For how long a replica is the first with Envoys of a bucket.
const FIRST: Nanos = Nanos::from_secs(3);

/// An Envoy with its bucket ids.
struct Envoy {
    /// The replica to which its next stream goes.
    server: usize,
    streams: Vec<Stream>,
    is_alive: bool,
    stream: StreamId,
    /// When it reports next; `None` before its first request.
    next_report: Option<Timestamp>,
    last_report: Timestamp,
    /// Whether its next report opens a stream.
    is_cut: bool,
}

/// What was let through of some requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) allowed: u64,
}

/// An exact bucket beside, which shows by how much more was let through than it allows.
struct Exact {
    size: f64,
    rate: f64,
    left: f64,
    worst: f64,
}

impl Exact {
    fn full(size: u32, rate: f64) -> Self {
        Self { size: size.into(), rate, left: size.into(), worst: 0.0 }
    }

    fn refill(&mut self) {
        self.left = (self.left + self.rate * STEP_SECONDS).min(self.size);
    }

    fn take(&mut self) {
        self.left -= 1.0;
        self.worst = self.worst.max(-self.left);
    }
}

/// The whole.
pub(super) struct Simulation {
    policies: Policies,
    store: MemoryStore,
    servers: Vec<Server>,
    /// Until when some replica is the first with Envoys of a bucket.
    first: HashMap<Fingerprint, Timestamp>,
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
            first: HashMap::new(),
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

    /// Adds a replica that has run for long over the same store. Returns its number.
    pub(super) fn server(&mut self) -> usize {
        let begun = self.now.before(Nanos::from_secs(60));
        let mut ledger = Ledger::new(Settings::default(), begun);
        ledger.expire(self.now);
        // Replicas do not write and read at the same time.
        let next_exchange = self.now.after(STEP.times(7 * self.servers.len() as u64));
        self.servers.push(Server { ledger, is_up: true, next_exchange, claims: None });
        self.servers.len() - 1
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

    fn exchange_if_due(&mut self, server: usize) {
        let of = &self.servers[server];
        if self.servers.len() > 1 && self.now >= of.next_exchange {
            self.exchange(server);
            let of = &mut self.servers[server];
            of.next_exchange = self.now.after(of.ledger.claims_interval());
        }
    }

    /// A replica writes what it claims, and reads what the others do.
    fn exchange(&mut self, server: usize) {
        let now = self.now;
        let ids = (0..self.servers.len()).filter(|of| *of != server);
        let there = ids.clone().filter(|of| self.servers[*of].is_up);
        let there = there.map(|of| ReplicaId(of as u64)).collect();
        let of = &mut self.servers[server];
        of.ledger.other_replicas(there);
        let claims = Claims::from_bytes(&of.ledger.claims(now).to_bytes()).unwrap();
        of.claims = Some((claims, now.after(CLAIMS_KEPT)));
        let told = ids.filter_map(|of| {
            let (claims, until) = self.servers[of].claims.as_ref()?;
            (*until > now).then(|| (ReplicaId(of as u64), claims.clone()))
        });
        let told = told.collect();
        self.servers[server].ledger.set_claims_of_others(told, now);
    }

    /// Ends a replica, and moves its Envoys to another. If it drains, it tells so.
    pub(super) fn end_server(&mut self, server: usize, is_drain: bool, next: usize) {
        let now = self.now;
        let of = &mut self.servers[server];
        of.is_up = false;
        if is_drain {
            of.ledger.close_all(now);
            of.ledger.assign(now);
            self.exchange(server);
        }
        for envoy in self.envoys.iter_mut().filter(|envoy| envoy.server == server) {
            (envoy.server, envoy.is_cut) = (next, true);
        }
    }

    /// Ends the connection of an Envoy, which goes to another replica with its next report.
    pub(super) fn move_envoy(&mut self, envoy: usize, next: usize) {
        let Envoy { server, stream, .. } = self.envoys[envoy];
        self.servers[server].ledger.close(stream, self.now);
        (self.envoys[envoy].server, self.envoys[envoy].is_cut) = (next, true);
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
        for bucket in ledger.take_new_buckets() {
            let until = self.first.entry(bucket).or_insert(self.now);
            if *until <= self.now {
                *until = self.now.after(FIRST);
                ledger.set_first(bucket, self.now);
            }
        }
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
            let begun = |now| Ledger::new(Settings::default(), now);
            let mut ended = Vec::new();
            for server in self.servers.iter_mut().filter(|server| server.is_up) {
                server.ledger = begun(self.now);
                // They are other replicas now: what the ended ones have in the store stays for a while.
                let (claims, next_exchange) = (server.claims.take(), self.now);
                ended.push(Server { ledger: begun(self.now), is_up: false, next_exchange, claims });
            }
            self.servers.extend(ended);
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

impl Stream {
    fn apply(&mut self, next: Assignment) {
        if let Assignment::Tokens { size, .. } = next {
            let ratio = match self.assignment {
                Some(Assignment::Tokens { size: before, .. }) => self.tokens / f64::from(before),
                _ => 1.0,
            };
            self.tokens = ratio * f64::from(size);
        }
        self.assignment = Some(next);
    }
}
