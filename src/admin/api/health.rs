//! `/healthz` and `/readyz`: probes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::config;
use super::types::{ControlPlane, Time};
use crate::admin::Shared;
use crate::live::RejectedPolicies;

/// `/healthz`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: whether calls are accepted, and what is degraded. A degraded server still answers calls.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let policies = shared.service.policies();
    let control_plane = config::control_plane(&shared.service, &policies.load());
    if !shared.readiness.get() {
        let text = match &control_plane {
            Some(of) if of.awaited => {
                format!("not ready: no policies have come from {}\n", described(of))
            }
            _ => "not ready: starting or stopping\n".to_owned(),
        };
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    let mut shortfalls = shared.service.core().shortfalls();
    if let Some(of) = control_plane.as_ref().filter(|of| !of.connected || of.awaited) {
        shortfalls.push(format!("policies may be outdated or missing: {}", described(of)));
    }
    let mut text = match &*shortfalls {
        [] => "ready\n".to_owned(),
        some => format!("ready, degraded: {}\n", some.join("; ")),
    };
    if let Some(refused) = policies.rejected() {
        let RejectedPolicies { at, problems } = &*refused;
        text += match control_plane {
            None => "the previous policy stays in force; the one read at ",
            Some(_) => "what is wrong stays as it was; the response at ",
        };
        text += &format!("{} was rejected:\n{problems}\n", Time(shared.service.to_wall(*at)));
    }
    (StatusCode::OK, text).into_response()
}

/// The state of a control plane in words.
fn described(of: &ControlPlane) -> String {
    let ControlPlane { server, connected, since_at, error, .. } = of;
    match (connected, error) {
        (true, _) => format!("the control plane at {server}, connected since {since_at}"),
        (false, None) => format!("the control plane at {server}, not connected yet"),
        (false, Some(error)) => {
            let error = &error.error;
            format!("the control plane at {server}, not connected since {since_at}: {error}")
        }
    }
}
