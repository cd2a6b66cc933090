//! `/json`: a RateLimitRequest in protobuf's JSON, answered with a RateLimitResponse. It charges buckets and takes
//! leases as a call over gRPC does; [`auth`] authorizes the caller.

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

/// Even if the server decides for every caller, only authorized callers may give hits back or release leases, which
/// undoes earlier decisions.
pub(super) async fn json(
    State(Shared { service, controls, queues, .. }): State<Shared>,
    headers: HeaderMap,
    about: Extensions,
    body: Bytes,
) -> Response {
    let is_authorized = auth::is_authorized(&controls, &headers, &about);
    let queue = if is_authorized { queues.changes } else { queues.reads };
    queue.run(async move { decide(&service, &controls, is_authorized, &body).await }).await
}

async fn decide(
    service: &Arc<Service>,
    controls: &Controls,
    is_authorized: bool,
    body: &[u8],
) -> Response {
    let message = match wire::json::decode_request(body) {
        Ok(message) => message,
        Err(error) => {
            service.telemetry().count_invalid_request();
            return ApiError::bad_request(error.to_string()).into();
        }
    };
    if gives_back(&message) && !is_authorized {
        return auth::refund_unauthorized(controls);
    }
    answer(service, &message).await
}

/// Whether a message is a request that gives hits back or releases leases.
fn gives_back(message: &[u8]) -> bool {
    let mut query = Query::default();
    wire::decode_into(message, &mut query).is_ok()
        && query.descriptors().any(|descriptor| descriptor.hits() < Hits::PEEK)
}

/// Answers 200, 429, or 400 to an invalid request.
async fn answer(service: &Arc<Service>, message: &[u8]) -> Response {
    match service.handle(message, None).finish().await {
        Ok(answer) => {
            let status =
                if answer.is_over_limit { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            match wire::json::encode_response(answer.message()) {
                Ok(text) => {
                    // HTTP/1 does not report that a caller has cancelled its request.
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
