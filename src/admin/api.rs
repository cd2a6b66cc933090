//! The API for programs and for `tollgate admin`: one file for each path, or family of paths.

pub(super) mod bucket;
mod buckets;
pub(super) mod config;
mod explain;
mod health;
mod json;
pub(super) mod leases;
mod metrics;
mod openapi;
mod reload;
mod reset;
pub(super) mod shares;
pub(super) mod top;
pub(crate) mod types;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub(crate) use self::metrics::{Scrapes, scrape};
use super::{Shared, auth};

/// The routes of the API.
pub(super) fn routes(shared: &Shared) -> Router<Shared> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/config", get(config::config))
        .route("/openapi.json", get(openapi::openapi))
        .route("/explain", post(explain::explain).route_layer(from_fn(auth::json_only)))
        .route(
            "/explain/bucket",
            post(explain::bucket::explain).route_layer(from_fn(auth::json_only)),
        )
        .route("/buckets", get(buckets::list))
        .route("/leases", get(leases::list))
        .route("/shares", get(shares::list))
        .route("/top", get(top::top))
        .merge(changing(shared))
}

/// The routes that change something, each of which checks the caller's authorization.
fn changing(shared: &Shared) -> Router<Shared> {
    let json_only = || from_fn(auth::json_only);
    let admitted = || from_fn_with_state(shared.clone(), auth::admit);
    let admitted_to_decide = from_fn_with_state(shared.clone(), auth::admit_to_decide);
    Router::new()
        .route("/json", post(json::json).route_layer(admitted_to_decide).route_layer(json_only()))
        .route("/reset", post(reset::reset).route_layer(admitted()).route_layer(json_only()))
        .route(
            "/leases/release",
            post(leases::release).route_layer(admitted()).route_layer(json_only()),
        )
        .route("/reload", post(reload::reload).route_layer(admitted()))
}
