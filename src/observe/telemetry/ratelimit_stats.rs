//! The statistics of envoyproxy/ratelimit, for descriptor trees: the counters of its limits and of its service, under its
//! names.
//!
//! They are kept from the moment on when a descriptor tree is in force, or from the start if the server stands in place of
//! envoyproxy/ratelimit. Requests for domains with tables are no part of them.
//!
//! The counters of most limits are looked up when a tree is loaded. The path of the others has values of the request; see
//! [`Policy::metric_path`]. Their number is bounded, and what clients send is cleaned and cut.

mod increase;
mod path_text;
mod paths;
mod prometheus;
mod response_time;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;

use self::increase::{Increase, is_denied, near_threshold};
use self::path_text::PathText;
use self::paths::{Counts, OTHER, Paths};
use self::response_time::ResponseTimes;
pub use self::response_time::{TimeUnit, Values};
use super::TextFormat;
use crate::clock::Nanos;
use crate::decision::Verdict;
use crate::descriptor::{Name, Query};
use crate::limit::Bucket;
use crate::observe::statistics::{Sink, Statistics};
use crate::policy::table::Row;
use crate::policy::{Plan, Policy};

/// What the names of counters of limits begin with.
const RATE_LIMIT: &str = "ratelimit.service.rate_limit.";

/// What the names of counters of the service begin with.
const SERVICE: &str = "ratelimit.service.";

/// What the names of counters of failed calls begin with.
const CALL: &str = "ratelimit.service.call.should_rate_limit.";

/// The method whose calls are counted.
const METHOD: &str = "ShouldRateLimit";

/// The time of a request for which no limit is looked up: less than the bounds of the histogram tell apart, and so the
/// clock is not read.
const AT_ONCE: Nanos = Nanos::ZERO;

/// The name of the timer in statsd.
pub const RESPONSE_TIME: &str = "ratelimit_server.ShouldRateLimit.response_time";

/// How statistics are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StatsSettings {
    /// The share of a limit beyond which hits are near it.
    pub near_limit_ratio: f32,
    /// The unit of response times in Prometheus.
    pub time_unit: TimeUnit,
}

impl Default for StatsSettings {
    /// Those of envoyproxy/ratelimit.
    fn default() -> Self {
        Self { near_limit_ratio: 0.8, time_unit: TimeUnit::Seconds }
    }
}

impl From<&Statistics> for StatsSettings {
    fn from(Statistics { near_limit_ratio, sink, .. }: &Statistics) -> Self {
        let time_unit = match sink {
            Sink::Prometheus { is_in_milliseconds: true, .. } => TimeUnit::Milliseconds,
            _ => TimeUnit::Seconds,
        };
        Self { near_limit_ratio: *near_limit_ratio, time_unit }
    }
}

/// All statistics.
#[derive(Debug)]
pub struct RatelimitStats {
    near_limit_ratio: f32,
    /// Whether they are kept.
    is_on: AtomicBool,
    paths: Paths,
    requests: Counter,
    store_errors: Counter,
    service_errors: Counter,
    excused_requests: Counter,
    response_times: ResponseTimes,
}

/// The counters of a policy that is a descriptor tree.
#[derive(Debug)]
pub struct TreeStats {
    /// By the numbers of rows.
    rows: Box<[RowStats]>,
    /// For paths of requests beyond the maximum.
    other: Arc<Counts>,
}

#[derive(Debug)]
struct RowStats {
    /// None if its path depends on the request.
    counts: Option<Arc<Counts>>,
    /// None for limits that Envoy brings.
    near_threshold: Option<u64>,
}

/// How often policies were loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loads {
    /// How often they came into force.
    pub successful: u64,
    /// How often they were rejected.
    pub failed: u64,
}

impl RatelimitStats {
    /// Statistics that are kept once a descriptor tree is in force.
    pub(super) fn new(settings: StatsSettings) -> Self {
        Self {
            near_limit_ratio: settings.near_limit_ratio,
            is_on: AtomicBool::default(),
            paths: Paths::default(),
            requests: Counter::default(),
            store_errors: Counter::default(),
            service_errors: Counter::default(),
            excused_requests: Counter::default(),
            response_times: ResponseTimes::new(settings.time_unit),
        }
    }

