//! A small client: it keeps to the protocol and to all windows, and holds the server to them.

use std::collections::{BTreeMap, VecDeque};

use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, field, frame, head, take,
};

/// How many calls are open at a time, which is as many as the server allows.
pub const MAX_OPEN: usize = 6;

const DEFAULT_WINDOW: i64 = 65_535;
const MAX_TABLE: usize = 4096;

/// The strings that the server sends in Huffman's code (RFC 7541, Appendix B).
const CODED: [(&[u8], &[u8]); 4] = [
    (b"\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64", b"application/grpc"),
    (b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f", b"grpc-status"),
    (b"\x9a\xca\xc8\xb5\x25\x42\x07\x31\x7f", b"grpc-message"),
    (b"\xa8\xea\x52\x54\x20\x73\x17", b"no message"),
];

type Header = (Vec<u8>, Vec<u8>);

/// A call and what has come of it.
#[derive(Debug, Default)]
pub struct Asked {
    pub path: &'static str,
    pub body: Vec<u8>,
    /// What has not been sent of the body.
    rest: VecDeque<u8>,
    is_sent: bool,
    send_window: i64,
    receive_window: i64,
    /// How much of the answer has come since the server's window was last enlarged.
    unread: u32,
    pub head: Vec<Header>,
    pub answer: Vec<u8>,
    pub trailers: Vec<Header>,
    pub is_answered: bool,
    pub is_reset: bool,
}

#[derive(Debug)]
pub struct Client {
    /// What it has written, as whole frames.
    pub output: Vec<u8>,
    input: Vec<u8>,
    pub calls: BTreeMap<u32, Asked>,
    next: u32,
    send_window: i64,
    receive_window: i64,
    unread: u32,
    /// The windows of new streams, in both directions.
    send_initial: i64,
    receive_initial: i64,
    /// Settings that the server has not acknowledged: of the window, and of the table.
    pending: VecDeque<(Option<u32>, Option<u32>)>,
    /// The table of the server's fields, the newest first, and how large it may be.
    table: VecDeque<Header>,
    table_size: usize,
    /// The least that the server has to say that it uses.
    table_owed: Option<usize>,
    is_draining: bool,
    pings: usize,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            output: [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat(),
            input: Vec::new(),
            calls: BTreeMap::new(),
            next: 1,
            send_window: DEFAULT_WINDOW,
            receive_window: DEFAULT_WINDOW,
            unread: 0,
            send_initial: DEFAULT_WINDOW,
            receive_initial: DEFAULT_WINDOW,
            pending: VecDeque::from([(None, None)]),
            table: VecDeque::new(),
            table_size: MAX_TABLE,
            table_owed: None,
            is_draining: false,
            pings: 0,
        }
    }
}

impl Client {
    fn open(&self) -> usize {
        self.calls.values().filter(|call| !call.is_answered && !call.is_reset).count()
    }

    /// Makes a call, if it may.
    pub fn ask(&mut self, path: &'static str, body: Vec<u8>) {
        if self.is_draining || self.open() >= MAX_OPEN {
            return;
        }
        let stream = self.next;
        self.next += 2;
        let mut block = head(path);
        block.extend(field(true, b"n", stream.to_string().as_bytes()));
        self.output.extend(frame(HEADERS, END_HEADERS, stream, &block));
        let call = Asked {
            path,
            rest: body.iter().copied().collect(),
            body,
            send_window: self.send_initial,
            receive_window: self.receive_initial,
            ..Asked::default()
        };
        self.calls.insert(stream, call);
    }

    /// Sends at most `most` bytes of the body of the open call at `at`, as far as the windows allow.
    pub fn send(&mut self, at: usize, most: usize) {
        let mut open = self.calls.iter_mut().filter(|(_, call)| !call.is_sent && !call.is_reset);
        let Some((stream, call)) = open.nth(at) else { return };
        let room = self.send_window.min(call.send_window).min(16_384);
        let room = usize::try_from(room).unwrap_or(0);
        let length = most.min(room).min(call.rest.len());
        call.is_sent = length == call.rest.len();
        if length == 0 && !call.is_sent {
            return;
        }
        let part: Vec<_> = call.rest.drain(..length).collect();
        let flags = if call.is_sent { END_STREAM } else { 0 };
        self.output.extend(frame(DATA, flags, *stream, &part));
        self.send_window -= length as i64;
        call.send_window -= length as i64;
    }

