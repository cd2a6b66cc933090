//! The connections that are served at a time, and which of them are closed for new ones.
//!
//! A new connection is always served: probes come on new ones, and a probe that is not answered ends the process. Where
//! the table is full, a connection of the address with the most is closed, and of those the one that has been idle for
//! longest, unless it waits for the server. So a client that opens many and sends nothing, or reads nothing, loses its
//! own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::timed_io::{Activity, ActivityClock};
use crate::observe::telemetry::HttpConnections;

/// How many connections are served at a time. Probes and scrapers need a few; Envoy needs none.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// How many of these are one peer's.
pub(super) const MAX_PER_PEER: usize = 128;

/// The other end of a connection, by which they are counted. All connections of a Unix domain socket are one peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    Local,
    V4(Ipv4Addr),
    /// A network of 64 bits: whoever has one address of it has all.
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
}

impl ConnectionTable {
    pub(super) fn new(counters: HttpConnections) -> Self {
        let (open, entries, clock) = Default::default();
        Self { open, entries, clock, counters }
    }

    /// Serves one more connection, and closes another for it where the table is full. It waits for nothing: else
    /// connections that come faster than others end would keep a probe waiting behind them.
    pub(super) fn take<F>(&mut self, peer: Peer, serve: impl FnOnce(Activity) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(id) = self.to_be_closed_for(peer)
            && let Some(entry) = self.entries.remove(&id)
        {
            // Ends when the runtime comes to it, which deals with all that it has to do in turn.
            entry.connection.abort();
            self.counters.displaced.inc();
        }
        let activity = self.clock.new_connection();
        let connection = self.open.spawn(serve(activity.clone()));
        self.entries.insert(connection.id(), Entry { peer, activity, connection });
        self.count();
    }

    /// The connection to close for one of this peer; none while there is room.
    fn to_be_closed_for(&self, peer: Peer) -> Option<Id> {
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

    /// Waits until a connection has ended, while there are any.
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

    fn count(&self) {
        self.counters.open.set(i64::try_from(self.entries.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Connections that never end by themselves, each with a number that is kept while it is open.
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
            self.table.take(peer, serve);
            // Those that were closed end.
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
    async fn a_peer_with_as_many_as_it_may_have_loses_the_one_that_stood_still_for_longest() {
        let mut open = Open::new();
        open.one_more(peer(2)).await;
        open.more(MAX_PER_PEER, peer(1)).await;
        assert_eq!(open.count(), MAX_PER_PEER + 1);
        // One moves again, and one waits for the server.
        open.activities[1].moved();
        let _answering = open.activities[2].answering();
        open.more(2, peer(1)).await;
        assert_eq!(open.count(), MAX_PER_PEER + 1);
        let gone: Vec<_> = (0..open.kept.len()).filter(|at| !open.is_open(*at)).collect();
        assert_eq!(gone, [3, 4]);
        assert_eq!(open.table.counters.displaced.get(), 2);
        assert_eq!(open.table.counters.open.get(), i64::try_from(MAX_PER_PEER + 1).unwrap());
    }

    #[tokio::test]
    async fn who_opens_many_makes_room_for_who_opens_few() {
        let mut open = Open::new();
        open.one_more(peer(9)).await;
        open.more(MAX_PER_PEER, peer(1)).await;
        open.more(MAX_CONNECTIONS - MAX_PER_PEER - 1, peer(2)).await;
        assert_eq!(open.count(), MAX_CONNECTIONS);
        open.more(10, peer(3)).await;
        assert_eq!(open.count(), MAX_CONNECTIONS);
        assert!(open.is_open(0), "it has stood still for longest, and has one");
        assert!(
            (MAX_CONNECTIONS..MAX_CONNECTIONS + 10).all(|at| open.is_open(at)),
            "they have a few"
        );
        let gone = |from, to| (from..to).filter(|at| !open.is_open(*at)).count();
        let of_two = (gone(1, MAX_PER_PEER + 1), gone(MAX_PER_PEER + 1, MAX_CONNECTIONS));
        assert!([(5, 5), (6, 4)].contains(&of_two), "in turn, of whom has the most: {of_two:?}");
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_connection_ends() {
        let mut table = ConnectionTable::new(HttpConnections::default());
        for _ in 0..3 * MAX_CONNECTIONS {
            table.take(Peer::Local, |_| async {});
            while !table.is_empty() {
                table.ended().await;
            }
        }
        assert_eq!(table.counters.displaced.get(), 0);
    }
}
