//! One connection, as the server sees it.

mod answer;
mod streams;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use self::streams::{Kind, Stream, Streams};
use crate::event::{Call, ConnectionError, Event, Reason, Refused, Unread};
use crate::frame::{
    self, Code, DEFAULT_WINDOW, DEFAULT_WINDOW_SIZE, HEAD, MAX_PAYLOAD, MAX_WINDOW, PREFACE,
    StreamId, flag, kind, setting,
};
use crate::grpc;
use crate::hpack::{Decoder, HpackError};
use crate::limits::{Budget, Limits, Share, Turn};
use crate::request::{Head, Reader, Refusal, Scratch, TrailerReader};
use crate::vocabulary::{Malformed, Meaning, Vocabulary};

/// The payload of the ping behind the first GOAWAY of a drain. Its acknowledgement says that the peer has seen it.
const DRAIN_PING: [u8; 8] = *b"draining";

/// How many CONTINUATION frames a header block may have beyond those that its length takes.
const MAX_SHORT_CONTINUATIONS: usize = 8;

/// A header list that is longer than it may be is read to its end, since the table depends on it, and its request
/// answered with status 431; but not one that is as many times as long.
const MAX_LISTS: usize = 2;

/// How many bytes of fields take as long to read as one byte of a turn, once they are more than [`Limits::call_cost`]
/// allows for.
const FIELD_BYTES: usize = 16;

/// What all connections of a server share.
#[derive(Debug)]
pub struct Config {
    /// The paths and fields that the server knows.
    pub vocabulary: Vocabulary,
    /// What a peer may do.
    pub limits: Limits,
}

/// A connection to one client. It does no I/O: it is given what has been read, says what the client did, and has
/// bytes to be written.
///
/// # How to drive it
///
/// 1. Call [`begin_turn`](Self::begin_turn), then [`receive`](Self::receive) with what has been read, until it returns
///    `None`, and do what its events say. Keep the bytes that it has not taken.
/// 2. Write what [`output`](Self::output) has, and tell [`written`](Self::written). Do not read while it cannot be
///    written, or a client that does not read would have the server collect its answers.
/// 3. If [`is_turn_over`](Self::is_turn_over), let other connections have their turn, then go on with the bytes that
///    are left. Otherwise read again.
/// 4. End when [`is_finished`](Self::is_finished), or when `receive` fails and what it had to say is written. Call
///    [`tick`](Self::tick) at [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    share: Share,
    phase: Phase,
    decoder: Decoder<Meaning>,
    scratch: Scratch,
    /// Whether the client knows this end's settings. Until then it may send as much as without them (Section 6.9.3).
    is_acknowledged: bool,
    /// A header block that CONTINUATION frames will complete.
    block: Option<Block>,
    /// The newest call, as long as nothing but its head has come. Nearly always its body is the next frame, and it
    /// never becomes a stream of the list.
    opening: Option<Opening>,
    /// The call that was handed over last, until the next frame. Nearly always it is answered before.
    newest: Option<StreamId>,
    streams: Streams,
    /// The highest stream that a client has opened, and the lowest of those that it opened without a gap up to there.
    last: StreamId,
    first_of_run: StreamId,
    receive_window: i64,
    released: u32,
    send: answer::Send,
    turn: Turn,
    is_turn_over: bool,
    errors: u32,
    resets: u32,
    resets_since: Duration,
    now: Duration,
    /// No stream has been waiting since before then.
    waiting_since: Option<Duration>,
    drain: Drain,
    /// Events that no frame is read for.
    queued: VecDeque<Queued>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The preface is to come.
    Preface,
    /// The first SETTINGS are to come.
    Settings,
    Open,
    Failed,
}

/// An event that is reported before the next frame is read.
#[derive(Debug)]
enum Queued {
    Refused(StreamId, Refused),
    Reset(StreamId, Code),
}

/// How far the end of the connection has been announced (RFC 9113, Section 6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    /// The client has been told to open no more streams; those that it opened before it read that are served.
    Announced(Duration),
    /// Streams above this one are not served.
    Last(StreamId, Duration),
}

#[derive(Debug)]
struct Block {
    stream: StreamId,
    is_end: bool,
    bytes: Vec<u8>,
    short: usize,
}

#[derive(Debug)]
struct Opening {
    stream: StreamId,
    head: Head,
    /// By how much the client has enlarged the stream's window.
    window: i64,
    since: Duration,
}

/// A step of [`Connection::receive`]: what came of a frame.
type Step<'i> = Result<Option<Event<'i>>, ConnectionError>;

const fn fail(code: Code, reason: Reason) -> ConnectionError {
    ConnectionError { code, reason }
}

const fn broken(rule: &'static str) -> ConnectionError {
    fail(Code::PROTOCOL_ERROR, Reason::Frame(rule))
}

