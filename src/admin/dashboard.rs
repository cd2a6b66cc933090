//! The dashboard: a page, and the events that it draws.

pub(super) mod events;
mod page;
mod sample;

use axum::Router;
use axum::routing::get;

pub(super) use self::events::Begin;
pub(super) use self::page::MODULES;
pub(super) use self::sample::Sample;
use super::Shared;

/// The routes of the dashboard.
pub(super) fn routes() -> Router<Shared> {
    page::routes().route("/events", get(events::events))
}
