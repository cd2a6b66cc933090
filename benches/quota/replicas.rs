//! The replicas of the server, and what they tell each other through the store.

use tollgate::clock::{Nanos, Timestamp};
use tollgate::shares::{Claims, Ledger, ReplicaId, Settings};

use super::{Envoy, STEP, Simulation};

/// How long what a replica claims is kept in the store.
const CLAIMS_KEPT: Nanos = Nanos::from_secs(6);

/// For how long a replica is the first with Envoys of a bucket.
const FIRST: Nanos = Nanos::from_secs(3);

/// A replica of the server.
pub(super) struct Server {
    /// Of all replicas that there have been, its own.
    id: ReplicaId,
    pub(super) ledger: Ledger,
    pub(super) is_up: bool,
    next_exchange: Timestamp,
    /// What it has in the store for other replicas, and until when.
    claims: Option<(Claims, Timestamp)>,
}

fn shared() -> Settings {
    Settings { is_shared: true, ..Settings::default() }
}

impl Simulation {
    /// Adds a replica that has run for long over the same store. Returns its number.
    pub(in super::super) fn server(&mut self) -> usize {
        let begun = self.now.before(Nanos::from_secs(60));
        let mut ledger = Ledger::new(shared(), begun);
        ledger.expire(self.now);
        // Replicas do not write and read at the same time.
        let next_exchange = self.now.after(STEP.times(7 * self.servers.len() as u64));
        let id = self.replica_id();
        self.servers.push(Server { id, ledger, is_up: true, next_exchange, claims: None });
        self.servers.len() - 1
    }

    pub(super) fn exchange_if_due(&mut self, server: usize) {
        let of = &self.servers[server];
        if self.now >= of.next_exchange {
            self.exchange(server);
            let of = &mut self.servers[server];
            of.next_exchange = self.now.after(of.ledger.claims_interval());
        }
    }

    /// A replica writes what it claims, and reads what the others do.
    fn exchange(&mut self, server: usize) {
        let now = self.now;
        let ids = (0..self.servers.len()).filter(|of| *of != server);
        let there = ids.clone().filter(|of| self.servers[*of].is_up && now >= self.meet_at);
        let there = there.map(|of| self.servers[of].id).collect();
        let of = &mut self.servers[server];
        if of.ledger.other_replicas(there, now).is_empty() {
            return;
        }
        let claims = Claims::from_bytes(&of.ledger.claims().to_bytes()).unwrap();
        of.claims = Some((claims.clone(), now.after(CLAIMS_KEPT)));
        let told = ids.filter_map(|of| {
            let (claims, until) = self.servers[of].claims.as_ref()?;
            (*until > now).then(|| (self.servers[of].id, claims.clone()))
        });
        let told = told.collect();
        self.servers[server].ledger.exchanged(&claims, told, now);
    }

    /// Has replicas not know each other for so long.
    pub(in super::super) fn meet_after(&mut self, span: Nanos) {
        self.meet_at = self.now.after(span);
    }

    /// Ends a replica, and moves its Envoys to another. If it drains, it tells so.
    pub(in super::super) fn end_server(&mut self, server: usize, is_drain: bool, next: usize) {
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

    /// Ends a replica, moves its Envoys to another one, and begins a new replica in its place. Returns how many have moved.
    pub(in super::super) fn replace_server(
        &mut self,
        server: usize,
        is_drain: bool,
        next: usize,
    ) -> usize {
        let moved = self.envoys.iter().filter(|of| of.is_alive && of.server == server).count();
        self.end_server(server, is_drain, next);
        self.replace(server);
        moved
    }

    /// Ends the connection of an Envoy, which goes to another replica with its next report.
    pub(in super::super) fn move_envoy(&mut self, envoy: usize, next: usize) {
        let Envoy { server, stream, .. } = self.envoys[envoy];
        self.servers[server].ledger.close(stream, self.now);
        (self.envoys[envoy].server, self.envoys[envoy].is_cut) = (next, true);
    }

    /// Gives the holders of a server their parts of each new bucket at once, if no other server has holders of it.
    pub(super) fn begin_buckets(&mut self, server: usize) {
        let Server { id: ReplicaId(own), ledger, .. } = &mut self.servers[server];
        for bucket in ledger.take_new_buckets() {
            let first = self.first.entry(bucket).or_insert((*own, self.now));
            if first.1 <= self.now {
                *first = (*own, self.now.after(FIRST));
            }
            ledger.begin_bucket(bucket, first.0 == *own, self.now);
        }
    }

    /// Replaces all servers by ones that know nothing.
    pub(super) fn restart_servers(&mut self) {
        for server in 0..self.servers.len() {
            if self.servers[server].is_up {
                self.replace(server);
            }
        }
    }

    /// Replaces a server by one that knows nothing. It is another replica: what the ended one has in the store stays for a
    /// while.
    fn replace(&mut self, server: usize) {
        let now = self.now;
        let (id, ledger) = (self.replica_id(), Ledger::new(shared(), now));
        let next = Server { id, ledger, is_up: true, next_exchange: now, claims: None };
        let mut ended = std::mem::replace(&mut self.servers[server], next);
        ended.is_up = false;
        self.servers.push(ended);
    }

    fn replica_id(&mut self) -> ReplicaId {
        self.replicas += 1;
        ReplicaId(self.replicas)
    }
}
