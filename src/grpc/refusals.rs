//! What ends otherwise than by an answer: counted, and logged with a limit.
//!
//! Envoy lets a request pass that is not answered. So every such end is counted by its reason, and the first few of
//! each second are logged.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use unary_h2::{Code, Reason, Refused, StreamId};

use crate::observe::telemetry::Unanswered;

/// The most lines in the log for each second.
const MAX_LINES: u32 = 5;

/// The period over which lines are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// Requests that their peer has reset: it gave up, or its own client did.
const CANCELLED: &str = "cancelled";

/// Requests that were open when their connection failed.
const CONNECTION_FAILED: &str = "connection_failed";

/// Connections on which no preface arrived in time, and those whose TLS handshake failed.
const SILENT: &str = "silent";
const TLS: &str = "tls";

/// Counts and logs for the connections of one worker.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    unanswered: Unanswered,
    lines: Arc<Mutex<Lines>>,
}

/// The lines of one period.
#[derive(Debug)]
struct Lines {
    since: Instant,
    logged: u32,
    omitted: u64,
}

impl Refusals {
    pub(super) fn new(unanswered: Unanswered) -> Self {
        let requests = [&Refused::LABELS[..], &[CANCELLED, CONNECTION_FAILED]].concat();
        let connections = [&Reason::LABELS[..], &[SILENT, TLS]].concat();
        unanswered.expect(&requests, &connections);
        let lines = Lines { since: Instant::now(), logged: 0, omitted: 0 };
        Self { unanswered, lines: Arc::new(Mutex::new(lines)) }
    }

    /// The server has ended a request.
    pub(super) fn refused(&self, stream: StreamId, reason: Refused) {
        self.unanswered.count_requests(reason.label(), 1);
        self.log(|omitted| {
            let stream = stream.get();
            tracing::warn!(stream, %reason, omitted, "a gRPC request was not answered");
        });
    }

    /// The peer has reset a request.
    pub(super) fn cancelled(&self, stream: StreamId, code: Code) {
        self.unanswered.count_requests(CANCELLED, 1);
        tracing::debug!(stream = stream.get(), %code, "the peer reset a request");
    }

    /// A connection failed while this many requests were open.
    pub(super) fn failed(&self, error: &unary_h2::ConnectionError, open: usize) {
        self.unanswered.count_connection(error.reason.label());
        if let Ok(open @ 1..) = u64::try_from(open) {
            self.unanswered.count_requests(CONNECTION_FAILED, open);
        }
        self.log(|omitted| {
            tracing::warn!(%error, open, omitted, "a gRPC connection was closed");
        });
    }

    /// A connection was closed because nothing arrived on it.
    pub(super) fn silent(&self) {
        self.unanswered.count_connection(SILENT);
    }

    /// A TLS handshake failed.
    pub(super) fn handshake_failed(&self) {
        self.unanswered.count_connection(TLS);
    }

    /// Logs a line, with the number of lines that were omitted before it, unless the period has enough of them.
    fn log(&self, line: impl FnOnce(u64)) {
        let mut lines = self.lines.lock();
        let now = Instant::now();
        if now.duration_since(lines.since) >= PERIOD {
            (lines.since, lines.logged) = (now, 0);
        }
        if lines.logged < MAX_LINES {
            lines.logged += 1;
            line(std::mem::take(&mut lines.omitted));
        } else {
            lines.omitted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_logged_each_second_and_the_rest_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut registry = prometheus_client::registry::Registry::default();
            let refusals = Refusals::new(Unanswered::new(&mut registry));
            let logged = |count: usize| {
                let mut omitted = Vec::new();
                (0..count).for_each(|_| refusals.log(|before| omitted.push(before)));
                omitted
            };
            assert_eq!(logged(8), [0; 5]);
            assert!(logged(100).is_empty());
            tokio::time::advance(PERIOD).await;
            assert_eq!(logged(2), [103, 0]);
        });
    }
}
