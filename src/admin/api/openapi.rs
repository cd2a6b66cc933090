//! `/openapi.json`: the OpenAPI document of the HTTP side, generated from the types that it reads and writes.

mod operation;
mod paths;
mod schemas;

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use self::paths::paths;
use self::schemas::Schemas;
use crate::admin::{ApiError, json_text};
use crate::wire::json::JsonError;

/// The document, encoded once.
static DOCUMENT: LazyLock<Result<String, JsonError>> =
    LazyLock::new(|| Ok(document()?.to_string()));

pub(super) async fn openapi() -> Response {
    match &*DOCUMENT {
        Ok(text) => json_text(StatusCode::OK, text.clone()),
        Err(error) => ApiError::internal(error).into(),
    }
}

const SUMMARY: &str =
    "Health, metrics, the policies in force, decisions in JSON, and the admin API";

const DESCRIPTION: &str = "\
A time is RFC 3339 text in UTC; a span of time is a number of milliseconds. A request must name this server in `Host`: \
an IP address, localhost or one of its names. Any other request is answered 421, except for /healthz, /readyz and \
/metrics. A request that a browser sends for a page of another site is answered 403. Every answer has the headers \
X-Content-Type-Options, Referrer-Policy, Cache-Control and Content-Security-Policy.";

const TOKEN: &str = "\
The server's --admin-token. An allowed client certificate replaces it.";

fn document() -> Result<Value, JsonError> {
    let mut schemas = Schemas::new()?;
    let paths = paths(&mut schemas);
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tollgate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": SUMMARY,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": TOKEN,
                },
            },
            "schemas": schemas.all(),
        },
    }))
}
