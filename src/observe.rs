//! Observability of calls: metrics in `telemetry`, lists in `recent_buckets`, `top_denied`, `active_leases` and
//! `envoy_shares`, log lines in `denied_log`, spans in `traces`; `statsd` sends the metrics of envoyproxy/ratelimit, as `statistics` says. A
//! bucket has the same name in all of ours, its `bucket_label`.

pub mod active_leases;
pub mod bucket_label;
pub mod denied_log;
pub mod envoy_shares;
pub mod recent_buckets;
pub mod statistics;
pub mod statsd;
pub mod telemetry;
pub mod top_denied;
pub mod traces;
