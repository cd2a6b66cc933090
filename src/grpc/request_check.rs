//! Rejects requests that are no gRPC calls.
//!
//! gRPC over HTTP/2 is POST and `application/grpc`. A page of another origin can make a browser send neither without
//! a CORS preflight, which is never granted here. Otherwise it could charge buckets and release leases with the
//! client certificate of its visitor.

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

/// The content type of a call; a subtype, as in `application/grpc+proto`, or parameters may follow.
const GRPC: &str = "application/grpc";

/// Why a request is no gRPC call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    Method,
    ContentType,
}

/// Checks the method and the content type of a request.
///
/// # Errors
/// [`Rejection`] unless they are those of a gRPC call.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Rejection> {
    if method != Method::POST {
        return Err(Rejection::Method);
    }
    match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(content_type) if is_grpc(content_type) => Ok(()),
        _ => Err(Rejection::ContentType),
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    let Some((name, rest)) = content_type.split_at_checked(GRPC.len()) else { return false };
    name.eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
}

impl Rejection {
    /// Responds with 405 or 415, and with the header that names what is accepted.
    pub(super) fn send(self, mut respond: SendResponse<Bytes>) {
        let (status, name, value) = self.response();
        let mut head = Response::new(());
        *head.status_mut() = status;
        head.headers_mut().insert(name, HeaderValue::from_static(value));
        // Fails if the peer has gone.
        let _ = respond.send_response(head, true);
    }

    const fn response(self) -> (StatusCode, HeaderName, &'static str) {
        match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, ALLOW, "POST"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT, GRPC),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, content_type: Option<&'static str>) -> Result<(), Rejection> {
        let mut headers = HeaderMap::new();
        headers.extend(content_type.map(|text| (CONTENT_TYPE, HeaderValue::from_static(text))));
        check(&method, &headers)
    }

    #[test]
    fn a_call_is_a_post() {
        let content_type = Some("application/grpc");
        assert_eq!(checked(Method::POST, content_type), Ok(()));
        for other in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS, Method::DELETE] {
            assert_eq!(checked(other, content_type), Err(Rejection::Method));
        }
    }

    #[test]
    fn a_call_has_the_content_type_of_grpc() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC",
        ] {
            assert_eq!(checked(Method::POST, Some(content_type)), Ok(()), "{content_type}");
        }
        for content_type in [
            "",
            "text/plain",
            "application/json",
            "application/x-www-form-urlencoded",
            "application/grp",
            "application/grpc-web",
            "application/grpcx",
            "text/plain; application/grpc",
        ] {
            let result = checked(Method::POST, Some(content_type));
            assert_eq!(result, Err(Rejection::ContentType), "{content_type}");
        }
        assert_eq!(checked(Method::POST, None), Err(Rejection::ContentType));
    }
}
