//! Frames and header blocks (RFC 9113, Section 4.1; RFC 7541, Section 6).

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short one").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field as it is, with a length of less than 127, which the table takes in or not.
pub fn field(is_inserted: bool, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![if is_inserted { 0x40 } else { 0 }];
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        field.push(text.len() as u8);
        field.extend(text);
    }
    field
}

/// The head of a call.
pub fn head(path: &str) -> Vec<u8> {
    // POST and http, of the static table.
    let mut block = vec![0x83, 0x86];
    block.extend(field(false, b":path", path.as_bytes()));
    block.extend(field(false, b"content-type", b"application/grpc"));
    block
}

/// A frame that was read.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Takes a frame off the front of `bytes` if it is whole.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let [a, b, c, kind, flags, d, e, f, g] = *bytes.first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = bytes.get(9..9 + length)?.to_vec();
    bytes.drain(..9 + length);
    Some(Frame { kind, flags, stream: u32::from_be_bytes([d, e, f, g]), payload })
}
