//! Where a deployment of envoyproxy/ratelimit sends its statistics, and what it counts as near a limit.

use std::time::Duration;

/// The settings of statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The share of a limit from which on hits are near it (`NEAR_LIMIT_RATIO`).
    pub near_limit_ratio: f32,
    /// Where they go.
    pub sink: Sink,
    /// How often they are sent (`STATS_FLUSH_INTERVAL`).
    pub flush_interval: Duration,
    /// Tags of every name (`EXTRA_TAGS`).
    pub extra_tags: Vec<(String, String)>,
}

/// Where statistics go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere (`DISABLE_STATS`).
    Nowhere,
    /// To statsd (`USE_STATSD`).
    Statsd {
        /// The host (`STATSD_HOST`).
        host: String,
        /// The port (`STATSD_PORT`).
        port: u16,
        /// Whether by UDP instead of TCP (`STATSD_PROTOCOL`).
        is_udp: bool,
    },
    /// To DogStatsD, by UDP (`USE_DOG_STATSD`).
    DogStatsd {
        /// The host (`STATSD_HOST`).
        host: String,
        /// The port (`STATSD_PORT`).
        port: u16,
    },
    /// To whom asks as Prometheus does (`USE_PROMETHEUS`).
    Prometheus {
        /// Whether response times are in milliseconds instead of seconds (`PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS`).
        is_in_milliseconds: bool,
    },
    /// To the log.
    Log,
}
