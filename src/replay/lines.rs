//! Lines of a reader, in large pieces.

use std::io::{self, Read};

/// How much is read at a time.
const PIECE: usize = 1 << 20;

/// The longest line. Longer ones are left out: they are none of a log.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Whole lines, one after another.
pub(super) struct Lines<R> {
    reader: R,
    /// What was read and not returned.
    buffer: Vec<u8>,
    /// How much of it was returned before.
    returned: usize,
    is_at_end: bool,
    /// Whether the rest of a line that was too long is skipped.
    is_skipping: bool,
    /// How many lines were too long.
    too_long: u64,
}

impl<R: Read> Lines<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            returned: 0,
            is_at_end: false,
            is_skipping: false,
            too_long: 0,
        }
    }

    /// The next whole lines, at least one unless the reader is at its end, each with its end but for the last of all.
    ///
    /// # Errors
    /// Those of the reader.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..self.returned);
        self.returned = 0;
        let mut searched = 0;
        loop {
            if self.is_skipping {
                match memchr::memchr(b'\n', &self.buffer) {
                    Some(end) => {
                        self.buffer.drain(..=end);
                        self.is_skipping = false;
                        searched = 0;
                    }
                    None => self.buffer.clear(),
                }
            }
            let unsearched = self.buffer.get(searched..).unwrap_or_default();
            if let Some(end) = memchr::memrchr(b'\n', unsearched).filter(|_| !self.is_skipping) {
                self.returned = searched + end + 1;
                break;
            }
            searched = self.buffer.len();
            if searched > MAX_LINE {
                self.too_long += 1;
                self.is_skipping = true;
                continue;
            }
            if self.is_at_end {
                self.returned = self.buffer.len();
                break;
            }
            self.fill()?;
        }
        Ok(self.buffer.get(..self.returned).filter(|lines| !lines.is_empty()))
    }

    /// Reads until a piece is full, or the reader is at its end.
    fn fill(&mut self) -> io::Result<()> {
        let before = self.buffer.len();
        let wanted = u64::try_from(PIECE).unwrap_or(u64::MAX);
        self.reader.by_ref().take(wanted).read_to_end(&mut self.buffer)?;
        self.is_at_end = self.buffer.len() - before < PIECE;
        Ok(())
    }

    /// How many lines were left out since they are longer than [`MAX_LINE`].
    pub(super) const fn too_long(&self) -> u64 {
        self.too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines, and how many were too long.
    fn lines(text: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut lines = Lines::new(text);
        let mut all = Vec::new();
        while let Some(piece) = lines.next().unwrap() {
            all.extend(piece.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        (all, lines.too_long())
    }

    #[test]
    fn lines_are_whole_whatever_is_read_at_a_time() {
        let text: Vec<u8> = (0..200_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        assert!(text.len() > 2 * PIECE);
        let (all, too_long) = lines(&text);
        assert_eq!((all.concat(), all.len(), too_long), (text, 200_000, 0));
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(b"a\nb").0, [b"a\n".to_vec(), b"b".to_vec()]);
        assert_eq!(lines(b"").0, Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"\n\n").0.len(), 2);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_the_longest() {
        let mut text = b"first\n".to_vec();
        text.resize(5 * MAX_LINE, b'x');
        text.extend(b"\nlast\n");
        let (all, too_long) = lines(&text);
        assert_eq!((all, too_long), (vec![b"first\n".to_vec(), b"last\n".to_vec()], 1));
        let (all, too_long) = lines(&vec![b'x'; 3 * MAX_LINE]);
        assert_eq!((all, too_long), (vec![], 1));
    }
}
