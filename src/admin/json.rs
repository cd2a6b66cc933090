//! `/json`: a RateLimitRequest in protobuf's JSON, answered with a RateLimitResponse.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;
use tonic::Code;

use crate::service::Service;
use crate::wire;

/// The answer to a body: 200, 429, or 400 for what is no request.
pub(super) async fn answer(service: &Arc<Service>, body: &[u8]) -> (StatusCode, String) {
    let message = match wire::json::request(body) {
        Ok(message) => message,
        Err(error) => {
            service.telemetry().count_bad_request();
            return refused(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    match service.answering(&message, None).finish().await {
        Ok(answer) => {
            let status =
                if answer.is_over_limit { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            match wire::json::response(answer.message()) {
                Ok(text) => {
                    // HTTP/1 has no sign that an answer was not wanted any more.
                    answer.went_out();
                    (status, text)
                }
                Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        Err(status) if status.code() == Code::InvalidArgument => {
            refused(StatusCode::BAD_REQUEST, status.message())
        }
        Err(status) => refused(StatusCode::SERVICE_UNAVAILABLE, status.message()),
    }
}

fn refused(status: StatusCode, error: &str) -> (StatusCode, String) {
    (status, json!({ "error": error }).to_string())
}
