//! What this end sends: answers, as far as the peer's windows allow, and control frames.

use std::collections::VecDeque;

use super::Connection;
use super::streams::{End, Kind, Stream};
use crate::frame::{self, Code, DEFAULT_WINDOW, MAX_PAYLOAD, MAX_WINDOW, StreamId, flag, kind};
use crate::grpc;
use crate::hpack;

/// The fields of every answer that is not an error. They are the only ones that the peer's table is given, in this
/// order, so that their indexes never change.
const CONTENT_TYPE: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
const STATUS_OK: (&[u8], &[u8]) = (b"grpc-status", b"0");

/// What these two count for in a table (RFC 7541, Section 4.1).
const TABLE_SIZE: usize = 60 + 44;

/// Bodies are not written while as many bytes wait for the socket. What they wait for counts as the peer's.
const MAX_OUTPUT: usize = 64 << 10;

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Send {
    out: Vec<u8>,
    written: usize,
    window: i64,
    initial_window: i64,
    /// How large the peer's table may be, and the change of it that the next header block has to begin with.
    table_size: usize,
    new_table_size: Option<usize>,
    /// Whether the peer's table has the fields of an answer.
    has_fields: bool,
    /// Streams that wait for room in the connection's window, the next first.
    queue: VecDeque<StreamId>,
}

impl Send {
    pub(super) const fn new() -> Self {
        Self {
            out: Vec::new(),
            written: 0,
            window: DEFAULT_WINDOW,
            initial_window: DEFAULT_WINDOW,
            table_size: hpack::DEFAULT_TABLE_SIZE,
            new_table_size: None,
            has_fields: false,
            queue: VecDeque::new(),
        }
    }

    pub(super) const fn initial_window(&self) -> i64 {
        self.initial_window
    }

    pub(super) const fn set_initial_window(&mut self, window: i64) {
        self.initial_window = window;
    }

    /// False if the window would be too large.
    pub(super) const fn enlarge_window(&mut self, increment: i64) -> bool {
        self.window += increment;
        self.window <= MAX_WINDOW
    }

