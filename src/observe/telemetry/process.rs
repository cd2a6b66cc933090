//! Metrics of the process, under the names that Prometheus's clients have for them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the process's memory when metrics are encoded. On a system without `/proc`, there are no such metrics.
#[derive(Debug)]
pub(super) struct ProcessReader;

impl Collector for ProcessReader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some([size, resident]) = memory() else { return Ok(()) };
        for (name, help, bytes) in [
            ("process_virtual_memory", "Size of the process's virtual memory.", size),
            ("process_resident_memory", "Memory of the process that is in RAM.", resident),
        ] {
            let gauge = ConstGauge::new(bytes);
            let unit = Some(&Unit::Bytes);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// The virtual and the resident memory in bytes: the first two numbers of `/proc/self/statm` are pages (proc(5)).
fn memory() -> Option<[i64; 2]> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let page = i64::try_from(rustix::param::page_size()).ok()?;
    let mut pages = statm.split(' ').map(str::parse::<i64>);
    let mut next = || pages.next()?.ok()?.checked_mul(page);
    Some([next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_resides_in_some_of_its_memory() {
        let [size, resident] = memory().unwrap();
        assert!(resident > 100_000 && size >= resident, "{resident} of {size} bytes");
    }
}
