//! The HTTP side of envoyproxy/ratelimit, for deployments that are made for it: probes, clients that cannot use gRPC,
//! and tools that read its configuration.
//!
//! Its paths, statuses and texts are those of envoyproxy/ratelimit. The bounds of its connections and requests are
//! those of tollgate's own HTTP side, and no request changes more than what a call over gRPC may change as well.

mod debug;
mod health;
mod json;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

pub use self::health::{Health, HealthRules};
use crate::admin::{Scrapes, scrape};
use crate::http1::{self, REQUEST_TIMEOUT};
use crate::listener::{Address, Listener, ParkedListener};
use crate::service::{Core, Service};

/// The largest body of a request, in bytes. It is read on the thread of the probes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The addresses that are listened on.
#[derive(Debug, Clone)]
pub struct Ports {
    /// `/json` and `/healthcheck`.
    pub main: Address,
    /// `/rlconfig` and `/stats`. If it is taken, it is not served.
    pub debug: Address,
    /// The metrics for Prometheus, and their path, which begins with a slash.
    pub metrics: Option<(Address, String)>,
}

/// The ports that are listened on.
#[derive(Debug)]
pub(crate) struct Listeners<L> {
    main: L,
    debug: Option<L>,
    metrics: Option<(L, String)>,
}

impl<L> Listeners<L> {
    /// # Errors
    /// The first error of `change`.
    fn try_map<M, E>(self, change: impl Fn(L) -> Result<M, E>) -> Result<Listeners<M>, E> {
        let Self { main, debug, metrics } = self;
        let metrics = metrics.map(|(listener, path)| Ok((change(listener)?, path))).transpose()?;
        Ok(Listeners { main: change(main)?, debug: debug.map(&change).transpose()?, metrics })
    }
}

/// The addresses that are listened on.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'a> {
    /// That of `/json` and `/healthcheck`.
    pub http: &'a Address,
    /// That of the port for debugging.
    pub debug: Option<&'a Address>,
    /// That of the metrics.
    pub metrics: Option<&'a Address>,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) what: &'static str,
    /// The variables that choose another.
    pub(crate) variables: &'static str,
    pub(crate) address: Address,
    pub(crate) error: std::io::Error,
}

impl Listeners<Listener> {
    /// Listens on the ports. Without the one for debugging, the others are served all the same.
    ///
    /// # Errors
    /// If one of the others cannot be listened on.
    pub(crate) async fn bind(ports: &Ports) -> Result<Self, BindError> {
        let main = bind(&ports.main, "HTTP", "HOST and PORT").await?;
        let metrics = match &ports.metrics {
            Some((address, path)) => {
                Some((bind(address, "metrics", "PROMETHEUS_ADDR").await?, path.clone()))
            }
            None => None,
        };
        let debug = Listener::bind(&ports.debug).await.map_err(|error| {
            tracing::warn!(
                address = %ports.debug, %error,
                "the port for debugging is not served; choose another with DEBUG_HOST and DEBUG_PORT"
            );
        });
        Ok(Self { main, debug: debug.ok(), metrics })
    }

    /// See [`Listener::park`].
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn park(self) -> std::io::Result<Listeners<ParkedListener>> {
        self.try_map(Listener::park)
    }

    /// The addresses of the ports.
    pub(crate) fn addresses(&self) -> Addresses<'_> {
        Addresses {
            http: self.main.address(),
            debug: self.debug.as_ref().map(Listener::address),
            metrics: self.metrics.as_ref().map(|(listener, _)| listener.address()),
        }
    }
}

impl Listeners<ParkedListener> {
    /// See [`ParkedListener::unpark`].
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn unpark(self) -> std::io::Result<Listeners<Listener>> {
        self.try_map(ParkedListener::unpark)
    }
}

async fn bind(
    address: &Address,
    what: &'static str,
    variables: &'static str,
) -> Result<Listener, BindError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|error| BindError { what, variables, address: address.clone(), error })
}

#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    health: Arc<Health>,
    scrapes: Arc<Scrapes>,
}

/// Serves the ports until a future of `stop` completes; then finishes the requests in flight.
pub(crate) async fn serve<F: Future<Output = ()>>(
    listeners: Listeners<Listener>,
    core: Arc<Core>,
    health: Arc<Health>,
    stop: impl Fn() -> F,
) {
    let service = core.connect().await;
    let counters = service.telemetry().http_connections().clone();
    let shared = Shared { service, health, scrapes: Arc::default() };
    let Listeners { main, debug, metrics } = listeners;
    let run = |listener, routes| {
        http1::serve(listener, None, bounded(routes, &shared), counters.clone(), stop())
    };
    let debug = async {
        if let Some(listener) = debug {
            run(listener, debug::routes()).await;
        }
    };
    let metrics = async {
        if let Some((listener, path)) = metrics {
            let routes = Router::new().route(&path, get(prometheus)).fallback(not_found);
            run(listener, routes).await;
        }
    };
    tokio::join!(run(main, main_routes()), debug, metrics);
}

/// The paths of the main port. They take any method.
fn main_routes() -> Router<Shared> {
    Router::new()
        .route("/json", any(json::json))
        .route("/healthcheck", any(health::healthcheck))
        .fallback(not_found)
}

/// The routes with the bounds of a request.
fn bounded(routes: Router<Shared>, shared: &Shared) -> Router {
    routes
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(request_timeout))
        .layer(from_fn(add_headers))
        .with_state(shared.clone())
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

async fn prometheus(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    scrape(&shared.scrapes, &shared.service, &headers).await
}

/// Answers 408 if the body or the answer takes too long.
async fn request_timeout(request: Request, next: Next) -> Response {
    let response = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    response.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

/// The headers of every answer. With them, a browser believes its content type and does not cache it.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(HEADERS);
    response
}