    /// The peer has changed how large its table may be. This end never uses more than the default, and has to say when
    /// it uses less (RFC 7541, Section 4.2).
    pub(super) fn set_table_size(&mut self, size: u32) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < self.table_size {
            self.table_size = size;
            self.new_table_size = Some(size);
            self.has_fields &= size >= TABLE_SIZE;
        }
    }

    pub(super) fn settings(&mut self, settings: &[(u16, u32)]) {
        frame::put_head(6 * settings.len(), kind::SETTINGS, 0, StreamId::CONNECTION, &mut self.out);
        for (name, value) in settings {
            self.out.extend_from_slice(&name.to_be_bytes());
            self.out.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn settings_ack(&mut self) {
        frame::put(kind::SETTINGS, flag::ACK, StreamId::CONNECTION, &[], &mut self.out);
    }

    pub(super) fn ping(&mut self, payload: &[u8; 8]) {
        frame::put(kind::PING, 0, StreamId::CONNECTION, payload, &mut self.out);
    }

    pub(super) fn ping_ack(&mut self, payload: &[u8; 8]) {
        frame::put(kind::PING, flag::ACK, StreamId::CONNECTION, payload, &mut self.out);
    }

    pub(super) fn window_update(&mut self, stream: StreamId, bytes: u32) {
        if bytes > 0 {
            frame::put_window_update(stream, bytes, &mut self.out);
        }
    }

    pub(super) fn reset(&mut self, stream: StreamId, code: Code) {
        frame::put_reset(stream, code, &mut self.out);
    }

    /// Takes a stream that has ended out of the line: a client that gives no window may open and reset any number.
    pub(super) fn leave_queue(&mut self, stream: StreamId) {
        self.queue.retain(|waiting| *waiting != stream);
    }

    #[cfg(test)]
    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn goaway(&mut self, last: StreamId, code: Code) {
        frame::put_goaway(last, code, &[], &mut self.out);
    }

    /// Appends a header block.
    fn block(&mut self, stream: StreamId, is_end: bool, block: &[u8]) {
        let mut prefix = Vec::new();
        if let Some(size) = self.new_table_size.take() {
            hpack::put_table_size(size, &mut prefix);
        }
        let mut rest = block;
        let mut frame_kind = kind::HEADERS;
        loop {
            let room = MAX_PAYLOAD - prefix.len();
            let (part, more) = rest.split_at(rest.len().min(room));
            let end = if is_end && frame_kind == kind::HEADERS { flag::END_STREAM } else { 0 };
            let flags = end | if more.is_empty() { flag::END_HEADERS } else { 0 };
            frame::put_head(prefix.len() + part.len(), frame_kind, flags, stream, &mut self.out);
            self.out.extend_from_slice(&prefix);
            self.out.extend_from_slice(part);
            if more.is_empty() {
                return;
            }
            prefix.clear();
            (rest, frame_kind) = (more, kind::CONTINUATION);
        }
    }

    /// Appends a whole answer to a call, whose body fits a frame and the windows.
    #[inline]
    fn whole(&mut self, stream: StreamId, body: &[u8]) {
        let [a, b, c, d] = stream.0.to_be_bytes();
        if self.has_fields && self.new_table_size.is_none() {
            let [status, content_type, grpc_status] = INDEXES;
            self.out.extend_from_slice(&[
                0,
                0,
                2,
                kind::HEADERS,
                flag::END_HEADERS,
                a,
                b,
                c,
                d,
                status,
                content_type,
            ]);
            frame::put_head(body.len(), kind::DATA, 0, stream, &mut self.out);
            self.out.extend_from_slice(body);
            self.out.extend_from_slice(&[
                0,
                0,
                1,
                kind::HEADERS,
                flag::END_HEADERS | flag::END_STREAM,
                a,
                b,
                c,
                d,
                grpc_status,
            ]);
        } else {
            let put = if self.table_size >= TABLE_SIZE {
                hpack::put_inserted
            } else {
                hpack::put_literal
            };
            let mut block = Vec::new();
            hpack::put_status(200, &mut block);
            put(CONTENT_TYPE.0, CONTENT_TYPE.1, &mut block);
            self.block(stream, false, &block);
            frame::put(kind::DATA, 0, stream, body, &mut self.out);
            block.clear();
            put(STATUS_OK.0, STATUS_OK.1, &mut block);
            self.block(stream, true, &block);
            self.has_fields = self.table_size >= TABLE_SIZE;
        }
        self.window -= frame::window_of(body.len());
    }
}

/// `:status` 200, and the two fields of an answer once the peer's table has them.
const INDEXES: [u8; 3] = [0x88, 0x80 | hpack::dynamic_index(1), 0x80 | hpack::dynamic_index(0)];

impl Connection {
    /// What has to be written.
    pub fn output(&self) -> &[u8] {
        self.send.out.get(self.send.written..).unwrap_or_default()
    }

    /// Says that the first `bytes` of [`Self::output`] have been written.
    pub fn written(&mut self, bytes: usize) {
        self.send.written = self.send.out.len().min(self.send.written + bytes);
        if self.send.written == self.send.out.len() {
            self.send.out.clear();
            self.send.written = 0;
            if self.send.out.capacity() > 2 * MAX_OUTPUT {
                self.send.out = Vec::new();
            }
            self.send_queued();
        }
    }

    /// Whether a stream is open: its answer is wanted. False once the peer has reset it, or the answer has ended.
    pub fn is_wanted(&self, stream: StreamId) -> bool {
        self.newest == Some(stream)
            || self.streams.get(stream).is_some_and(|stream| stream.end.is_none())
    }

    /// Answers a call with a gRPC message behind its five bytes, and the status OK. Of an answer that does not fit the
    /// peer's windows the rest is kept until there is room.
    ///
    /// Returns whether the call is still wanted; nothing is sent otherwise.
    pub fn answer(&mut self, stream: StreamId, message: &[u8]) -> bool {
        let length = frame::window_of(message.len());
        let fits = message.len() <= MAX_PAYLOAD && length <= self.send.window;
        if self.newest == Some(stream) && fits && length <= self.send.initial_window {
            self.newest = None;
            self.send.whole(stream, message);
            return true;
        }
        self.keep_newest();
        let Some(open) = self.streams.get(stream).filter(|open| open.end.is_none()) else {
            return false;
        };
        if fits && length <= open.send_window {
            self.send.whole(stream, message);
            self.end(stream);
            return true;
        }
        let mut trailers = Vec::new();
        hpack::put_literal(STATUS_OK.0, STATUS_OK.1, &mut trailers);
        self.answer_head(stream, 200, &[CONTENT_TYPE], false);
        self.queue(stream, message, Some(End::Trailers(trailers)));
        true
    }

    /// Answers a call with an error: a gRPC status other than OK and a message, which is percent-encoded (gRPC over
    /// HTTP/2, Responses).
    ///
    /// Returns whether the call is still wanted; nothing is sent otherwise.
    pub fn answer_error(&mut self, stream: StreamId, status: u32, message: &str) -> bool {
        let status = status.to_string();
        let message = grpc::percent_encoded(message);
        let fields = [
            CONTENT_TYPE,
            (b"grpc-status", status.as_bytes()),
            (b"grpc-message", message.as_bytes()),
        ];
        self.answer_head(stream, 200, &fields, true)
    }

    /// Sends the head of an answer, which is all of it if `is_end`. Names must be in lowercase, and none of HTTP/1.1's
    /// connection fields (RFC 9113, Section 8.2.2).
    ///
    /// Returns whether the request is still wanted; nothing is sent otherwise.
    pub fn answer_head(
        &mut self,
        stream: StreamId,
        status: u16,
        fields: &[(&[u8], &[u8])],
        is_end: bool,
    ) -> bool {
        self.keep_newest();
        if self.streams.get(stream).is_none_or(|stream| stream.end.is_some()) {
            return false;
        }
        let mut block = Vec::new();
        hpack::put_status(status, &mut block);
        fields.iter().for_each(|(name, value)| hpack::put_literal(name, value, &mut block));
        self.send.block(stream, is_end, &block);
        if is_end {
            self.end(stream);
        }
        true
    }

    /// Sends a part of the body of an answer, behind its head. What does not fit the peer's windows is kept; see
    /// [`Self::queued`].
    ///
    /// Returns whether the request is still wanted; nothing is sent otherwise.
    pub fn answer_data(&mut self, stream: StreamId, bytes: &[u8], is_end: bool) -> bool {
        self.queue(stream, bytes, is_end.then_some(End::Data))
    }

    /// Ends an answer with trailers.
    ///
    /// Returns whether the request is still wanted; nothing is sent otherwise.
    pub fn answer_trailers(&mut self, stream: StreamId, fields: &[(&[u8], &[u8])]) -> bool {
        let mut block = Vec::new();
        fields.iter().for_each(|(name, value)| hpack::put_literal(name, value, &mut block));
        self.queue(stream, &[], Some(End::Trailers(block)))
    }

    /// Gives a stream up.
    pub fn cancel(&mut self, stream: StreamId, code: Code) {
        self.keep_newest();
        if self.forget(stream).is_some() {
            self.send.reset(stream, code);
            self.streams.remember_reset(stream);
        }
    }

    /// How many bytes of an answer wait for room in the peer's windows. `None` if it is not wanted any more.
    pub fn queued(&self, stream: StreamId) -> Option<usize> {
        self.streams.get(stream).map(|stream| stream.queue.len())
    }

    fn queue(&mut self, id: StreamId, bytes: &[u8], end: Option<End>) -> bool {
        self.keep_newest();
        let now = self.now;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.end.is_none()) else {
            return false;
        };
        if stream.queue.is_empty() {
            stream.since = now;
        }
        stream.queue.extend(bytes);
        stream.end = end;
        self.send_queued_of(id);
        if self.streams.get(id).is_some_and(Stream::is_waiting) {
            self.waiting_since.get_or_insert(now);
        }
        true
    }

    /// Sends what waits, of all streams in turn, as far as there is room.
    pub(super) fn send_queued(&mut self) {
        for _ in 0..self.send.queue.len() {
            if self.send.window <= 0 || self.send.out.len() >= MAX_OUTPUT {
                return;
            }
            if let Some(id) = self.send.queue.pop_front() {
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.is_queued = false;
                }
                self.send_queued_of(id);
            }
        }
    }

    /// Sends what waits, of all streams: the windows of all of them may have changed.
    pub(super) fn send_all_queued(&mut self) {
        let waiting = self.streams.iter().filter(|stream| !stream.queue.is_empty());
        let waiting: Vec<_> = waiting.map(|stream| stream.id).collect();
        waiting.into_iter().for_each(|id| self.send_queued_of(id));
    }

    /// Sends what waits of a stream, as far as there is room, and then its end.
    pub(super) fn send_queued_of(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let now = self.now;
        while !stream.queue.is_empty() {
            let room = stream.send_window.min(self.send.window);
            let room = usize::try_from(room).unwrap_or(0).min(MAX_PAYLOAD);
            if room == 0 || self.send.out.len() >= MAX_OUTPUT {
                // A window of the stream's own enlarges it by name; for anything else it waits in line.
                if stream.send_window > 0 && !stream.is_queued {
                    stream.is_queued = true;
                    self.send.queue.push_back(id);
                }
                return;
            }
            let length = stream.queue.len().min(room);
            let is_last = length == stream.queue.len() && matches!(stream.end, Some(End::Data));
            let flags = if is_last { flag::END_STREAM } else { 0 };
            frame::put_head(length, kind::DATA, flags, id, &mut self.send.out);
            self.send.out.extend(stream.queue.drain(..length));
            stream.send_window -= frame::window_of(length);
            self.send.window -= frame::window_of(length);
            stream.since = now;
            if is_last {
                return self.end(id);
            }
        }
        match stream.end.take() {
            None => {}
            Some(End::Data) => {
                frame::put(kind::DATA, flag::END_STREAM, id, &[], &mut self.send.out);
                self.end(id);
            }
            Some(End::Trailers(block)) => {
                self.send.block(id, true, &block);
                self.end(id);
            }
        }
    }

    /// Forgets a stream whose answer has ended. A body that is still coming is not wanted (RFC 9113, Section 8.1).
    fn end(&mut self, id: StreamId) {
        let Some(stream) = self.forget(id) else { return };
        debug_assert!(
            !matches!(stream.kind, Kind::Collecting { .. }),
            "calls are answered once handed over"
        );
        if stream.is_receiving {
            self.send.reset(id, Code::NO_ERROR);
            self.streams.remember_reset(id);
        }
    }
}
