//! The HTTP side: health, metrics, the policy in force, the same decision as over gRPC, in JSON, and a page
//! for a person.

mod bucket;
mod buckets;
mod connection;
mod events;
mod explain;
mod guard;
mod json;
mod leases;
mod page;
mod reload;
mod reset;
mod sample;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use self::connection::SLOWEST;
use self::events::Watch;
pub use self::guard::{Certified, Controls, Token, TokenError};
use crate::listener::Listener;
use crate::reload::Refused;
use crate::service::Service;
use crate::store::StoreError;
use crate::tls::Identity;

/// How many connections are served at a time. Probes and scrapers need a few; Envoy needs none.
const MOST_CONNECTIONS: usize = 256;

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
    watch: Arc<Watch>,
    controls: Controls,
    /// Held while many buckets or leases are looked at: by one request at a time.
    looking: Arc<Mutex<()>>,
}

/// Serves HTTP, over TLS if there is any, until `stop` completes, then finishes the requests in flight.
pub async fn serve(
    listener: Listener,
    tls: Option<Identity>,
    service: Arc<Service>,
    readiness: Readiness,
    controls: Controls,
    stop: impl Future<Output = ()>,
) {
    let service = service.linked().await;
    let mut background = JoinSet::new();
    background.spawn({
        let service = Arc::clone(&service);
        async move {
            loop {
                service.prune_leases().await;
            }
        }
    });
    let watch = Watch::new(Arc::clone(&service), readiness.clone());
    let looking = Arc::default();
    let shared = Shared { service, readiness, watch: Arc::clone(&watch), controls, looking };
    let routes = routes(shared);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Those that do not speak HTTP yet. At the end nobody waits for them.
    let mut opening = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop => break,
            (stream, place) = next => {
                let opened = connection::accepted(stream, tls.clone());
                opening.spawn(async move { (opened.await, place) });
            }
            Some(Ok((opened, place))) = opening.join_next() => match opened {
                Ok(opened) => {
                    let served = connection::serve(opened, routes.clone(), graceful.watcher());
                    tokio::spawn(async move {
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "an HTTP connection ended early");
                        }
                        drop(place);
                    });
                }
                Err(error) => tracing::debug!(%error, "an HTTP connection did not come about"),
            },
        }
    }
    drop((listener, opening, background));
    // Nobody else would end them.
    watch.end();
    graceful.shutdown().await;
}

fn routes(shared: Shared) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/json", post(json::json))
        .route("/config", get(config))
        .route("/openapi.json", get(openapi))
        .route("/explain", post(explain::explain))
        .route("/events", get(events::events))
        .route("/buckets", get(buckets::list))
        .route("/leases", get(leases::list))
        .merge(changing(shared.clone()))
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(in_time))
        .layer(from_fn(guarded))
        .with_state(shared)
}

/// What changes something, and asks whether it may.
fn changing(shared: Shared) -> axum::Router<Shared> {
    axum::Router::new()
        .route("/reset", post(reset::reset))
        .route("/leases/release", post(leases::release))
        .route("/reload", post(reload::reload))
        .route_layer(from_fn_with_state(shared, guard::admit))
}

/// What every answer tells a browser: to take it for what it says it is, to keep nothing of it, to show it in
/// nobody's frame, and to have a page load and ask nothing but what this server itself has.
const GUARDS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
        ),
    ),
];

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(GUARDS);
    response
}

/// A body that does not come is not waited for.
async fn in_time(request: Request, next: Next) -> Response {
    let response = tokio::time::timeout(SLOWEST, next.run(request)).await;
    response.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

async fn ready(State(shared): State<Shared>) -> Response {
    if shared.readiness.get() {
        // Degraded is not dead: calls are answered.
        let shortfalls = shared.service.shortfalls();
        let mut text = match &*shortfalls {
            [] => "ready\n".to_owned(),
            some => format!("ready, degraded: {}\n", some.join("; ")),
        };
        if let Some(refused) = shared.service.live().refused() {
            let Refused { at, problems } = &*refused;
            text += "the policy in force is an old one; what was read at ";
            text += &format!("{} is refused:\n{problems}\n", view::moment(*at));
        }
        (StatusCode::OK, text).into_response()
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
    let refused = shared.service.live().refused();
    axum_json(StatusCode::OK, view::of(&snapshot, refused.as_deref()).to_string())
}

/// What this side offers, for programs.
async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("admin/openapi.json")).into_response()
}

fn axum_json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

/// Why a request comes to nothing.
struct Failed {
    status: StatusCode,
    error: String,
}

impl Failed {
    /// It says what cannot be meant.
    fn bad(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into() }
    }

    /// What it is about is not there.
    fn none(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into() }
    }

    fn store(error: &StoreError) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: error.to_string() }
    }
}

fn answered(result: Result<serde_json::Value, Failed>) -> Response {
    match result {
        Ok(value) => axum_json(StatusCode::OK, value.to_string()),
        Err(Failed { status, error }) => refused(status, &error),
    }
}

fn refused(status: StatusCode, error: &str) -> Response {
    axum_json(status, serde_json::json!({ "error": error }).to_string())
}
