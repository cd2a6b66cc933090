//! `/`: a page for a person, from the binary alone. What it shows comes by `/events` and `/explain`.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// The page and its files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| get(async move || answer(kind, text));
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/page.html")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.svg", file("image/svg+xml", include_str!("page/page.svg")))
}

fn answer(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests {
    /// The Content-Security-Policy would take them out silently.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let html = include_str!("page/page.html");
        for wrong in ["style=", "<style", "onclick", "onload", "http://", "https://"] {
            assert!(!html.contains(wrong), "{wrong}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains(r#"<script src="/page.js" defer></script>"#));
    }

    /// What clients send is shown as text.
    #[test]
    fn the_script_writes_no_markup() {
        let script = include_str!("page/page.js");
        for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(wrong), "{wrong}");
        }
        assert!(script.contains("textContent"));
    }
}
