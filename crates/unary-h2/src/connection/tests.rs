use super::*;
use crate::hpack::{self, put_literal};

const PATH: &str = "/shop.Cart/Add";

/// A client that writes frames by hand, and the connection that it talks to.
struct Client {
    connection: Connection,
    sent: Vec<u8>,
    decoder: Decoder<()>,
}

/// What came of the bytes that a client has sent.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Call(u32, Result<Vec<u8>, Unread>),
    Request(u32, String),
    Data(u32, usize, bool),
    Trailers(u32),
    Reset(u32, Code),
    Refused(u32, Refused),
    GoAway(Code),
    Failed(ConnectionError),
}

/// A frame that came back.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Names;

impl crate::hpack::Dictionary for Names {
    type Meaning = ();
    fn meaning(&self, _: &[u8], _: &[u8]) {}
    fn static_meaning(&self, _: usize) -> Option<()> {
        Some(())
    }
}

fn config(limits: Limits) -> Arc<Config> {
    Arc::new(Config { vocabulary: Vocabulary::new([PATH], ["traceparent"]), limits })
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Client {
    fn with(limits: Limits) -> Self {
        let connection = Connection::new(config(limits), Budget::new(usize::MAX), at(1));
        Self { connection, sent: PREFACE.to_vec(), decoder: Decoder::new(usize::MAX) }
    }

    /// Past the exchange of settings.
    fn open(limits: Limits) -> Self {
        let mut client = Self::with(limits);
        client.frame(kind::SETTINGS, 0, 0, &[]);
        assert_eq!(client.seen(), []);
        let frames = client.frames();
        let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.flags)).collect();
        let (settings, window) = (kind::SETTINGS, kind::WINDOW_UPDATE);
        assert_eq!(kinds, [(settings, 0), (window, 0), (settings, flag::ACK)]);
        client
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame::put(kind, flags, StreamId(stream), payload, &mut self.sent);
    }

    fn head(&mut self, stream: u32, flags: u8, path: &str, more: &[(&str, &str)]) {
        let block = block(path, more);
        self.frame(kind::HEADERS, flags | flag::END_HEADERS, stream, &block);
    }

    fn call(&mut self, stream: u32, body: &[u8]) {
        self.head(stream, 0, PATH, &[]);
        self.frame(kind::DATA, flag::END_STREAM, stream, body);
    }

    /// Has the connection read all that was sent, a turn after another.
    fn seen(&mut self) -> Vec<Seen> {
        let sent = std::mem::take(&mut self.sent);
        let mut input = &*sent;
        let mut seen = Vec::new();
        self.connection.begin_turn(at(1));
        loop {
            match self.connection.receive(&mut input) {
                Ok(Some(event)) => seen.push(see(event)),
                Ok(None) if self.connection.is_turn_over() => self.connection.begin_turn(at(1)),
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Failed(error));
                    break;
                }
            }
        }
        self.sent = input.to_vec();
        seen
    }

    /// What came back since.
    fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !self.connection.output().is_empty() {
            let output = self.connection.output().to_vec();
            self.connection.written(output.len());
            let mut rest = &*output;
            while let Some(head) = frame::Head::read(rest) {
                let payload = rest[HEAD..HEAD + head.length].to_vec();
                frames.push(Frame {
                    kind: head.kind,
                    flags: head.flags,
                    stream: head.stream.0,
                    payload,
                });
                rest = &rest[HEAD + head.length..];
            }
            assert!(rest.is_empty());
        }
        frames
    }

    fn fields(&mut self, frame: &Frame) -> Vec<String> {
        assert_eq!(frame.kind, kind::HEADERS);
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.decoder
            .decode(&frame.payload, &Names, |field| {
                fields.push(format!("{}: {}", text(field.name), text(field.value)));
            })
            .unwrap();
        fields
    }

    fn failure(&mut self) -> ConnectionError {
        match self.seen().pop() {
            Some(Seen::Failed(error)) => {
                let goaway = self.frames().pop().unwrap();
                assert_eq!(goaway.kind, kind::GOAWAY);
                assert_eq!(goaway.payload[4..8], error.code.0.to_be_bytes());
                assert!(self.connection.is_finished());
                error
            }
            other => panic!("{other:?}"),
        }
    }
}

fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let first =
        [(":method", "POST"), (":scheme", "http"), (":authority", "a|b/c"), (":path", path)];
    let fields = first.iter().filter(|(name, value)| *name != ":path" || !value.is_empty());
    for (name, value) in fields.chain(&[("content-type", "application/grpc")]).chain(more) {
        put_literal(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

fn see(event: Event<'_>) -> Seen {
    match event {
        Event::Call(call) => {
            assert!(call.is_post && call.is_grpc);
            Seen::Call(call.stream.0, call.body.map(Cow::into_owned))
        }
        Event::Request { stream, request, .. } => {
            Seen::Request(stream.0, String::from_utf8(request.path).unwrap())
        }
        Event::Data { stream, bytes, is_end } => Seen::Data(stream.0, bytes.len(), is_end),
        Event::Trailers { stream, .. } => Seen::Trailers(stream.0),
        Event::Reset { stream, code } => Seen::Reset(stream.0, code),
        Event::Refused { stream, reason } => Seen::Refused(stream.0, reason),
        Event::GoAway { code } => Seen::GoAway(code),
    }
}

fn whole(stream: u32, body: &[u8]) -> Seen {
    Seen::Call(stream, Ok(body.to_vec()))
}

#[test]
fn a_call_is_answered_with_a_head_a_body_and_trailers() {
    let mut client = Client::open(Limits::default());
    for (stream, blocks) in [(1, [83, 15]), (3, [2, 1]), (5, [2, 1])] {
        client.call(stream, b"question");
        assert_eq!(client.seen(), [whole(stream, b"question")]);
        assert!(client.connection.answer(StreamId(stream), b"answer"));
        let frames = client.frames();
        let [head, body, trailers] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(client.fields(head), [":status: 200", "content-type: application/grpc"]);
        assert_eq!((body.kind, body.flags, &*body.payload), (kind::DATA, 0, &b"answer"[..]));
        assert_eq!(client.fields(trailers), ["grpc-status: 0"]);
        assert_eq!(trailers.flags, flag::END_HEADERS | flag::END_STREAM);
        assert!(head.payload.len() <= blocks[0] && trailers.payload.len() <= blocks[1]);
        assert!(!client.connection.answer(StreamId(stream), b"again"));
        assert_eq!(client.connection.open_streams(), 0);
    }
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let mut whole_client = Client::with(Limits::default());
    whole_client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    whole_client.call(1, b"question");
    whole_client.head(3, 0, "/other", &[]);
    whole_client.frame(kind::DATA, flag::PADDED, 3, b"\x02abc\0\0");
    let sent = whole_client.sent.clone();
    let expected = whole_client.seen();
    assert_eq!(expected.len(), 3);
    for piece in 1..sent.len() {
        let mut client = Client::with(Limits::default());
        client.sent.clear();
        let mut seen = Vec::new();
        for bytes in sent.chunks(piece) {
            client.sent.extend_from_slice(bytes);
            seen.extend(client.seen());
        }
        assert_eq!(seen, expected, "{piece}");
        assert!(client.sent.is_empty());
    }
}

#[test]
fn a_body_in_parts_is_put_together_and_its_window_enlarged() {
    let mut client = Client::open(Limits::default());
    client.head(1, 0, PATH, &[("content-length", "200000")]);
    let mut windows = 0;
    for _ in 0..20 {
        client.frame(kind::DATA, 0, 1, &[0; 10_000]);
        assert_eq!(client.seen(), []);
        windows += client.frames().iter().filter(|frame| frame.kind == kind::WINDOW_UPDATE).count();
    }
    assert!(windows >= 4, "{windows}");
    client.frame(kind::DATA, flag::END_STREAM, 1, &[]);
    assert_eq!(client.seen(), [whole(1, &[0; 200_000])]);
}

#[test]
fn a_body_that_is_too_large_is_handed_over_unread_and_its_rest_ignored() {
    let mut client = Client::open(Limits { max_body: 100, ..Limits::default() });
    client.head(1, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 1, &[0; 60]);
    client.frame(kind::DATA, 0, 1, &[0; 60]);
    assert_eq!(client.seen(), [Seen::Call(1, Err(Unread::TooLarge))]);
    client.frame(kind::DATA, 0, 1, &[0; 60]);
    assert_eq!(client.seen(), []);
    assert!(client.connection.answer(StreamId(1), b"no"));
    let reset = client.frames().pop().unwrap();
    assert_eq!((reset.kind, &*reset.payload), (kind::RST_STREAM, &[0; 4][..]));
    // What was on its way.
    client.frame(kind::DATA, flag::END_STREAM, 1, &[0; 60]);
    assert_eq!(client.seen(), []);
    client.call(3, &[0; 101]);
    assert_eq!(client.seen(), [Seen::Call(3, Err(Unread::TooLarge))]);
}

#[test]
fn bodies_without_an_end_are_bounded_together() {
    let budget = Budget::new(100);
    let mut client = Client::open(Limits { max_partial: 80, ..Limits::default() });
    client.connection.share = Share::new(budget.clone(), 80);
    for stream in [1, 3, 5] {
        client.head(stream, 0, PATH, &[]);
        client.frame(kind::DATA, 0, stream, &[0; 40]);
    }
    assert_eq!(client.seen(), [Seen::Call(5, Err(Unread::TooMuch))]);
    assert_eq!(budget.kept(), 80);
    client.frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    client.frame(kind::DATA, flag::END_STREAM, 3, &[0; 40]);
    assert_eq!(client.seen(), [Seen::Reset(1, Code(0)), whole(3, &[0; 80])]);
    assert_eq!(budget.kept(), 0);
    client.head(7, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 7, &[0; 40]);
    client.seen();
    assert_eq!(budget.kept(), 40);
    drop(client);
    assert_eq!(budget.kept(), 0);
}

#[test]
fn an_answer_waits_for_room_in_both_windows() {
    let mut client = Client::open(Limits::default());
    client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]);
    client.call(1, b"q");
    assert_eq!(client.seen(), [whole(1, b"q")]);
    assert!(client.connection.answer(StreamId(1), &[0; 25]));
    let sizes = |frames: &[Frame]| -> Vec<usize> {
        frames
            .iter()
            .filter(|frame| frame.kind == kind::DATA)
            .map(|frame| frame.payload.len())
            .collect()
    };
    assert_eq!(sizes(&client.frames()), [10]);
    assert_eq!(client.connection.queued(StreamId(1)), Some(15));
    client.frame(kind::WINDOW_UPDATE, 0, 1, &10_u32.to_be_bytes());
    client.seen();
    assert_eq!(sizes(&client.frames()), [10]);
    // A larger initial window enlarges that of the open stream.
    client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 20]);
    client.seen();
    let frames = client.frames();
    assert_eq!(sizes(&frames), [5]);
    let trailers = frames.last().unwrap();
    assert_eq!(client.fields(trailers), ["grpc-status: 0"]);
    assert_eq!(client.connection.open_streams(), 0);
}

