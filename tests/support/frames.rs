//! HTTP/2 by hand, where a client library would be too polite: it drops what it has not sent yet when a
//! call is reset, and the point is to send all of it in one write.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use prost::Message;
use tollgate::wire::RateLimitRequest;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// What a server takes that says nothing else.
const MAX_FRAME: usize = 16 << 10;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The error codes REFUSED_STREAM and ENHANCE_YOUR_CALM.
pub const REFUSED: u32 = 7;
pub const CALM: u32 = 11;

/// The error codes NO_ERROR, INTERNAL_ERROR and CANCEL.
pub const REASONS: [u32; 3] = [0, 2, 8];

/// The path of a call.
pub const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK's plainest form: a literal, never indexed, not compressed.
fn header(block: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    block.push(0);
    for text in [name.as_bytes(), value.as_ref()] {
        // Seven bits, and if they are all set, what is above them in groups of seven.
        block.push(text.len().min(127) as u8);
        let mut rest = text.len().checked_sub(127);
        while let Some(more) = rest {
            block.push((more & 127) as u8 | if more > 127 { 128 } else { 0 });
            rest = (more > 127).then_some(more >> 7);
        }
        block.extend(text);
    }
}

/// A whole request of these headers, the pseudo-headers among them, that has no body.
pub fn request(stream: u32, headers: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    headers.iter().for_each(|(name, value)| header(&mut block, name, value));
    continued(stream, END_STREAM, &block)
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
    let body = body(message);
    let parts: Vec<_> = body.chunks(MAX_FRAME).collect();
    let frames = parts.iter().enumerate().map(|(at, part)| {
        frame(DATA, if at + 1 == parts.len() { END_STREAM } else { 0 }, stream, part)
    });
    [head(stream), frames.collect::<Vec<_>>().concat()]
}

/// A call whose body comes in frames of so many bytes, the last of them empty, and ends with trailers.
pub fn in_pieces(stream: u32, message: &RateLimitRequest, bytes: usize) -> Vec<u8> {
    let mut frames = head(stream);
    for piece in body(message).chunks(bytes).chain([&[][..]]) {
        frames.extend(frame(DATA, 0, stream, piece));
    }
    let mut trailers = Vec::new();
    header(&mut trailers, "x-trailer", "there is no more");
    frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
    frames
}

/// So many bytes of each answer may be sent before there is [`more_room`].
pub fn room_of_answers(bytes: u32) -> Vec<u8> {
    let initial_window_size = [&[0, 4], &bytes.to_be_bytes()[..]].concat();
    frame(SETTINGS, 0, 0, &initial_window_size)
}

/// So many bytes more of one answer.
pub fn more_room(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A whole call of a path to a server that the caller calls so, or does not name at all, with a message in Protobuf.
pub fn call_to(stream: u32, authority: Option<&[u8]>, path: &str, message: &[u8]) -> Vec<u8> {
    let mut frames = frame(HEADERS, END_HEADERS, stream, &block_to(authority, path));
    frames.extend(frame(DATA, END_STREAM, stream, &prefixed(message)));
    frames
}

fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block())
}

fn block() -> Vec<u8> {
    block_to(Some(b"tollgate"), PATH)
}

fn block_to(authority: Option<&[u8]>, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    header(&mut block, ":method", "POST");
    header(&mut block, ":scheme", "http");
    if let Some(authority) = authority {
        header(&mut block, ":authority", authority);
    }
    header(&mut block, ":path", path);
    header(&mut block, "content-type", "application/grpc");
    header(&mut block, "te", "trailers");
    block
}

/// The head of a call with one more header, of so many bytes, in as many frames as it takes.
pub fn long_head(stream: u32, bytes: usize) -> Vec<u8> {
    let mut block = block();
    header(&mut block, "x-long", "x".repeat(bytes));
    continued(stream, 0, &block)
}

