//! The HTTP side: health, metrics, the policy in force, the same decision as over gRPC, in JSON, and a page
//! for a person.

mod bucket;
mod buckets;
mod connection;
mod desk;
mod events;
mod explain;
mod guard;
mod host;
mod json;
mod leases;
mod paced;
mod page;
mod places;
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
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;

use self::connection::SLOWEST;
use self::desk::{Desk, Scrapes};
use self::events::Watch;
pub use self::guard::{Certified, Controls, Token, TokenError};
use self::host::Hosts;
pub use self::host::{HostName, HostNameError};
use self::places::{Peer, Places};
use crate::listener::Listener;
use crate::live::RejectedPolicies;
use crate::service::{Core, Service};
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
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/config", get(config))
        .route("/openapi.json", get(openapi))
        .route("/explain", post(explain::explain).route_layer(from_fn(guard::json_only)))
        .route("/events", get(events::events))
        .route("/buckets", get(buckets::list))
        .route("/leases", get(leases::list))
        .merge(changing(shared.clone()))
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(hosts, host::admit))
        .layer(from_fn(guarded))
        .with_state(shared)
}

/// What changes something, and asks whether it may.
fn changing(shared: Shared) -> axum::Router<Shared> {
    let json_only = || from_fn(guard::json_only);
    let admitted = || from_fn_with_state(shared.clone(), guard::admit);
    let admitted_to_decide = from_fn_with_state(shared.clone(), guard::admit_to_decide);
    axum::Router::new()
        .route("/json", post(json::json).route_layer(admitted_to_decide).route_layer(json_only()))
        .route("/reset", post(reset::reset).route_layer(admitted()).route_layer(json_only()))
        .route(
            "/leases/release",
            post(leases::release).route_layer(admitted()).route_layer(json_only()),
        )
        .route("/reload", post(reload::reload).route_layer(admitted()))
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
        let shortfalls = shared.service.core().shortfalls();
        let mut text = match &*shortfalls {
            [] => "ready\n".to_owned(),
            some => format!("ready, degraded: {}\n", some.join("; ")),
        };
        if let Some(refused) = shared.service.policies().rejected() {
            let RejectedPolicies { at, problems } = &*refused;
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
    match shared.desks.scrapes.text(&shared.service).await {
        Ok(text) => (kind, text).into_response(),
        Err(response) => response,
    }
}

async fn config(State(Shared { service, desks, .. }): State<Shared>) -> Response {
    desks
        .looks
        .work(async move {
            let snapshot = service.policies().load_full();
            let refused = service.policies().rejected();
            axum_json(StatusCode::OK, view::of(&snapshot, refused.as_deref()).to_string())
        })
        .await
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
