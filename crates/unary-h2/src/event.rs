//! What happens on a connection.

use std::borrow::Cow;

use crate::frame::{Code, StreamId};
use crate::hpack::HpackError;
use crate::request::Request;
use crate::vocabulary::{FieldId, Malformed, Route};

/// What a peer did. Borrows from the bytes that it sent.
#[derive(Debug)]
pub enum Event<'i> {
    /// It made a call of a path that the server has named, and has sent all of it.
    Call(Call<'i>),
    /// It began a request of another path.
    Request {
        /// Its stream.
        stream: StreamId,
        /// Its head.
        request: Box<Request>,
        /// Whether it has no body.
        is_end: bool,
    },
    /// It sent a part of the body of a [`Self::Request`]. The peer may send as much again once
    /// [`Connection::release`](crate::Connection::release) has been told.
    Data {
        /// The request's stream.
        stream: StreamId,
        /// The part.
        bytes: &'i [u8],
        /// Whether it is the last.
        is_end: bool,
    },
    /// It ended the body of a [`Self::Request`] with trailers.
    Trailers {
        /// The request's stream.
        stream: StreamId,
        /// Their fields.
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// It reset a stream that had not been answered whole: it does not want the answer any more.
    Reset {
        /// The stream.
        stream: StreamId,
        /// The peer's reason.
        code: Code,
    },
    /// This end refused a request, or ended a stream for what the peer did. The peer has been told.
    Refused {
        /// The stream.
        stream: StreamId,
        /// The reason.
        reason: Refused,
    },
    /// It will make no more calls (RFC 9113, Section 6.8).
    GoAway {
        /// Its reason.
        code: Code,
    },
}

/// A call of a path that the server has named.
#[derive(Debug)]
pub struct Call<'i> {
    /// Its stream.
    pub stream: StreamId,
    /// Its path.
    pub route: Route,
    /// Whether its method is `POST`.
    pub is_post: bool,
    /// Whether its method is `HEAD`: the answer may not have a body (RFC 9110, Section 9.3.2).
    pub is_head: bool,
    /// Whether its `content-type` is that of gRPC.
    pub is_grpc: bool,
    /// The values of those of its fields that the server has named, in the order of the call.
    pub fields: Vec<(FieldId, Vec<u8>)>,
    /// Its body: for gRPC, a message behind its five bytes. Of a body that came in one frame these are the bytes that
    /// were read.
    pub body: Result<Cow<'i, [u8]>, Unread>,
}

impl Call<'_> {
    /// The first value of a field.
    pub fn field(&self, id: FieldId) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| *known == id).map(|(_, value)| &**value)
    }
}

/// Why there is no body. The rest of it is not read; the call can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than [`Limits::max_body`](crate::Limits::max_body).
    TooLarge,
    /// The connection keeps too much of bodies without an end: [`Limits::max_partial`](crate::Limits::max_partial), or
    /// the connections that share a [`Budget`](crate::Budget) do.
    TooMuch,
}

/// Why this end ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The request is malformed: reset with `PROTOCOL_ERROR`.
    Malformed(Malformed),
    /// Its fields are too long: answered with status 431.
    HeadersTooLarge,
    /// Too many streams are open: reset with `REFUSED_STREAM`.
    TooManyStreams,
    /// A frame was for a stream whose body had ended: reset with `STREAM_CLOSED`.
    StreamClosed,
    /// More was sent than the stream's window allows, or the window was enlarged beyond 2^31 - 1: reset with
    /// `FLOW_CONTROL_ERROR`.
    FlowControl,
    /// A frame that breaks another rule: reset with this code.
    Frame(Code),
    /// The body, or room for the answer, did not come in time: reset with `CANCEL`.
    Stalled,
}

impl Refused {
    /// Every [`Self::label`].
    pub const LABELS: [&str; 7] = [
        "malformed",
        "headers_too_large",
        "too_many_streams",
        "stream_closed",
        "flow_control",
        "frame",
        "stalled",
    ];

    /// One word, for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::HeadersTooLarge => "headers_too_large",
            Self::TooManyStreams => "too_many_streams",
            Self::StreamClosed => "stream_closed",
            Self::FlowControl => "flow_control",
            Self::Frame(_) => "frame",
            Self::Stalled => "stalled",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(malformed) => f.write_str(malformed.as_str()),
            Self::HeadersTooLarge => f.write_str("its fields are too long"),
            Self::TooManyStreams => f.write_str("too many streams are open"),
            Self::StreamClosed => f.write_str("a frame arrived behind its end"),
            Self::FlowControl => f.write_str("a window of its stream was exceeded"),
            Self::Frame(code) => write!(f, "a frame was invalid: {code}"),
            Self::Stalled => f.write_str("its body, or room for its answer, did not come in time"),
        }
    }
}

/// Why a connection ended. The peer has been told, as far as it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code of the GOAWAY that this end sent.
    pub code: Code,
    /// The rule that was broken.
    pub reason: Reason,
}

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The first bytes are not the preface of HTTP/2, or the first frame is not SETTINGS.
    Preface,
    /// A header block cannot be read.
    Hpack(HpackError),
    /// A frame breaks a rule of the protocol.
    Frame(&'static str),
    /// More was sent than the connection's window allows.
    FlowControl,
    /// A header block, with its CONTINUATION frames, is too long.
    HeadersTooLong,
    /// Too many streams ended by errors.
    TooManyErrors,
    /// Too many calls were reset.
    TooManyResets,
}

impl Reason {
    /// Every [`Self::label`].
    pub const LABELS: [&str; 7] = [
        "preface",
        "hpack",
        "protocol",
        "connection_flow_control",
        "headers_too_long",
        "too_many_errors",
        "too_many_resets",
    ];

    /// One word, for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Preface => "preface",
            Self::Hpack(_) => "hpack",
            Self::Frame(_) => "protocol",
            Self::FlowControl => "connection_flow_control",
            Self::HeadersTooLong => "headers_too_long",
            Self::TooManyErrors => "too_many_errors",
            Self::TooManyResets => "too_many_resets",
        }
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.code)?;
        match self.reason {
            Reason::Preface => f.write_str("what came first is not HTTP/2"),
            Reason::Hpack(error) => error.fmt(f),
            Reason::Frame(rule) => f.write_str(rule),
            Reason::FlowControl => f.write_str("more was sent than the connection's window allows"),
            Reason::HeadersTooLong => f.write_str("a header block is too long"),
            Reason::TooManyErrors => f.write_str("too many streams ended by errors"),
            Reason::TooManyResets => f.write_str("too many calls were reset"),
        }
    }
}

impl std::error::Error for ConnectionError {}
