//! The port for debugging: `/rlconfig`, `/stats`, and a list of these for every other path.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::Shared;
use crate::limit::Bucket;
use crate::live::LoadedPolicies;
use crate::observe::telemetry::TextFormat;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::text::printable;

const PATHS: &str = "/rlconfig: print out the currently loaded configuration for debugging\n\
                     /stats: print out stats\n";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/rlconfig", any(rlconfig))
        .route("/stats", any(stats))
        .fallback(|| async { PATHS })
}

/// `/rlconfig`: a line for each limit in force.
async fn rlconfig(State(Shared { service, .. }): State<Shared>) -> String {
    listed(&service.policies().load_full())
}

fn listed(policies: &LoadedPolicies) -> String {
    let policies = policies.policies().into_iter();
    let trees = policies.filter(|policy| policy.is_tree());
    let lines = trees.flat_map(|policy| {
        let rows = policy.rows().filter(|row| !policy.is_limit_override(row.table()));
        rows.map(|row| line(policy.domain(), &ListedLimit::from(row)))
    });
    lines.collect()
}

/// A limit as it is listed.
struct ListedLimit<'p> {
    /// Its place: nodes joined by dots, each a `key` or a `key_value`.
    path: &'p str,
    /// The unit, in capitals.
    unit: String,
    requests_per_unit: u32,
    is_shadow: bool,
    is_quota: bool,
}

impl<'p> From<&'p Row> for ListedLimit<'p> {
    fn from(row: &'p Row) -> Self {
        let (unit, requests_per_unit) = match row.rules().first().map(Rule::bucket) {
            Some(Bucket::Window(window)) => (window.unit().name(), window.requests()),
            // Unlimited.
            _ => ("unknown", 0),
        };
        let unit = unit.to_uppercase();
        let (is_shadow, is_quota) = (row.is_shadow(), row.is_quota());
        Self { path: row.name(), unit, requests_per_unit, is_shadow, is_quota }
    }
}

fn line(domain: &str, limit: &ListedLimit<'_>) -> String {
    let ListedLimit { path, unit, requests_per_unit, is_shadow, is_quota } = limit;
    let place = format!("{domain}.{path}");
    format!(
        "{}: unit={unit} requests_per_unit={requests_per_unit}, shadow_mode: {is_shadow}, \
         quota_mode: {is_quota}\n",
        printable(&place)
    )
}

/// `/stats`: all metrics, a line each.
async fn stats(State(Shared { service, .. }): State<Shared>) -> Response {
    match service.telemetry().encode_as(TextFormat::Classic) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_line_as_tools_of_the_field_read_it() {
        let limit = ListedLimit {
            path: "key1_value1.subkey1",
            unit: "SECOND".to_owned(),
            requests_per_unit: 300,
            is_shadow: false,
            is_quota: true,
        };
        let line = line("mongo_cps", &limit);
        let expected = "mongo_cps.key1_value1.subkey1: unit=SECOND requests_per_unit=300, \
                        shadow_mode: false, quota_mode: true\n";
        assert_eq!(line, expected);
    }
}
