//! `/top`: the buckets that denied most in the last minutes.

use axum::extract::{Request, State};
use axum::response::Response;

use super::bucket;
use super::buckets::{self, MAX_ITEMS};
use super::types::{BucketName, List, Milliseconds, Time, Top, TopBucket, TopList};
use crate::admin::{ApiError, Shared, respond};
use crate::observe::top_denied::{self, DeniedBucket, TopDenied};
use crate::service::Service;

/// The length of each list if the request has no `limit`.
pub(super) const USUAL_ITEMS: usize = 20;

/// The parameters are `domain` and `limit`.
pub(super) async fn top(
    State(Shared { service, queues, .. }): State<Shared>,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    queues.reads.run(async move { respond(answer(&service, &query)) }).await
}

fn answer(service: &Service, query: &str) -> Result<Top, ApiError> {
    let value_of = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let domain = value_of("domain");
    if domain.is_some() {
        buckets::policy(&service.policies().load_full(), domain.as_deref())?;
    }
    let max = match value_of("limit") {
        Some(limit) => limit.parse().ok().filter(|limit| (1..=MAX_ITEMS).contains(limit)),
        None => Some(USUAL_ITEMS),
    };
    let max = max.ok_or_else(|| {
        ApiError::bad_request(format!("`limit` must be a number from 1 to {MAX_ITEMS}"))
    })?;
    Ok(of(service, domain.as_deref(), max))
}

/// The buckets that denied most, `max` of them at most in each list.
pub(in crate::admin) fn of(service: &Service, domain: Option<&str>, max: usize) -> Top {
    let list = |is_shadow| {
        let TopDenied { buckets, omitted, others_at_most } =
            service.top_denied(is_shadow, domain, max);
        let items = buckets.iter().map(item).collect();
        TopList { list: List { items, omitted }, others_at_most }
    };
    let now = service.now();
    Top {
        at: Time(now),
        window_ms: Milliseconds::from(top_denied::span(now)),
        denied: list(false),
        shadow: list(true),
    }
}

fn item(of: &DeniedBucket) -> TopBucket {
    let DeniedBucket { label, bucket, count, at_most_over, .. } = of;
    TopBucket {
        name: BucketName::from(&**label),
        limit: bucket::limit(bucket),
        count: *count,
        at_most_over: *at_most_over,
    }
}
