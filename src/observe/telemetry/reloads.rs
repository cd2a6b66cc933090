//! Metrics of reloads: of policies, and of certificates.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ratelimit_stats::Loads;
use super::{register, whole_seconds};
use crate::clock::Timestamp;

/// The loads of policies.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    loaded_at: Gauge,
    is_successful: Gauge,
    rejected: Counter,
    /// Not a metric of ours.
    loaded: Counter,
}

impl Reloads {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Reloads of policies that failed; the previous policies stay in force";
        let rejected = register::counter(registry, "config_reload_errors", help);
        let help = "When the policies in force were loaded";
        let name = "config_last_reload_success_timestamp";
        let loaded_at = register::timestamp(registry, name, help);
        let help = "Whether the policies that were read last are in force";
        let is_successful = register::gauge(registry, "config_last_reload_successful", help);
        Self { loaded_at, is_successful, rejected, loaded: Counter::default() }
    }

    /// How often policies were loaded.
    pub(super) fn counts(&self) -> Loads {
        Loads { successful: self.loaded.get(), failed: self.rejected.get() }
    }

    /// Records that new policies came into force.
    pub fn record_loaded(&self, now: Timestamp) {
        self.loaded.inc();
        self.loaded_at.set(whole_seconds(now));
        self.record_unchanged();
    }

    /// Records that the policies in force were read again.
    pub fn record_unchanged(&self) {
        self.is_successful.set(1);
    }

    /// Records that new policies were rejected; the previous ones stay in force.
    pub fn record_rejected(&self) {
        self.rejected.inc();
        self.is_successful.set(0);
    }
}

/// The reloads of TLS certificates.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    are_successful: Gauge,
    failed: Counter,
}

impl Certificates {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Reloads of certificates that failed; the previous certificates stay in force";
        let failed = register::counter(registry, "tls_reload_errors", help);
        let help = "Whether the certificates that were read last are in force";
        let are_successful = register::gauge(registry, "tls_last_reload_successful", help);
        let certificates = Self { are_successful, failed };
        certificates.record(0);
        certificates
    }

    /// Records a reload, and how many of its certificates (that of gRPC and that of HTTP) cannot be used.
    pub fn record(&self, failed: usize) {
        self.failed.inc_by(u64::try_from(failed).unwrap_or(u64::MAX));
        self.are_successful.set((failed == 0).into());
    }
}
