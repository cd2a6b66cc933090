//! Whether the server is healthy: `/healthcheck`, and the health service of gRPC.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::admin::Readiness;
use crate::service::Core;

/// How often a change is looked for that the health service of gRPC reports.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a healthy server needs besides a first connection to the shared store, if there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealthRules {
    /// A policy in force (`HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED`).
    pub needs_policy: bool,
    /// A connection to the shared store, of every thread (`REDIS_HEALTH_CHECK_ACTIVE_CONNECTION`).
    pub needs_store: bool,
}

/// The health of a server.
pub struct Health {
    rules: HealthRules,
    readiness: Readiness,
    core: Arc<Core>,
}

impl Health {
    /// The health of a server that accepts calls while `readiness` says so.
    pub const fn new(rules: HealthRules, readiness: Readiness, core: Arc<Core>) -> Self {
        Self { rules, readiness, core }
    }

    /// Whether the server is healthy: it accepts calls, has reached its shared store once, and keeps the rules.
    ///
    /// A server that loses the store stays healthy, since others would not reach it either; but one that never found it
    /// is not sent any calls, so that a rollout with a wrong address stops at the first replica.
    pub fn is_healthy(&self) -> bool {
        let HealthRules { needs_policy, needs_store } = self.rules;
        self.readiness.get()
            && self.core.was_store_reached()
            && !(needs_store && self.core.is_degraded())
            && !(needs_policy && self.core.policies().load().is_empty())
    }

    /// Completes when the server is no longer as healthy, or unhealthy, as `was` says.
    pub(crate) async fn changed(&self, was: bool) {
        let mut ticks = tokio::time::interval(INTERVAL);
        while self.is_healthy() == was {
            ticks.tick().await;
        }
    }
}

/// `/healthcheck`: 200 and `OK`, or 500 and nothing.
pub(super) async fn healthcheck(State(Shared { health, .. }): State<Shared>) -> Response {
    if health.is_healthy() {
        "OK".into_response()
    } else {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
