//! The port for debugging: `/rlconfig`, `/stats`, and a list of these for every other path.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::Shared;
use crate::live::LoadedPolicies;
use crate::observe::telemetry::TextFormat;
use crate::policy::descriptor_tree::{self, ListedLimit};
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
    let lines = policies.flat_map(|policy| {
        let limits = descriptor_tree::limits(policy).into_iter();
        limits.map(|limit| line(policy.domain(), &limit))
    });
    lines.collect()
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
            unit: "SECOND",
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