const fn wrong_size(rule: &'static str) -> ConnectionError {
    fail(Code::FRAME_SIZE_ERROR, Reason::Frame(rule))
}

impl Connection {
    /// A connection on which nothing has come. `now` is the time since any moment, the same for all calls; `budget`
    /// may be shared with other connections.
    pub fn new(config: Arc<Config>, budget: Budget, now: Duration) -> Self {
        let limits = &config.limits;
        let share = Share::new(budget, limits.max_partial);
        let receive_window = DEFAULT_WINDOW.max(i64::from(limits.connection_window));
        Self {
            share,
            phase: Phase::Preface,
            decoder: Decoder::new(limits.max_header_list.saturating_mul(MAX_LISTS)),
            scratch: Scratch::default(),
            is_acknowledged: false,
            block: None,
            opening: None,
            newest: None,
            streams: Streams::default(),
            last: StreamId(0),
            first_of_run: StreamId(0),
            receive_window,
            released: 0,
            send: answer::Send::new(),
            turn: Turn::default(),
            is_turn_over: false,
            errors: 0,
            resets: 0,
            resets_since: now,
            now,
            waiting_since: None,
            drain: Drain::No,
            queued: VecDeque::new(),
            config,
        }
    }

    /// Begins a turn at the time `now`.
    pub fn begin_turn(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.turn.begin();
        self.is_turn_over = false;
    }

    /// Whether the turn is over. If the last `receive` returned `None` without it, it needs more bytes.
    pub fn is_turn_over(&self) -> bool {
        self.is_turn_over || self.turn.is_over(&self.config.limits, true)
    }

    /// Whether there are frames in what the last `receive` has left: it returned `None` because the turn is over.
    pub const fn has_more(&self) -> bool {
        self.is_turn_over
    }

