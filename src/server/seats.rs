//! How many connections are open, and that there is a most.
//!
//! One too many is closed as soon as it is accepted. Left waiting in the system's queue it would look open
//! to Envoy, whose calls would then run into their timeouts; closed, they fail at once, and Envoy does what
//! its `failure_mode_deny` says. A GOAWAY would tell it no more than that, and would have to be waited for.
//! Those that are open are left alone: they are the Envoys that have been here all along.

use crate::observe::telemetry::Connections;

/// Of so many seats so many must be free again until it is said that they are: whoever opens and closes
/// one connection over and over is not to fill the log with it.
const FREE_AGAIN: i64 = 10;

/// The seats of all workers together.
#[derive(Debug)]
pub(super) struct Seats {
    connections: Connections,
    most: i64,
    /// How many were refused since it was last said that there is no seat.
    refused: Option<u64>,
}

impl Seats {
    pub(super) fn new(most: usize, connections: Connections) -> Self {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Self { connections, most, refused: None }
    }

    /// A seat for one more connection, if there is one. What changes is logged, not what happens.
    pub(super) fn take(&mut self) -> Option<Seat> {
        let open = self.connections.open.get();
        if open >= self.most {
            self.connections.refused.inc();
            if self.refused.is_none() {
                let cure = "see who opens so many, or raise --max-connections";
                tracing::warn!(open, "gRPC connections are refused: {cure}");
            }
            *self.refused.get_or_insert_default() += 1;
            return None;
        }
        if open < self.most - self.most / FREE_AGAIN
            && let Some(refused) = self.refused.take()
        {
            tracing::info!(open, refused, "gRPC connections are taken again");
        }
        self.connections.open.inc();
        Some(Seat(self.connections.clone()))
    }
}

/// The seat of one connection, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat(Connections);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_each_can_be_had_again() {
        let connections = Connections::default();
        let mut seats = Seats::new(2, connections.clone());
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some());
        assert!(seats.take().is_none() && seats.take().is_none());
        assert_eq!((connections.open.get(), connections.refused.get()), (2, 2));
        drop(first);
        assert_eq!(connections.open.get(), 1);
        let again = seats.take();
        assert!(again.is_some() && seats.take().is_none());
        drop((second, again));
        assert_eq!((connections.open.get(), connections.refused.get()), (0, 3));
    }
}
