//! The HTTP/2 settings of a gRPC connection, each derived from what Envoy does.
//!
//! They bound the memory of one connection, and what it may have the server do. `docs/bounds.md` lists them with what
//! happens beyond.

use std::time::Duration;

use unary_h2::{Config, Limits, Vocabulary};

use crate::wire::frame::{MAX_MESSAGE, PREFIX};

/// The path of a call.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The fields of a call that are read, if calls are traced (W3C Trace Context, and B3).
pub(super) const TRACE_FIELDS: [&str; 7] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Open streams of one connection. Envoy opens no more.
const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// Stream errors that a peer may cause over the life of a connection before it is closed. Envoy causes none.
const MAX_ERRORS: u32 = 1024;

/// Headers of one call, in bytes. Envoy sends a few of its own, and those that `initial_metadata` copies from the
/// request that it limits, which Envoy bounds to 60 KiB.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Flow-control window of one stream, in bytes: what a call may send before it is read. Envoy's calls have a few
/// hundred; a larger call takes one more round trip for each window.
const STREAM_WINDOW: u32 = 64 << 10;

/// Flow-control window of a connection, in bytes, for all its streams.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Incomplete messages of one connection, in bytes: a thousand calls of 16 KiB, or sixteen of the largest. Envoy sends
/// a message at once, so that nearly always it is complete when it is read, and none of it is kept.
const MAX_PARTIAL: usize = 16 << 20;

/// Incomplete messages of all connections of a worker, in bytes.
pub(super) const MAX_PARTIAL_OF_ALL: usize = 256 << 20;

/// How long a call may wait for its body, and its answer for room. Envoy waits a fraction of it.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer may take to end its calls once it has been told of the connection's end.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a connection is read in one turn, in bytes: sixty of Envoy's calls. A turn of half of it would cost 3 %
/// of a call where fifty are open at a time.
pub(super) const TURN: usize = 16 << 10;

/// The configuration of all connections of a worker.
pub(super) fn config(is_traced: bool) -> Config {
    let fields = if is_traced { &TRACE_FIELDS[..] } else { &[] };
    Config {
        vocabulary: Vocabulary::new([PATH], fields.iter().copied()),
        limits: Limits {
            max_streams: MAX_CONCURRENT_STREAMS,
            max_header_list: MAX_HEADER_BYTES,
            max_body: PREFIX + MAX_MESSAGE,
            max_partial: MAX_PARTIAL,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            max_errors: MAX_ERRORS,
            turn: TURN,
            stall: STALL_TIMEOUT,
            drain: DRAIN_TIMEOUT,
            ..Limits::default()
        },
    }
}