#[test]
fn answers_wait_in_line_for_the_window_of_the_connection() {
    let mut client = Client::open(Limits::default());
    for stream in (1..=13).step_by(2) {
        client.call(stream, b"q");
        assert_eq!(client.seen(), [whole(stream, b"q")]);
        assert!(client.connection.answer(StreamId(stream), &[0; 10_000]));
    }
    let sent = |frames: &[Frame]| -> usize {
        frames
            .iter()
            .filter(|frame| frame.kind == kind::DATA)
            .map(|frame| frame.payload.len())
            .sum()
    };
    assert_eq!(sent(&client.frames()), 65_535);
    client.frame(kind::WINDOW_UPDATE, 0, 0, &10_000_u32.to_be_bytes());
    client.seen();
    assert_eq!(sent(&client.frames()), 4_465);
    assert_eq!(client.connection.open_streams(), 0);
}

#[test]
fn what_the_client_has_reset_is_not_answered() {
    let mut client = Client::open(Limits::default());
    client.call(1, b"q");
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(client.seen(), [whole(1, b"q"), Seen::Reset(1, Code::CANCEL)]);
    assert!(!client.connection.is_wanted(StreamId(1)));
    assert!(!client.connection.answer(StreamId(1), b"a"));
    assert!(!client.connection.answer_error(StreamId(1), 8, "no"));
    assert_eq!(client.frames(), []);
}

#[test]
fn a_call_that_is_reset_behind_its_last_byte_is_made() {
    let mut client = Client::open(Limits::default());
    client.head(1, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 1, b"\0\0\0\0\x02ab");
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    client.head(3, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 3, b"\0\0\0\0\x02a");
    client.frame(kind::RST_STREAM, 0, 3, &8_u32.to_be_bytes());
    let expected =
        [whole(1, b"\0\0\0\0\x02ab"), Seen::Reset(1, Code::CANCEL), Seen::Reset(3, Code::CANCEL)];
    assert_eq!(client.seen(), expected);
    assert!(!client.connection.answer(StreamId(1), b"a"));
    assert_eq!(client.frames(), []);
}

