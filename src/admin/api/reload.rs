//! `/reload`: the policies are read again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::admin::{Failed, Shared, answered, axum_json};
use crate::reload::{Cause, Reloaded};

pub(super) async fn reload(State(shared): State<Shared>) -> Response {
    let Some(reloader) = shared.controls.reloader.clone() else {
        return answered(Err(Failed::none("the policies came from no file")));
    };
    let reloaded = reloader.reload(Cause::Request).await;
    let version = shared.service.live().load().content().version();
    match reloaded {
        Ok(reloaded) => {
            let result = match reloaded {
                Reloaded::Changed => "changed",
                Reloaded::Unchanged => "unchanged",
            };
            answered(Ok(json!({ "result": result, "version": version })))
        }
        Err(problems) => {
            let problems = problems.to_string();
            let told = json!({
                "error": "refused: the policy before stays in force",
                "problems": problems.lines().collect::<Vec<_>>(),
                "version": version,
            });
            axum_json(StatusCode::UNPROCESSABLE_ENTITY, told.to_string())
        }
    }
}
