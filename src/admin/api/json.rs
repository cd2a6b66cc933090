//! `/json`: a RateLimitRequest in protobuf's JSON, answered with a RateLimitResponse. It charges, and takes leases, as
//! over gRPC; [`auth`] says which callers may.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;
use tonic::Code;

use crate::admin::{ApiError, Controls, Shared, auth, json_text};
use crate::descriptor::{Hits, Query};
use crate::service::Service;
use crate::wire;

/// Even where every caller may ask, only those who may change something give hits back or release leases: both undo what
/// was decided.
pub(super) async fn json(
    State(Shared { service, controls, queues, .. }): State<Shared>,
    headers: HeaderMap,
    about: Extensions,
    body: Bytes,
) -> Response {
    let may_change = auth::may_change(&controls, &headers, &about);
    let queue = if may_change { queues.changes } else { queues.reads };
    queue.work(async move { decide(&service, &controls, may_change, &body).await }).await
}

async fn decide(
    service: &Arc<Service>,
    controls: &Controls,
    may_change: bool,
    body: &[u8],
) -> Response {
    let message = match wire::json::request(body) {
        Ok(message) => message,
        Err(error) => {
            service.telemetry().count_invalid_request();
            return ApiError::bad_request(error.to_string()).into();
        }
    };
    if gives_back(&message) && !may_change {
        return auth::no_giving_back(controls);
    }
    answer(service, &message).await
}

/// Whether a message gives something back, if it is a request at all.
fn gives_back(message: &[u8]) -> bool {
    let mut query = Query::default();
    wire::read(message, &mut query).is_ok()
        && query.descriptors().any(|descriptor| descriptor.hits() < Hits::PEEK)
}

/// Answers 200, 429, or 400 for what is not a request.
async fn answer(service: &Arc<Service>, message: &[u8]) -> Response {
    match service.handle(message, None).finish().await {
        Ok(answer) => {
            let status =
                if answer.is_over_limit { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            match wire::json::response(answer.message()) {
                Ok(text) => {
                    // HTTP/1 has no sign that an answer was not wanted any more.
                    answer.delivered();
                    json_text(status, text)
                }
                Err(error) => ApiError::internal(&error).into(),
            }
        }
        Err(status) if status.code() == Code::InvalidArgument => {
            ApiError::bad_request(status.message()).into()
        }
        Err(status) => ApiError::unavailable(status.message()).into(),
    }
}