/// A block of headers in as many frames as it takes, of which the first has these flags too.
fn continued(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = block.chunks(MAX_FRAME).collect();
    let frames = parts.iter().enumerate().map(|(at, part)| {
        let (kind, first) = if at == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        let last = if at + 1 == parts.len() { END_HEADERS } else { 0 };
        frame(kind, first | last, stream, part)
    });
    frames.collect::<Vec<_>>().concat()
}

/// The head of a call that goes on and on.
pub fn endless_head(stream: u32, continuations: usize) -> Vec<u8> {
    let mut frames = frame(HEADERS, 0, stream, &block());
    frames.extend(frame(CONTINUATION, 0, stream, b"").repeat(continuations));
    frames
}

/// Calls begun and at once given up, each in the 27 bytes that HPACK's tables make of it.
#[derive(Default)]
pub struct Resets {
    /// The stream before the next. The first call of a connection puts its headers into the table.
    stream: Option<u32>,
}

impl Resets {
    pub fn burst(&mut self, count: usize) -> Vec<u8> {
        let one = |_| {
            let stream = self.stream.map_or(1, |stream| stream + 2);
            let begun = short_head(stream, self.stream.is_none());
            self.stream = Some(stream);
            [begun, reset(stream, 8)].concat()
        };
        (0..count).map(one).collect::<Vec<_>>().concat()
    }
}

/// The head of a call in as few bytes as HPACK's tables make of it, once the first has put its headers there.
fn short_head(stream: u32, is_first: bool) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are in HPACK's own table.
    let mut block = vec![0x83, 0x86];
    if is_first {
        // Indexed names with values to be kept: `:path`, `:authority`, `content-type`.
        for (name, value) in [(0x44, PATH), (0x41, "tollgate"), (0x5f, "application/grpc")] {
            block.extend([name, value.len() as u8]);
            block.extend(value.as_bytes());
        }
    } else {
        block.extend([0xbf, 0xc0, 0xbe]);
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The first calls of a connection, begun and left open.
pub fn begun_calls(count: usize) -> Vec<u8> {
    (1..).step_by(2).take(count).flat_map(|stream| short_head(stream, stream == 1)).collect()
}

/// So many calls begun, and when all are, given up; the first of a connection, or more that come after those.
pub fn begun_then_reset(number: usize, count: usize) -> Vec<u8> {
    let streams = || (1..).step_by(2).skip(number * count).take(count);
    let begun = streams().flat_map(|stream| short_head(stream, stream == 1));
    begun.chain(streams().flat_map(|stream| reset(stream, 8))).collect()
}

/// Asks for nothing but an answer.
pub fn pings(count: usize) -> Vec<u8> {
    frame(PING, 0, 0, b"and now?").repeat(count)
}

/// The same, with the shortest of frames.
pub fn settings(count: usize) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[]).repeat(count)
}

/// Changes over and over what may be sent of every answer.
pub fn windows(count: usize) -> Vec<u8> {
    [room_of_answers(1 << 15), room_of_answers(1 << 16)].concat().repeat(count / 2)
}

/// The beginning of a message that says it is so long.
pub fn begun_message(stream: u32, length: u32) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(length.to_be_bytes());
    body.resize(8 << 10, 0);
    [head(stream), frame(DATA, 0, stream, &body)].concat()
}

/// More of that message, and not its end.
pub fn more_of_a_message(stream: u32) -> Vec<u8> {
    frame(DATA, 0, stream, &[0; MAX_FRAME])
}

/// What a client says first.
pub fn preface() -> Vec<u8> {
    let settings = frame(SETTINGS, 0, 0, &[]);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &frame(SETTINGS, ACK, 0, &[])].concat()
}

/// The message with gRPC's prefix: not compressed, and its length.
fn body(message: &RateLimitRequest) -> Vec<u8> {
    prefixed(&message.encode_to_vec())
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    body
}

/// The frame that gives up on a call.
pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// Lets the server send as much as it likes: what it sends otherwise is 64 KiB.
pub fn wide() -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())
}

