//! Whatever a client sends, in whatever pieces: nothing panics, the same comes of it, and nothing grows beyond its
//! bound.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a failure is a panic, and its numbers are small"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, HEADERS, PADDED, PATH,
    PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame,
    head, inserted,
};
use unary_h2::{Budget, Config, Connection, Event, Limits, StreamId, Vocabulary};

const MAX_STREAMS: u32 = 4;
const MAX_KEPT: usize = 600;
const MAX_BODY: usize = 1000;
const MAX_HEADER_LIST: usize = 2000;
const TURN: usize = 400;
const CALL_COST: usize = 192;
const HEAD: usize = 9;
const MAX_PAYLOAD: usize = 1 << 14;

/// What may be written for one frame, beside the body of an answer.
const MAX_ANSWER: usize = 120;

fn limits() -> Limits {
    Limits {
        max_streams: MAX_STREAMS,
        max_header_list: MAX_HEADER_LIST,
        max_body: MAX_BODY,
        max_partial: MAX_KEPT,
        max_errors: 20,
        turn: TURN,
        call_cost: CALL_COST,
        ..Limits::default()
    }
}

/// A server that answers calls with their bodies, others with what came of them, and some not at all.
struct Server {
    connection: Connection,
    budget: Budget,
    input: Vec<u8>,
    /// What happened, as text, and what was written.
    events: Vec<String>,
    output: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let vocabulary = Vocabulary::new([PATH], ["traceparent"]);
        let config = Arc::new(Config { vocabulary, limits: limits() });
        let budget = Budget::new(MAX_KEPT);
        Self {
            connection: Connection::new(config, budget.clone(), Duration::ZERO),
            budget,
            input: Vec::new(),
            events: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Reads until less than a frame is left, a turn after the other.
    fn read(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        loop {
            let input = std::mem::take(&mut self.input);
            let mut rest = &*input;
            self.connection.begin_turn(Duration::ZERO);
            let is_more = self.turn(&mut rest);
            self.check_turn(input.len() - rest.len(), rest);
            self.input = rest.to_vec();
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
                    answer(&mut self.connection, event);
                    self.check_kept();
                }
                Ok(None) => return self.connection.has_more(),
                Err(error) => {
                    self.events.push(error.to_string());
                    assert!(self.connection.is_finished() || !self.connection.output().is_empty());
                    return false;
                }
            }
        }
    }

    fn check_kept(&self) {
        assert!(self.budget.kept() <= MAX_KEPT, "{} are kept", self.budget.kept());
        assert!(self.connection.open_streams() <= MAX_STREAMS as usize);
    }

    /// A turn ends behind the frame with which it has been used up. The body of a call belongs to the turn of its head.
    fn check_turn(&self, taken: usize, rest: &[u8]) {
        self.check_kept();
        assert!(taken <= TURN + CALL_COST + HEAD + MAX_PAYLOAD, "{taken} bytes in a turn");
        if self.connection.has_more() {
            assert!(!rest.is_empty());
        }
        // Answers are as long as the bodies, of which some were kept or wait for a window.
        let bodies = taken + MAX_KEPT + MAX_STREAMS as usize * MAX_BODY;
        let asked = bodies + (taken / HEAD + 1) * MAX_ANSWER;
        let written = self.connection.output().len();
        assert!(written <= asked, "{written} bytes are written for {taken}");
    }
}

fn answer(connection: &mut Connection, event: Event<'_>) {
    match event {
        Event::Call(call) if call.stream.get() % 8 == 7 => {}
        Event::Call(call) => match call.body {
            Ok(body) => _ = connection.answer(call.stream, &body),
            Err(_) => _ = connection.answer_error(call.stream, 8, "too much"),
        },
        Event::Request { stream, is_end: true, .. } => {
            _ = connection.answer_head(stream, 404, &[], true)
        }
        Event::Data { stream, bytes, is_end } => {
            connection.release(stream, bytes.len());
            end(connection, stream, bytes, is_end);
        }
        Event::Trailers { stream, .. } => end(connection, stream, b"", true),
        _ => {}
    }
}

fn end(connection: &mut Connection, stream: StreamId, bytes: &[u8], is_end: bool) {
    if is_end {
        connection.answer_head(stream, 200, &[], false);
        connection.answer_data(stream, bytes, false);
        connection.answer_trailers(stream, &[(b"grpc-status", b"0")]);
    }
}

/// The stream of a frame.
#[derive(Debug, Clone, Copy)]
enum Of {
    Connection,
    /// The next one that the client opens.
    New,
    /// One of those that it opened last.
    Recent(usize),
    Any(u32),
}

/// Frames of one stream, and which it is.
type Part = (Of, Vec<Vec<u8>>);

fn new() -> impl Strategy<Value = Of> {
    prop_oneof![20 => Just(Of::New), 1 => recent()]
}

fn recent() -> impl Strategy<Value = Of> {
    prop_oneof![60 => (0..3_usize).prop_map(Of::Recent), 1 => (0..40_u32).prop_map(Of::Any)]
}