    /// Whether the client has sent its preface and its settings.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
            + usize::from(self.opening.is_some())
            + usize::from(self.newest.is_some())
    }

    /// Takes frames off the front of `input` until one of them is an event. `None` if the rest is less than a frame, or
    /// if the turn is over.
    ///
    /// # Errors
    /// If the client does not keep to the protocol, or does more than it may. [`Self::output`] then ends with a GOAWAY
    /// that tells it; nothing more can be received.
    pub fn receive<'i>(&mut self, input: &mut &'i [u8]) -> Step<'i> {
        self.keep_newest();
        let received = self.receive_frames(input);
        if let Err(error) = received {
            self.phase = Phase::Failed;
            self.opening = None;
            self.send.goaway(self.last, error.code);
        }
        received
    }

    fn receive_frames<'i>(&mut self, input: &mut &'i [u8]) -> Step<'i> {
        if self.phase == Phase::Failed {
            return Ok(None);
        }
        if self.phase == Phase::Preface && !self.take_preface(input)? {
            return Ok(None);
        }
        loop {
            match self.queued.pop_front() {
                None => {}
                Some(Queued::Refused(stream, reason)) => {
                    return Ok(Some(Event::Refused { stream, reason }));
                }
                Some(Queued::Reset(stream, code)) => {
                    return Ok(Some(Event::Reset { stream, code }));
                }
            }
            let bytes = *input;
            let Some(head) = frame::Head::read(bytes) else { return Ok(None) };
            // Section 4.2: an error of the connection, since it may change its state.
            if head.length > MAX_PAYLOAD {
                return Err(wrong_size("a frame is longer than SETTINGS_MAX_FRAME_SIZE"));
            }
            let size = HEAD + head.length;
            let Some(payload) = bytes.get(HEAD..size) else { return Ok(None) };
            let limits = &self.config.limits;
            let is_head = head.kind == kind::HEADERS;
            if self.turn.is_over(limits, is_head) {
                self.is_turn_over = true;
                return Ok(None);
            }
            let least = match head.kind {
                kind::HEADERS => limits.call_cost,
                kind::SETTINGS => limits.settings_cost,
                _ => limits.frame_cost,
            };
            self.turn.count(size, least, is_head);
            *input = bytes.get(size..).unwrap_or_default();
            if let Some(event) = self.take_frame(&head, payload)? {
                return Ok(Some(event));
            }
        }
    }

    fn take_preface(&mut self, input: &mut &[u8]) -> Result<bool, ConnectionError> {
        let bytes = *input;
        let length = bytes.len().min(PREFACE.len());
        if bytes.get(..length) != PREFACE.get(..length) {
            return Err(fail(Code::PROTOCOL_ERROR, Reason::Preface));
        }
        if length < PREFACE.len() {
            return Ok(false);
        }
        *input = bytes.get(length..).unwrap_or_default();
        self.phase = Phase::Settings;
        let limits = &self.config.limits;
        let list = u32::try_from(limits.max_header_list).unwrap_or(u32::MAX);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.max_streams),
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, list),
        ];
        self.send.settings(&settings);
        let more = self.receive_window - DEFAULT_WINDOW;
        self.send.window_update(StreamId::CONNECTION, u32::try_from(more).unwrap_or(0));
        Ok(true)
    }

    #[inline]
    fn take_frame<'i>(&mut self, head: &frame::Head, payload: &'i [u8]) -> Step<'i> {
        // Section 6.10: nothing comes between the frames of a header block.
        if self.block.is_some() {
            return match head.kind {
                kind::CONTINUATION => self.continuation(head, payload),
                _ => Err(broken("a header block is interrupted by another frame")),
            };
        }
        match head.kind {
            kind::DATA => self.data(head, payload),
            kind::HEADERS if self.phase == Phase::Open => self.headers(head, payload),
            kind::SETTINGS => self.settings(head, payload).map(|()| None),
            // Section 3.4.
            _ if self.phase != Phase::Open => Err(fail(Code::PROTOCOL_ERROR, Reason::Preface)),
            kind::PRIORITY => self.priority(head, payload).map(|()| None),
            kind::RST_STREAM => self.reset(head, payload),
            kind::PUSH_PROMISE => Err(broken("a client may not push")),
            kind::PING => self.ping(head, payload).map(|()| None),
            kind::GOAWAY => Self::goaway(head, payload),
            kind::WINDOW_UPDATE => self.window_update(head, payload).map(|()| None),
            kind::CONTINUATION => Err(broken("CONTINUATION does not follow a header block")),
            // Section 4.1: frames of other kinds are ignored.
            _ => Ok(None),
        }
    }

    // ---- Streams ----

    /// Section 5.1.1: the numbers of a client's streams are odd and grow.
    fn check_idle(&self, stream: StreamId) -> Result<(), ConnectionError> {
        if stream.0 == 0 {
            return Err(broken("a frame that belongs to a stream has the number 0"));
        }
        if stream.0.is_multiple_of(2) || stream > self.last && !self.is_beyond_drain(stream) {
            return Err(broken("a frame is for a stream that has not been opened"));
        }
        Ok(())
    }

    /// Section 6.8: streams above the last that a GOAWAY named are not served, and their frames ignored.
    fn is_beyond_drain(&self, stream: StreamId) -> bool {
        matches!(self.drain, Drain::Last(last, _) if stream > last)
    }

    /// Makes a stream of the list of the call whose body did not follow its head at once.
    fn keep_opening(&mut self) {
        let Some(Opening { stream, head, window, since }) = self.opening.take() else { return };
        let content_length = head.content_length;
        let kind = Kind::Collecting { head, body: Vec::new() };
        self.waiting_since.get_or_insert(since);
        let stream = self.open(stream, kind);
        stream.content_length = content_length;
        stream.send_window += window;
        stream.since = since;
    }

    /// Makes a stream of the list of the call that was not answered at once.
    fn keep_newest(&mut self) {
        if let Some(stream) = self.newest.take() {
            self.open(stream, Kind::Answering).is_receiving = false;
        }
    }

    fn open(&mut self, stream: StreamId, kind: Kind) -> &mut Stream {
        let window = i64::from(self.config.limits.stream_window);
        let window = if self.is_acknowledged { window } else { window.max(DEFAULT_WINDOW) };
        let stream = Stream::new(stream, kind, self.send.initial_window(), window, self.now);
        self.streams.insert(stream)
    }

    /// Ends a stream for what the peer did.
    fn refuse(
        &mut self,
        stream: StreamId,
        code: Code,
        reason: Refused,
    ) -> Result<(), ConnectionError> {
        self.send.reset(stream, code);
        self.forget(stream);
        self.streams.remember_reset(stream);
        self.queued.push_back(Queued::Refused(stream, reason));
        self.errors += 1;
        if self.errors > self.config.limits.max_errors {
            return Err(fail(Code::ENHANCE_YOUR_CALM, Reason::TooManyErrors));
        }
        Ok(())
    }

    /// Drops a stream with what is kept of it. What was handed over of it and not read makes room for other streams.
    fn forget(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let stream = self.streams.remove(id)?;
        self.share.give_back(stream.kept());
        self.release_connection(stream.unread);
        if stream.is_queued {
            self.send.leave_queue(id);
        }
        Some(stream)
    }

    // ---- DATA ----

    #[inline]
    fn data<'i>(&mut self, head: &frame::Head, payload: &'i [u8]) -> Step<'i> {
        if self.phase != Phase::Open {
            return Err(fail(Code::PROTOCOL_ERROR, Reason::Preface));
        }
        // Section 6.1: padding counts, too.
        self.receive_window -= frame::window_of(payload.len());
        if self.receive_window < 0 {
            return Err(fail(Code::FLOW_CONTROL_ERROR, Reason::FlowControl));
        }
        let bytes = frame::unpadded(head, payload)
            .ok_or_else(|| broken("a frame is padded with more than it has"))?;
        let is_end = head.has(flag::END_STREAM);
        if let Some(opening) = self.opening.take_if(|opening| opening.stream == head.stream) {
            if is_end && bytes.len() <= self.config.limits.max_body {
                self.release_connection(payload.len());
                if opening.head.content_length.is_some_and(|length| length != bytes.len() as u64) {
                    return self.malformed(head.stream, Malformed::ContentLength);
                }
                return Ok(Some(self.hand_over(head.stream, opening, Ok(Cow::Borrowed(bytes)))));
            }
            self.opening = Some(opening);
        }
        self.keep_opening();
        self.data_of_open_stream(head, payload.len(), bytes, is_end)
    }

    /// Hands over a call that is whole.
    fn hand_over<'i>(
        &mut self,
        stream: StreamId,
        opening: Opening,
        body: Result<Cow<'i, [u8]>, Unread>,
    ) -> Event<'i> {
        let Opening { head, window, .. } = opening;
        if window == 0 {
            self.newest = Some(stream);
        } else {
            let open = self.open(stream, Kind::Answering);
            open.is_receiving = false;
            open.send_window += window;
        }
        Event::Call(call(stream, head, body))
    }

    fn data_of_open_stream<'i>(
        &mut self,
        head: &frame::Head,
        length: usize,
        bytes: &'i [u8],
        is_end: bool,
    ) -> Step<'i> {
        let id = head.stream;
        let max_body = self.config.limits.max_body;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.is_receiving) else {
            return self.data_of_closed_stream(id, length);
        };
        stream.receive_window -= frame::window_of(length);
        if stream.receive_window < 0 {
            self.release_connection(length);
            return self.refuse(id, Code::FLOW_CONTROL_ERROR, Refused::FlowControl).map(|()| None);
        }
        stream.received += bytes.len() as u64;
        stream.is_receiving = !is_end;
        let received = stream.received;
        if stream
            .content_length
            .is_some_and(|length| received > length || is_end && received != length)
        {
            self.release_connection(length);
            return self.malformed(id, Malformed::ContentLength);
        }
        if let Kind::Collecting { body, .. } = &mut stream.kind {
            let is_too_large = body.len() + bytes.len() > max_body
                || grpc::announced(body, bytes).is_some_and(|length| length > max_body);
            if is_too_large || !self.share.take(bytes.len()) {
                self.release_connection(length);
                let why = if is_too_large { Unread::TooLarge } else { Unread::TooMuch };
                return Ok(self.hand_over_collected(id, Err(why)));
            }
            body.extend_from_slice(bytes);
            self.release_connection(length);
            if is_end {
                return Ok(self.hand_over_collected(id, Ok(())));
            }
            self.release_stream(id, length);
            return Ok(None);
        }
        if matches!(stream.kind, Kind::Answering) {
            // The rest of a body that was given up.
            self.release_connection(length);
            return Ok(None);
        }
        // Of a request that has been handed over, the connection's and the stream's window wait until it is read.
        stream.unread += bytes.len();
        // Padding is released at once, since it is not handed over.
        let padding = length - bytes.len();
        self.release_connection(padding);
        if !is_end {
            self.release_stream(id, padding);
        }
        Ok(Some(Event::Data { stream: id, bytes, is_end }))
    }

    /// Hands over a call whose body was collected, or is given up.
    fn hand_over_collected<'i>(
        &mut self,
        id: StreamId,
        body: Result<(), Unread>,
    ) -> Option<Event<'i>> {
        let stream = self.streams.get_mut(id)?;
        let kind = std::mem::replace(&mut stream.kind, Kind::Answering);
        let Kind::Collecting { head, body: collected } = kind else { return None };
        self.share.give_back(collected.len());
        // Megabytes may end with a few bytes, and a thousand calls at once.
        self.turn.count_kept(collected.len().max(self.config.limits.call_cost));
        let body = body.map(|()| Cow::Owned(collected));
        Some(Event::Call(call(id, head, body)))
    }

    /// Section 5.1: what comes behind a reset of ours is ignored, and anything else for a closed stream is an error of
    /// that stream.
    fn data_of_closed_stream<'i>(&mut self, id: StreamId, length: usize) -> Step<'i> {
        self.check_idle(id)?;
        self.release_connection(length);
        let is_answering = self.streams.get(id).is_some();
        if !is_answering && (self.streams.was_reset(id) || self.is_beyond_drain(id)) {
            return Ok(None);
        }
        self.refuse(id, Code::STREAM_CLOSED, Refused::StreamClosed).map(|()| None)
    }

    /// Lets the peer send as much again on the connection (Section 6.9).
    #[inline]
    fn release_connection(&mut self, bytes: usize) {
        self.released = self.released.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let window = self.config.limits.connection_window.max(DEFAULT_WINDOW_SIZE);
        if self.released >= window / 2 {
            self.receive_window += i64::from(self.released);
            self.send.window_update(StreamId::CONNECTION, self.released);
            self.released = 0;
        }
    }

    /// Lets the peer send as much again of a stream.
    fn release_stream(&mut self, id: StreamId, bytes: usize) {
        let window = self.config.limits.stream_window;
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.released = stream.released.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if stream.released >= window / 2 && stream.released > 0 {
            stream.receive_window += i64::from(stream.released);
            self.send.window_update(id, stream.released);
            stream.released = 0;
        }
    }

    /// Says that `bytes` of an [`Event::Data`] have been read, so that the peer may send as many again. When a stream
    /// ends, all of it counts as read.
    pub fn release(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let bytes = bytes.min(stream.unread);
        stream.unread -= bytes;
        let is_receiving = stream.is_receiving;
        self.release_connection(bytes);
        if is_receiving {
            self.release_stream(id, bytes);
        }
    }

    // ---- HEADERS and CONTINUATION ----

    fn headers<'i>(&mut self, head: &frame::Head, payload: &'i [u8]) -> Step<'i> {
        self.keep_opening();
        if head.stream.0.is_multiple_of(2) {
            return Err(broken("a client's streams have odd numbers"));
        }
        let mut block = frame::unpadded(head, payload)
            .ok_or_else(|| broken("a frame is padded with more than it has"))?;
        if head.has(flag::PRIORITY) {
            let Some((priority, rest)) = block.split_first_chunk::<5>() else {
                return Err(wrong_size("a header block is shorter than its priority"));
            };
            block = rest;
            // Section 5.3.1 of RFC 7540. RFC 9113 has no priorities, and what depends on itself means nothing.
            let [a, b, c, d, _] = *priority;
            if u32::from_be_bytes([a & 0x7f, b, c, d]) == head.stream.0 {
                return Err(broken("a stream depends on itself"));
            }
        }
        let is_end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.header_block(head.stream, is_end, block);
        }
        self.check_block(block.len())?;
        let block = Block { stream: head.stream, is_end, bytes: block.to_vec(), short: 0 };
        self.block = Some(block);
        Ok(None)
    }

    /// A block of more fields than a request may have is read all the same, and its request refused; one of twice as
    /// many bytes is not.
    fn check_block(&self, length: usize) -> Result<(), ConnectionError> {
        if length > 2 * self.config.limits.max_header_list {
            return Err(fail(Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong));
        }
        Ok(())
    }

    fn continuation<'i>(&mut self, head: &frame::Head, payload: &'i [u8]) -> Step<'i> {
        let Some(block) = &mut self.block else { return Ok(None) };
        if head.stream != block.stream {
            return Err(broken("a header block goes on on another stream"));
        }
        let is_last = head.has(flag::END_HEADERS);
        // A block has no more frames than its length takes, but for a few: they may be empty, and each costs time.
        if !is_last && payload.len() < 1 << 10 {
            block.short += 1;
            if block.short > MAX_SHORT_CONTINUATIONS {
                return Err(fail(Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong));
            }
        }
        let length = block.bytes.len() + payload.len();
        block.bytes.extend_from_slice(payload);
        self.check_block(length)?;
        if !is_last {
            return Ok(None);
        }
        let Some(Block { stream, is_end, bytes, .. }) = self.block.take() else { return Ok(None) };
        self.header_block(stream, is_end, &bytes)
    }

    fn header_block<'i>(&mut self, id: StreamId, is_end: bool, block: &[u8]) -> Step<'i> {
        if id <= self.last {
            return self.trailers(id, is_end, block);
        }
        let Config { vocabulary, limits } = &*self.config;
        let mut reader = Reader::new(&mut self.scratch, limits.max_header_list);
        let decoded = self.decoder.decode(block, vocabulary, |field| reader.take(field));
        decoded.map_err(unreadable)?;
        let head = reader.finish();
        self.turn.count_fields(self.decoder.list() / FIELD_BYTES, limits.call_cost);
        if self.is_beyond_drain(id) {
            return Ok(None);
        }
        // Section 5.1.1: streams in between are closed now, without having been opened.
        if self.last.0 == 0 || id.0 - self.last.0 > 2 {
            self.first_of_run = id;
        }
        self.last = id;
        if self.open_streams() >= self.config.limits.max_streams as usize {
            return self.refuse(id, Code::REFUSED_STREAM, Refused::TooManyStreams).map(|()| None);
        }
        let head = match head {
            Ok(head) => head,
            Err(Refusal::Malformed(malformed)) => return self.malformed(id, malformed),
            Err(Refusal::TooLarge) => {
                self.open(id, Kind::Answering).is_receiving = !is_end;
                self.answer_head(id, 431, &[], true);
                return Ok(Some(Event::Refused { stream: id, reason: Refused::HeadersTooLarge }));
            }
        };
        if is_end && head.content_length.is_some_and(|length| length != 0) {
            return self.malformed(id, Malformed::ContentLength);
        }
        self.begin(id, head, is_end)
    }

    /// Begins a call, or a request of another path.
    fn begin<'i>(&mut self, id: StreamId, mut head: Head, is_end: bool) -> Step<'i> {
        if let Some(request) = head.request.take() {
            let stream = self.open(id, Kind::Other);
            stream.is_receiving = !is_end;
            stream.content_length = head.content_length;
            return Ok(Some(Event::Request { stream: id, request, is_end }));
        }
        let opening = Opening { stream: id, head, window: 0, since: self.now };
        if is_end {
            return Ok(Some(self.hand_over(id, opening, Ok(Cow::Borrowed(&[])))));
        }
        self.opening = Some(opening);
        Ok(None)
    }

    /// A header block behind the first of its stream (Section 8.1).
    fn trailers<'i>(&mut self, id: StreamId, is_end: bool, block: &[u8]) -> Step<'i> {
        let Config { vocabulary, limits } = &*self.config;
        let mut reader = TrailerReader::new(limits.max_header_list);
        let decoded = self.decoder.decode(block, vocabulary, |field| reader.take(field));
        self.turn.count_fields(self.decoder.list() / FIELD_BYTES, limits.call_cost);
        decoded.map_err(unreadable)?;
        let Some(stream) = self.streams.get_mut(id) else {
            if self.streams.was_reset(id) {
                return Ok(None);
            }
            let is_closed = id >= self.first_of_run && id <= self.last;
            return Err(if is_closed {
                fail(Code::STREAM_CLOSED, Reason::Frame("a header block is for a closed stream"))
            } else {
                broken("the number of a stream is lower than that of an earlier one")
            });
        };
        if !stream.is_receiving {
            return self.refuse(id, Code::STREAM_CLOSED, Refused::StreamClosed).map(|()| None);
        }
        let fields = match reader.finish() {
            Ok(_) if !is_end => return self.malformed(id, Malformed::Trailers),
            Ok(fields) => fields,
            Err(Refusal::Malformed(malformed)) => return self.malformed(id, malformed),
            Err(Refusal::TooLarge) => {
                return self
                    .refuse(id, Code::ENHANCE_YOUR_CALM, Refused::HeadersTooLarge)
                    .map(|()| None);
            }
        };
        let received = stream.received;
        if stream.content_length.is_some_and(|length| received != length) {
            return self.malformed(id, Malformed::ContentLength);
        }
        stream.is_receiving = false;
        match stream.kind {
            Kind::Collecting { .. } => Ok(self.hand_over_collected(id, Ok(()))),
            Kind::Other => Ok(Some(Event::Trailers { stream: id, fields })),
            Kind::Answering => Ok(None),
        }
    }

    /// Section 8.1.1.
    fn malformed<'i>(&mut self, id: StreamId, malformed: Malformed) -> Step<'i> {
        self.refuse(id, Code::PROTOCOL_ERROR, Refused::Malformed(malformed)).map(|()| None)
    }

    // ---- The other frames ----

    /// Priorities are read and ignored (RFC 9113, Section 5.3.2).
    fn priority(&mut self, head: &frame::Head, payload: &[u8]) -> Result<(), ConnectionError> {
        if head.stream.0 == 0 {
            return Err(broken("PRIORITY has the number of no stream"));
        }
        let Some([a, b, c, d, _]) = payload.as_array::<5>() else {
            return self.wrong_size_of_stream(head.stream);
        };
        if u32::from_be_bytes([a & 0x7f, *b, *c, *d]) == head.stream.0 {
            return Err(broken("a stream depends on itself"));
        }
        Ok(())
    }

    /// Section 6.3: PRIORITY of a wrong size is an error of its stream; of one that is not open, of the connection.
    fn wrong_size_of_stream(&mut self, stream: StreamId) -> Result<(), ConnectionError> {
        if stream > self.last {
            return Err(wrong_size("PRIORITY does not have 5 bytes"));
        }
        self.keep_opening();
        self.refuse(stream, Code::FRAME_SIZE_ERROR, Refused::Frame(Code::FRAME_SIZE_ERROR))
    }

    /// Section 6.4.
    fn reset<'i>(&mut self, head: &frame::Head, payload: &[u8]) -> Step<'i> {
        let Some(code) = payload.as_array::<4>() else {
            return Err(wrong_size("RST_STREAM does not have 4 bytes"));
        };
        let code = Code(u32::from_be_bytes(*code));
        self.check_idle(head.stream)?;
        self.keep_opening();
        let Some(stream) = self.forget(head.stream) else { return Ok(None) };
        let limits = &self.config.limits;
        if self.now.saturating_sub(self.resets_since) > limits.reset_period {
            (self.resets, self.resets_since) = (0, self.now);
        }
        self.resets = self.resets.saturating_add(1);
        if self.resets > limits.max_resets {
            return Err(fail(Code::ENHANCE_YOUR_CALM, Reason::TooManyResets));
        }
        // A call whose message is complete is handed over, though END_STREAM is missing: its client may not need the
        // answer.
        if let Kind::Collecting { head: call_head, body } = stream.kind
            && grpc::message(&body).is_ok()
        {
            self.turn.count_kept(body.len().max(self.config.limits.call_cost));
            self.queued.push_back(Queued::Reset(head.stream, code));
            return Ok(Some(Event::Call(call(head.stream, call_head, Ok(Cow::Owned(body))))));
        }
        Ok(Some(Event::Reset { stream: head.stream, code }))
    }

    /// Section 6.5.
    fn settings(&mut self, head: &frame::Head, payload: &[u8]) -> Result<(), ConnectionError> {
        if head.stream != StreamId::CONNECTION {
            return Err(broken("SETTINGS have the number of a stream"));
        }
        if head.has(flag::ACK) {
            return match payload {
                _ if self.phase != Phase::Open => Err(fail(Code::PROTOCOL_ERROR, Reason::Preface)),
                [] => {
                    self.is_acknowledged = true;
                    Ok(())
                }
                _ => Err(wrong_size("an acknowledgement of SETTINGS has a payload")),
            };
        }
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err(wrong_size("SETTINGS are no multiple of 6 bytes"));
        };
        self.phase = Phase::Open;
        for [a, b, value @ ..] in settings {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        self.send.settings_ack();
        self.send_all_queued();
        Ok(())
    }

    /// Section 6.5.2.
    fn set(&mut self, name: u16, value: u32) -> Result<(), ConnectionError> {
        match name {
            setting::HEADER_TABLE_SIZE => self.send.set_table_size(value),
            setting::ENABLE_PUSH if value > 1 => {
                return Err(broken("SETTINGS_ENABLE_PUSH is neither 0 nor 1"));
            }
            setting::INITIAL_WINDOW_SIZE => {
                let value = i64::from(value);
                if value > MAX_WINDOW {
                    return Err(fail(
                        Code::FLOW_CONTROL_ERROR,
                        Reason::Frame("SETTINGS_INITIAL_WINDOW_SIZE is above 2^31 - 1"),
                    ));
                }
                // Section 6.9.2: also the windows of open streams change, and may become negative.
                let change = value - self.send.initial_window();
                let opening = self.opening.as_ref().map(|opening| value + opening.window);
                let windows = self.streams.iter_mut().map(|stream| {
                    stream.send_window += change;
                    stream.send_window
                });
                if opening.into_iter().chain(windows).any(|window| window > MAX_WINDOW) {
                    return Err(fail(
                        Code::FLOW_CONTROL_ERROR,
                        Reason::Frame("SETTINGS_INITIAL_WINDOW_SIZE takes a window above 2^31 - 1"),
                    ));
                }
                self.send.set_initial_window(value);
            }
            // Section 4.2: this end never sends more than the least of what may be set.
            setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(broken("SETTINGS_MAX_FRAME_SIZE is not within 2^14 and 2^24 - 1"));
            }
            // How many streams a server may push, how long its fields may be, and settings that are not known.
            _ => {}
        }
        Ok(())
    }

    /// Section 6.7.
    fn ping(&mut self, head: &frame::Head, payload: &[u8]) -> Result<(), ConnectionError> {
        if head.stream != StreamId::CONNECTION {
            return Err(broken("PING has the number of a stream"));
        }
        let Some(payload) = payload.as_array::<8>() else {
            return Err(wrong_size("PING does not have 8 bytes"));
        };
        if !head.has(flag::ACK) {
            self.send.ping_ack(payload);
        } else if *payload == DRAIN_PING {
            self.end_drain_announcement();
        }
        Ok(())
    }

    /// Section 6.8. The client goes on to read answers.
    fn goaway<'i>(head: &frame::Head, payload: &[u8]) -> Step<'i> {
        if head.stream != StreamId::CONNECTION {
            return Err(broken("GOAWAY has the number of a stream"));
        }
        match payload.first_chunk::<8>() {
            Some([_, _, _, _, code @ ..]) => {
                Ok(Some(Event::GoAway { code: Code(u32::from_be_bytes(*code)) }))
            }
            None => Err(wrong_size("GOAWAY has less than 8 bytes")),
        }
    }

    /// Section 6.9.
    fn window_update(&mut self, head: &frame::Head, payload: &[u8]) -> Result<(), ConnectionError> {
        let Some([a, rest @ ..]) = payload.as_array::<4>() else {
            return Err(wrong_size("WINDOW_UPDATE does not have 4 bytes"));
        };
        let [b, c, d] = *rest;
        let increment = i64::from(u32::from_be_bytes([a & 0x7f, b, c, d]));
        if head.stream == StreamId::CONNECTION {
            if increment == 0 {
                return Err(broken("WINDOW_UPDATE of the connection is 0"));
            }
            if !self.send.enlarge_window(increment) {
                return Err(fail(
                    Code::FLOW_CONTROL_ERROR,
                    Reason::Frame("the connection's window is above 2^31 - 1"),
                ));
            }
            self.send_queued();
            return Ok(());
        }
        self.check_idle(head.stream)?;
        let opening = self.opening.as_mut().filter(|opening| opening.stream == head.stream);
        let initial = self.send.initial_window();
        let window = match opening {
            Some(opening) => {
                opening.window += increment;
                initial + opening.window
            }
            None => match self.streams.get_mut(head.stream) {
                Some(stream) => {
                    stream.send_window += increment;
                    stream.send_window
                }
                // Section 5.1: it may come for a while after the stream was closed.
                None => return Ok(()),
            },
        };
        let (code, reason) = match increment {
            0 => (Code::PROTOCOL_ERROR, Refused::Frame(Code::PROTOCOL_ERROR)),
            _ if window > MAX_WINDOW => (Code::FLOW_CONTROL_ERROR, Refused::FlowControl),
            _ => {
                self.send_queued_of(head.stream);
                return Ok(());
            }
        };
        self.keep_opening();
        self.refuse(head.stream, code, reason)
    }

    // ---- Time ----

    /// When [`Self::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        let opening = self.opening.as_ref().map(|opening| opening.since);
        let waiting = self.waiting_since.or(opening);
        let stall = waiting.map(|since| since + self.config.limits.stall);
        let drain = match self.drain {
            Drain::No => None,
            Drain::Announced(since) | Drain::Last(_, since) => {
                Some(since + self.config.limits.drain)
            }
        };
        [stall, drain].into_iter().flatten().min()
    }

    /// Resets what has been waiting for the peer for too long. What becomes of it is an event of the next
    /// [`Self::receive`], also if nothing has been read.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.keep_opening();
        let stall = self.config.limits.stall;
        if self.waiting_since.is_none_or(|since| self.now < since + stall) {
            return;
        }
        let overdue: Vec<_> = self
            .streams
            .iter()
            .filter(|stream| stream.is_waiting() && self.now >= stream.since + stall)
            .map(|stream| stream.id)
            .collect();
        for stream in overdue {
            self.send.reset(stream, Code::CANCEL);
            self.forget(stream);
            self.streams.remember_reset(stream);
            self.queued.push_back(Queued::Refused(stream, Refused::Stalled));
        }
        let waiting = self.streams.iter().filter(|stream| stream.is_waiting());
        self.waiting_since = waiting.map(|stream| stream.since).min();
    }

    /// Tells the client that the connection is about to end, and takes no more calls once it knows (Section 6.8). The
    /// calls that it has made are answered.
    pub fn drain(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.drain == Drain::No && self.phase != Phase::Failed {
            self.drain = Drain::Announced(self.now);
            // All streams that may ever be opened: what is on its way is served.
            self.send.goaway(StreamId::MAX, Code::NO_ERROR);
            self.send.ping(&DRAIN_PING);
        }
    }

    fn end_drain_announcement(&mut self) {
        if let Drain::Announced(since) = self.drain {
            self.drain = Drain::Last(self.last, since);
            self.send.goaway(self.last, Code::NO_ERROR);
        }
    }

    /// Whether the connection can be closed: it failed or was drained, and there is nothing more to be written; or the
    /// client has not ended its calls in time.
    pub fn is_finished(&self) -> bool {
        let is_done = match self.drain {
            _ if self.phase == Phase::Failed => true,
            Drain::No => false,
            // A client that has not spoken yet has no calls.
            Drain::Announced(_) => self.phase != Phase::Open,
            Drain::Last(..) => self.open_streams() == 0,
        };
        let is_overdue = match self.drain {
            Drain::No => false,
            Drain::Announced(since) | Drain::Last(_, since) => {
                self.now >= since + self.config.limits.drain
            }
        };
        is_overdue || is_done && self.output().is_empty()
    }
}

/// Section 4.3; or what RFC 9113, Section 10.5.1, allows of header lists that are too long.
const fn unreadable(error: HpackError) -> ConnectionError {
    match error {
        HpackError::TooLong => fail(Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong),
        error => fail(Code::COMPRESSION_ERROR, Reason::Hpack(error)),
    }
}

fn call<'i>(stream: StreamId, head: Head, body: Result<Cow<'i, [u8]>, Unread>) -> Call<'i> {
    let Head { route, is_post, is_head, is_grpc, named: fields, .. } = head;
    Call { stream, route: route.unwrap_or_default(), is_post, is_head, is_grpc, fields, body }
}
#[cfg(test)]
mod tests;
