//! Which requests may change something: those with the token, or over a connection with a client certificate that is
//! allowed. And that a body is declared as JSON, so that no page of another site can have a browser send one without
//! asking first.

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
use crate::policy_files::Reloader;

/// The shortest token, in characters: what is shorter can be guessed.
const MIN_LENGTH: usize = 16;

/// The content type that browsers do not send for a page of another site unless the server allows it, which this one
/// never does.
const JSON: &str = "application/json";

const NOT_JSON: &str = "send JSON, and say so: `Content-Type: application/json`";

const OFF: &str = "off; start with --admin-token or --admin-token-file, or show a client certificate \
                   with a name that is allowed";

const UNDECIDED: &str = "off; ask over gRPC, or start with --http-json on, or with --admin-token or \
                         --admin-token-file, or show a client certificate with a name that is allowed";

/// What the HTTP side may do beside showing how things stand.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// The token of requests that change something; without one they are refused.
    pub token: Option<Token>,
    /// Reads the policies again; none where they came from no file.
    pub reloader: Option<Arc<Reloader>>,
    /// Whether `/json` decides, and so charges, for every caller; else only for callers who may change something.
    pub decides_for_all: bool,
    /// The names under which it may be asked, beside addresses, localhost and the names of its certificate.
    pub hosts: Vec<HostName>,
}

/// A secret, kept as its hash, so that the time to compare two of these tells nothing about the secret.
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
    "a token has {MIN_LENGTH} characters at least, all of them letters, digits or punctuation of ASCII"
)]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let is_one = text.len() >= MIN_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one { Ok(Self::of(text)) } else { Err(TokenError) }
    }
}

/// Marks a request over a connection whose client certificate is allowed.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertVerified;

/// Passes on requests that may change something; refuses others.
pub(super) async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if may_change(&shared.controls, request.headers(), request.extensions()) {
        return next.run(request).await;
    }
    refusal(&shared.controls, OFF)
}

/// Passes on requests whose call may be decided; refuses others.
pub(super) async fn admit_to_decide(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let Controls { decides_for_all, .. } = shared.controls;
    if decides_for_all || may_change(&shared.controls, request.headers(), request.extensions()) {
        return next.run(request).await;
    }
    refusal(&shared.controls, UNDECIDED)
}

/// Passes on requests whose body is declared as JSON; answers others 415.
pub(super) async fn json_only(request: Request, next: Next) -> Response {
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
    if is_json {
        return next.run(request).await;
    }
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_JSON).into()
}

/// With parameters or without, such as a charset.
fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
    kind.trim().eq_ignore_ascii_case(JSON)
}

/// The answer to a caller who may not give hits or leases back.
pub(super) fn no_giving_back(controls: &Controls) -> Response {
    refusal(controls, OFF)
}

/// The answer to a caller who may not do something, and how it could be allowed.
fn refusal(controls: &Controls, off: &'static str) -> Response {
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

/// Whether a request may change something. A browser sends no token by itself, but it does show a certificate, whichever
/// page has it ask; so a certificate does not count for its requests.
pub(super) fn may_change(controls: &Controls, headers: &HeaderMap, about: &Extensions) -> bool {
    let has_token = || controls.token.is_some() && bearer_token(headers) == controls.token;
    (about.get::<ClientCertVerified>().is_some() && !is_browser_request(headers)) || has_token()
}

/// Whether a page had a browser send the request. Every browser declares that of requests that may change something.
fn is_browser_request(headers: &HeaderMap) -> bool {
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
    fn a_token_that_could_be_guessed_or_not_be_sent_is_none() {
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
    fn only_the_scheme_bearer_brings_a_token() {
        let brought = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer_token(&headers)
        };
        let token = Some(Token::of("0123456789abcdef"));
        assert_eq!(brought("Bearer 0123456789abcdef"), token);
        assert_eq!(brought("bearer  0123456789abcdef"), token);
        for wrong in
            ["", "Bearer", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"]
        {
            assert_ne!(brought(wrong), token, "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_has_shown_a_certificate_needs_no_token() {
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
    fn json_is_what_says_so_whatever_its_parameters() {
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
    fn a_certificate_does_not_count_where_a_page_has_a_browser_ask_and_a_token_does() {
        let token = "0123456789abcdef";
        let controls = Controls { token: Some(Token::of(token)), ..Controls::default() };
        let mut about = Extensions::new();
        about.insert(ClientCertVerified);
        let pages = [("origin", "https://elsewhere.example"), ("origin", "null")];
        let sites = ["cross-site", "same-site", "same-origin", "none"].map(|of| (FETCH_SITE, of));
        for (name, value) in pages.into_iter().chain(sites) {
            let mut headers = HeaderMap::new();
            assert!(may_change(&controls, &headers, &about));
            headers.insert(name, value.parse().unwrap());
            assert!(!may_change(&controls, &headers, &about), "{name}: {value}");
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            assert!(may_change(&controls, &headers, &about), "{name}: {value}");
        }
    }
}
