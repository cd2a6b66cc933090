//! Descriptor trees, from the bytes of a request to those of the answer, as envoyproxy/ratelimit was seen to answer.

mod limits;
mod reloads;
mod replies;
mod together;
mod windows;

use std::sync::Arc;

use super::{Response, Service};
use crate::clock::{Clock, ManualClock, Nanos, Timestamp};
use crate::limit::Unit;
use crate::live::{ActivePolicies, VersionedPolicies};
use crate::observe::telemetry::Telemetry;
use crate::policy::descriptor_tree::support::{KEY, policy};
use crate::policy::descriptor_tree::{NewNode, TreeSettings};
use crate::policy::{LimitHistory, Policies};
use crate::store::MemoryStore;
use crate::wire::support::{
    self, Code, DescriptorStatus, RateLimitDescriptor, ReplyUnit, descriptor, request,
};
use crate::wire::{RateLimitRequest, RateLimitResponse};

/// 2026-03-01T00:00:00Z, a Sunday: a multiple of a day, of neither a week, a month of 30 days nor a year of 365.
const START: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

/// A service for a tree of the domain `d`.
struct Served {
    clock: Arc<ManualClock>,
    policies: Arc<ActivePolicies>,
    store: Arc<MemoryStore>,
    service: Arc<Service>,
}

/// A service for these nodes, with the settings that the reference has by default.
fn served(nodes: impl IntoIterator<Item = NewNode>) -> Served {
    served_with(nodes, &TreeSettings::default())
}

fn served_with(nodes: impl IntoIterator<Item = NewNode>, settings: &TreeSettings) -> Served {
    Served::over(MemoryStore::new(10_000), &LimitHistory::default(), START, nodes, settings)
}

fn versioned(
    nodes: impl IntoIterator<Item = NewNode>,
    settings: &TreeSettings,
) -> VersionedPolicies {
    VersionedPolicies {
        policies: Policies::new([policy(nodes.into_iter().collect(), settings)]),
        version: crate::live::PolicyVersion::new(String::new(), Vec::new()),
        warnings: Vec::new(),
    }
}

impl Served {
    fn over(
        store: MemoryStore,
        before: &LimitHistory,
        at: Timestamp,
        nodes: impl IntoIterator<Item = NewNode>,
        settings: &TreeSettings,
    ) -> Self {
        let (clock, store) = (Arc::new(ManualClock::at(at)), Arc::new(store));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let first = versioned(nodes, settings);
        let policies = ActivePolicies::after(before, first, Arc::clone(&telemetry), clock.now());
        let policies = Arc::new(policies);
        let service = Service::in_memory(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&policies),
            Arc::clone(&store),
            telemetry,
        );
        Self { clock, policies, store, service }
    }

    fn replace(&self, nodes: impl IntoIterator<Item = NewNode>) {
        let next = versioned(nodes, &TreeSettings::default());
        self.policies.replace(next, self.clock.now());
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Nanos::from_secs(seconds));
    }

    fn request(&self, request: &RateLimitRequest) -> RateLimitResponse {
        match self.service.handle(&support::encode(request), None) {
            Response::Ready((answer, _)) => {
                let answer = answer.unwrap();
                support::decode(answer.message())
            }
            Response::Pending(_) => panic!("it is not decided in memory"),
        }
    }

    fn response(
        &self,
        descriptors: impl IntoIterator<Item = RateLimitDescriptor>,
    ) -> RateLimitResponse {
        self.request(&request("d", descriptors, 0))
    }

    /// The code of the answer, and the status of each descriptor.
    fn ask(
        &self,
        descriptors: impl IntoIterator<Item = RateLimitDescriptor>,
    ) -> (&'static str, Vec<String>) {
        let response = self.response(descriptors);
        (code(response.overall_code), response.statuses.iter().map(told).collect())
    }

    /// The status of a request with one descriptor, whose code is that of the answer.
    fn ask_one(&self, descriptor: RateLimitDescriptor) -> String {
        let (code, statuses) = self.ask([descriptor]);
        let [status] = &*statuses else { panic!("{statuses:?}") };
        assert!(status.starts_with(code), "{code}: {status}");
        status.clone()
    }
}

fn code(code: i32) -> &'static str {
    match Code::try_from(code).unwrap() {
        Code::Ok => "OK",
        Code::OverLimit => "OVER",
        Code::Unknown => "UNKNOWN",
    }
}

/// A status in short: its code, what remains of the limit, the unit, the seconds until the window ends, and the name.
fn told(status: &DescriptorStatus) -> String {
    let mut said = vec![code(status.code).to_owned()];
    let Some(limit) = &status.current_limit else {
        assert_eq!(status.duration_until_reset, None);
        said.extend((status.limit_remaining > 0).then(|| status.limit_remaining.to_string()));
        return said.join(" ");
    };
    let unit = ReplyUnit::try_from(limit.unit).unwrap().as_str_name().to_lowercase();
    said.push(format!("{}/{} {unit}", status.limit_remaining, limit.requests_per_unit));
    let reset = status.duration_until_reset.unwrap();
    assert_eq!(reset.nanos, 0, "whole seconds");
    said.push(format!("{}s", reset.seconds));
    said.extend((!limit.name.is_empty()).then(|| limit.name.clone()));
    said.join(" ")
}
