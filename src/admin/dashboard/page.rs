//! `/`: the page of the dashboard, compiled into the binary. Its data come from `/events` and `/explain`.

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::admin::ApiError;

/// The page and its files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| get(async move || answer(kind, text));
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/page.html")))
        .route("/page.js", file(JAVASCRIPT, include_str!("page/page.js")))
        .route("/page/{module}", get(module))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.svg", file("image/svg+xml", include_str!("page/page.svg")))
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The modules that `/page.js` imports.
pub(in crate::admin) const MODULES: [(&str, &str); 9] = [
    ("bars.js", include_str!("page/bars.js")),
    ("clock.js", include_str!("page/clock.js")),
    ("connection.js", include_str!("page/connection.js")),
    ("dom.js", include_str!("page/dom.js")),
    ("explain.js", include_str!("page/explain.js")),
    ("lists.js", include_str!("page/lists.js")),
    ("plot.js", include_str!("page/plot.js")),
    ("spark.js", include_str!("page/spark.js")),
    ("text.js", include_str!("page/text.js")),
];

async fn module(Path(name): Path<String>) -> Response {
    let found = MODULES.iter().find(|(of, _)| *of == name);
    let missing = || ApiError::not_found("the page has no such module").into();
    found.map_or_else(missing, |(_, text)| answer(JAVASCRIPT, text).into_response())
}

fn answer(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("page/page.js");

    /// The Content-Security-Policy would block both silently.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let html = include_str!("page/page.html");
        for wrong in ["style=", "<style", "onclick", "onload", "http://", "https://"] {
            assert!(!html.contains(wrong), "{wrong}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains(r#"<script type="module" src="/page.js"></script>"#));
    }

    /// Clients' values are shown as text.
    #[test]
    fn the_scripts_write_no_markup() {
        let scripts = MODULES.iter().map(|(_, text)| *text).chain([PAGE]);
        let scripts: Vec<_> = scripts.collect();
        for script in &scripts {
            for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!script.contains(wrong), "{wrong}");
            }
        }
        assert!(scripts.concat().contains("textContent"));
    }

    #[test]
    fn the_modules_that_are_imported_are_those_that_are_served() {
        let mut imported = BTreeSet::new();
        let all = MODULES.iter().map(|(_, text)| *text).chain([PAGE]);
        for line in all.flat_map(str::lines).filter(|line| line.starts_with("import ")) {
            let (_, from) = line.split_once(" from \"./").unwrap();
            imported.insert(from.trim_start_matches("page/").trim_end_matches("\";"));
        }
        assert_eq!(imported, MODULES.iter().map(|(name, _)| *name).collect());
    }
}
