//! `/reload`: reloads the policies.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::types::{Reload, ReloadRejected, ReloadResult};
use crate::admin::{ApiError, Shared, json, respond};
use crate::policy_files::{Cause, Reloaded};

pub(super) async fn reload(State(shared): State<Shared>) -> Response {
    let Some(reloader) = shared.controls.reloader.clone() else {
        return ApiError::not_found("the policies were not read from files").into();
    };
    let reloaded = reloader.reload(Cause::Request).await;
    let policies = shared.service.policies().load_full();
    let version = policies.version().id().to_owned();
    match reloaded {
        Ok(reloaded) => {
            let result = match reloaded {
                Reloaded::Changed => ReloadResult::Changed,
                Reloaded::Unchanged => ReloadResult::Unchanged,
            };
            respond(Ok(Reload { result, version, warnings: policies.warnings().to_vec() }))
        }
        Err(problems) => {
            let problems = problems.to_string();
            let rejected = ReloadRejected {
                error: "rejected: the previous policy stays in force".to_owned(),
                problems: problems.lines().map(str::to_owned).collect(),
                version,
            };
            json(StatusCode::UNPROCESSABLE_ENTITY, &rejected)
        }
    }
}
