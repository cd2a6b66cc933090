//! Bytes of a client of HTTP/2, at once and in pieces. The first byte is the length of a piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::http2;

fuzz_target!(|data: &[u8]| {
    let Some((length, sent)) = data.split_first() else { return };
    http2::check_pieces(sent, sent.chunks(usize::from(*length).max(1)));
});