    /// The same, kept from now on.
    pub(super) fn on(self) -> Self {
        self.is_on.store(true, Ordering::Relaxed);
        self
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The counters of policies that replace the previous ones, one for each policy; `None` for those of tables.
    pub fn for_policies(&self, policies: &[Policy]) -> Vec<Option<TreeStats>> {
        self.paths.begin();
        let stats = policies.iter().map(|policy| policy.is_tree().then(|| self.of_tree(policy)));
        let stats: Vec<_> = stats.collect();
        self.paths.retire();
        if stats.iter().any(Option::is_some) {
            self.is_on.store(true, Ordering::Relaxed);
        }
        stats
    }

    fn of_tree(&self, policy: &Policy) -> TreeStats {
        let mut rows: Vec<_> = policy.rows().collect();
        rows.sort_unstable_by_key(|row| row.id());
        let of_row = |row: &Row| {
            let window = row.rules().first().and_then(|rule| match rule.bucket() {
                Bucket::Window(window) => Some(*window),
                Bucket::Tokens(_) | Bucket::Concurrency(_) | Bucket::Blocked(_) => None,
            });
            RowStats {
                counts: policy.metric_path(row).map(|path| self.paths.configured(&path)),
                near_threshold: window.map(|window| near_threshold(window, self.near_limit_ratio)),
            }
        };
        TreeStats {
            rows: rows.into_iter().map(of_row).collect(),
            other: self.paths.configured(&format!("{}.{OTHER}", policy.domain())),
        }
    }

    /// Counts a request that a descriptor tree decided.
    #[inline(never)] // Requests of tables have none of it.
    pub fn count(
        &self,
        stats: &TreeStats,
        policy: &Policy,
        query: &Query<'_>,
        plan: &Plan<'_>,
        verdict: &Verdict<'_>,
    ) {
        self.requests.inc();
        if plan.is_excused && is_denied(plan, verdict) {
            self.excused_requests.inc();
        }
        let mut descriptors = query.descriptors().enumerate();
        for decided in &verdict.decided {
            let (matched, row) = (decided.matched, decided.matched.row);
            let Some(of_row) = stats.rows.get(row.id().get()) else { continue };
            let near = match (of_row.near_threshold, matched.bucket) {
                (Some(near), _) => near,
                (None, Bucket::Window(window)) => near_threshold(*window, self.near_limit_ratio),
                (None, _) => continue,
            };
            let Some(by) = Increase::of_decided(decided, near) else { continue };
            if let Some(counts) = &of_row.counts {
                counts.add(by);
            } else if let Some((_, descriptor)) =
                descriptors.find(|(at, _)| *at == matched.descriptor)
            {
                let mut path = PathText::default();
                policy.write_metric_path(row, descriptor.entries(), |part| path.push(part));
                if !self.paths.count(path, |counts| counts.add(by)) {
                    stats.other.add(by);
                }
            }
        }
    }

    /// Counts a request for a domain without a policy.
    pub fn count_unknown_domain(&self, domain: Name<'_>, descriptors: usize) {
        if !self.is_on() {
            return;
        }
        self.requests.inc();
        self.observe(AT_ONCE);
        let descriptors = u64::try_from(descriptors).unwrap_or(u64::MAX);
        let count = |domain: &[u8]| {
            let mut path = PathText::default();
            path.push(domain);
            self.paths.count(path, |counts| counts.add_not_found(descriptors))
        };
        if !count(domain.as_bytes()) {
            self.paths.other_domains().add_not_found(descriptors);
        }
    }

    /// Counts a request that failed for what it is, or since policies are awaited.
    pub fn count_service_error(&self) {
        if self.is_on() {
            self.requests.inc();
            self.service_errors.inc();
            self.observe(AT_ONCE);
        }
    }

    /// Counts a request that the store could not decide, after so much time.
    pub fn count_store_error(&self, took: Nanos) {
        if self.is_on() {
            self.requests.inc();
            self.store_errors.inc();
            self.observe(took);
        }
    }

    /// Records how long a request took that [`Self::count`] counts: each one, so that the number of times is that of
    /// requests.
    pub fn observe(&self, took: Nanos) {
        if self.is_on() {
            self.response_times.observe(took);
        }
    }

    /// The response times that were recorded after so many, for a timer.
    pub fn response_times_since(&self, recorded: u64) -> Values {
        self.response_times.since(recorded)
    }

    /// Every counter that has risen, by its name in statsd.
    pub fn counters(&self, loads: Loads) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        if !self.is_on() {
            return counters;
        }
        let mut add = |name: String, value: u64| {
            if value > 0 {
                *counters.entry(name).or_default() += value;
            }
        };
        self.paths.for_each(|path, name, value| add(format!("{RATE_LIMIT}{path}.{name}"), value));
        add(format!("{SERVICE}config_load_success"), loads.successful);
        add(format!("{SERVICE}config_load_error"), loads.failed);
        add(format!("{SERVICE}global_shadow_mode"), self.excused_requests.get());
        add(format!("{CALL}redis_error"), self.store_errors.get());
        add(format!("{CALL}service_error"), self.service_errors.get());
        add(format!("ratelimit_server.{METHOD}.total_requests"), self.requests.get());
        counters
    }

    /// Writes them as metrics of Prometheus.
    ///
    /// # Errors
    /// None in practice: writing to a `String` does not fail.
    pub fn encode(&self, loads: Loads, format: TextFormat, to: &mut String) -> fmt::Result {
        let response_times = self.response_times.histogram();
        prometheus::write(&self.counters(loads), response_times.as_ref(), format, to)
    }
}
