//! The messages of the quota service (RLQS): reports of what Envoy let through, and assignments.

mod bucket_id;

use std::sync::Arc;

use prost_types::Duration;

use super::pb::envoy::service::rate_limit_quota::v3 as rlqs;
use super::pb::envoy::r#type::v3::rate_limit_strategy::{BlanketRule, Strategy};
use super::pb::envoy::r#type::v3::{RateLimitStrategy, TokenBucket};
use crate::descriptor::{MAX_ENTRIES, MAX_KEY_LENGTH};
use crate::shares::{Action, Assignment, Order, Usage};

pub use self::bucket_id::WireBucketId;
use self::rlqs::rate_limit_quota_response::bucket_action;
use self::rlqs::rate_limit_quota_response::bucket_action::{AbandonAction, QuotaAssignmentAction};
pub use self::rlqs::rate_limit_quota_service_client::RateLimitQuotaServiceClient;
pub use self::rlqs::rate_limit_quota_service_server::{
    RateLimitQuotaService, RateLimitQuotaServiceServer,
};
pub use self::rlqs::{RateLimitQuotaResponse, RateLimitQuotaUsageReports};

/// The full name of the service.
pub const SERVICE: &str = "envoy.service.rate_limit_quota.v3.RateLimitQuotaService";

/// The largest value of an entry, in bytes. A bucket id is kept for as long as its requests come, and echoed in each
/// answer; so it has no long values, as descriptors may.
pub const MAX_VALUE_LENGTH: usize = 1 << 10;

/// A report of an Envoy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The domain; may be empty in all reports of a stream but the first.
    pub domain: String,
    /// What was used.
    pub usages: Vec<Usage>,
    /// How many usages are left out, since their bucket id has no entries, an empty key, or too many or too long entries.
    pub ignored: u64,
}

/// Reads a report.
pub fn read(reports: RateLimitQuotaUsageReports) -> Report {
    let RateLimitQuotaUsageReports { domain, bucket_quota_usages } = reports;
    let all = bucket_quota_usages.len();
    let usages: Vec<Usage> = bucket_quota_usages.into_iter().filter_map(usage).collect();
    let ignored = u64::try_from(all - usages.len()).unwrap_or(u64::MAX);
    Report { domain, usages, ignored }
}

fn usage(usage: rlqs::rate_limit_quota_usage_reports::BucketQuotaUsage) -> Option<Usage> {
    let WireBucketId(id) = usage.bucket_id?;
    let is_valid = |(key, value): (&str, &str)| {
        (1..=MAX_KEY_LENGTH).contains(&key.len()) && value.len() <= MAX_VALUE_LENGTH
    };
    if !(1..=MAX_ENTRIES).contains(&id.entries().len()) || !id.entries().all(is_valid) {
        return None;
    }
    let elapsed = usage.time_elapsed.map_or(0, |elapsed| elapsed.seconds);
    Some(Usage {
        id: Arc::unwrap_or_clone(id),
        elapsed: u64::try_from(elapsed).unwrap_or(0),
        allowed: usage.num_requests_allowed,
        denied: usage.num_requests_denied,
    })
}

/// The message that tells of these actions. Assignments last for `ttl`, in whole seconds.
pub fn response(actions: Vec<Action>, ttl: u32) -> RateLimitQuotaResponse {
    let action = |Action { id, order }: Action| {
        let action = match order {
            Order::Abandon => bucket_action::BucketAction::AbandonAction(AbandonAction {}),
            Order::Assign(assignment) => {
                bucket_action::BucketAction::QuotaAssignmentAction(QuotaAssignmentAction {
                    assignment_time_to_live: Some(whole_seconds(ttl)),
                    rate_limit_strategy: Some(strategy(assignment)),
                })
            }
        };
        rlqs::rate_limit_quota_response::BucketAction {
            bucket_id: Some(WireBucketId(id)),
            bucket_action: Some(action),
        }
    };
    RateLimitQuotaResponse { bucket_action: actions.into_iter().map(action).collect() }
}

