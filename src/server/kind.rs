//! Whether a request on a gRPC connection is a call at all.
//!
//! gRPC over HTTP/2 is POST and `application/grpc`. A page can have a browser send neither without asking first
//! whether it may, and is never told so here: else it could ask and release with the certificate of whoever looks
//! at it.

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

/// What the content type of a call begins with; a subtype, as in `application/grpc+proto`, or parameters follow.
const GRPC: &str = "application/grpc";

/// Why a request is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Method,
    ContentType,
}

/// Whether it is one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if method != Method::POST {
        return Err(Refusal::Method);
    }
    match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(kind) if is_grpc(kind) => Ok(()),
        _ => Err(Refusal::ContentType),
    }
}

fn is_grpc(kind: &[u8]) -> bool {
    let Some((kind, rest)) = kind.split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
}

impl Refusal {
    /// Tells the caller, with what would be taken.
    pub(super) fn send(self, mut respond: SendResponse<Bytes>) {
        let (status, name, value) = self.told();
        let mut head = Response::new(());
        *head.status_mut() = status;
        head.headers_mut().insert(name, HeaderValue::from_static(value));
        // Fails where the caller is gone.
        let _ = respond.send_response(head, true);
    }

    const fn told(self) -> (StatusCode, HeaderName, &'static str) {
        match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, ALLOW, "POST"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT, GRPC),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, kind: Option<&'static str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
        check(&method, &headers)
    }

    #[test]
    fn a_call_is_posted() {
        let kind = Some("application/grpc");
        assert_eq!(checked(Method::POST, kind), Ok(()));
        for other in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS, Method::DELETE] {
            assert_eq!(checked(other, kind), Err(Refusal::Method));
        }
    }

    #[test]
    fn a_call_says_that_it_is_grpc() {
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC",
        ] {
            assert_eq!(checked(Method::POST, Some(kind)), Ok(()), "{kind}");
        }
        for kind in [
            "",
            "text/plain",
            "application/json",
            "application/x-www-form-urlencoded",
            "application/grp",
            "application/grpc-web",
            "application/grpcx",
            "text/plain; application/grpc",
        ] {
            assert_eq!(checked(Method::POST, Some(kind)), Err(Refusal::ContentType), "{kind}");
        }
        assert_eq!(checked(Method::POST, None), Err(Refusal::ContentType));
    }
}
