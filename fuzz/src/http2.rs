//! HTTP/2: frames written by hand, a server of the connection, and a client that talks to it.

pub mod client;
pub mod frames;

use std::sync::Arc;
use std::time::Duration;

use unary_h2::{Budget, Config, Connection, Event, Limits, Route, StreamId, Vocabulary};

/// The path that the server has named.
pub const PATH: &str = "/shop.Cart/Add";

/// What a turn may take beyond its bytes: what a call is counted for, and the frame with which it ends.
const OF_A_TURN: usize = 192 + 9 + (1 << 14);

/// The least frame, and what is written for one at most, beside the body of an answer.
const HEAD: usize = 9;
const MAX_ANSWER: usize = 120;

/// A server whose bounds are small, so that an input of a few hundred bytes reaches them.
pub struct Server {
    pub connection: Connection,
    budget: Budget,
    limits: Limits,
    input: Vec<u8>,
    /// How many bytes of answers were handed over and not written: they may wait for the client's windows. Those of
    /// streams that were reset since are among them.
    owed: usize,
    /// What happened, as text, and what was written.
    pub events: Vec<String>,
    pub output: Vec<u8>,
}

impl Default for Server {
    fn default() -> Self {
        let limits = Limits {
            max_streams: 4,
            max_header_list: 600,
            max_body: 300,
            max_partial: 400,
            stream_window: 500,
            max_errors: 20,
            turn: 400,
            ..Limits::default()
        };
        let config = Config { vocabulary: vocabulary(), limits: limits.clone() };
        let budget = Budget::new(limits.max_partial);
        Self {
            connection: Connection::new(Arc::new(config), budget.clone(), Duration::ZERO),
            budget,
            limits,
            input: Vec::new(),
            owed: 0,
            events: Vec::new(),
            output: Vec::new(),
        }
    }
}

pub fn vocabulary() -> Vocabulary {
    Vocabulary::new([PATH], ["traceparent"])
}

impl Server {
    /// Reads until less than a frame is left, a turn after the other, and writes after each.
    pub fn read(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        loop {
            let input = std::mem::take(&mut self.input);
            let mut rest = &*input;
            self.connection.begin_turn(Duration::ZERO);
            let is_more = self.turn(&mut rest);
            self.check(input.len() - rest.len());
            self.input = rest.to_vec();
            self.owed = self.owed.saturating_sub(data_in(self.connection.output()));
            self.output.extend(self.connection.output());
            self.connection.written(self.connection.output().len());
            if !is_more {
                return;
            }
        }
    }

    /// Returns whether the turn ended before the bytes did.
    fn turn(&mut self, rest: &mut &[u8]) -> bool {
        loop {
            match self.connection.receive(rest) {
                Ok(Some(event)) => {
                    self.events.push(format!("{event:?}"));
                    self.answer(event);
                }
                Ok(None) => return self.connection.has_more(),
                Err(error) => {
                    self.events.push(format!("{error} {}", error.reason.label()));
                    return false;
                }
            }
        }
    }

    fn check(&self, taken: usize) {
        let kept = self.budget.kept();
        assert!(kept <= self.limits.max_partial, "{kept} bytes are kept");
        assert!(self.connection.open_streams() <= self.limits.max_streams as usize);
        assert!(taken <= self.limits.turn + OF_A_TURN, "{taken} bytes in a turn");
        let asked = 2 * taken + self.owed + (taken / HEAD + 1) * MAX_ANSWER;
        let written = self.connection.output().len();
        assert!(written <= asked, "{written} bytes are written for {taken}");
    }

    /// Answers what can be answered at once, but for every fourth call.
    fn answer(&mut self, event: Event<'_>) {
        let connection = &mut self.connection;
        match event {
            Event::Call(call) if call.stream.get() % 8 == 7 => {}
            Event::Call(call) => match call.body {
                Ok(body) => {
                    self.owed += body.len();
                    connection.answer(call.stream, &body);
                }
                Err(_) => _ = connection.answer_error(call.stream, 8, "too much"),
            },
            Event::Request { stream, is_end: true, .. } => answer_other(connection, stream, b""),
            Event::Data { stream, bytes, is_end } => {
                connection.release(stream, bytes.len());
                if is_end {
                    self.owed += bytes.len();
                    answer_other(connection, stream, bytes);
                }
            }
            Event::Trailers { stream, .. } => answer_other(connection, stream, b""),
            _ => {}
        }
    }

    /// Drops the connection: all that it kept is given back.
    pub fn end(self) {
        let Self { connection, budget, .. } = self;
        drop(connection);
        assert_eq!(budget.kept(), 0);
    }
}

/// How many bytes the DATA frames have that are written whole.
fn data_in(mut output: &[u8]) -> usize {
    let mut bytes = 0;
    while let [a, b, c, kind, rest @ ..] = output {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes += if *kind == frames::DATA { length } else { 0 };
        output = rest.get(HEAD - 4 + length..).unwrap_or_default();
    }
    bytes
}

/// Answers a request of another path.
pub fn answer_other(connection: &mut Connection, stream: StreamId, body: &[u8]) {
    connection.answer_head(stream, 200, &[(b"content-type", b"application/grpc")], false);
    let (first, second) = body.split_at(body.len() / 2);
    connection.answer_data(stream, first, false);
    connection.answer_data(stream, second, false);
    connection.answer_trailers(stream, &[(b"grpc-status", b"0")]);
}

/// Whether it is the one path that the server has named.
pub fn is_named(route: Route) -> bool {
    route.get() == 0
}

/// The same comes of bytes in pieces as of all at once.
pub fn check_pieces<'b>(sent: &[u8], pieces: impl Iterator<Item = &'b [u8]>) {
    let mut at_once = Server::default();
    at_once.read(sent);
    let mut in_pieces = Server::default();
    pieces.for_each(|piece| in_pieces.read(piece));
    assert_eq!(at_once.events, in_pieces.events);
    assert_eq!(at_once.output, in_pieces.output);
    at_once.end();
    in_pieces.end();
}
