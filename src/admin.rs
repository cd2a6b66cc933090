//! The HTTP side: the API for programs and `tollgate admin` (`api`), and the dashboard.

pub(crate) mod api;
mod auth;
mod dashboard;
mod host;
mod work_queue;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::JoinSet;

use self::api::types::ErrorBody;
pub(crate) use self::api::{Scrapes, scrape};
pub(crate) use self::auth::is_browser_request;
pub use self::auth::{Controls, Token, TokenError};
use self::dashboard::events::Broadcaster;
use self::host::Hosts;
pub use self::host::{HostName, HostNameError};
use self::work_queue::WorkQueue;
use crate::http1::{self, REQUEST_TIMEOUT};
use crate::listener::Listener;
use crate::service::{Core, Service};
use crate::store::StoreError;
use crate::tls::Identity;

/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Whether the server accepts calls.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets whether the server accepts calls.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// Whether the server accepts calls.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    readiness: Readiness,
    broadcaster: Arc<Broadcaster>,
    controls: Controls,
    hosts: Arc<Hosts>,
    queues: Queues,
}

/// The queues for slow requests.
#[derive(Debug, Clone, Default)]
struct Queues {
    /// Requests that any caller may make.
    reads: WorkQueue,
    /// Requests of authorized callers, so that other callers cannot delay them.
    changes: WorkQueue,
    scrapes: Arc<Scrapes>,
}

/// Serves HTTP, over TLS if `tls` is given, until `stop` completes; then finishes the requests in flight.
pub async fn serve(
    listener: Listener,
    tls: Option<Identity>,
    core: Arc<Core>,
    readiness: Readiness,
    controls: Controls,
    stop: impl Future<Output = ()>,
) {
    let service = core.connect().await;
    let mut background = JoinSet::new();
    background.spawn({
        let service = Arc::clone(&service);
        async move {
            loop {
                service.prune_leases().await;
            }
        }
    });
    let broadcaster = Broadcaster::new(Arc::clone(&service), readiness.clone());
    let counters = service.telemetry().http_connections().clone();
    let queues = Queues::default();
    let hosts = Arc::new(Hosts {
        names: controls.hosts.clone(),
        tls: tls.clone(),
        is_unix_socket: listener.address().tcp().is_none(),
    });
    let routes = routes(Shared {
        service,
        readiness,
        broadcaster: Arc::clone(&broadcaster),
        controls,
        hosts,
        queues: queues.clone(),
    });
    let stop = async {
        stop.await;
        // Event streams do not end by themselves.
        broadcaster.end();
    };
    http1::serve(listener, tls, routes, counters, stop).await;
    drop(background);
    // A request may still be running although its caller is gone.
    tokio::join!(queues.reads.close(), queues.changes.close());
}

fn routes(shared: Shared) -> axum::Router {
    let hosts = Arc::clone(&shared.hosts);
    axum::Router::new()
        .merge(api::routes(&shared))
        .merge(dashboard::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(request_timeout))
        .layer(from_fn_with_state(hosts, host::admit))
        .layer(from_fn(add_security_headers))
        .with_state(shared)
}

/// The headers of every answer. With them, a browser believes its content type, does not cache it, shows it in no
/// frame, and lets the page connect to this server only.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
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

async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(SECURITY_HEADERS);
    response
}

/// Answers 408 if the body or the answer takes too long.
async fn request_timeout(request: Request, next: Next) -> Response {
    let response = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    response.unwrap_or_else(|_| {
        let error = format!("the request or its answer took over {REQUEST_TIMEOUT:?}");
        ApiError::new(StatusCode::REQUEST_TIMEOUT, error).into()
    })
}

/// An answer in JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => json_text(status, text),
        Err(error) => ApiError::internal(&error).into(),
    }
}

/// An answer in JSON that is text already.
fn json_text(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

/// The answer with a request's result.
fn respond(result: Result<impl Serialize, ApiError>) -> Response {
    match result {
        Ok(body) => json(StatusCode::OK, &body),
        Err(error) => error.into(),
    }
}

/// Why a request failed.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    error: String,
}

impl ApiError {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// The request is not valid.
    fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The subject of the request does not exist.
    fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// The request may succeed later.
    fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// The store failed.
    fn store(error: &StoreError) -> Self {
        Self::unavailable(error.to_string())
    }

    /// The server has a fault.
    fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<ApiError> for Response {
    fn from(ApiError { status, error }: ApiError) -> Self {
        json(status, &ErrorBody { error })
    }
}
