//! HTTP/2 for servers of unary gRPC calls, as a state machine without I/O.
//!
//! A [`Connection`] is given the bytes that were read from a client, says what the client did, and has the bytes that
//! are to be written. It knows no socket, no runtime and no clock, so it runs under any of them, and in tests without
//! any. It contains no `unsafe` code and has no dependencies.
//!
//! It is written for servers that answer many small calls:
//!
//! - The paths of the calls, and the fields that the server reads of them, are named once, in a [`Vocabulary`]. What a
//!   field means is worked out when the client's header table takes it in, so that a call whose fields are all in the
//!   table costs a few look-ups, and no allocation.
//! - A call is handed over whole, its message in place, in the bytes that were read.
//! - An answer is written at once, its frames nearly ready-made. All answers to what was read together leave together.
//!
//! Requests of other paths, with streams in either direction, are handed over as they come, so that a general gRPC or
//! HTTP server can take them.
//!
//! Everything that a client can make a connection do or keep has a bound, see [`Limits`]. What ends a request or a
//! connection otherwise than by an answer is reported, with a reason: [`Event::Refused`] and [`ConnectionError`].
//!
//! `:authority`, `:path` and the values of fields are bytes to it. They are passed on as the client sent them, and are
//! never a reason to refuse a request unless RFC 9113 calls it malformed.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use unary_h2::{Budget, Config, Connection, Event, Limits, Vocabulary, grpc};
//!
//! /// Answers what a client has sent; returns what is to be sent back.
//! fn serve(connection: &mut Connection, read: &[u8]) -> Vec<u8> {
//!     let mut input = read;
//!     connection.begin_turn(Duration::ZERO);
//!     while let Ok(Some(event)) = connection.receive(&mut input) {
//!         match event {
//!             Event::Call(call) => {
//!                 let body = call.body.unwrap_or_default();
//!                 match grpc::message(&body) {
//!                     // An echo: the message as it came.
//!                     Ok(_) => connection.answer(call.stream, &body),
//!                     // INVALID_ARGUMENT.
//!                     Err(_) => connection.answer_error(call.stream, 3, "no message"),
//!                 };
//!             }
//!             Event::Request { stream, .. } => {
//!                 connection.answer_head(stream, 404, &[], true);
//!             }
//!             _ => {}
//!         }
//!     }
//!     let written = connection.output().to_vec();
//!     connection.written(written.len());
//!     written
//! }
//!
//! let vocabulary = Vocabulary::new(["/shop.Cart/Add"], []);
//! let config = Arc::new(Config { vocabulary, limits: Limits::default() });
//! let mut connection = Connection::new(config, Budget::new(1 << 20), Duration::ZERO);
//!
//! // The preface and empty SETTINGS, and a call: POST, http, :path and content-type, then a message of no bytes.
//! let mut read = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
//! read.extend(b"\0\0\x24\x01\x04\0\0\0\x01\x83\x86\x44\x0e/shop.Cart/Add\x5f\x10application/grpc");
//! read.extend(b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0");
//! let written = serve(&mut connection, &read);
//! let echo = b"\0\0\x05\0\0\0\0\0\x01\0\0\0\0\0";
//! assert!(written.windows(echo.len()).any(|bytes| bytes == echo));
//! ```
//!
//! # What it does not do
//!
//! It is a server, speaks HTTP/2 with prior knowledge (no upgrade from HTTP/1.1), pushes nothing, and ignores priorities
//! as RFC 9113 asks. It sends no `100 Continue`: gRPC has no use for it, and a client that waits for one sends its body
//! after a time anyway (RFC 9110, Section 10.1.1). Messages are not decompressed.
//!
//! # Stability
//!
//! Versions follow semantic versioning. What an [`Event`] or a [`Refused`] can be may grow in a minor version before 1.0.

mod connection;
mod event;
mod frame;
pub mod grpc;
mod hpack;
mod limits;
mod request;
mod vocabulary;

pub use connection::{Config, Connection};
pub use event::{Call, ConnectionError, Event, Reason, Refused, Unread};
pub use frame::{Code, StreamId};
pub use hpack::HpackError;
pub use limits::{Budget, Limits};
pub use request::Request;
pub use vocabulary::{FieldId, Malformed, Route, Vocabulary};
