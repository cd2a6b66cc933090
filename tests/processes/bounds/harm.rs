//! What callers do that are not honest.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::frames::{self, Connection, Resets};
use super::support::shipped;

/// What a caller does that is not honest.
pub(crate) trait Harm {
    /// Right before an honest call.
    fn begin(&mut self);
    /// After it: waits until the server has dealt with it.
    fn end(&mut self);
}

/// Who does none.
pub(crate) struct Nobody;

impl Harm for Nobody {
    fn begin(&mut self) {}
    fn end(&mut self) {}
}

/// Calls begun and reset, so many in one write.
pub(crate) struct Flood {
    connection: Connection,
    resets: Resets,
    count: usize,
}

impl Flood {
    pub(crate) fn of(server: SocketAddr, count: usize) -> Self {
        Self { connection: Connection::open(server), resets: Resets::default(), count }
    }
}

impl Harm for Flood {
    fn begin(&mut self) {
        self.connection.send(&self.resets.burst(self.count));
    }

    fn end(&mut self) {
        self.connection.settle();
    }
}

/// Bursts of so many calls, on streams of their own.
pub(crate) fn calls(count: usize, call: impl Fn(u32) -> Vec<u8>) -> impl FnMut() -> Vec<u8> {
    let mut streams = (1..).step_by(2);
    move || streams.by_ref().take(count).flat_map(&call).collect()
}

/// Callers that ask as long as anything is taken and never read.
pub(crate) struct SlowReaders {
    /// Each with how much of the calls it has sent.
    connections: Vec<(Connection, usize)>,
    pub(crate) calls: Vec<u8>,
    turn: usize,
}

impl SlowReaders {
    pub(crate) fn of(server: SocketAddr, count: usize) -> Self {
        let message = shipped(&[("tenant_type", "free"), ("tenant", "attacker")]);
        let open = || {
            let mut connection = Connection::open(server);
            connection.widen();
            (connection, 0)
        };
        let connections = (0..count).map(|_| open()).collect();
        // More than the system keeps on the way: some ten megabytes.
        let calls = calls(80_000, |stream| frames::call(stream, &message))();
        Self { connections, calls, turn: 0 }
    }

    /// One of them asks as long as anything is taken.
    pub(crate) fn ask(&mut self) {
        self.turn = (self.turn + 1) % self.connections.len();
        let (connection, sent) = &mut self.connections[self.turn];
        *sent += connection.send_what_is_taken(&self.calls[*sent..]);
    }

    /// How much the one that was taken the most from has sent.
    pub(crate) fn taken(&self) -> usize {
        self.connections.iter().map(|(_, sent)| *sent).max().unwrap()
    }
}

/// Of a hundred one waits until it is served, and so until those before it are accepted: more at once than
/// the system keeps waiting would have to try again a second later.
pub(crate) fn silent(server: SocketAddr, number: usize) -> Silent {
    if number.is_multiple_of(100) {
        return Silent::Served(Connection::open(server));
    }
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(&frames::preface()).unwrap();
    Silent::Sent(stream)
}

#[allow(dead_code, reason = "kept open")]
pub(crate) enum Silent {
    Served(Connection),
    Sent(TcpStream),
}
