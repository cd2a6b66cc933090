//! The HTTP side: health, metrics, the policy in force, and the same decision as over gRPC, in JSON.

mod json;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::service::Service;

/// The largest body that `/json` takes, in bytes.
const LARGEST_BODY: usize = 1 << 20;

/// Whether the server takes calls.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether it does.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    readiness: Readiness,
}

/// Serves HTTP until `stop` completes.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = axum::Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/json", post(json))
        .route("/config", get(config))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Shared { service, readiness });
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn ready(State(shared): State<Shared>) -> Response {
    if shared.readiness.get() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n").into_response()
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let kind =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match shared.service.telemetry().encode() {
        Ok(text) => (kind, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn config(State(shared): State<Shared>) -> Response {
    let snapshot = shared.service.live().load();
    axum_json(StatusCode::OK, view::of(&snapshot).to_string())
}

async fn json(State(shared): State<Shared>, body: Bytes) -> Response {
    let (status, text) = json::answer(&shared.service, &body);
    axum_json(status, text)
}

fn axum_json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}
