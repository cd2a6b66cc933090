//! `/json`: a RateLimitRequest in protobuf's JSON, answered with a RateLimitResponse. It charges as a call over gRPC
//! does, and like gRPC it is open to everybody who reaches the port.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::admin::is_browser_request;
use crate::descriptor::{Hits, Query};
use crate::text::printable;
use crate::wire;

/// Answers 200, 429 if the request is over a limit, or 400 to what is not decided. Hits are not given back and leases
/// are not released here, as envoyproxy/ratelimit cannot do either.
pub(super) async fn json(
    State(Shared { service, .. }): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A page can make a browser send such a request; what calls this port is no page.
    if is_browser_request(&headers) {
        return (StatusCode::FORBIDDEN, "Forbidden\n").into_response();
    }
    let message = match wire::json::decode_request(&body) {
        Ok(message) => message,
        Err(error) => {
            service.telemetry().count_invalid_request();
            return bad_request(&error.to_string());
        }
    };
    if gives_back(&message) {
        service.telemetry().count_invalid_request();
        return bad_request("hits are not given back, and leases not released, over HTTP");
    }
    match service.handle(&message, None).finish().await {
        Ok(answer) => {
            let status =
                if answer.is_over_limit { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            match wire::json::encode_response(answer.message()) {
                Ok(text) => {
                    // HTTP/1 does not report that a caller has cancelled its request.
                    answer.delivered();
                    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
                }
                Err(error) => {
                    tracing::error!(%error, "an answer cannot be written as JSON");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }
        Err(status) => bad_request(status.message()),
    }
}

/// Whether a message is a request that gives hits back or releases leases.
fn gives_back(message: &[u8]) -> bool {
    let mut query = Query::default();
    wire::decode_into(message, &mut query).is_ok()
        && query.descriptors().any(|descriptor| descriptor.hits() < Hits::PEEK)
}

fn bad_request(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("Bad Request: {}\n", printable(reason))).into_response()
}
