//! Authorization: a request may change something if it has the token, or if its connection has an allowed client
//! certificate. A body must be declared as JSON, which a browser does not send for a page of another site without a
//! CORS preflight.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::host::{FETCH_SITE, HostName};
use super::{ApiError, Shared};
use crate::http1::ClientCertVerified;
use crate::policy_files::Reloader;

/// The shortest token, in characters: a shorter one could be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The content type of requests. For a page of another site, a browser sends it only if the server allows it in a CORS
/// preflight, which this one never does.
const JSON: &str = "application/json";

const NOT_JSON: &str = "send JSON with the header `Content-Type: application/json`";

const CHANGES_OFF: &str = "off; start with --admin-token or --admin-token-file, or use a client certificate with an \
                           allowed name";

const DECISIONS_OFF: &str = "off; use gRPC, or start with --http-json on, --admin-token or --admin-token-file, or use \
                             a client certificate with an allowed name";

/// The settings of the HTTP side's operations and of their authorization.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// The token of requests that change something. Without it, only a client certificate authorizes them.
    pub token: Option<Token>,
    /// Reloads the policies; none if they do not come from files.
    pub reloader: Option<Arc<Reloader>>,
    /// Whether `/json` decides, and so charges, for every caller; otherwise only for authorized callers.
    pub decides_for_all: bool,
    /// DNS names of this server, besides those of its certificate.
    pub hosts: Vec<HostName>,
}

/// The hash of a secret. The time to compare two hashes reveals nothing about the secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token must have at least {MIN_TOKEN_LENGTH} characters, all of them ASCII letters, digits or punctuation"
)]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let is_one =
            text.len() >= MIN_TOKEN_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one { Ok(Self::of(text)) } else { Err(TokenError) }
    }
}

/// Rejects requests that are not authorized to change something.
pub(super) async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if is_authorized(&shared.controls, request.headers(), request.extensions()) {
        return next.run(request).await;
    }
    unauthorized(&shared.controls, CHANGES_OFF)
}

/// Rejects calls that are not authorized to be decided over HTTP.
pub(super) async fn admit_to_decide(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let Controls { decides_for_all, .. } = shared.controls;
    if decides_for_all || is_authorized(&shared.controls, request.headers(), request.extensions()) {
        return next.run(request).await;
    }
    unauthorized(&shared.controls, DECISIONS_OFF)
}

/// Answers 415 to requests whose body is not declared as JSON.
pub(super) async fn json_only(request: Request, next: Next) -> Response {
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
    if is_json {
        return next.run(request).await;
    }
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_JSON).into()
}

/// Whether a content type is JSON, with or without parameters such as a charset.
fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
    kind.trim().eq_ignore_ascii_case(JSON)
}

/// The answer to an unauthorized request that gives hits back or releases leases.
pub(super) fn refund_unauthorized(controls: &Controls) -> Response {
    unauthorized(controls, CHANGES_OFF)
}

/// The answer to an unauthorized caller; without a token, `off` explains how to enable the operation.
fn unauthorized(controls: &Controls, off: &'static str) -> Response {
    match &controls.token {
        None => ApiError::new(StatusCode::FORBIDDEN, off).into(),
        Some(_) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let error = "the token is missing or wrong; send it as `Authorization: Bearer TOKEN`";
            let response = Response::from(ApiError::new(StatusCode::UNAUTHORIZED, error));
            (challenge, response).into_response()
        }
    }
}

/// Whether a request is authorized to change something. A browser presents its client certificate for the requests of
/// any page, but no token; so a certificate does not authorize requests of browsers.
pub(super) fn is_authorized(controls: &Controls, headers: &HeaderMap, about: &Extensions) -> bool {
    let has_token = || controls.token.is_some() && bearer_token(headers) == controls.token;
    (about.get::<ClientCertVerified>().is_some() && !is_browser_request(headers)) || has_token()
}

/// Whether a browser sent the request for a page. Every browser marks requests that may change something.
pub(crate) fn is_browser_request(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE)
}

/// The token of a request.
fn bearer_token(headers: &HeaderMap) -> Option<Token> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| Token::of(token.trim()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower_service::Service as _;

    use super::*;

    #[test]
    fn a_token_that_is_too_short_or_cannot_be_sent_in_a_header_is_rejected() {
        assert!("0123456789abcdef".parse::<Token>().is_ok());
        for wrong in
            ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdéf", "0123456789abcdef\n"]
        {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_not_written_to_logs() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn only_the_scheme_bearer_has_a_token() {
        let token_of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer_token(&headers)
        };
        let token = Some(Token::of("0123456789abcdef"));
        assert_eq!(token_of("Bearer 0123456789abcdef"), token);
        assert_eq!(token_of("bearer  0123456789abcdef"), token);
        for wrong in
            ["", "Bearer", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"]
        {
            assert_ne!(token_of(wrong), token, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_caller_with_a_certificate_needs_no_token() {
        for token in [None, Some("0123456789abcdef".parse().unwrap())] {
            let shared = crate::admin::dashboard::events::tests::shared(Controls {
                token,
                ..Controls::default()
            });
            let mut routes = crate::admin::routes(shared);
            let mut ask = async |is_certified| {
                let mut request = Request::builder()
                    .method("POST")
                    .uri("/reload")
                    .header(header::HOST, "localhost")
                    .body(Body::empty())
                    .unwrap();
                if is_certified {
                    request.extensions_mut().insert(ClientCertVerified);
                }
                routes.call(request).await.unwrap().status()
            };
            assert_eq!(ask(true).await, StatusCode::NOT_FOUND, "it may; there is no file");
            let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED];
            assert!(refused.contains(&ask(false).await));
        }
    }

    #[test]
    fn the_content_type_of_json_may_have_parameters() {
        let is_json = |kind: &'static str| is_json(&HeaderValue::from_static(kind));
        for kind in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in [
            "",
            "text/plain",
            "text/plain; application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/jsonp",
            "application/json, text/plain",
        ] {
            assert!(!is_json(kind), "{kind}");
        }
    }

    #[test]
    fn a_certificate_does_not_authorize_requests_of_browsers_and_a_token_does() {
        let token = "0123456789abcdef";
        let controls = Controls { token: Some(Token::of(token)), ..Controls::default() };
        let mut about = Extensions::new();
        about.insert(ClientCertVerified);
        let pages = [("origin", "https://elsewhere.example"), ("origin", "null")];
        let sites = ["cross-site", "same-site", "same-origin", "none"].map(|of| (FETCH_SITE, of));
        for (name, value) in pages.into_iter().chain(sites) {
            let mut headers = HeaderMap::new();
            assert!(is_authorized(&controls, &headers, &about));
            headers.insert(name, value.parse().unwrap());
            assert!(!is_authorized(&controls, &headers, &about), "{name}: {value}");
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            assert!(is_authorized(&controls, &headers, &about), "{name}: {value}");
        }
    }
}
