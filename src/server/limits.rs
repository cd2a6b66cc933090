//! What one gRPC connection may cost: the HTTP/2 settings, each derived from what Envoy does.
//!
//! `docs/bounds.md` tells them to people, with what happens beyond.

use h2::server::Builder;

/// What Envoy opens at most on one connection.
const CONCURRENT_STREAMS: u32 = 1024;

/// Envoy resets every call that it times out. h2's default of 20 such calls that were not even begun takes
/// one stall for an attack and closes the connection, with all its calls. All that can be open may be reset
/// at once.
const PENDING_RESETS: usize = 1024;

/// How many errors in its calls a connection may make over its life until it is closed. Envoy makes none.
const ERRORS: usize = 1024;

/// The headers of one call, in bytes. Envoy sends a few of its own, and what `initial_metadata` makes of the
/// headers of the request it limits, which it holds to 60 KiB. h2 derives from it how many CONTINUATION
/// frames it reads.
const HEADERS: u32 = 64 << 10;

/// What a call may send ahead of being read, in bytes. Envoy's calls are a few hundred; larger ones cost a
/// round trip for each so many.
const AHEAD_OF_A_CALL: u32 = 64 << 10;

/// What all calls of a connection together may. h2 also derives from it how much it takes for small DATA
/// frames that it has not read yet: as many as there can be calls must fit, see the test.
const AHEAD: u32 = 1 << 20;

/// What is kept of one answer that its caller does not read. Envoy takes answers up to 50 KiB.
const ANSWER: usize = 64 << 10;

/// HTTP/2 within these bounds.
pub(super) fn http2() -> Builder {
    let mut http = Builder::new();
    http.max_concurrent_streams(CONCURRENT_STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERRORS))
        .max_header_list_size(HEADERS)
        .initial_window_size(AHEAD_OF_A_CALL)
        .initial_connection_window_size(AHEAD)
        .max_send_buffer_size(ANSWER);
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    /// h2 counts what each DATA frame under 256 bytes lacks to them, up to half of the connection's window,
    /// until it is read. Beyond it takes the connection for an attack.
    #[test]
    fn the_first_bytes_of_as_many_calls_as_can_be_open_are_no_attack() {
        const { assert!(CONCURRENT_STREAMS * 256 <= AHEAD / 2) };
    }
}
