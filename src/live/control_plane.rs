//! The control plane that policies come from, for people: which, and whether it is connected.

use parking_lot::Mutex;

use crate::clock::Timestamp;

/// A server that sends policies, and the connection to it.
#[derive(Debug)]
pub struct ControlPlane {
    server: String,
    state: Mutex<ConnectionState>,
}

/// The state of a connection. Times are by the steady time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    /// Whether it is open.
    pub is_connected: bool,
    /// Since when it is open, or is not.
    pub since: Timestamp,
    /// Why it ended last, or could not be opened.
    pub error: Option<ConnectionError>,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionError {
    /// When.
    pub at: Timestamp,
    /// Why, in one line.
    pub error: String,
}

impl ControlPlane {
    /// A control plane at `server`, a host and a port, that is not connected yet.
    pub fn new(server: String, now: Timestamp) -> Self {
        let state = ConnectionState { is_connected: false, since: now, error: None };
        Self { server, state: Mutex::new(state) }
    }

    /// Its host and port.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The state of the connection.
    pub fn state(&self) -> ConnectionState {
        self.state.lock().clone()
    }

    /// Records that the connection is open.
    pub fn record_connected(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.is_connected = true;
        state.since = now;
    }

    /// Records that the connection ended, or could not be opened. Returns whether that is news: the connection was open,
    /// or there was another error.
    pub fn record_disconnected(&self, error: String, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let is_other = state.error.as_ref().is_none_or(|before| before.error != error);
        let is_news = is_other || state.is_connected;
        if state.is_connected {
            state.since = now;
        }
        state.is_connected = false;
        state.error = Some(ConnectionError { at: now, error });
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    #[test]
    fn an_outage_begins_when_the_connection_ended_and_its_error_is_told_once() {
        let at = |seconds| Timestamp::default().after(Nanos::from_secs(seconds));
        let control_plane = ControlPlane::new("localhost:18000".to_owned(), at(0));
        assert!(control_plane.record_disconnected("refused".to_owned(), at(1)));
        assert!(!control_plane.record_disconnected("refused".to_owned(), at(4)));
        let state = control_plane.state();
        assert_eq!((state.is_connected, state.since), (false, at(0)));
        control_plane.record_connected(at(7));
        assert_eq!(control_plane.state().since, at(7));
        // The error of the outage before stays to be seen.
        assert!(control_plane.state().error.is_some_and(|error| error.at == at(4)));
        assert!(control_plane.record_disconnected("refused".to_owned(), at(9)));
        assert!(control_plane.record_disconnected("reset".to_owned(), at(12)));
        assert_eq!(
            (control_plane.state().is_connected, control_plane.state().since),
            (false, at(9))
        );
    }
}