#[test]
fn an_error_is_an_answer_of_trailers_only() {
    let mut client = Client::open(Limits::default());
    client.call(1, b"q");
    client.seen();
    assert!(client.connection.answer_error(StreamId(1), 3, "no domain: 100 %"));
    let frames = client.frames();
    let [head] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(head.flags, flag::END_HEADERS | flag::END_STREAM);
    let expected = [
        ":status: 200",
        "content-type: application/grpc",
        "grpc-status: 3",
        "grpc-message: no domain: 100 %25",
    ];
    assert_eq!(client.fields(head), expected);
}

/// RFC 7541, Section 4.2.
#[test]
fn a_client_with_a_small_table_is_told_that_it_is_used() {
    for (size, block) in [(0_u8, [":status: 200", "content-type: application/grpc"])] {
        let mut client = Client::open(Limits::default());
        client.frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, size]);
        for stream in [1, 3] {
            client.call(stream, b"q");
            assert_eq!(client.seen().len(), 1);
            assert!(client.connection.answer(StreamId(stream), b"a"));
            let frames: Vec<_> =
                client.frames().into_iter().filter(|frame| frame.kind == kind::HEADERS).collect();
            assert_eq!(client.fields(&frames[0]), block);
            assert_eq!(client.fields(&frames[1]), ["grpc-status: 0"]);
            assert_eq!(frames[0].payload[0] == 0x20, stream == 1);
        }
    }
}

#[test]
fn requests_of_other_paths_have_bodies_and_windows_of_their_own() {
    let mut client = Client::open(Limits::default());
    client.head(1, 0, "/other", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
    client.frame(kind::DATA, 0, 1, &[0; 16_000]);
    let expected = [Seen::Request(1, "/other".into()), Seen::Data(1, 16_000, false)];
    assert_eq!(client.seen(), expected);
    for _ in 0..3 {
        client.frame(kind::DATA, 0, 1, &[0; 16_000]);
    }
    assert_eq!(client.seen().len(), 3);
    assert_eq!(client.frames(), [], "not before it has been read");
    client.connection.release(StreamId(1), 64_000);
    assert_eq!(client.frames().len(), 1);
    client.head(1, flag::END_STREAM, "", &[]);
    // Pseudo-header fields in trailers.
    assert_eq!(
        client.seen(),
        [Seen::Refused(1, Refused::Malformed(Malformed::MisplacedPseudoField))]
    );
    client.head(3, 0, "/other", &[]);
    let mut trailers = Vec::new();
    put_literal(b"x", b"y", &mut trailers);
    client.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 3, &trailers);
    assert_eq!(client.seen(), [Seen::Request(3, "/other".into()), Seen::Trailers(3)]);
    assert!(client.connection.answer_head(StreamId(3), 404, &[(b"a", b"b")], false));
    assert!(client.connection.answer_data(StreamId(3), b"abc", false));
    assert!(client.connection.answer_trailers(StreamId(3), &[(b"c", b"d")]));
    assert!(!client.connection.answer_data(StreamId(3), b"abc", true));
    let frames = client.frames();
    let kinds: Vec<_> = frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [kind::RST_STREAM, kind::HEADERS, kind::DATA, kind::HEADERS]);
    assert_eq!(client.fields(&frames[1]), [":status: 404", "a: b"]);
    assert_eq!(client.fields(&frames[3]), ["c: d"]);
}

