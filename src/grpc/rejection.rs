//! What is answered to a request that is no gRPC call.

use unary_h2::{Connection, StreamId};

/// Why a request is no gRPC call.
///
/// gRPC over HTTP/2 is POST and `application/grpc`. A page of another origin can make a browser send neither without
/// a CORS preflight, which is never granted here. Otherwise it could charge buckets and release leases with the
/// client certificate of its visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// Its method is not POST.
    Method,
    /// Its media type is not that of gRPC.
    MediaType,
    /// Its path is no path of a URI.
    Path,
}

type Field = (&'static [u8], &'static [u8]);

impl Rejection {
    /// What is wrong with a request, if anything.
    pub(super) const fn of(is_post: bool, is_grpc: bool) -> Option<Self> {
        match (is_post, is_grpc) {
            (true, true) => None,
            (false, _) => Some(Self::Method),
            (true, false) => Some(Self::MediaType),
        }
    }

    /// A status, a field that names what is accepted, and the same in words.
    const fn parts(self) -> (u16, Option<Field>, &'static [u8]) {
        match self {
            Self::Method => (405, Some((b"allow", b"POST")), b"a gRPC call has the method POST\n"),
            Self::MediaType => {
                let accepted: Field = (b"accept", b"application/grpc");
                (415, Some(accepted), b"a gRPC call has the content-type application/grpc\n")
            }
            Self::Path => (404, None, b"this is no path of a gRPC call\n"),
        }
    }

    /// Answers with a status and a line that explains it (RFC 9110, Section 15.5), which the answer to HEAD may not
    /// have (Section 9.3.2).
    pub(super) fn answer(self, stream: StreamId, is_head: bool, connection: &mut Connection) {
        let (status, field, text) = self.parts();
        let kind: Field = (b"content-type", b"text/plain");
        let fields: Vec<_> = [Some(kind), field].into_iter().flatten().collect();
        connection.answer_head(stream, status, &fields, is_head);
        if !is_head {
            connection.answer_data(stream, text, true);
        }
    }
}