    /// Sends all that may be sent.
    pub fn send_all(&mut self) {
        for at in (0..self.calls.len()).rev() {
            self.send(at, usize::MAX);
        }
    }

    /// Gives a call up.
    pub fn reset(&mut self, at: usize) {
        let mut open =
            self.calls.iter_mut().filter(|(_, call)| !call.is_answered && !call.is_reset);
        let Some((stream, call)) = open.nth(at) else { return };
        call.is_reset = true;
        self.output.extend(frame(RST_STREAM, 0, *stream, &[0, 0, 0, 8]));
    }

    pub fn ping(&mut self) {
        self.pings += 1;
        self.output.extend(frame(PING, 0, 0, b"question"));
    }

    /// Sets the window of new streams, and how large the table may be.
    pub fn set(&mut self, window: Option<u32>, table: Option<u32>) {
        let mut payload = Vec::new();
        for (name, value) in [(1, table), (4, window)] {
            if let Some(value) = value {
                payload.extend([0, name]);
                payload.extend(value.to_be_bytes());
            }
        }
        self.pending.push_back((window, table));
        self.output.extend(frame(SETTINGS, 0, 0, &payload));
    }

    /// Lets the server send as much again as has come.
    pub fn read_all(&mut self) {
        let mut enlarge = |stream: u32, unread: &mut u32, window: &mut i64| {
            if *unread > 0 {
                self.output.extend(frame(WINDOW_UPDATE, 0, stream, &unread.to_be_bytes()));
                *window += i64::from(*unread);
                *unread = 0;
            }
        };
        enlarge(0, &mut self.unread, &mut self.receive_window);
        for (stream, call) in &mut self.calls {
            if !call.is_answered && !call.is_reset {
                enlarge(*stream, &mut call.unread, &mut call.receive_window);
            }
        }
    }

    /// Whether all has been asked and answered.
    pub fn is_done(&self) -> bool {
        self.open() == 0 && self.pings == 0 && self.pending.is_empty()
    }

    pub fn read(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        while let Some(frame) = take(&mut self.input) {
            self.take(&frame);
        }
    }

    fn take(&mut self, frame: &Frame) {
        let number = |at: usize| {
            u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes"))
        };
        match frame.kind {
            HEADERS => self.take_head(frame),
            DATA => self.take_data(frame),
            RST_STREAM => {
                let code = number(0);
                // An answer that is complete before the body is: not asked for in vain, but not read.
                let call = self.calls.get(&frame.stream).expect("a call");
                assert!(code == 0 && call.is_answered, "{} is reset with {code}", frame.stream);
            }
            SETTINGS if frame.flags & ACK != 0 => self.apply(),
            SETTINGS => {
                for setting in frame.payload.chunks_exact(6) {
                    let value = i64::from(u32::from_be_bytes(setting[2..].try_into().expect("4")));
                    if setting[1] == 4 {
                        let change = value - self.send_initial;
                        self.calls.values_mut().for_each(|call| call.send_window += change);
                        self.send_initial = value;
                    }
                }
                self.output.extend(super::frames::frame(SETTINGS, ACK, 0, &[]));
            }
            PING if frame.flags & ACK != 0 => {
                assert_eq!(frame.payload, b"question");
                self.pings -= 1;
            }
            PING => self.output.extend(super::frames::frame(PING, ACK, 0, &frame.payload)),
            GOAWAY => {
                assert_eq!(number(4), 0, "the connection ends with an error");
                assert!(number(0) >= self.next.saturating_sub(2), "calls are not served");
                self.is_draining = true;
            }
            WINDOW_UPDATE => match self.calls.get_mut(&frame.stream) {
                _ if frame.stream == 0 => self.send_window += i64::from(number(0)),
                Some(call) => call.send_window += i64::from(number(0)),
                None => panic!("a window of no call"),
            },
            other => panic!("a frame of kind {other}"),
        }
    }