/// A server that answers before it has read the body, or gives the request up, would otherwise take a part of the
/// connection's window away for good.
#[test]
fn what_nobody_has_read_when_a_stream_ends_may_be_sent_again() {
    let connection_window = 70_000;
    let mut client = Client::open(Limits { connection_window, ..Limits::default() });
    let ends: [fn(&mut Client, StreamId); 3] = [
        |client, stream| assert!(client.connection.answer_head(stream, 404, &[], true)),
        |client, stream| client.connection.cancel(stream, Code::INTERNAL_ERROR),
        |client, stream| {
            client.frame(kind::RST_STREAM, 0, stream.0, &Code::CANCEL.0.to_be_bytes());
            assert_eq!(client.seen(), [Seen::Reset(stream.0, Code::CANCEL)]);
        },
    ];
    for (end, stream) in ends.iter().cycle().take(30).zip((1..).step_by(2)) {
        client.head(stream, 0, "/other", &[]);
        client.frame(kind::DATA, 0, stream, &[0; 16_000]);
        let expected = [Seen::Request(stream, "/other".into()), Seen::Data(stream, 16_000, false)];
        assert_eq!(client.seen(), expected);
        // A part has been read.
        client.connection.release(StreamId(stream), 6_000);
        end(&mut client, StreamId(stream));
        // What is said of it afterwards changes nothing.
        if stream % 4 == 1 {
            client.connection.release(StreamId(stream), 10_000);
        }
    }
    let window = client.connection.receive_window + i64::from(client.connection.released);
    assert_eq!(window, i64::from(connection_window));
}

#[test]
fn more_than_a_window_ends_the_stream_or_the_connection() {
    let limits = Limits { stream_window: 10, ..Limits::default() };
    let mut client = Client::open(limits);
    client.frame(kind::SETTINGS, flag::ACK, 0, &[]);
    client.head(1, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 1, &[0; 11]);
    assert_eq!(client.seen(), [Seen::Refused(1, Refused::FlowControl)]);
    let mut client = Client::open(Limits { connection_window: 70_000, ..Limits::default() });
    client.head(1, 0, "/other", &[]);
    client.head(3, 0, "/other", &[]);
    for _ in 0..4 {
        client.frame(kind::DATA, 0, 1, &[0; 16_000]);
    }
    client.frame(kind::DATA, 0, 3, &[0; 16_000]);
    assert_eq!(client.failure(), fail(Code::FLOW_CONTROL_ERROR, Reason::FlowControl));
}

#[test]
fn too_many_streams_are_refused_and_too_many_errors_end_the_connection() {
    let limits = Limits { max_streams: 2, max_errors: 3, ..Limits::default() };
    let mut client = Client::open(limits);
    for stream in (1..=9).step_by(2) {
        client.head(stream, 0, PATH, &[]);
    }
    let refused = |stream| Seen::Refused(stream, Refused::TooManyStreams);
    assert_eq!(client.seen(), [refused(5), refused(7), refused(9)]);
    client.head(11, 0, PATH, &[]);
    assert_eq!(client.failure(), fail(Code::ENHANCE_YOUR_CALM, Reason::TooManyErrors));
}

#[test]
fn resets_are_limited_if_the_server_wants() {
    let limits = Limits { max_resets: 10, ..Limits::default() };
    let mut client = Client::open(limits);
    for stream in (1..=21).step_by(2) {
        client.head(stream, 0, PATH, &[]);
        client.frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    assert_eq!(client.failure(), fail(Code::ENHANCE_YOUR_CALM, Reason::TooManyResets));
}

#[test]
fn headers_are_bounded_and_the_table_stays_in_step() {
    let limits = Limits { max_header_list: 1000, ..Limits::default() };
    let mut client = Client::open(limits.clone());
    let long = "x".repeat(900);
    client.head(1, flag::END_STREAM, PATH, &[("long", &long)]);
    assert_eq!(client.seen(), [Seen::Refused(1, Refused::HeadersTooLarge)]);
    let frames = client.frames();
    assert_eq!(client.fields(&frames[0]), [":status: 431"]);
    client.call(3, b"q");
    assert_eq!(client.seen(), [whole(3, b"q")]);
    // A block in many frames is too long before it is whole.
    let mut client = Client::open(limits);
    client.frame(kind::HEADERS, 0, 1, &[0; 1200]);
    client.frame(kind::CONTINUATION, 0, 1, &[0; 1200]);
    assert_eq!(client.failure(), fail(Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong));
    let mut client = Client::open(Limits::default());
    client.frame(kind::HEADERS, 0, 1, &[]);
    for _ in 0..=MAX_SHORT_CONTINUATIONS {
        client.frame(kind::CONTINUATION, 0, 1, &[]);
    }
    assert_eq!(client.failure(), fail(Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong));
}

#[test]
fn a_header_block_may_come_in_several_frames() {
    let mut client = Client::open(Limits::default());
    let block = block(PATH, &[]);
    client.frame(kind::HEADERS, flag::END_STREAM, 1, &block[..10]);
    client.frame(kind::CONTINUATION, 0, 1, &block[10..20]);
    client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &block[20..]);
    assert_eq!(client.seen(), [whole(1, b"")]);
    client.frame(kind::HEADERS, 0, 3, &block[..10]);
    client.frame(kind::PING, 0, 0, &[0; 8]);
    assert_eq!(client.failure().code, Code::PROTOCOL_ERROR);
}

