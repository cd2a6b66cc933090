//! What the fields of a request mean to a server, worked out once for each field of a peer's table.

use crate::grpc::is_grpc;
use crate::hpack::{Dictionary, meanings_of_static_fields};

/// One of the paths that a server has named: the number of it in the list that [`Vocabulary::new`] was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Route(u8);

impl Route {
    /// The number, counted from 0.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// One of the fields that a server reads: the number of it in the list that [`Vocabulary::new`] was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldId(u8);

impl FieldId {
    /// The number, counted from 0.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// The paths of a server's unary calls, and the fields that it reads of them. All connections share it.
#[derive(Debug)]
pub struct Vocabulary {
    routes: Vec<Box<[u8]>>,
    fields: Vec<Box<[u8]>>,
    of_static_fields: Option<Box<[Meaning; 61]>>,
}

impl Vocabulary {
    /// Names paths, such as `/shop.Cart/Add`, and fields in lowercase, such as `traceparent`. Of either the first 256
    /// count.
    ///
    /// Calls of these paths are handed over as a [`Call`](crate::Call), whole, and of their fields only those that
    /// are named. Requests of any other path are handed over as a [`Request`](crate::Request), with all fields.
    pub fn new<'a>(
        routes: impl IntoIterator<Item = &'a str>,
        fields: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let bytes = |texts: &mut dyn Iterator<Item = &'a str>| -> Vec<Box<[u8]>> {
            texts.take(256).map(|text| text.as_bytes().into()).collect()
        };
        let (routes, fields) = (bytes(&mut routes.into_iter()), bytes(&mut fields.into_iter()));
        let mut vocabulary = Self { routes, fields, of_static_fields: None };
        let meanings = meanings_of_static_fields(|name, value| vocabulary.meaning(name, value));
        vocabulary.of_static_fields = Some(Box::new(meanings));
        vocabulary
    }

    fn number(list: &[Box<[u8]>], text: &[u8]) -> Option<u8> {
        list.iter().position(|known| **known == *text).and_then(|at| u8::try_from(at).ok())
    }
}

/// What one field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Method {
        is_post: bool,
        is_head: bool,
        is_connect: bool,
    },
    Scheme,
    Authority,
    Path(Option<Route>),
    ContentType {
        is_grpc: bool,
    },
    ContentLength(u64),
    Cookie,
    /// A field that the server reads.
    Named(FieldId),
    /// Any other field.
    Other,
    /// A field that no request may have.
    Malformed(Malformed),
}

/// Why a request is malformed, so that its stream is reset with `PROTOCOL_ERROR` (RFC 9113, Section 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A name of no letters, or with a character that no name may have, such as an uppercase letter (Section 8.2.1).
    Name,
    /// A value with NUL, CR or LF, or with white space at an end (Section 8.2.1).
    Value,
    /// A field of HTTP/1.1's connections, or a `te` that is not `trailers` (Section 8.2.2).
    ConnectionField,
    /// A pseudo-header field that requests do not have (Section 8.3).
    UnknownPseudoField,
    /// A pseudo-header field that occurs twice, or behind another field, or in trailers (Section 8.3).
    MisplacedPseudoField,
    /// No `:method`, `:scheme` or `:path`, or an empty `:path` (Section 8.3.1).
    MissingPseudoField,
    /// A `content-length` that is no number, or occurs with different ones, or is not the length of the body
    /// (Section 8.1.1).
    ContentLength,
    /// A header block behind the body that does not end the stream (Section 8.1).
    Trailers,
}

impl Malformed {
    /// A few words on it, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "the name of a field has a character that it may not have",
            Self::Value => "the value of a field has a character that it may not have",
            Self::ConnectionField => "it has a field that HTTP/2 does not allow",
            Self::UnknownPseudoField => "it has a pseudo-header field that requests do not have",
            Self::MisplacedPseudoField => {
                "a pseudo-header field occurs twice, or behind other fields"
            }
            Self::MissingPseudoField => "it has no :method, no :scheme or no :path",
            Self::ContentLength => "its content-length is not the length of its body",
            Self::Trailers => "its trailers do not end it",
        }
    }
}

/// Which bytes a name may have (RFC 9113, Section 8.2.1): those that are visible, but no uppercase letters, and no
/// colon.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !byte.is_ascii_uppercase() && byte != b':'
}

fn is_valid_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_space(value.first())
        && !is_space(value.last())
        && !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

impl Dictionary for Vocabulary {
    type Meaning = Meaning;

