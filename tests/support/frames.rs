//! HTTP/2 by hand, where a client library would be too polite: it drops what it has not sent yet when a
//! call is reset, and the point is to send all of it in one write.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "test code: a failure is a panic"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use prost::Message;
use tollgate::wire::RateLimitRequest;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The error codes NO_ERROR, INTERNAL_ERROR and CANCEL.
pub const REASONS: [u32; 3] = [0, 2, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK's plainest form: a literal, never indexed, not compressed.
fn header(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        assert!(text.len() < 127, "a longer one would need HPACK's long integers");
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
}

/// The frames of a whole call.
pub fn call(stream: u32, message: &RateLimitRequest) -> Vec<u8> {
    let [begun, rest] = halves(stream, message);
    [begun, rest].concat()
}

/// The same call before the caller has said that there is no more to come.
pub fn unended_call(stream: u32, message: &RateLimitRequest) -> Vec<u8> {
    let mut frames = head(stream);
    frames.extend(frame(DATA, 0, stream, &body(message)));
    frames
}

/// A call whose body is still to come, and that body.
pub fn halves(stream: u32, message: &RateLimitRequest) -> [Vec<u8>; 2] {
    [head(stream), frame(DATA, END_STREAM, stream, &body(message))]
}

fn head(stream: u32) -> Vec<u8> {
    let mut block = Vec::new();
    header(&mut block, ":method", "POST");
    header(&mut block, ":scheme", "http");
    header(&mut block, ":authority", "tollgate");
    header(&mut block, ":path", "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    header(&mut block, "content-type", "application/grpc");
    header(&mut block, "te", "trailers");
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The message with gRPC's prefix: not compressed, and its length.
fn body(message: &RateLimitRequest) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    body
}

/// The frame that gives up on a call.
pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// A connection whose settings are exchanged.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut connection = Self(stream);
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        connection.send(&frame(SETTINGS, 0, 0, &[]));
        connection.send(&frame(SETTINGS, ACK, 0, &[]));
        connection.settle();
        connection
    }

    /// All bytes in one write.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Waits until the server has read everything sent so far: until it answers a ping.
    pub fn settle(&mut self) {
        self.send(&frame(PING, 0, 0, b"settled?"));
        while self.read().unwrap() != (PING, ACK, 0) {}
    }

    /// Waits until a call is answered: until its stream ends.
    pub fn wait_for_answer(&mut self, stream: u32) {
        while self.read().unwrap() != (HEADERS, END_STREAM | END_HEADERS, stream) {}
    }

    /// The next frame's kind, flags and stream; none where the server has closed the connection.
    fn read(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((kind, flags, u32::from_be_bytes(stream)))
    }
}
