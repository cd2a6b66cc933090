//! The HTTP side: health, metrics, the policy in force, the same decision as over gRPC, in JSON, and a page
//! for a person.

mod api;
mod auth;
mod connection;
mod connection_table;
mod dashboard;
mod host;
mod timed_io;
mod work_queue;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;

use self::api::Scrapes;
pub use self::auth::{Certified, Controls, Token, TokenError};
use self::connection::SLOWEST;
use self::connection_table::{Peer, Places};
use self::dashboard::events::Watch;
use self::host::Hosts;
pub use self::host::{HostName, HostNameError};
use self::work_queue::Desk;
use crate::listener::Listener;
use crate::service::Service;
use crate::store::StoreError;
use crate::tls::Identity;

/// The largest body that is taken, in bytes.
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
    hosts: Arc<Hosts>,
    desks: Desks,
}

/// Where that is done which takes long.
#[derive(Debug, Clone, Default)]
struct Desks {
    /// What anybody may ask.
    looks: Desk,
    /// What those ask who may change something, so that nobody else keeps them waiting.
    changes: Desk,
    scrapes: Arc<Scrapes>,
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
    let counters = service.telemetry().http_connections().clone();
    let desks = Desks::default();
    let hosts = Arc::new(Hosts {
        names: controls.hosts.clone(),
        tls: tls.clone(),
        is_out_of_reach: listener.address().tcp().is_none(),
    });
    let routes = routes(Shared {
        service,
        readiness,
        watch: Arc::clone(&watch),
        controls,
        hosts,
        desks: desks.clone(),
    });
    let mut places = Places::new(counters);
    let (stopping, stopped) = channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            stream = listener.accept() => {
                let (tls, routes, stopped) = (tls.clone(), routes.clone(), ended(stopped.clone()));
                let peer = Peer::at(stream.peer());
                places.take(peer, |activity| {
                    connection::run(stream, activity, tls, routes, stopped)
                });
            }
            () = places.ended(), if !places.is_empty() => {}
        }
    }
    drop((listener, background));
    // Nobody else would end them.
    watch.end();
    drop(stopping);
    while !places.is_empty() {
        places.ended().await;
    }
    // Whoever has asked may be gone.
    tokio::join!(desks.looks.close(), desks.changes.close());
}

/// Completes when the other end is dropped.
async fn ended(mut stopped: Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

fn routes(shared: Shared) -> axum::Router {
    let hosts = Arc::clone(&shared.hosts);
    axum::Router::new()
        .merge(api::routes(&shared))
        .merge(dashboard::routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(hosts, host::admit))
        .layer(from_fn(guarded))
        .with_state(shared)
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