/// A connection whose settings are exchanged.
pub struct Connection<S = TcpStream>(BufReader<S>);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let mut connection = Self::begin(address);
        connection.settle();
        connection
    }

    /// The same before the server has said anything.
    pub fn begin(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Self(BufReader::new(stream));
        connection.send(&preface());
        connection
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) {
        self.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// What is sent until the server takes no more for now.
    pub fn send_what_is_taken(&mut self, bytes: &[u8]) -> usize {
        let stream = self.0.get_mut();
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(more @ 1..) = stream.write(&bytes[sent..]) {
            sent += more;
        }
        stream.set_nonblocking(false).unwrap();
        sent
    }
}

impl<S: Read + Write> Connection<S> {
    /// Over a stream that is there already, with what a client says first.
    pub fn over(stream: S) -> Self {
        let mut connection = Self(BufReader::new(stream));
        connection.send(&preface());
        connection.settle();
        connection
    }

    /// Lets the server send as much as it likes, see [`wide`].
    pub fn widen(&mut self) {
        self.send(&wide());
    }

    /// All bytes in one write.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Waits until the server has read everything sent so far: until it answers a ping.
    pub fn settle(&mut self) {
        let ours = b"settled?";
        self.send(&frame(PING, 0, 0, ours));
        while self.read_whole().unwrap() != (PING, ACK, 0, ours.to_vec()) {}
    }

    /// Whether the server has, up to now, not told to open no more calls: no GOAWAY comes before it answers a
    /// ping.
    pub fn is_kept(&mut self) -> bool {
        let ours = b"kept?   ";
        self.send(&frame(PING, 0, 0, ours));
        loop {
            match self.read_whole() {
                Some((PING, ACK, 0, payload)) if payload == ours => return true,
                Some((GOAWAY, ..)) | None => return false,
                Some(_) => {}
            }
        }
    }

    /// Waits until a call is answered: until its stream ends.
    pub fn wait_for_answer(&mut self, stream: u32) {
        while self.read().unwrap() != (HEADERS, END_STREAM | END_HEADERS, stream) {}
    }

    /// Waits until so many calls are answered, whichever they are.
    pub fn wait_for_answers(&mut self, count: usize) {
        let mut answered = 0;
        while answered < count {
            let (kind, flags, _) = self.read().unwrap();
            answered += usize::from((kind, flags) == (HEADERS, END_STREAM | END_HEADERS));
        }
    }

    /// The next frame's kind, flags and stream; none where the server has closed the connection.
    fn read(&mut self) -> Option<(u8, u8, u32)> {
        self.read_whole().map(|(kind, flags, stream, _)| (kind, flags, stream))
    }

    fn read_whole(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// What comes on a stream next: its kind and its payload; none where the server has closed the connection.
    pub fn next_on(&mut self, stream: u32) -> Option<(u8, Vec<u8>)> {
        loop {
            let (kind, _, on, payload) = self.read_whole()?;
            if on == stream {
                return Some((kind, payload));
            }
        }
    }

    /// What comes on a stream next, of one kind: its payload; none where the server has closed the connection.
    pub fn wait_for(&mut self, kind: u8, stream: u32) -> Option<Vec<u8>> {
        loop {
            let (got, _, on, payload) = self.read_whole()?;
            if (got, on) == (kind, stream) {
                return Some(payload);
            }
        }
    }

    /// Waits until the server tells that it will take no more calls, and answers the ping with which it asks
    /// whether that was understood.
    pub fn leave_when_told(&mut self) {
        self.wait_for(GOAWAY, 0).unwrap();
        let asked = self.wait_for(PING, 0).unwrap();
        self.send(&frame(PING, ACK, 0, &asked));
    }

    /// Waits until the server closes the connection.
    pub fn wait_until_closed(&mut self) {
        while self.read().is_some() {}
    }

    /// The reason why the server ends the connection.
    pub fn wait_for_end(&mut self) -> Option<u32> {
        let payload = self.wait_for(GOAWAY, 0)?;
        payload.get(4..8)?.try_into().ok().map(u32::from_be_bytes)
    }
}