#[test]
fn malformed_requests_are_reset_and_others_go_on() {
    let mut client = Client::open(Limits::default());
    let cases: [(&[(&str, &str)], Malformed); 5] = [
        (&[("Upper", "a")], Malformed::Name),
        (&[("a", "b\n")], Malformed::Value),
        (&[("connection", "close")], Malformed::ConnectionField),
        (&[(":path", "/b")], Malformed::MisplacedPseudoField),
        (&[("content-length", "5")], Malformed::ContentLength),
    ];
    let mut stream = 1;
    for (more, malformed) in cases {
        client.head(stream, 0, PATH, more);
        client.frame(kind::DATA, flag::END_STREAM, stream, b"1234");
        let expected = [Seen::Refused(stream, Refused::Malformed(malformed))];
        assert_eq!(client.seen(), expected);
        let reset = client.frames().pop().unwrap();
        assert_eq!((reset.kind, reset.stream), (kind::RST_STREAM, stream));
        stream += 2;
    }
    client.head(stream, flag::END_STREAM, "", &[]);
    let expected = Seen::Refused(stream, Refused::Malformed(Malformed::MissingPseudoField));
    assert_eq!(client.seen(), [expected]);
    client.call(stream + 2, b"q");
    assert_eq!(client.seen(), [whole(stream + 2, b"q")]);
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    type Send = fn(&mut Client);
    let cases: [(Code, Send); 22] = [
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::DATA, 0, 0, b"a")),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::DATA, 0, 1, b"a")),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::HEADERS, flag::END_HEADERS, 2, &[])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::RST_STREAM, 0, 1, &[0; 4])),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::RST_STREAM, 0, 1, &[0; 3])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::PUSH_PROMISE, 0, 1, &[0; 4])),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::PING, 0, 0, &[0; 7])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::PING, 0, 1, &[0; 8])),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::SETTINGS, 0, 0, &[0; 5])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::SETTINGS, 0, 1, &[])),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::SETTINGS, flag::ACK, 0, &[0; 6])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        (Code::FLOW_CONTROL_ERROR, |client| {
            client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]);
        }),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        (Code::FLOW_CONTROL_ERROR, |client| {
            client.frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
        }),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])),
        (Code::PROTOCOL_ERROR, |client| client.frame(kind::CONTINUATION, 0, 1, &[])),
        (Code::FRAME_SIZE_ERROR, |client| client.frame(kind::GOAWAY, 0, 0, &[0; 7])),
        (Code::COMPRESSION_ERROR, |client| {
            client.frame(kind::HEADERS, flag::END_HEADERS, 1, &[0x80]);
        }),
        (Code::PROTOCOL_ERROR, |client| {
            client.frame(kind::HEADERS, flag::END_HEADERS | flag::PADDED, 1, &[5, 0]);
        }),
        (Code::STREAM_CLOSED, |client| {
            client.call(1, b"q");
            assert_eq!(client.seen().len(), 1);
            assert!(client.connection.answer(StreamId(1), b"a"));
            client.head(1, flag::END_STREAM, PATH, &[]);
        }),
    ];
    for (at, (code, send)) in cases.into_iter().enumerate() {
        let mut client = Client::open(Limits::default());
        send(&mut client);
        assert_eq!(client.failure().code, code, "case {at}");
        client.call(9, b"q");
        assert_eq!(client.seen(), [], "nothing is read any more");
    }
    let mut client = Client::open(Limits::default());
    client.sent.extend_from_slice(&[0, 0x40, 1, kind::DATA, 0, 0, 0, 0, 1]);
    assert_eq!(client.failure().code, Code::FRAME_SIZE_ERROR);
    let mut client = Client::with(Limits::default());
    client.sent = b"GET / HTTP/1.1\r\n".to_vec();
    assert_eq!(client.failure(), fail(Code::PROTOCOL_ERROR, Reason::Preface));
    let mut client = Client::with(Limits::default());
    client.frame(kind::PING, 0, 0, &[0; 8]);
    assert_eq!(client.failure(), fail(Code::PROTOCOL_ERROR, Reason::Preface));
}