    fn meaning(&self, name: &[u8], value: &[u8]) -> Meaning {
        if !is_valid_value(value) {
            return Meaning::Malformed(Malformed::Value);
        }
        match name {
            b":method" => Meaning::Method {
                is_post: value == b"POST",
                is_head: value == b"HEAD",
                is_connect: value == b"CONNECT",
            },
            b":scheme" => Meaning::Scheme,
            b":authority" => Meaning::Authority,
            b":path" if value.is_empty() => Meaning::Malformed(Malformed::MissingPseudoField),
            b":path" => Meaning::Path(Self::number(&self.routes, value).map(Route)),
            [b':', ..] => Meaning::Malformed(Malformed::UnknownPseudoField),
            [] => Meaning::Malformed(Malformed::Name),
            _ if !name.iter().all(|byte| is_name_byte(*byte)) => {
                Meaning::Malformed(Malformed::Name)
            }
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
            | b"upgrade" => Meaning::Malformed(Malformed::ConnectionField),
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => {
                Meaning::Malformed(Malformed::ConnectionField)
            }
            b"content-type" => Meaning::ContentType { is_grpc: is_grpc(value) },
            b"content-length" => number(value)
                .map_or(Meaning::Malformed(Malformed::ContentLength), Meaning::ContentLength),
            b"cookie" => Meaning::Cookie,
            _ => Self::number(&self.fields, name)
                .map_or(Meaning::Other, |at| Meaning::Named(FieldId(at))),
        }
    }

    fn static_meaning(&self, at: usize) -> Option<Meaning> {
        self.of_static_fields.as_deref()?.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: &str, value: &str) -> Meaning {
        let vocabulary = Vocabulary::new(["/a.B/C", "/a.B/D"], ["traceparent"]);
        vocabulary.meaning(name.as_bytes(), value.as_bytes())
    }

    #[test]
    fn paths_and_fields_are_known_by_their_number() {
        assert_eq!(meaning(":path", "/a.B/D"), Meaning::Path(Some(Route(1))));
        assert_eq!(meaning(":path", "/a.B/d"), Meaning::Path(None));
        assert_eq!(meaning("traceparent", "00"), Meaning::Named(FieldId(0)));
        assert_eq!(meaning("tracestate", "00"), Meaning::Other);
    }

    /// Clusters of Istio and Envoy Gateway, and a Unix socket as grpc-go sends it.
    #[test]
    fn an_authority_is_whatever_a_peer_sends() {
        let authorities =
            ["", "outbound|8081||tollgate.default", "a/b/c", "%2Ftmp%2Fa.sock", "\u{e4}"];
        for authority in authorities {
            assert_eq!(meaning(":authority", authority), Meaning::Authority, "{authority}");
        }
    }

    #[test]
    fn what_no_request_may_have_is_malformed() {
        for (name, value, why) in [
            ("", "a", Malformed::Name),
            ("A", "a", Malformed::Name),
            ("a b", "a", Malformed::Name),
            ("a:", "a", Malformed::Name),
            ("\u{e4}", "a", Malformed::Name),
            ("a", "\0", Malformed::Value),
            ("a", "b\r\nc", Malformed::Value),
            ("a", " b", Malformed::Value),
            ("a", "b\t", Malformed::Value),
            ("connection", "close", Malformed::ConnectionField),
            ("transfer-encoding", "chunked", Malformed::ConnectionField),
            ("te", "gzip", Malformed::ConnectionField),
            (":status", "200", Malformed::UnknownPseudoField),
            (":path", "", Malformed::MissingPseudoField),
            ("content-length", "", Malformed::ContentLength),
            ("content-length", "-1", Malformed::ContentLength),
            ("content-length", "99999999999999999999", Malformed::ContentLength),
        ] {
            assert_eq!(meaning(name, value), Meaning::Malformed(why), "{name}: {value}");
        }
        assert_eq!(meaning("te", "trailers"), Meaning::Other);
    }

    #[test]
    fn methods_are_told_apart_as_far_as_they_matter() {
        for (method, is) in [
            ("POST", [true, false, false]),
            ("HEAD", [false, true, false]),
            ("CONNECT", [false, false, true]),
            ("GET", [false; 3]),
            ("post", [false; 3]),
        ] {
            let [is_post, is_head, is_connect] = is;
            let expected = Meaning::Method { is_post, is_head, is_connect };
            assert_eq!(meaning(":method", method), expected, "{method}");
        }
    }

    #[test]
    fn the_media_type_of_grpc_has_a_subtype_or_parameters_or_neither() {
        for (value, is_grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("text/plain; application/grpc", false),
        ] {
            assert_eq!(meaning("content-type", value), Meaning::ContentType { is_grpc }, "{value}");
        }
    }
}
