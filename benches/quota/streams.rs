//! Streams to the quota service without an Envoy behind them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prost_types::Duration as Span;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tollgate::wire::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use tollgate::wire::quota::{
    RateLimitQuotaResponse, RateLimitQuotaServiceClient, RateLimitQuotaUsageReports,
};
use tonic::Streaming;

use super::processes::Failure;

/// How often Envoy reports.
const REPORT: Duration = Duration::from_secs(5);

/// A stream, as an Envoy has one.
struct Stream {
    reports: mpsc::Sender<RateLimitQuotaUsageReports>,
    told: Streaming<RateLimitQuotaResponse>,
}

impl Stream {
    async fn open(server: SocketAddr) -> Result<Self, Failure> {
        let mut client = RateLimitQuotaServiceClient::connect(format!("http://{server}")).await?;
        let (reports, all) = mpsc::channel(64);
        let told = client.stream_rate_limit_quotas(ReceiverStream::new(all)).await?;
        Ok(Self { reports, told: told.into_inner() })
    }

    async fn report(&self, usages: Vec<BucketQuotaUsage>) -> Result<(), Failure> {
        let domain = "management-api".to_owned();
        let report = RateLimitQuotaUsageReports { domain, bucket_quota_usages: usages };
        Ok(self.reports.send(report).await?)
    }

    /// Reads messages until one has `ids` bucket ids, which answers a report of that size. Other messages tell what reports of
    /// other streams have changed.
    async fn answer(&mut self, ids: usize) -> Result<(), Failure> {
        while let Some(message) = self.told.message().await? {
            if message.bucket_action.len() >= ids {
                return Ok(());
            }
        }
        Err("the stream has ended".into())
    }
}

fn usage(tenant: &str, seconds: i64, allowed: u64) -> BucketQuotaUsage {
    let entries = [("tenant_type", "plain"), ("tenant", tenant), ("endpoint_group", "other")];
    let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
    BucketQuotaUsage {
        bucket_id: Some(entries.into_iter().collect()),
        time_elapsed: Some(Span { seconds, nanos: 0 }),
        num_requests_allowed: allowed,
        num_requests_denied: 0,
    }
}

/// An Envoy whose tenants have requests all the time, as many as it lets through or as few.
pub(crate) struct Envoy {
    stream: Stream,
    number: u32,
    tenants: Vec<String>,
}

impl Envoy {
    /// Reports each of its bucket ids for the first time, in a message of its own.
    pub(crate) async fn begin(
        server: SocketAddr,
        number: u32,
        tenants: usize,
    ) -> Result<Self, Failure> {
        let mut stream = Stream::open(server).await?;
        let tenants: Vec<_> = (0..tenants).map(|tenant| format!("many-{tenant}")).collect();
        for tenant in &tenants {
            stream.report(vec![usage(tenant, 0, 1)]).await?;
            stream.answer(1).await?;
        }
        Ok(Self { stream, number, tenants })
    }

    /// Reports all of them every five seconds. Returns how long each of those reports waited for its answer.
    pub(crate) async fn report(
        mut self,
        start: Instant,
        reports: u32,
    ) -> Result<Vec<Duration>, Failure> {
        let mut next = start + REPORT / 10 * self.number;
        let mut latencies = Vec::new();
        // Demand moves, so that shares do.
        let mut random = self.number;
        for _ in 0..reports {
            // What comes meanwhile is read, as Envoy does.
            let told = &mut self.stream.told;
            while let Ok(message) = tokio::time::timeout_at(next.into(), told.message()).await {
                if message?.is_none() {
                    return Err("the stream has ended".into());
                }
            }
            next += REPORT;
            let mut usages = Vec::with_capacity(self.tenants.len());
            for tenant in &self.tenants {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                usages.push(usage(tenant, 5, u64::from(random >> 26)));
            }
            let sent = Instant::now();
            self.stream.report(usages).await?;
            self.stream.answer(self.tenants.len()).await?;
            latencies.push(sent.elapsed());
        }
        Ok(latencies)
    }
}

/// Reports one bucket id, ten times a second, for so long. Returns how long each report waited for its answer.
pub(crate) async fn probe(server: SocketAddr, span: Duration) -> Result<Vec<Duration>, Failure> {
    let mut stream = Stream::open(server).await?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < span {
        let sent = Instant::now();
        stream.report(vec![usage("probe", 0, 1)]).await?;
        stream.answer(1).await?;
        latencies.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(latencies)
}