#[test]
fn frames_of_other_kinds_are_ignored_and_pings_answered() {
    let mut client = Client::open(Limits::default());
    client.frame(0xbe, 0xff, 7, &[0; 100]);
    client.frame(kind::PRIORITY, 0, 5, &[0; 5]);
    client.frame(kind::PING, 0, 0, b"12345678");
    assert_eq!(client.seen(), []);
    let frames = client.frames();
    assert_eq!(
        (frames.len(), frames[0].flags, &*frames[0].payload),
        (1, flag::ACK, &b"12345678"[..])
    );
}

#[test]
fn a_turn_ends_and_the_next_goes_on_where_it_ended() {
    let mut client = Client::open(Limits::default());
    for stream in 0..1000 {
        client.call(2 * stream + 1, &[0; 100]);
    }
    let sent = std::mem::take(&mut client.sent);
    let mut input = &*sent;
    let (mut calls, mut turns) = (0, 0);
    while !input.is_empty() {
        client.connection.begin_turn(at(1));
        turns += 1;
        let before = input.len();
        while let Some(event) = client.connection.receive(&mut input).unwrap() {
            let Event::Call(call) = event else { panic!("{event:?}") };
            let stream = call.stream;
            assert!(client.connection.answer(stream, b"a"));
            calls += 1;
        }
        assert!(before - input.len() < (16 << 10) + 400);
        assert_eq!(client.connection.open_streams(), 0, "a call is not cut in two");
    }
    assert_eq!(calls, 1000);
    assert!(turns >= 12, "{turns}");
}

#[test]
fn a_kept_body_that_ends_takes_a_turn() {
    let mut client = Client::open(Limits::default());
    for stream in [1, 3, 5] {
        client.head(stream, 0, PATH, &[]);
        for _ in 0..2 {
            client.frame(kind::DATA, 0, stream, &[0; 10_000]);
        }
    }
    assert_eq!(client.seen(), []);
    for stream in [1, 3, 5] {
        client.frame(kind::DATA, flag::END_STREAM, stream, &[]);
    }
    let sent = std::mem::take(&mut client.sent);
    let mut input = &*sent;
    for _ in [1, 3, 5] {
        client.connection.begin_turn(at(1));
        assert!(matches!(client.connection.receive(&mut input), Ok(Some(Event::Call(_)))));
        assert!(matches!(client.connection.receive(&mut input), Ok(None)));
    }
    assert!(input.is_empty());
}

#[test]
fn a_call_without_a_body_and_an_answer_without_room_are_given_up() {
    let mut client = Client::open(Limits::default());
    client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    client.head(1, 0, PATH, &[]);
    client.call(3, b"q");
    assert_eq!(client.seen(), [whole(3, b"q")]);
    assert!(client.connection.answer(StreamId(3), b"a"));
    client.frames();
    assert_eq!(client.connection.next_deadline(), Some(at(61)));
    client.connection.tick(at(60));
    assert_eq!(client.frames(), []);
    client.connection.tick(at(61));
    let stalled = |stream| Seen::Refused(stream, Refused::Stalled);
    client.frame(0xbe, 0, 0, &[]);
    assert_eq!(client.seen(), [stalled(1), stalled(3)]);
    assert_eq!(client.frames().len(), 2);
    assert_eq!(client.connection.next_deadline(), None);
}

