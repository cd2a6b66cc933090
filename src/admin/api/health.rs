//! `/healthz` and `/readyz`: probes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::types::Time;
use crate::admin::Shared;
use crate::live::RejectedPolicies;

/// `/healthz`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: whether calls are accepted, and what is degraded. A degraded server still answers calls.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    if !shared.readiness.get() {
        let text = "not ready: starting or stopping\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    let shortfalls = shared.service.core().shortfalls();
    let mut text = match &*shortfalls {
        [] => "ready\n".to_owned(),
        some => format!("ready, degraded: {}\n", some.join("; ")),
    };
    if let Some(refused) = shared.service.policies().rejected() {
        let RejectedPolicies { at, problems } = &*refused;
        text += "the previous policy stays in force; the one read at ";
        text += &format!("{} was rejected:\n{problems}\n", Time(shared.service.to_wall(*at)));
    }
    (StatusCode::OK, text).into_response()
}
