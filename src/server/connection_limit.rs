//! The limit on open gRPC connections.
//!
//! A connection beyond the limit is closed as soon as it is accepted. In the system's queue it would look open to
//! Envoy, whose calls would run into their timeouts; closed, they fail at once, and Envoy does what its
//! `failure_mode_deny` says. A GOAWAY would tell Envoy no more, and the server would have to wait for it. Open
//! connections are left alone: they belong to the Envoys that came first.

use crate::observe::telemetry::Connections;

/// Recovery is logged once a tenth of the permits is free, so that a client that opens and closes one connection
/// repeatedly cannot flood the log.
const RECOVERY_DIVISOR: i64 = 10;

/// The limit over the connections of all workers.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    connections: Connections,
    max: i64,
    /// How many connections were rejected since the log said that the limit is reached.
    rejected: Option<u64>,
}

impl ConnectionLimit {
    pub(super) fn new(max: usize, connections: Connections) -> Self {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        Self { connections, max, rejected: None }
    }

    /// The permit of one more connection, or none at the limit. Logs the first rejection and the recovery.
    pub(super) fn try_acquire(&mut self) -> Option<ConnectionPermit> {
        let open = self.connections.open.get();
        if open >= self.max {
            self.connections.rejected.inc();
            if self.rejected.is_none() {
                let hint = "find the client that opens them, or raise --max-connections";
                tracing::warn!(open, "rejecting gRPC connections: {hint}");
            }
            *self.rejected.get_or_insert_default() += 1;
            return None;
        }
        if open < self.max - self.max / RECOVERY_DIVISOR
            && let Some(rejected) = self.rejected.take()
        {
            tracing::info!(open, rejected, "accepting gRPC connections again");
        }
        self.connections.open.inc();
        Some(ConnectionPermit(self.connections.clone()))
    }
}

/// The permit of one connection; dropping it frees its place.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Connections);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_limit_are_rejected_until_a_permit_is_dropped() {
        let connections = Connections::default();
        let mut limit = ConnectionLimit::new(2, connections.clone());
        let (first, second) = (limit.try_acquire(), limit.try_acquire());
        assert!(first.is_some() && second.is_some());
        assert!(limit.try_acquire().is_none() && limit.try_acquire().is_none());
        assert_eq!((connections.open.get(), connections.rejected.get()), (2, 2));
        drop(first);
        assert_eq!(connections.open.get(), 1);
        let again = limit.try_acquire();
        assert!(again.is_some() && limit.try_acquire().is_none());
        drop((second, again));
        assert_eq!((connections.open.get(), connections.rejected.get()), (0, 3));
    }
}
