//! A stream of the quota service (RLQS), as an Envoy has it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code: a failure is a panic, and no test uses all of it"
)]

use super::support;

use std::net::SocketAddr;
use std::time::Duration;

use support::runtime;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tollgate::wire::pb::envoy::service::rate_limit_quota::v3 as rlqs;
use tollgate::wire::pb::envoy::r#type::v3::rate_limit_strategy::Strategy;
use tollgate::wire::quota::{
    RateLimitQuotaResponse, RateLimitQuotaServiceClient, RateLimitQuotaUsageReports, WireBucketId,
};
use tonic::Streaming;

use rlqs::rate_limit_quota_response::bucket_action::BucketAction as Order;
use rlqs::rate_limit_quota_usage_reports::BucketQuotaUsage;

/// A stream as an Envoy has it.
pub struct Stream {
    runtime: Runtime,
    pub reports: Option<mpsc::Sender<RateLimitQuotaUsageReports>>,
    told: Streaming<RateLimitQuotaResponse>,
}

pub fn usage(id: &[(&str, &str)], elapsed: i64, [allowed, denied]: [u64; 2]) -> BucketQuotaUsage {
    let entries = id.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    BucketQuotaUsage {
        bucket_id: Some(entries.collect()),
        time_elapsed: Some(prost_types::Duration { seconds: elapsed, nanos: 0 }),
        num_requests_allowed: allowed,
        num_requests_denied: denied,
    }
}

/// What was told of a bucket id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Told {
    All,
    Nothing,
    /// The rate and the size.
    Tokens(f64, u32),
    Abandon,
}

fn told(order: Order) -> Told {
    let Order::QuotaAssignmentAction(assignment) = order else { return Told::Abandon };
    let ttl = assignment.assignment_time_to_live.unwrap();
    assert_eq!((ttl.seconds, ttl.nanos), (20, 0), "Envoy ends an assignment at once without it");
    match assignment.rate_limit_strategy.unwrap().strategy.unwrap() {
        Strategy::BlanketRule(0) => Told::All,
        Strategy::BlanketRule(_) => Told::Nothing,
        Strategy::TokenBucket(bucket) => {
            let interval = bucket.fill_interval.unwrap();
            assert_eq!(interval.nanos, 0, "Envoy cuts it to whole seconds");
            let rate = f64::from(bucket.tokens_per_fill.unwrap()) / interval.seconds as f64;
            Told::Tokens((rate * 1e3).round() / 1e3, bucket.max_tokens)
        }
    }
}

impl Stream {
    pub fn open(server: SocketAddr) -> Self {
        let runtime = runtime();
        let (reports, waiting) = mpsc::channel(16);
        let told = runtime.block_on(async {
            let channel = tonic::transport::Endpoint::from_shared(format!("http://{server}"));
            let channel = channel.unwrap().connect().await.unwrap();
            let mut client = RateLimitQuotaServiceClient::new(channel);
            client.stream_rate_limit_quotas(ReceiverStream::new(waiting)).await.unwrap()
        });
        Self { runtime, reports: Some(reports), told: told.into_inner() }
    }

    pub fn report_as(&self, domain: &str, usages: Vec<BucketQuotaUsage>) {
        let report =
            RateLimitQuotaUsageReports { domain: domain.to_owned(), bucket_quota_usages: usages };
        self.reports.as_ref().unwrap().blocking_send(report).unwrap();
    }

    pub fn report(&self, usages: Vec<BucketQuotaUsage>) {
        self.report_as("d", usages);
    }

    /// The next message, or how the stream ended.
    pub fn next(&mut self) -> Result<Option<Vec<(String, Told)>>, tonic::Status> {
        let message = self.runtime.block_on(self.told.message())?;
        let of = |action: rlqs::rate_limit_quota_response::BucketAction| {
            let WireBucketId(id) = action.bucket_id.unwrap();
            let tenant = id.entries().find(|(key, _)| *key == "tenant").unwrap().1.to_owned();
            (tenant, told(action.bucket_action.unwrap()))
        };
        Ok(message.map(|message| message.bucket_action.into_iter().map(of).collect()))
    }

    /// Lets its side send what it has to report, without waiting for what it is told.
    pub fn turn(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    /// The last that was told of one bucket id by now, if anything was since this was asked.
    pub fn latest(&mut self) -> Option<Told> {
        let mut latest = None;
        let soon = Duration::from_millis(50);
        while let Ok(message) =
            self.runtime.block_on(async { tokio::time::timeout(soon, self.told.message()).await })
        {
            let mut actions = message.unwrap().unwrap().bucket_action;
            latest = Some(told(actions.pop().unwrap().bucket_action.unwrap()));
        }
        latest
    }

    /// What is told next of one bucket id.
    pub fn one(&mut self) -> Told {
        let mut message = self.next().unwrap().unwrap();
        let (_, told) = message.pop().unwrap();
        assert!(message.is_empty(), "{message:?}");
        told
    }
}
