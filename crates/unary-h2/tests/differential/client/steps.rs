//! What a client may send.

use super::{Client, OTHER_PATH};
use crate::support::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, HEADERS, PADDED, PATH,
    PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame,
    head, inserted, literal,
};

type Write = fn(&mut Client) -> Option<Vec<u8>>;

/// What a client may do in one step: frames that are sent at once.
pub(crate) const STEPS: &[(&str, Write)] = &[
    // ---- What honest clients do ----
    ("a call", |client| Some(client.call(PATH, b"question"))),
    ("a call without a body", |client| {
        let stream = client.opened();
        Some(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(PATH, &[])))
    }),
    ("a call of many bytes", |client| {
        let stream = client.opened();
        let mut call = frame(HEADERS, END_HEADERS, stream, &head(PATH, &[]));
        call.extend(frame(DATA, 0, stream, &[7; 16_384]));
        call.extend(frame(DATA, END_STREAM, stream, &[8; 16_384]));
        Some(call)
    }),
    ("a call of another path", |client| Some(client.call(OTHER_PATH, b"question"))),
    ("a call with fields of the table", |client| {
        let stream = client.opened();
        let mut block = vec![0x83, 0x86];
        match client.table {
            true => block.extend([0xbf, 0xbe]),
            false => {
                block.extend(inserted(":path", PATH));
                block.extend(inserted("content-type", "application/grpc"));
            }
        }
        client.table = true;
        Some(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))
    }),
    ("a call with a field in Huffman's code, and one that no table may have", |client| {
        let mut block = b"\x83\x86\x04\x0e/shop.Cart/Add".to_vec();
        block.extend(b"\x0f\x10\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64\x10\x01a\x01b");
        Some(client.whole(&block))
    }),
    ("a call with a new size of the table", |client| {
        client.table = false;
        Some(client.whole(&[&[0x20, 0x3f, 0xe1, 0x1f][..], &head(PATH, &[])].concat()))
    }),
    ("a call with its length", |client| {
        let stream = client.opened();
        let block = head(PATH, &[("content-length", "3")]);
        let mut call = frame(HEADERS, END_HEADERS, stream, &block);
        call.extend(frame(DATA, 0, stream, b"a"));
        call.extend(frame(DATA, END_STREAM, stream, b"bc"));
        Some(call)
    }),
    ("a padded call", |client| {
        let stream = client.opened();
        let block = [&[3][..], &head(PATH, &[]), &[0; 3]].concat();
        let mut call = frame(HEADERS, END_HEADERS | PADDED, stream, &block);
        call.extend(frame(DATA, END_STREAM | PADDED, stream, b"\x05body\0\0\0\0\0"));
        Some(call)
    }),
    ("a call with a priority", |client| {
        let stream = client.opened();
        let block = [&[0x80, 0, 0, 0, 16][..], &head(PATH, &[])].concat();
        Some(frame(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, stream, &block))
    }),
    ("a call with CONTINUATION", |client| {
        let stream = client.opened();
        let block = head(PATH, &[]);
        let (first, rest) = block.split_at(client.random.place(block.len()));
        let (second, third) = rest.split_at(client.random.place(rest.len() + 1));
        let mut call = frame(HEADERS, END_STREAM, stream, first);
        call.extend(frame(CONTINUATION, 0, stream, second));
        call.extend(frame(CONTINUATION, END_HEADERS, stream, third));
        Some(call)
    }),
    ("a call with trailers", |client| {
        let stream = client.opened();
        let mut call = frame(HEADERS, END_HEADERS, stream, &head(PATH, &[]));
        call.extend(frame(DATA, 0, stream, b"question"));
        let block = literal("grpc-timing", "1");
        call.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        Some(call)
    }),
    ("a call with cookies", |client| {
        Some(client.whole(&head(PATH, &[("cookie", "a=b"), ("cookie", "c=d")])))
    }),
    ("a call with te: trailers", |client| Some(client.whole(&head(PATH, &[("te", "trailers")])))),
    ("a call, then its reset", |client| {
        let stream = client.opened();
        client.open.retain(|open| *open != stream);
        client.closed.push(stream);
        let mut call = frame(HEADERS, END_HEADERS, stream, &head(PATH, &[]));
        call.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        Some(call)
    }),
    ("a call without an authority", |client| {
        let block = fields(&[(":method", "POST"), (":scheme", "http"), (":path", PATH)]);
        Some(client.whole(&block))
    }),
    ("a gap between the numbers of streams", |client| {
        client.passed_over = Some(client.next + 2);
        client.next += 6;
        Some(client.call(PATH, b""))
    }),
    ("a head", |client| Some(client.begin(PATH))),
    ("a head of another path", |client| Some(client.begin(OTHER_PATH))),
    ("a part of a body", |client| Some(frame(DATA, 0, client.open()?, b"part"))),
    ("an empty part of a body", |client| Some(frame(DATA, 0, client.open()?, b""))),
    ("a padded part of a body", |client| {
        Some(frame(DATA, PADDED, client.open()?, b"\x03part\0\0\0"))
    }),
    ("the end of a body", |client| Some(frame(DATA, END_STREAM, client.ended()?, b"end"))),
    ("an empty end of a body", |client| Some(frame(DATA, END_STREAM, client.ended()?, b""))),
    ("trailers", |client| {
        let block = literal("a", "b");
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.ended()?, &block))
    }),
    ("a reset", |client| {
        let stream = client.ended()?;
        client.closed.extend(client.answered.pop());
        Some(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))
    }),
    ("PING", |client| {
        let payload = client.next.to_be_bytes().repeat(2);
        Some(frame(PING, 0, 0, &payload))
    }),
    ("an acknowledgement of a PING", |_| Some(frame(PING, ACK, 0, &[1; 8]))),
    ("SETTINGS without any", |_| Some(frame(SETTINGS, 0, 0, &[]))),
    ("SETTINGS of every kind", |_| {
        let settings = [(1, 100), (2, 0), (3, 7), (5, 20_000), (6, 9000), (0x99, 1)];
        Some(setting(&settings))
    }),
    ("SETTINGS of small windows", |client| {
        client.has_small_windows = true;
        Some(setting(&[(4, 5)]))
    }),
    ("SETTINGS of usual windows", |_| Some(setting(&[(4, 65_535)]))),
    ("WINDOW_UPDATE of the connection", |_| Some(window(0, 70_000))),
    ("WINDOW_UPDATE of an open stream", |client| Some(window(client.open()?, 100))),
    ("WINDOW_UPDATE of an answered stream", |client| Some(window(client.answered()?, 100))),
    ("WINDOW_UPDATE of a reset stream", |client| Some(window(client.closed()?, 100))),
    ("PRIORITY", |client| Some(frame(PRIORITY, 0, client.open()?, &[0, 0, 0, 0, 1]))),
    ("PRIORITY of an idle stream", |client| {
        Some(frame(PRIORITY, 0, client.next + 8, &[0, 0, 0, 0, 1]))
    }),
    ("a frame of an unknown kind", |client| Some(frame(0x42, 0xff, client.open()?, b"abc"))),
    ("a frame of an unknown kind and an idle stream", |client| {
        Some(frame(0x42, 0xff, client.next + 8, b"abc"))
    }),
    // ---- What makes a request malformed ----
    ("a name in uppercase", |client| Some(client.wrong(&[("Name", "a")]))),
    ("a name with a space", |client| Some(client.wrong(&[("a b", "a")]))),
    ("a name of no letters", |client| Some(client.wrong(&[("", "a")]))),
    ("a name with a colon within", |client| Some(client.wrong(&[("a:b", "a")]))),
    ("a name with a quote", |client| Some(client.wrong(&[("a\"b", "a")]))),
    ("a name beyond ASCII", |client| Some(client.wrong(&[("a\u{e4}", "a")]))),
    ("a value with NUL", |client| Some(client.wrong(&[("a", "b\0c")]))),
    ("a value with a line feed", |client| Some(client.wrong(&[("a", "b\nc")]))),
    ("a value with another control character", |client| Some(client.wrong(&[("a", "b\x01c")]))),
    ("a value with a space at its end", |client| Some(client.wrong(&[("a", "b ")]))),
    ("a field of connections", |client| Some(client.wrong(&[("connection", "close")]))),
    ("transfer-encoding", |client| Some(client.wrong(&[("transfer-encoding", "chunked")]))),
    ("te: gzip", |client| Some(client.wrong(&[("te", "gzip")]))),
    ("te: Trailers", |client| Some(client.wrong(&[("te", "Trailers")]))),
    ("a status of a request", |client| Some(client.wrong(&[(":status", "200")]))),
    ("an unknown pseudo-header field", |client| Some(client.wrong(&[(":a", "b")]))),
    ("a second path", |client| {
        let block = [&literal(":path", "/a")[..], &head(PATH, &[])].concat();
        Some(client.wrong_block(&block))
    }),
    ("a path behind other fields", |client| {
        Some(client.wrong_fields(&[
            (":method", "POST"),
            (":scheme", "http"),
            ("a", "b"),
            (":path", PATH),
        ]))
    }),
    ("no method", |client| Some(client.wrong_fields(&[(":scheme", "http"), (":path", PATH)]))),
    ("no scheme", |client| Some(client.wrong_fields(&[(":method", "POST"), (":path", PATH)]))),
    ("no path", |client| Some(client.wrong_fields(&[(":method", "POST"), (":scheme", "http")]))),
    ("an empty path", |client| Some(client.wrong_block(&head("", &[])))),
    ("a path without a slash", |client| Some(client.wrong_block(&head("shop", &[])))),
    ("a path with a space", |client| Some(client.wrong_block(&head("/a b", &[])))),
    ("a path beyond ASCII", |client| Some(client.wrong_block(&head("/\u{e4}", &[])))),
    ("a path with a fragment", |client| Some(client.wrong_block(&head("/a#b", &[])))),
    ("an empty method", |client| {
        Some(client.wrong_fields(&[(":method", ""), (":scheme", "http"), (":path", PATH)]))
    }),
    ("a method with a space", |client| {
        Some(client.wrong_fields(&[(":method", "A B"), (":scheme", "http"), (":path", PATH)]))
    }),
    ("a scheme that is none", |client| {
        Some(client.wrong_fields(&[(":method", "POST"), (":scheme", "1:"), (":path", PATH)]))
    }),
    ("CONNECT", |client| {
        Some(client.whole(&fields(&[(":method", "CONNECT"), (":authority", "a:1")])))
    }),
    ("CONNECT with a path", |client| {
        Some(client.wrong_fields(&[(":method", "CONNECT"), (":authority", "a"), (":path", "/")]))
    }),
    ("an authority of Istio", |client| Some(client.authority("outbound|8081||shop.default.svc"))),
    ("an authority with a slash", |client| Some(client.authority("a/b"))),
    ("an authority in percent encoding", |client| Some(client.authority("%2Ftmp%2Fshop.sock"))),
    ("an authority beyond ASCII", |client| Some(client.authority("\u{e4}"))),
    ("an empty authority", |client| Some(client.authority(""))),
    ("an authority with a user", |client| {
        Some(client.whole(&fields(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "user@shop"),
            (":path", PATH),
        ])))
    }),
    ("a length that is no number", |client| Some(client.wrong(&[("content-length", "a")]))),
    ("a length with a sign", |client| Some(client.wrong(&[("content-length", "+0")]))),
    ("two lengths", |client| {
        Some(client.wrong(&[("content-length", "0"), ("content-length", "1")]))
    }),
    ("the same length twice", |client| {
        Some(client.whole(&head(PATH, &[("content-length", "0"), ("content-length", "0")])))
    }),
    ("a length and no body", |client| Some(client.wrong(&[("content-length", "1")]))),
    ("a body that is too short", |client| Some(client.body_of(10, b"short"))),
    ("a body that is too long", |client| Some(client.body_of(3, b"longer"))),
    ("trailers with a pseudo-header field", |client| {
        let block = literal(":path", "/");
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.wrong_end()?, &block))
    }),
    ("trailers with a name in uppercase", |client| {
        let block = literal("A", "b");
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.wrong_end()?, &block))
    }),
    ("trailers that do not end the stream", |client| {
        Some(frame(HEADERS, END_HEADERS, client.wrong_end()?, &literal("a", "b")))
    }),
    ("fields that are too many", |client| {
        let value = "v".repeat(9000);
        Some(client.wrong(&[("a", &*value)]))
    }),
    // ---- What breaks a rule of a stream ----
    ("DATA of an answered stream", |client| Some(frame(DATA, 0, client.answered()?, b"more"))),
    ("DATA of a reset stream", |client| Some(frame(DATA, 0, client.closed()?, b"more"))),
    ("DATA of a stream that the server has reset", |client| {
        Some(frame(DATA, 0, client.refused()?, b"more"))
    }),
    ("a reset of an answered stream", |client| {
        Some(frame(RST_STREAM, 0, client.answered()?, &[0; 4]))
    }),
    ("a reset of a reset stream", |client| Some(frame(RST_STREAM, 0, client.closed()?, &[0; 4]))),
    ("trailers of a stream that the server has reset", |client| {
        let block = literal("a", "b");
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.refused()?, &block))
    }),
    ("WINDOW_UPDATE of 0 of an open stream", |client| Some(window(client.wrong_end()?, 0))),
    ("WINDOW_UPDATE of 0 of an answered stream", |client| Some(window(client.answered()?, 0))),
    ("WINDOW_UPDATE beyond the largest window of a stream", |client| {
        Some(window(client.wrong_end()?, 0x7fff_ffff))
    }),
    ("PRIORITY of a stream on itself", |client| {
        let stream = client.wrong_end()?;
        Some(frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat()))
    }),
    ("PRIORITY of a wrong size", |client| Some(frame(PRIORITY, 0, client.wrong_end()?, &[0; 4]))),
    ("PRIORITY of a wrong size of an idle stream", |client| {
        Some(frame(PRIORITY, 0, client.next + 8, &[0; 4]))
    }),
    ("too many streams", |client| {
        let mut heads = Vec::new();
        while client.open.len() <= crate::sides::MAX_STREAMS as usize {
            heads.extend(client.begin(PATH));
        }
        let refused = client.open.pop()?;
        client.refused.push(refused);
        Some(heads)
    }),
    ("a body beyond the stream's window", |client| {
        let stream = client.wrong_end()?;
        Some((0..5).flat_map(|_| frame(DATA, PADDED, stream, &[200; 16_384])).collect())
    }),
    // ---- What ends the connection ----
    ("a head of a reset stream", |client| {
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.closed()?, &head(PATH, &[])))
    }),
    ("a head of an answered stream", |client| {
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.answered()?, &head(PATH, &[])))
    }),
    ("a head with an even number", |client| {
        Some(frame(HEADERS, END_HEADERS, client.next + 1, &head(PATH, &[])))
    }),
    ("a head with the number 0", |_| Some(frame(HEADERS, END_HEADERS, 0, &head(PATH, &[])))),
    ("a head of a stream that was passed over", |client| {
        let stream = client.passed_over?;
        Some(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(PATH, &[])))
    }),
    ("a head that depends on itself", |client| {
        let stream = client.opened();
        let block = [&stream.to_be_bytes()[..], &[1], &head(PATH, &[])].concat();
        Some(frame(HEADERS, END_HEADERS | HAS_PRIORITY, stream, &block))
    }),
    ("a head with a part of a priority", |client| {
        Some(frame(HEADERS, END_HEADERS | HAS_PRIORITY, client.next, &[0; 4]))
    }),
    ("a head of padding", |client| {
        Some(frame(HEADERS, END_HEADERS | PADDED, client.next, &[9, 0x83, 0x86]))
    }),
    ("DATA of padding", |client| Some(frame(DATA, PADDED, client.open()?, &[9, 0, 0]))),
    ("DATA of nothing, padded", |client| Some(frame(DATA, PADDED, client.open()?, &[]))),
    ("DATA of an idle stream", |client| Some(frame(DATA, 0, client.next, b"a"))),
    ("DATA of an even stream", |_| Some(frame(DATA, 0, 2, b"a"))),
    ("DATA of the number 0", |_| Some(frame(DATA, 0, 0, b"a"))),
    ("a reset of an idle stream", |client| Some(frame(RST_STREAM, 0, client.next, &[0; 4]))),
    ("a reset of the number 0", |_| Some(frame(RST_STREAM, 0, 0, &[0; 4]))),
    ("a reset of a wrong size", |client| Some(frame(RST_STREAM, 0, client.open()?, &[0; 3]))),
    ("WINDOW_UPDATE of an idle stream", |client| Some(window(client.next, 1))),
    ("WINDOW_UPDATE of 0", |_| Some(window(0, 0))),
    ("WINDOW_UPDATE beyond the largest window", |_| Some(window(0, 0x7fff_ffff))),
    ("WINDOW_UPDATE of a wrong size", |_| Some(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]))),
    ("PRIORITY of the number 0", |_| Some(frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1]))),
    ("SETTINGS of a stream", |client| Some(frame(SETTINGS, 0, client.open()?, &[]))),
    ("SETTINGS of a wrong size", |_| Some(frame(SETTINGS, 0, 0, &[0; 5]))),
    ("SETTINGS that acknowledge and set", |_| Some(frame(SETTINGS, ACK, 0, &[0; 6]))),
    ("SETTINGS of a push that is no truth value", |_| Some(setting(&[(2, 2)]))),
    ("SETTINGS of a window beyond the largest", |_| Some(setting(&[(4, 0x8000_0000)]))),
    ("SETTINGS that take a stream's window beyond the largest", |client| {
        Some([window(client.open()?, 0x7fff_0000), setting(&[(4, 0x7fff_ffff)])].concat())
    }),
    ("SETTINGS of frames that are too small", |_| Some(setting(&[(5, 16_383)]))),
    ("SETTINGS of frames that are too large", |_| Some(setting(&[(5, 1 << 24)]))),
    ("PING of a stream", |client| Some(frame(PING, 0, client.open()?, &[0; 8]))),
    ("PING of a wrong size", |_| Some(frame(PING, 0, 0, &[0; 7]))),
    ("GOAWAY", |_| Some(frame(GOAWAY, 0, 0, &[0; 8]))),
    ("GOAWAY of a stream", |client| Some(frame(GOAWAY, 0, client.open()?, &[0; 8]))),
    ("GOAWAY of a wrong size", |_| Some(frame(GOAWAY, 0, 0, &[0; 7]))),
    ("PUSH_PROMISE", |client| {
        let block = [&[0, 0, 0, 2][..], &head(PATH, &[])].concat();
        Some(frame(PUSH_PROMISE, END_HEADERS, client.open()?, &block))
    }),
    ("CONTINUATION of nothing", |client| {
        Some(frame(CONTINUATION, END_HEADERS, client.open()?, &head(PATH, &[])))
    }),
    ("a header block that is interrupted", |client| {
        let mut frames = frame(HEADERS, 0, client.next, &head(PATH, &[]));
        frames.extend(frame(PING, 0, 0, &[0; 8]));
        Some(frames)
    }),
    ("a header block that goes on on another stream", |client| {
        let mut frames = frame(HEADERS, 0, client.next, &head(PATH, &[]));
        frames.extend(frame(CONTINUATION, END_HEADERS, client.next + 2, &[]));
        Some(frames)
    }),
    ("a header block of many frames", |client| {
        let mut frames = frame(HEADERS, END_STREAM, client.next, &head(PATH, &[]));
        (0..2000).for_each(|_| frames.extend(frame(CONTINUATION, 0, client.next, &[])));
        Some(frames)
    }),
    ("a header block that is too long", |client| {
        let block = [head(PATH, &[]), literal("a", &"v".repeat(120_000))].concat();
        let mut parts = block.chunks(16_384);
        let mut frames = frame(HEADERS, END_STREAM, client.next, parts.next()?);
        parts.for_each(|part| frames.extend(frame(CONTINUATION, 0, client.next, part)));
        frames.extend(frame(CONTINUATION, END_HEADERS, client.next, &[]));
        Some(frames)
    }),
    ("a header block of many fields of the table", |client| {
        client.table = false;
        let mut block = [head(PATH, &[]), inserted("a", &"v".repeat(3000))].concat();
        block.extend([0xbe; 4000]);
        Some(frame(HEADERS, END_HEADERS | END_STREAM, client.next, &block))
    }),
    ("an index without an entry", |client| Some(client.broken_block(&[0x83, 0xff, 0x00]))),
    ("an index of 0", |client| Some(client.broken_block(&[0x80]))),
    ("a string that is no Huffman code", |client| {
        Some(client.broken_block(b"\x00\x01a\x84\xff\xff\xff\xff"))
    }),
    ("a Huffman code with wrong padding", |client| Some(client.broken_block(b"\x00\x01a\x81\x18"))),
    ("a header block that ends within a field", |client| Some(client.broken_block(b"\x00\x05ab"))),
    ("a header block that ends within an integer", |client| Some(client.broken_block(b"\x7f\x80"))),
    ("an integer that is too long", |client| {
        Some(client.broken_block(b"\x7f\x80\x80\x80\x80\x80\x80\x80\x00"))
    }),
    ("a size of the table behind a field", |client| Some(client.broken_block(&[0x83, 0x20]))),
    ("a size of the table that was not allowed", |client| {
        Some(client.broken_block(&[0x3f, 0xe2, 0x1f]))
    }),
    ("a frame that is too long", |client| Some(frame(DATA, 0, client.open()?, &[0; 16_385]))),
    ("a frame of an unknown kind that is too long", |_| Some(frame(0x42, 0, 0, &[0; 16_385]))),
];

