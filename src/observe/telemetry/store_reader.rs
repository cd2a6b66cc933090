//! Metrics that the memory store keeps itself.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::store::MemoryStore;

/// Reads the store when metrics are encoded.
#[derive(Debug)]
pub(super) struct StoreReader(pub(super) Arc<MemoryStore>);

impl Collector for StoreReader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let keys = gauge(self.0.len());
        let help = "Buckets that are not full, and leases, as of the last sweep.";
        keys.encode(encoder.encode_descriptor("keys", help, None, keys.metric_type())?)?;
        let leases = gauge(self.0.lease_count());
        let help = "Leases that hold slots, as of the last sweep.";
        leases.encode(encoder.encode_descriptor("leases", help, None, leases.metric_type())?)?;
        let mut counter = |name, help, count| {
            let counter = ConstCounter::<u64>::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        let help = "Buckets evicted before they were full, because the maximum number was reached.";
        counter("evictions", help, self.0.evictions())?;
        let help = "Leases refused because the maximum number is held; their calls were denied.";
        counter("refused_leases", help, self.0.refused_leases())
    }
}
