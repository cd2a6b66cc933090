//! Tokens of JSON.
//!
//! What RFC 8259 allows is read. Beyond that, a string may have bytes that are not UTF-8, control characters and escapes
//! that JSON does not know, since NGINX writes them without `escape=json`, and arrays and objects that nothing is wanted
//! of may have anything within brackets that match.

use memchr::memchr2;

use crate::error::LineError;
use crate::unescape::Raw;

/// How deep brackets may be nested, the outermost included. serde_json has the same bound.
pub(super) const MAX_DEPTH: u8 = 127;

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
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip(1);
                    self.string()?;
                    continue;
                }
                b'[' | b'{' if open == MAX_DEPTH => {
                    return Err(self.error("no more than 127 brackets in each other"));
                }
                b'[' | b'{' => {
                    squares = squares << 1 | u128::from(byte == b'[');
                    open += 1;
                }
                b']' | b'}' => {
                    if (squares & 1 == 1) != (byte == b']') {
                        return Err(self.error("the bracket that was opened last"));
                    }
                    squares >>= 1;
                    open -= 1;
                    if open == depth {
                        self.skip(1);
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.skip(1);
        }
        Err(self.error("a closing bracket"))
    }
}
