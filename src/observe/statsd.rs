//! Sends the statistics of envoyproxy/ratelimit to statsd or DogStatsD.
//!
//! A [`Sender`] runs beside the server: requests only count, and never wait for it. If nobody takes the statistics, the log
//! tells it once, and their increases are sent when somebody does.

mod connection;
mod lines;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::connection::{Connection, Destination};
use self::lines::{Batch, Style};
use super::statistics::{Sink, Statistics};
use super::telemetry::Telemetry;
use super::telemetry::ratelimit_stats::RESPONSE_TIME;

/// The longest time in which statistics are sent, with all that it takes to connect.
const MAX_TIME: Duration = Duration::from_secs(3);

/// Sends statistics.
#[derive(Debug)]
pub struct Sender {
    telemetry: Arc<Telemetry>,
    destination: Destination,
    style: Style,
    interval: Duration,
    /// The values of counters that were sent last.
    sent: HashMap<String, u64>,
    /// How many response times had been recorded then.
    recorded: u64,
    connection: Option<Connection>,
    /// Whether it was told that nobody takes the statistics.
    is_failure_told: bool,
}

impl Sender {
    /// A sender of the statistics of `telemetry`; `None` if they do not go to statsd.
    pub fn new(telemetry: Arc<Telemetry>, statistics: &Statistics) -> Option<Self> {
        let Statistics { sink, flush_interval, extra_tags, .. } = statistics;
        let (host, port, is_udp, style) = match sink {
            Sink::Statsd { host, port, is_udp } => (host, port, *is_udp, Style::names(extra_tags)),
            Sink::DogStatsd { host, port } => (host, port, true, Style::tags(extra_tags)),
            Sink::Nowhere | Sink::Prometheus { .. } | Sink::Log => return None,
        };
        Some(Self {
            telemetry,
            destination: Destination { host: host.clone(), port: *port, is_udp },
            style,
            interval: *flush_interval,
            sent: HashMap::new(),
            recorded: 0,
            connection: None,
            is_failure_told: false,
        })
    }

    /// Sends in each interval, and a last time after `stop`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is over at once.
        ticks.tick().await;
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.flush().await,
                () = &mut stop => break,
            }
        }
        self.flush().await;
    }

    /// Sends what has risen since the last time, and the response times that were recorded. What is not sent is part of
    /// the next increase; response times are lost.
    pub async fn flush(&mut self) {
        let batches = self.batches();
        if batches.is_empty() {
            return;
        }
        let sent = timeout(MAX_TIME, self.send(batches)).await;
        match sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(()) if self.is_failure_told && !self.destination.is_udp => {
                tracing::info!(to = %self.destination, "statistics are sent again");
                self.is_failure_told = false;
            }
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        self.connection = None;
        if !self.is_failure_told {
            self.is_failure_told = true;
            tracing::warn!(
                to = %self.destination, %error,
                "statistics are not sent; check STATSD_HOST, STATSD_PORT and STATSD_PROTOCOL, or set USE_STATSD=false"
            );
        }
    }

    /// The lines to send.
    fn batches(&mut self) -> Vec<Batch> {
        let mut batches = Batch::list(self.destination.max_batch());
        let counters = self.telemetry.ratelimit_counters();
        // A counter that is removed begins anew if it comes back.
        self.sent.retain(|name, _| counters.contains_key(name));
        for (name, value) in counters {
            let sent = self.sent.get(&name).copied().unwrap_or(0);
            // It has begun anew if it is lower.
            let increase = value.checked_sub(sent).unwrap_or(value);
            if increase > 0 {
                let line = self.style.counter(&name, increase);
                batches.push(&line, Some((name, value)));
            }
        }
        let times = self.telemetry.ratelimit().response_times_since(self.recorded);
        self.recorded = times.recorded;
        for nanos in times.nanos {
            let line = self.style.timer(RESPONSE_TIME, Duration::from_nanos(nanos), times.weight);
            batches.push(&line, None);
        }
        batches.finish()
    }

    async fn send(&mut self, batches: Vec<Batch>) -> std::io::Result<()> {
        // So that a connection that was closed meanwhile is known to be.
        tokio::task::yield_now().await;
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => self.destination.connect().await?,
        };
        for Batch { text, counters } in batches {
            connection.write(text.as_bytes()).await?;
            self.sent.extend(counters);
        }
        self.connection = Some(connection);
        Ok(())
    }
}
