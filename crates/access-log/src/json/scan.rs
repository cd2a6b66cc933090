//! Tokens of JSON.
//!
//! What RFC 8259 allows is read, and nothing else, but that a string may have bytes that are not UTF-8, control
//! characters, and escapes that JSON does not know: NGINX writes them without `escape=json`.

use memchr::memchr2;

use crate::error::LineError;
use crate::unescape::Raw;

/// How deep brackets may be nested, the outermost included. serde_json has the same bound.
pub(super) const MAX_DEPTH: u8 = 127;

/// What is expected in place of one bracket more.
pub(super) const TOO_DEEP: &str = "no more than 127 brackets in each other";

/// A position in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'l> {
    line: &'l [u8],
    at: usize,
}

impl<'l> Cursor<'l> {
    pub(super) const fn new(line: &'l [u8]) -> Self {
        Self { line, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn error(&self, expected: &'static str) -> LineError {
        LineError::new(self.at, expected)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'l [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    /// What stands between another position and this one.
    pub(super) fn since(&self, start: usize) -> &'l [u8] {
        self.line.get(start..self.at).unwrap_or_default()
    }

    pub(super) const fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.skip(1);
        }
    }

    /// Takes this byte if it is the next one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.skip(usize::from(is_next));
        is_next
    }

    /// A key and its colon.
    pub(super) fn key(&mut self) -> Result<Raw<'l>, LineError> {
        if !self.take(b'"') {
            return Err(self.error("a name in quotes"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.take(b':') { Ok(key) } else { Err(self.error("`:`")) }
    }

    /// The rest of a string behind its first quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'l>, LineError> {
        let (start, mut is_escaped) = (self.at, false);
        while let Some(found) = memchr2(b'"', b'\\', self.rest()) {
            self.skip(found);
            if self.peek() == Some(b'"') {
                let bytes = self.since(start);
                self.skip(1);
                return Ok(super::string(bytes, is_escaped));
            }
            is_escaped = true;
            self.skip(2);
        }
        self.at = self.line.len();
        Err(self.error("a quote that ends the string"))
    }

    /// A number, or one of the words of JSON.
    pub(super) fn scalar(&mut self) -> Result<&'l [u8], LineError> {
        let start = self.at;
        if let Some(b'-' | b'0'..=b'9') = self.peek() {
            return match self.number() {
                Some(()) => Ok(self.since(start)),
                None => Err(self.error("a digit")),
            };
        }
        let words: [&[u8]; 3] = [b"null", b"true", b"false"];
        match words.iter().find(|word| self.rest().starts_with(word)) {
            Some(word) => {
                self.skip(word.len());
                Ok(word)
            }
            None => Err(self.error("a value")),
        }
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _has_sign = self.take(b'-') || self.take(b'+');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.skip(1);
        }
        (self.at > start).then_some(())
    }

    /// Skips an array or an object at its first bracket, at this depth of others.
    pub(super) fn skip_brackets(&mut self, depth: u8) -> Result<(), LineError> {
        // A bit for each open bracket: whether it is a square one.
        let (mut squares, mut open) = (0_u128, depth);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.skip(1);
                    self.string()?;
                }
                Some(bracket @ (b'[' | b'{')) => {
                    if open == MAX_DEPTH {
                        return Err(self.error(TOO_DEEP));
                    }
                    squares = squares << 1 | u128::from(bracket == b'[');
                    open += 1;
                    self.skip(1);
                    self.skip_space();
                    if !matches!(self.peek(), Some(b']' | b'}')) {
                        self.skip_key(squares & 1 == 1)?;
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // Behind a value, or in brackets without one.
            loop {
                if open == depth {
                    return Ok(());
                }
                let is_square = squares & 1 == 1;
                self.skip_space();
                if self.take(if is_square { b']' } else { b'}' }) {
                    squares >>= 1;
                    open -= 1;
                } else if self.take(b',') {
                    self.skip_space();
                    self.skip_key(is_square)?;
                    break;
                } else {
                    return Err(self.error(if is_square { "`,` or `]`" } else { "`,` or `}`" }));
                }
            }
        }
    }

    /// Skips the key of a member, unless it is of an array.
    fn skip_key(&mut self, is_square: bool) -> Result<(), LineError> {
        if !is_square {
            self.key()?;
            self.skip_space();
        }
        Ok(())
    }
}