#[test]
fn a_drain_takes_the_calls_that_were_on_their_way() {
    let mut client = Client::open(Limits::default());
    client.call(1, b"q");
    assert_eq!(client.seen().len(), 1);
    client.connection.drain(at(1));
    let frames = client.frames();
    let [goaway, ping] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((goaway.kind, &goaway.payload[..4]), (kind::GOAWAY, &[0x7f, 0xff, 0xff, 0xff][..]));
    client.call(3, b"q");
    assert_eq!(client.seen(), [whole(3, b"q")]);
    client.frame(kind::PING, flag::ACK, 0, &ping.payload);
    client.call(5, b"q");
    client.frame(kind::RST_STREAM, 0, 5, &[0; 4]);
    client.frame(kind::WINDOW_UPDATE, 0, 5, &[0, 0, 0, 1]);
    assert_eq!(client.seen(), []);
    let goaway = client.frames().pop().unwrap();
    assert_eq!(goaway.payload, [0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(!client.connection.is_finished());
    assert!(client.connection.answer(StreamId(1), b"a"));
    assert!(client.connection.answer(StreamId(3), b"a"));
    assert!(!client.connection.is_finished());
    client.frames();
    assert!(client.connection.is_finished());
}

#[test]
fn a_client_that_ignores_a_drain_is_left() {
    let mut client = Client::open(Limits::default());
    client.call(1, b"q");
    assert_eq!(client.seen().len(), 1);
    client.connection.drain(at(1));
    assert_eq!(client.connection.next_deadline(), Some(at(31)));
    client.connection.tick(at(30));
    assert!(!client.connection.is_finished());
    client.connection.tick(at(31));
    assert!(client.connection.is_finished());
}

/// RFC 9113, Section 6.9.2.
#[test]
fn a_larger_initial_window_may_take_no_window_beyond_the_largest() {
    for is_kept in [false, true] {
        let mut client = Client::open(Limits::default());
        client.head(1, 0, PATH, &[]);
        client.frame(kind::WINDOW_UPDATE, 0, 1, &0x7fff_0000_u32.to_be_bytes());
        if is_kept {
            client.frame(kind::DATA, 0, 1, b"q");
        }
        client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(client.failure().code, Code::FLOW_CONTROL_ERROR);
    }
}

#[test]
fn a_stream_that_has_ended_does_not_wait_for_the_window_of_the_connection() {
    let mut client = Client::open(Limits::default());
    client.call(1, b"q");
    client.seen();
    assert!(client.connection.answer(StreamId(1), &[0; 65_535]));
    client.frames();
    for stream in (3..=203).step_by(2) {
        client.call(stream, b"q");
        assert_eq!(client.seen(), [whole(stream, b"q")]);
        assert!(client.connection.answer(StreamId(stream), b"a"));
        assert_eq!(client.connection.send.queue_len(), 1);
        client.frame(kind::RST_STREAM, 0, stream, &[0; 4]);
        client.seen();
        assert_eq!(client.connection.send.queue_len(), 0);
    }
}

/// Three bytes that name an entry of the table are a field of 4 KB.
#[test]
fn fields_that_the_table_makes_long_end_the_connection_or_the_turn() {
    let repeated = |times: usize| {
        let mut block = block(PATH, &[]);
        hpack::put_inserted(&[b'n'; 4000], b"", &mut block);
        (0..times).for_each(|_| block.extend_from_slice(&[0x0f, 0x2f, 0]));
        block
    };
    let mut client = Client::open(Limits::default());
    client.frame(kind::HEADERS, flag::END_HEADERS, 1, &repeated(4000));
    let error = client.failure();
    assert_eq!((error.code, error.reason), (Code::ENHANCE_YOUR_CALM, Reason::HeadersTooLong));

    let mut client = Client::open(Limits::default());
    client.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &repeated(20));
    assert_eq!(client.seen(), [Seen::Refused(1, Refused::HeadersTooLarge)]);

    let mut client = Client::open(Limits::default());
    (1..=21).step_by(2).for_each(|stream| {
        client.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &repeated(12));
    });
    let sent = client.sent.clone();
    let mut input = &*sent;
    client.connection.begin_turn(at(1));
    let mut calls = 0;
    while let Some(event) = client.connection.receive(&mut input).unwrap() {
        assert!(matches!(event, Event::Call(_)));
        calls += 1;
    }
    assert!(client.connection.has_more() && (3..=5).contains(&calls), "{calls}");
}

/// RFC 9113, Section 6.9.3.
#[test]
fn a_small_window_holds_once_the_client_knows_it() {
    let mut client = Client::open(Limits { stream_window: 100, ..Limits::default() });
    client.call(1, &[0; 1000]);
    client.head(3, 0, PATH, &[]);
    (0..3).for_each(|_| client.frame(kind::DATA, 0, 3, &[0; 1000]));
    client.frame(kind::SETTINGS, flag::ACK, 0, &[]);
    client.head(5, 0, PATH, &[]);
    client.frame(kind::DATA, 0, 5, &[0; 101]);
    let expected = [whole(1, &[0; 1000]), Seen::Refused(5, Refused::FlowControl)];
    assert_eq!(client.seen(), expected);
}
