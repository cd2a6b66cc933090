//! The HTTP/2 settings of a gRPC connection, each derived from what Envoy does.
//!
//! They bound the memory of one connection. `docs/bounds.md` lists them with what happens beyond.

use h2::server::Builder;

/// Open streams of one connection. Envoy opens no more.
const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// Streams that the peer has reset before they were accepted. Envoy resets every call that times out. With h2's
/// default of 20, one stall would look like an attack and close the connection with all its calls. All open
/// streams may be reset at once.
const MAX_PENDING_RESETS: usize = 1024;

/// Stream errors that a peer may cause over the life of a connection before it is closed. Envoy causes none.
const MAX_ERRORS: usize = 1024;

/// Headers of one call, in bytes. Envoy sends a few of its own, and those that `initial_metadata` copies from the
/// request that it limits, which Envoy bounds to 60 KiB. h2 derives from it how many CONTINUATION frames it reads.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// Flow-control window of one stream, in bytes: what a call may send before it is read. Envoy's calls have a few
/// hundred; a larger call takes one more round trip for each window.
const STREAM_WINDOW: u32 = 64 << 10;

/// Flow-control window of a connection, in bytes, for all its streams. h2 also derives from it how many small DATA
/// frames it buffers: one for each open stream must fit, see the test.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Buffered bytes of one response that its peer does not read. Envoy accepts responses up to 50 KiB.
const SEND_BUFFER: usize = 64 << 10;

/// A server for HTTP/2 with these settings.
pub(super) fn http2() -> Builder {
    let mut http = Builder::new();
    http.max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_ERRORS))
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each unread DATA frame under 256 bytes h2 counts the bytes that it lacks to 256. When the sum exceeds
    /// half of the connection's window, h2 takes the connection for an attack.
    #[test]
    fn a_first_byte_on_every_open_stream_is_no_attack() {
        const { assert!(MAX_CONCURRENT_STREAMS * 256 <= CONNECTION_WINDOW / 2) };
    }
}
