//! A client that knows which streams are open, so that what it sends is right, or wrong in one way.

mod steps;

use crate::random::Random;
use crate::support::{DATA, END_HEADERS, END_STREAM, HEADERS, PATH, fields, frame, head};
use steps::FIRST_WRONG;
pub(crate) use steps::{STEPS, beginnings, opening};

/// A path that the server has not named.
pub(crate) const OTHER_PATH: &str = "/shop.Cart/Other";

pub(crate) struct Client {
    random: Random,
    /// The number of the next stream.
    next: u32,
    /// Streams of which more is to come.
    open: Vec<u32>,
    /// Those that it has ended, those that it has reset, and those that the server has.
    answered: Vec<u32>,
    closed: Vec<u32>,
    refused: Vec<u32>,
    /// One that it has never opened, though it has opened later ones.
    passed_over: Option<u32>,
    /// Whether the newest fields of the table are its path and its content type.
    table: bool,
    has_small_windows: bool,
}

impl Client {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            next: 1,
            open: Vec::new(),
            answered: Vec::new(),
            closed: Vec::new(),
            refused: Vec::new(),
            passed_over: None,
            table: false,
            has_small_windows: false,
        }
    }

    /// The bytes of a step; `None` if it needs a stream that there is not.
    pub(crate) fn step(&mut self, name: &str) -> Option<Vec<u8>> {
        let (_, write) = STEPS.iter().find(|(known, _)| *known == name).unwrap();
        write(self)
    }

    /// Any step; of eight, seven are right.
    pub(crate) fn choose(&mut self) -> &'static str {
        let first = STEPS.iter().position(|(name, _)| *name == FIRST_WRONG).unwrap();
        let at = match self.random.place(8) {
            0 => first + self.random.place(STEPS.len() - first),
            _ => self.random.place(first),
        };
        STEPS[at].0
    }

    /// The number of a stream that begins, of which there is no more to come.
    fn opened(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.answered.push(stream);
        stream
    }

    fn begin(&mut self, path: &str) -> Vec<u8> {
        let stream = self.next;
        self.next += 2;
        self.open.push(stream);
        frame(HEADERS, END_HEADERS, stream, &head(path, &[]))
    }

    fn call(&mut self, path: &str, body: &[u8]) -> Vec<u8> {
        let stream = self.opened();
        let mut call = frame(HEADERS, END_HEADERS, stream, &head(path, &[]));
        call.extend(frame(DATA, END_STREAM, stream, body));
        call
    }

    /// A request that is all in its head.
    fn whole(&mut self, block: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, self.opened(), block)
    }

    fn authority(&mut self, authority: &str) -> Vec<u8> {
        let authority = (":authority", authority);
        self.wrong_fields(&[(":method", "POST"), (":scheme", "http"), authority, (":path", PATH)])
    }

    /// A request that the server resets.
    fn wrong(&mut self, more: &[(&str, &str)]) -> Vec<u8> {
        self.wrong_block(&head(PATH, more))
    }

    fn wrong_fields(&mut self, all: &[(&str, &str)]) -> Vec<u8> {
        self.wrong_block(&fields(all))
    }

    fn wrong_block(&mut self, block: &[u8]) -> Vec<u8> {
        let frame = self.whole(block);
        self.refused.extend(self.answered.pop());
        frame
    }

    /// A request of a table that nobody knows any more.
    fn broken_block(&mut self, end: &[u8]) -> Vec<u8> {
        self.whole(&[&head(PATH, &[]), end].concat())
    }

    fn body_of(&mut self, length: usize, body: &[u8]) -> Vec<u8> {
        let stream = self.next;
        self.next += 2;
        self.refused.push(stream);
        let block = head(PATH, &[("content-length", &*length.to_string())]);
        let mut call = frame(HEADERS, END_HEADERS, stream, &block);
        call.extend(frame(DATA, END_STREAM, stream, body));
        call
    }

    fn any(&mut self, of: fn(&mut Self) -> &mut Vec<u32>) -> Option<u32> {
        let length = of(self).len();
        let at = (length > 0).then(|| self.random.place(length))?;
        of(self).get(at).copied()
    }

    fn open(&mut self) -> Option<u32> {
        self.any(|client| &mut client.open)
    }

    fn answered(&mut self) -> Option<u32> {
        // An answer may still be waiting for its window.
        if self.has_small_windows {
            return None;
        }
        self.any(|client| &mut client.answered)
    }

    fn closed(&mut self) -> Option<u32> {
        self.any(|client| &mut client.closed)
    }

    fn refused(&mut self) -> Option<u32> {
        self.any(|client| &mut client.refused)
    }

    /// An open stream that ends now.
    fn ended(&mut self) -> Option<u32> {
        let stream = self.open()?;
        self.open.retain(|open| *open != stream);
        self.answered.push(stream);
        Some(stream)
    }

    /// An open stream that the server resets now.
    fn wrong_end(&mut self) -> Option<u32> {
        let stream = self.open()?;
        self.open.retain(|open| *open != stream);
        self.refused.push(stream);
        Some(stream)
    }
}
