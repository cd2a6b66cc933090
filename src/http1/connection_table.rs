//! The open HTTP connections, and which of them are closed to make room.
//!
//! A new connection is always served: probes open new ones, and an orchestrator kills the process if a probe is not
//! answered. If the table is full, a connection of the peer with the most is closed: the one that has been idle the
//! longest, and one that waits for the server last. A client that opens many idle connections thus loses its own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::timed_io::{Activity, ActivityClock};
use crate::observe::telemetry::HttpConnections;

/// The most open connections. Probes and scrapers need a few; Envoy needs none.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// The most open connections of one peer.
pub(super) const MAX_PER_PEER: usize = 128;

/// The remote end of a connection. All connections over a Unix domain socket have the same peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    Local,
    V4(Ipv4Addr),
    /// A /64 network: a client with one of its addresses has all of them.
    V6([u16; 4]),
}

impl Peer {
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => Self::V6(network(address)),
        }
    }
}

fn network(address: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d]
}

struct Entry {
    peer: Peer,
    activity: Activity,
    connection: AbortHandle,
}

/// The connections that are open.
pub(super) struct ConnectionTable {
    open: JoinSet<()>,
    entries: HashMap<Id, Entry>,
    clock: ActivityClock,
    counters: HttpConnections,
    /// How many of them are in the counters.
    counted: i64,
}

impl ConnectionTable {
    pub(super) fn new(counters: HttpConnections) -> Self {
        let (open, entries, clock) = Default::default();
        Self { open, entries, clock, counters, counted: 0 }
    }

    /// Serves a new connection, and closes another one if the table is full. It does not wait for that one to end:
    /// otherwise a flood of new connections would delay a probe.
    pub(super) fn serve<F>(&mut self, peer: Peer, serve: impl FnOnce(Activity) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(id) = self.connection_to_close(peer)
            && let Some(entry) = self.entries.remove(&id)
        {
            // The task ends when the runtime polls it next.
            entry.connection.abort();
            self.counters.displaced.inc();
        }
        let activity = self.clock.new_connection();
        let connection = self.open.spawn(serve(activity.clone()));
        self.entries.insert(connection.id(), Entry { peer, activity, connection });
        self.count();
    }

    /// The connection to close for a new one of this peer; none while there is room.
    fn connection_to_close(&self, peer: Peer) -> Option<Id> {
        let mut counts = HashMap::<_, usize>::new();
        self.entries.values().for_each(|entry| *counts.entry(entry.peer).or_default() += 1);
        let own = counts.get(&peer).copied().unwrap_or_default();
        if own < MAX_PER_PEER && self.entries.len() < MAX_CONNECTIONS {
            return None;
        }
        let most = counts.values().max();
        let is_closed = |entry: &Entry| match own {
            MAX_PER_PEER.. => entry.peer == peer,
            _ => counts.get(&entry.peer) == most,
        };
        let table = self.entries.iter().filter(|(_, entry)| is_closed(entry));
        table.min_by_key(|(_, entry)| entry.activity.rank()).map(|(id, _)| *id)
    }

    /// Waits until a connection has ended, if there is any.
    pub(super) async fn ended(&mut self) {
        let id = match self.open.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        self.entries.remove(&id);
        self.count();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds the change to the count of open connections, which all tables share.
    fn count(&mut self) {
        let open = i64::try_from(self.entries.len()).unwrap_or(i64::MAX);
        self.counters.open.inc_by(open - self.counted);
        self.counted = open;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Connections that never end by themselves, each with a reference that it holds while it is open.
    struct Open {
        table: ConnectionTable,
        activities: Vec<Activity>,
        kept: Vec<Arc<()>>,
    }

    impl Open {
        fn new() -> Self {
            let table = ConnectionTable::new(HttpConnections::default());
            Self { table, activities: Vec::new(), kept: Vec::new() }
        }

        async fn one_more(&mut self, peer: Peer) {
            let kept = Arc::new(());
            self.kept.push(Arc::clone(&kept));
            let activities = &mut self.activities;
            let serve = |activity: Activity| {
                activities.push(activity);
                async move {
                    std::future::pending::<()>().await;
                    drop(kept);
                }
            };
            self.table.serve(peer, serve);
            // Lets the closed connections end.
            tokio::task::yield_now().await;
        }

        async fn more(&mut self, count: usize, peer: Peer) {
            for _ in 0..count {
                self.one_more(peer).await;
            }
        }

        fn is_open(&self, at: usize) -> bool {
            Arc::strong_count(&self.kept[at]) == 2
        }

        fn count(&self) -> usize {
            (0..self.kept.len()).filter(|at| self.is_open(*at)).count()
        }
    }

    fn peer(number: u8) -> Peer {
        Peer::at(Some(IpAddr::from([10, 0, 0, number])))
    }

    #[test]
    fn a_peer_is_an_address_or_a_network_of_them() {
        let of = |text: &str| Peer::at(Some(text.parse().unwrap()));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(Peer::at(None), Peer::Local);
    }

    #[tokio::test]
    async fn a_peer_at_its_limit_loses_its_longest_idle_connection() {
        let mut open = Open::new();
        open.one_more(peer(2)).await;
        open.more(MAX_PER_PEER, peer(1)).await;
        assert_eq!(open.count(), MAX_PER_PEER + 1);
        // One is active again, and one waits for the server.
        open.activities[1].record();
        let _answering = open.activities[2].answering();
        open.more(2, peer(1)).await;
        assert_eq!(open.count(), MAX_PER_PEER + 1);
        let gone: Vec<_> = (0..open.kept.len()).filter(|at| !open.is_open(*at)).collect();
        assert_eq!(gone, [3, 4]);
        assert_eq!(open.table.counters.displaced.get(), 2);
        assert_eq!(open.table.counters.open.get(), i64::try_from(MAX_PER_PEER + 1).unwrap());
    }

    #[tokio::test]
    async fn a_full_table_closes_connections_of_the_peers_with_the_most() {
        let mut open = Open::new();
        open.one_more(peer(9)).await;
        open.more(MAX_PER_PEER, peer(1)).await;
        open.more(MAX_CONNECTIONS - MAX_PER_PEER - 1, peer(2)).await;
        assert_eq!(open.count(), MAX_CONNECTIONS);
        open.more(10, peer(3)).await;
        assert_eq!(open.count(), MAX_CONNECTIONS);
        assert!(open.is_open(0), "the longest idle, but the only one of its peer");
        assert!(
            (MAX_CONNECTIONS..MAX_CONNECTIONS + 10).all(|at| open.is_open(at)),
            "they have a few"
        );
        let gone = |from, to| (from..to).filter(|at| !open.is_open(*at)).count();
        let of_two = (gone(1, MAX_PER_PEER + 1), gone(MAX_PER_PEER + 1, MAX_CONNECTIONS));
        assert!(
            [(5, 5), (6, 4)].contains(&of_two),
            "in turn, of the peers with the most: {of_two:?}"
        );
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_connection_ends() {
        let mut table = ConnectionTable::new(HttpConnections::default());
        for _ in 0..3 * MAX_CONNECTIONS {
            table.serve(Peer::Local, |_| async {});
            while !table.is_empty() {
                table.ended().await;
            }
        }
        assert_eq!(table.counters.displaced.get(), 0);
    }
}
