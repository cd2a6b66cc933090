//! Frames of a client of HTTP/2, mostly right, at once and each in two pieces.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::http2::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, head,
};
use tollgate_fuzz::http2::{self, PATH};

/// The most frames that are tried.
const MOST: usize = 60;

#[derive(Debug, Arbitrary)]
struct Part<'a> {
    of: Of,
    what: What<'a>,
    cut: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Of {
    /// The stream that was opened last, or one of those before it.
    Recent(u8),
    Any(u16),
}

#[derive(Debug, Arbitrary)]
enum What<'a> {
    Head { is_end: bool, block: Block<'a>, priority: Option<[u8; 5]>, parts: Option<u8> },
    Data { is_end: bool, padding: Option<u8>, body: &'a [u8] },
    Zeros { is_end: bool, length: u16 },
    Reset(u8),
    Window { is_of_connection: bool, increment: u32 },
    Setting(u8, u32),
    Acknowledgement,
    Ping([u8; 8]),
    Priority([u8; 5]),
    Raw { kind: u8, flags: u8, payload: &'a [u8] },
}

#[derive(Debug, Arbitrary)]
enum Block<'a> {
    Call(Vec<Field<'a>>),
    Other(Vec<Field<'a>>),
    Trailers(Vec<Field<'a>>),
    Bytes(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Field<'a> {
    Index(u8),
    Length(u16),
    Trace(bool, &'a [u8]),
    Cookie(&'a [u8]),
    Authority(&'a [u8]),
    Any(bool, &'a [u8], &'a [u8]),
    Size(u8),
}

fuzz_target!(|parts: Vec<Part<'_>>| {
    let mut frames = vec![[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()];
    let mut pieces = frames.clone();
    // The number of the next stream.
    let mut next = 1;
    for Part { of, what, cut } in parts.iter().take(MOST) {
        let bytes = what.written(*of, &mut next);
        let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
        pieces.extend([first.to_vec(), second.to_vec()]);
        frames.push(bytes);
    }
    http2::check_pieces(&frames.concat(), pieces.iter().map(|piece| &**piece));
});

impl What<'_> {
    fn written(&self, of: Of, next: &mut u32) -> Vec<u8> {
        let stream = match of {
            Of::Recent(back) => next.saturating_sub(2 * (u32::from(back) % 4 + 1)).max(1),
            Of::Any(stream) => stream.into(),
        };
        let end = |is_end: &bool| if *is_end { END_STREAM } else { 0 };
        match self {
            Self::Head { is_end, block, priority, parts } => {
                let is_new = !matches!(block, Block::Trailers(_)) && matches!(of, Of::Recent(_));
                let stream = if is_new { *next } else { stream };
                *next += if is_new { 2 } else { 0 };
                let (flags, block) = match priority {
                    Some(priority) => (end(is_end) | 0x20, [priority, &*block.written()].concat()),
                    None => (end(is_end), block.written()),
                };
                let Some(at) = parts else {
                    return frame(HEADERS, flags | END_HEADERS, stream, &block);
                };
                let (first, second) = block.split_at(usize::from(*at).min(block.len()));
                let mut frames = frame(HEADERS, flags, stream, first);
                frames.extend(frame(CONTINUATION, END_HEADERS, stream, second));
                frames
            }
            Self::Data { is_end, padding: None, body } => frame(DATA, end(is_end), stream, body),
            Self::Data { is_end, padding: Some(padding), body } => {
                let payload = [&[*padding][..], body, &vec![0; usize::from(*padding)]].concat();
                frame(DATA, end(is_end) | PADDED, stream, &payload)
            }
            Self::Zeros { is_end, length } => {
                frame(DATA, end(is_end), stream, &vec![0; usize::from(*length) % 20_000])
            }
            Self::Reset(code) => frame(RST_STREAM, 0, stream, &[0, 0, 0, *code]),
            Self::Window { is_of_connection, increment } => {
                let stream = if *is_of_connection { 0 } else { stream };
                frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
            }
            Self::Setting(name, value) => {
                let payload = [&[0, *name][..], &value.to_be_bytes()].concat();
                frame(SETTINGS, 0, 0, &payload)
            }
            Self::Acknowledgement => frame(SETTINGS, 1, 0, &[]),
            Self::Ping(payload) => frame(PING, 0, 0, payload),
            Self::Priority(payload) => frame(PRIORITY, 0, stream, payload),
            Self::Raw { kind, flags, payload } => frame(*kind, *flags, stream, payload),
        }
    }
}

impl Block<'_> {
    fn written(&self) -> Vec<u8> {
        let (mut block, fields) = match self {
            Self::Call(fields) => (head(PATH), fields),
            Self::Other(fields) => (head("/other"), fields),
            Self::Trailers(fields) => (Vec::new(), fields),
            Self::Bytes(bytes) => return bytes.to_vec(),
        };
        if let Some(Field::Size(size)) = fields.first() {
            block.insert(0, 0x20 | (size % 31));
        }
        fields.iter().for_each(|field| block.extend(field.written()));
        block
    }
}

impl Field<'_> {
    fn written(&self) -> Vec<u8> {
        match self {
            Self::Index(index) => vec![0x80 | (index % 127)],
            Self::Length(length) => field(false, b"content-length", length.to_string().as_bytes()),
            Self::Trace(is_inserted, value) => field(*is_inserted, b"traceparent", value),
            Self::Cookie(value) => field(false, b"cookie", value),
            Self::Authority(value) => field(true, b":authority", value),
            Self::Any(is_inserted, name, value) => field(*is_inserted, name, value),
            Self::Size(_) => Vec::new(),
        }
    }
}