fn whole_seconds(seconds: u32) -> Duration {
    Duration { seconds: seconds.into(), nanos: 0 }
}

fn strategy(assignment: Assignment) -> RateLimitStrategy {
    let strategy = match assignment {
        Assignment::All => Strategy::BlanketRule(BlanketRule::AllowAll.into()),
        Assignment::Nothing => Strategy::BlanketRule(BlanketRule::DenyAll.into()),
        Assignment::Tokens { size, per_interval, interval } => Strategy::TokenBucket(TokenBucket {
            max_tokens: size,
            tokens_per_fill: Some(per_interval),
            fill_interval: Some(whole_seconds(interval)),
        }),
    };
    RateLimitStrategy { strategy: Some(strategy) }
}

#[cfg(test)]
mod tests {
    use super::rlqs::rate_limit_quota_usage_reports::BucketQuotaUsage;
    use super::*;
    use crate::shares::BucketId;

    fn reported(entries: &[(&str, &str)]) -> BucketQuotaUsage {
        let entries = entries.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        BucketQuotaUsage {
            bucket_id: Some(entries.collect()),
            time_elapsed: Some(Duration { seconds: 4, nanos: 900_000_000 }),
            num_requests_allowed: 3,
            num_requests_denied: 2,
        }
    }

    #[test]
    fn a_report_is_read_and_what_is_no_bucket_id_is_left_out() {
        let long = "x".repeat(MAX_VALUE_LENGTH + 1);
        let usages = vec![
            reported(&[("tenant", "acme"), ("group", "")]),
            reported(&[]),
            reported(&[("", "acme")]),
            reported(&[("tenant", &long)]),
            BucketQuotaUsage { bucket_id: None, ..reported(&[]) },
        ];
        let reports =
            RateLimitQuotaUsageReports { domain: "shop".into(), bucket_quota_usages: usages };
        let report = read(reports);
        assert_eq!((report.domain.as_str(), report.ignored), ("shop", 4));
        let [usage] = &report.usages[..] else { panic!("one usage") };
        let entries: Vec<_> = usage.id.entries().collect();
        assert_eq!(entries, [("group", ""), ("tenant", "acme")]);
        assert_eq!((usage.elapsed, usage.allowed, usage.denied), (4, 3, 2));
    }

    #[test]
    fn a_negative_time_is_none() {
        let negative = Some(Duration { seconds: -1, nanos: 0 });
        let usage = BucketQuotaUsage { time_elapsed: negative, ..reported(&[("a", "b")]) };
        assert_eq!(super::usage(usage).unwrap().elapsed, 0);
    }

    #[test]
    fn every_assignment_says_how_long_it_lasts() {
        let id = Arc::new(BucketId::new([("tenant".to_owned(), "acme".to_owned())]));
        let tokens = Assignment::Tokens { size: 10, per_interval: 7, interval: 1_000 };
        let orders = [
            Order::Assign(Assignment::All),
            Order::Assign(Assignment::Nothing),
            Order::Assign(tokens),
            Order::Abandon,
        ];
        let actions = orders.map(|order| Action { id: Arc::clone(&id), order });
        let told = response(actions.into(), 20);
        let strategies: Vec<_> = told
            .bucket_action
            .into_iter()
            .map(|action| {
                assert_eq!(action.bucket_id.unwrap().0, id);
                match action.bucket_action.unwrap() {
                    bucket_action::BucketAction::AbandonAction(_) => None,
                    bucket_action::BucketAction::QuotaAssignmentAction(assignment) => {
                        assert_eq!(assignment.assignment_time_to_live, Some(whole_seconds(20)));
                        assignment.rate_limit_strategy.unwrap().strategy
                    }
                }
            })
            .collect();
        let bucket = TokenBucket {
            max_tokens: 10,
            tokens_per_fill: Some(7),
            fill_interval: Some(whole_seconds(1_000)),
        };
        let expected = [
            Some(Strategy::BlanketRule(0)),
            Some(Strategy::BlanketRule(1)),
            Some(Strategy::TokenBucket(bucket)),
            None,
        ];
        assert_eq!(strategies, expected);
    }
}