    /// The server goes by the oldest of the settings that it has not acknowledged before.
    fn apply(&mut self) {
        let (window, table) = self.pending.pop_front().expect("settings");
        if let Some(window) = window {
            let change = i64::from(window) - self.receive_initial;
            self.calls.values_mut().for_each(|call| call.receive_window += change);
            self.receive_initial = window.into();
        }
        if let Some(table) = table {
            let size = usize::try_from(table).expect("small").min(MAX_TABLE);
            if size < self.table_size {
                let owed = self.table_owed.map_or(size, |owed| owed.min(size));
                self.table_owed = Some(owed);
            }
        }
    }

    fn take_data(&mut self, frame: &Frame) {
        let length = frame.payload.len();
        self.receive_window -= length as i64;
        self.unread += length as u32;
        let call = self.calls.get_mut(&frame.stream).expect("a call");
        call.receive_window -= length as i64;
        call.unread += length as u32;
        let is_within = self.receive_window >= 0 && (call.receive_window >= 0 || call.is_reset);
        assert!(length == 0 || is_within, "more than the windows");
        if call.is_reset {
            return;
        }
        assert!(!call.head.is_empty() && !call.is_answered);
        call.answer.extend(&frame.payload);
        call.is_answered = frame.flags & END_STREAM != 0;
    }

    fn take_head(&mut self, frame: &Frame) {
        assert!(frame.flags & END_HEADERS != 0, "a head of more than one frame");
        let fields = self.decode(&frame.payload);
        let call = self.calls.get_mut(&frame.stream).expect("a call");
        if call.is_reset {
            return;
        }
        assert!(!call.is_answered, "an answer behind its end");
        call.is_answered = frame.flags & END_STREAM != 0;
        if call.head.is_empty() { call.head = fields } else { call.trailers = fields }
    }

    fn decode(&mut self, mut block: &[u8]) -> Vec<Header> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            if first & 0x80 != 0 {
                let index = integer(&mut block, 7);
                fields.push(self.indexed(index));
            } else if first & 0xe0 == 0x20 {
                assert!(fields.is_empty(), "a size behind a field");
                self.table_size = integer(&mut block, 5);
                if let Some(owed) = self.table_owed.take() {
                    assert!(self.table_size <= owed, "a larger table than is allowed");
                }
                self.evict();
            } else {
                let is_inserted = first & 0x40 != 0;
                let name = match integer(&mut block, if is_inserted { 6 } else { 4 }) {
                    0 => string(&mut block),
                    index => self.indexed(index).0,
                };
                let value = string(&mut block);
                fields.push((name.clone(), value.clone()));
                if is_inserted {
                    self.table.push_front((name, value));
                    self.evict();
                }
            }
            assert!(self.table_owed.is_none(), "the table is not made smaller");
        }
        fields
    }

    fn evict(&mut self) {
        let size = |table: &VecDeque<Header>| -> usize {
            table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
        };
        while size(&self.table) > self.table_size {
            self.table.pop_back();
        }
    }

    fn indexed(&self, index: usize) -> Header {
        match index {
            8 => (b":status".to_vec(), b"200".to_vec()),
            31 => (b"content-type".to_vec(), Vec::new()),
            _ => self.table.get(index.wrapping_sub(62)).expect("an entry").clone(),
        }
    }
}

fn integer(block: &mut &[u8], prefix: u8) -> usize {
    let (first, mut rest) = block.split_first().expect("an integer");
    let max = (1 << prefix) - 1;
    let mut value = usize::from(*first) & max;
    if value == max {
        let mut shift = 0;
        loop {
            let (byte, more) = rest.split_first().expect("the rest of an integer");
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            rest = more;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    value
}

fn string(block: &mut &[u8]) -> Vec<u8> {
    let is_coded = block.first().expect("a string") & 0x80 != 0;
    let length = integer(block, 7);
    let (text, rest) = block.split_at(length);
    *block = rest;
    if !is_coded {
        return text.to_vec();
    }
    let known = CODED.iter().find(|(coded, _)| *coded == text);
    known.expect("a string that the server sends").1.to_vec()
}