/// The steps above this one are taken in turn with those below it, which are mostly the last.
pub(super) const FIRST_WRONG: &str = "a name in uppercase";

/// How every script begins. The acknowledgement comes once the server has sent its settings.
pub(crate) fn opening() -> [(&'static str, Vec<u8>); 2] {
    let preface = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    // In which order answers share a window of the connection that is too small is each server's own matter.
    let acknowledgement = [frame(SETTINGS, ACK, 0, &[]), window(0, 1 << 24)].concat();
    [("the preface", preface), ("an acknowledgement of SETTINGS", acknowledgement)]
}

/// How connections begin, other than by the preface and SETTINGS.
pub(crate) fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let then = |frame: &[u8]| [PREFACE, frame].concat();
    vec![
        ("a request of HTTP/1.1", b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n".to_vec()),
        ("a preface with a wrong byte", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r ".to_vec()),
        ("PING before SETTINGS", then(&frame(PING, 0, 0, &[0; 8]))),
        ("a head before SETTINGS", then(&frame(HEADERS, END_HEADERS, 1, &head(PATH, &[])))),
        ("DATA before SETTINGS", then(&frame(DATA, 0, 1, b"a"))),
        ("an acknowledgement before SETTINGS", then(&frame(SETTINGS, ACK, 0, &[]))),
        ("an unknown frame before SETTINGS", then(&frame(0x42, 0, 0, &[]))),
        ("SETTINGS of a wrong size at first", then(&frame(SETTINGS, 0, 0, &[0; 5]))),
    ]
}

fn setting(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload = settings
        .iter()
        .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
    frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}
