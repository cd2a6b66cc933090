//! Frames (RFC 9113, Sections 4 and 6).

/// What a client sends before its first frame (Section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of the head of every frame (Section 4.1).
pub(crate) const HEAD: usize = 9;

/// How long the payload of a frame may be, in both directions: the value that every endpoint accepts, and that this
/// crate does not change (Section 4.2).
pub(crate) const MAX_PAYLOAD: usize = 1 << 14;

/// The largest window (Section 6.9.1).
pub(crate) const MAX_WINDOW: i64 = (1 << 31) - 1;

/// The window of a stream and of a connection until another one is agreed (Section 6.9.2).
pub(crate) const DEFAULT_WINDOW: i64 = (1 << 16) - 1;

/// The same, as SETTINGS have it.
pub(crate) const DEFAULT_WINDOW_SIZE: u32 = (1 << 16) - 1;

/// The kinds of frame (Section 6). A frame of another kind is ignored (Section 4.1).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// The flags of frames.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// The settings (Section 6.5.2).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream or a connection ends (Section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Code {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The protocol is not kept.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// This end has a fault.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// More is sent than the windows allow.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// Settings are not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(4);
    /// A frame is for a stream that is closed.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame has a wrong size.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// A call was not begun, and may be made again.
    pub const REFUSED_STREAM: Self = Self(7);
    /// A call is not wanted any more.
    pub const CANCEL: Self = Self(8);
    /// Headers cannot be decompressed.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// The peer makes this end do too much.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    /// The name that RFC 9113 gives it; `UNKNOWN` for codes that it does not define.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "NO_ERROR",
            1 => "PROTOCOL_ERROR",
            2 => "INTERNAL_ERROR",
            3 => "FLOW_CONTROL_ERROR",
            4 => "SETTINGS_TIMEOUT",
            5 => "STREAM_CLOSED",
            6 => "FRAME_SIZE_ERROR",
            7 => "REFUSED_STREAM",
            8 => "CANCEL",
            9 => "COMPRESSION_ERROR",
            10 => "CONNECT_ERROR",
            11 => "ENHANCE_YOUR_CALM",
            12 => "INADEQUATE_SECURITY",
            13 => "HTTP_1_1_REQUIRED",
            _ => "UNKNOWN",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of a stream. Those of calls are odd (Section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    /// The largest number.
    pub(crate) const MAX: Self = Self((1 << 31) - 1);

    /// The connection itself.
    pub(crate) const CONNECTION: Self = Self(0);

    /// The number, 1 to 2^31 - 1.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: StreamId,
}

impl Head {
    /// Reads the head at the front of `bytes`; `None` if they are too few.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, id @ ..] = *bytes.first_chunk::<HEAD>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The reserved bit is ignored.
        let stream = StreamId(u32::from_be_bytes(id) & 0x7fff_ffff);
        Some(Self { length, kind, flags, stream })
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends the head of a frame whose payload has `length` bytes, at most [`MAX_PAYLOAD`].
#[inline]
pub(crate) fn put_head(length: usize, kind: u8, flags: u8, stream: StreamId, out: &mut Vec<u8>) {
    let [_, _, _, _, _, a, b, c] = (length as u64).to_be_bytes();
    let [d, e, f, g] = stream.0.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// What bytes take of a window, which is signed since it may become negative (Section 6.9.2).
pub(crate) fn window_of(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Appends a frame with a short payload.
pub(crate) fn put(kind: u8, flags: u8, stream: StreamId, payload: &[u8], out: &mut Vec<u8>) {
    put_head(payload.len(), kind, flags, stream, out);
    out.extend_from_slice(payload);
}

/// Appends a reset of a stream (Section 6.4).
pub(crate) fn put_reset(stream: StreamId, code: Code, out: &mut Vec<u8>) {
    put(kind::RST_STREAM, 0, stream, &code.0.to_be_bytes(), out);
}

/// Appends an increment of a window (Section 6.9).
pub(crate) fn put_window_update(stream: StreamId, bytes: u32, out: &mut Vec<u8>) {
    put(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes(), out);
}

/// Appends the end of the connection (Section 6.8).
pub(crate) fn put_goaway(last: StreamId, code: Code, debug: &[u8], out: &mut Vec<u8>) {
    put_head(8 + debug.len(), kind::GOAWAY, 0, StreamId::CONNECTION, out);
    out.extend_from_slice(&last.0.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Takes the padding off the payload of a DATA or HEADERS frame (Sections 6.1 and 6.2). `None` if it is longer than
/// the rest of the payload.
pub(crate) fn unpadded<'a>(head: &Head, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (length, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*length))?)
}