/// Frames of every kind, mostly right, of streams that are mostly open.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let end = || prop_oneof![Just(END_STREAM), Just(0)];
    let body = || prop_oneof![8 => vec(any::<u8>(), 0..60), 1 => vec(Just(0), 0..3000)];
    let one = |flags, kind, payload: &[u8]| vec![frame(kind, flags, 0, payload)];
    let data =
        (recent(), end(), body()).prop_map(move |(of, flags, body)| (of, one(flags, DATA, &body)));
    let padded = (recent(), 0..4_u8, body()).prop_map(move |(of, padding, body)| {
        (of, one(PADDED, DATA, &[&[padding][..], &body, &vec![0; padding.into()]].concat()))
    });
    let heads = (new(), end(), block())
        .prop_map(move |(of, end, block)| (of, one(end | END_HEADERS, HEADERS, &block)));
    let call = (new(), block(), body()).prop_map(|(of, block, body)| {
        (of, vec![frame(HEADERS, END_HEADERS, 0, &block), frame(DATA, END_STREAM, 0, &body)])
    });
    let cut = (new(), end(), block(), any::<Index>()).prop_map(|(of, end, block, at)| {
        let (first, second) = block.split_at(at.index(block.len() + 1));
        (of, vec![frame(HEADERS, end, 0, first), frame(CONTINUATION, END_HEADERS, 0, second)])
    });
    let priority = (new(), block()).prop_map(move |(of, block)| {
        (of, one(END_HEADERS | HAS_PRIORITY, HEADERS, &[&[0, 0, 0, 0, 9][..], &block].concat()))
    });
    let reset = recent().prop_map(move |of| (of, one(0, RST_STREAM, &[0, 0, 0, 8])));
    let ping = any::<[u8; 8]>().prop_map(move |payload| (Of::Connection, one(0, PING, &payload)));
    let window = (prop_oneof![Just(Of::Connection), recent()], 1..40_000_u32)
        .prop_map(move |(of, bytes)| (of, one(0, WINDOW_UPDATE, &bytes.to_be_bytes())));
    let settings = [(1, 0), (1, 90), (1, 4096), (2, 1), (4, 0), (4, 40), (4, 65_535), (5, 20_000)];
    let setting =
        prop::sample::select(settings.to_vec()).prop_map(move |(name, value): (u16, u32)| {
            let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
            (Of::Connection, one(0, SETTINGS, &payload))
        });
    let kinds = prop_oneof![
        Just(PRIORITY),
        Just(RST_STREAM),
        Just(PUSH_PROMISE),
        Just(GOAWAY),
        Just(WINDOW_UPDATE),
        Just(CONTINUATION),
        any::<u8>(),
    ];
    let other =
        (kinds, prop_oneof![Just(0), Just(ACK), any::<u8>()], recent(), vec(any::<u8>(), 0..12))
            .prop_map(move |(kind, flags, of, payload)| (of, one(flags, kind, &payload)));
    let part = prop_oneof![
        20 => data, 4 => padded, 20 => heads, 20 => call, 4 => cut, 4 => priority, 4 => reset, 4 => ping,
        4 => window, 4 => setting, 1 => other,
    ];
    vec(part, 0..60).prop_map(|parts| numbered(&parts))
}

/// The frames with the numbers of their streams.
fn numbered(parts: &[Part]) -> Vec<u8> {
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    sent.extend(frame(HEADERS, END_HEADERS, 1, &head(PATH, &[])));
    let mut next = 3_u32;
    for (of, frames) in parts {
        let stream = match of {
            Of::Connection => 0,
            Of::New => next,
            Of::Recent(back) => next.saturating_sub(2 * (*back as u32 + 1)).max(1),
            Of::Any(stream) => *stream,
        };
        next += if matches!(of, Of::New) { 2 } else { 0 };
        for frame in frames {
            let mut frame = frame.clone();
            frame[5..9].copy_from_slice(&stream.to_be_bytes());
            sent.extend(frame);
        }
    }
    sent
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    let call = prop_oneof![
        Just(head(PATH, &[])),
        Just(head(PATH, &[("traceparent", "00-1")])),
        Just(head("/other", &[("cookie", "a=b"), ("cookie", "c=d")])),
        Just(head(PATH, &[("content-length", "40")])),
        Just(head(PATH, &[("A", "b")])),
        Just(head(PATH, &[("a", &*"v".repeat(2500))])),
        Just(fields(&[("grpc-timing", "1")])),
        Just([head(PATH, &[]), inserted("a", &"v".repeat(900))].concat()),
    ];
    // References to entries of the table that may not be there, and any bytes.
    let wrong =
        prop_oneof![Just([head(PATH, &[]), vec![0xbe, 0xbe]].concat()), vec(any::<u8>(), 0..40)];
    prop_oneof![40 => call, 1 => wrong]
}

/// Where bytes are cut, as parts of their length.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..20)
}

fn check(sent: &[u8], cuts: &[Index]) {
    let mut at_once = Server::new();
    at_once.read(sent);
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
    cuts.extend([0, sent.len()]);
    cuts.sort_unstable();
    let mut cut = Server::new();
    cuts.windows(2).for_each(|ends| cut.read(&sent[ends[0]..ends[1]]));
    assert_eq!(at_once.events, cut.events);
    assert_eq!(at_once.output, cut.output);
    let budget = cut.budget.clone();
    drop(cut);
    assert_eq!(budget.kept(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_do_the_same_in_any_pieces(sent in vec(any::<u8>(), 0..400), cuts in cuts()) {
        check(&sent, &cuts);
        check(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &sent].concat(), &cuts);
    }

    #[test]
    fn frames_do_the_same_in_any_pieces_and_keep_to_the_bounds(sent in frames(), cuts in cuts()) {
        check(&sent, &cuts);
    }

    /// Frames of which a byte has been changed.
    #[test]
    fn frames_with_a_wrong_byte_keep_to_the_bounds(
        mut sent in frames(), at in any::<Index>(), byte in any::<u8>(), cuts in cuts(),
    ) {
        let at = at.index(sent.len());
        sent[at] = byte;
        check(&sent, &cuts);
    }
}
