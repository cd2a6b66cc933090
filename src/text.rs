//! Text that came from clients or files, made safe to print and cut to a length.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The longest text kept or printed of what a client sent, in characters.
pub const MAX_CHARS: usize = 128;

/// Text that can be printed anywhere, of any bytes: escaped as in a Rust literal, bytes that are no UTF-8 as `\xff`, and
/// cut with an ellipsis after [`MAX_CHARS`] characters.
pub fn sanitize(value: impl AsRef<[u8]>) -> Box<str> {
    let mut text = String::new();
    for chunk in value.as_ref().utf8_chunks() {
        text.extend(chunk.valid().escape_debug().take(MAX_CHARS + 1));
        escape_bytes(chunk.invalid(), &mut text);
        if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
            text.truncate(end);
            text.push('…');
            break;
        }
    }
    text.into()
}

/// The text that some bytes are; bytes that are no UTF-8 as `\xff`. It is not escaped otherwise.
pub fn decode(value: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(value) {
        return text.into();
    }
    let mut text = String::new();
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        escape_bytes(chunk.invalid(), &mut text);
    }
    text.into()
}

fn escape_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // A String takes whatever is written to it.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Writes a character for a terminal: control characters are escaped.
///
/// # Errors
/// Those of `to`.
pub fn write_printable(to: &mut impl fmt::Write, c: char) -> fmt::Result {
    if c.is_control() { write!(to, "{}", c.escape_debug()) } else { to.write_char(c) }
}

/// A text for a terminal: control characters are escaped.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    // A String takes whatever is written to it.
    let _ = text.chars().try_for_each(|c| write_printable(&mut printable, c));
    printable
}

/// Whether a text is longer than [`MAX_CHARS`] characters.
pub fn is_long(text: &str) -> bool {
    text.chars().nth(MAX_CHARS).is_some()
}

/// A text, cut with an ellipsis after [`MAX_CHARS`] characters.
pub fn truncate(text: &str) -> Box<str> {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}…").into()
        }
        None => text.into(),
    }
}

/// A value, cut like a text; one that is no text, which has an unknown number of characters, after as many bytes.
pub fn truncate_value(value: &[u8]) -> Box<[u8]> {
    match (std::str::from_utf8(value), value.get(..MAX_CHARS)) {
        (Ok(text), _) => truncate(text).into_boxed_bytes(),
        (Err(_), Some(kept)) if value.len() > MAX_CHARS => [kept, "…".as_bytes()].concat().into(),
        _ => value.into(),
    }
}

/// Whether a value is text that [`truncate_value`] leaves as it is.
pub fn is_short_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| !is_long(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_acted_on_is_printed() {
        assert_eq!(
            &*sanitize("Zoë \"a\"\r\n\u{1b}[31m\u{202e}\u{2028}\0"),
            "Zoë \\\"a\\\"\\r\\n\\u{1b}[31m\\u{202e}\\u{2028}\\0"
        );
        assert_eq!(*sanitize("x".repeat(MAX_CHARS)), "x".repeat(MAX_CHARS));
        assert_eq!(*sanitize("ë".repeat(MAX_CHARS + 1)), "ë".repeat(MAX_CHARS) + "…");
        assert_eq!(*sanitize(b"a\xff\n\xc3"), *"a\\xff\\n\\xc3");
        assert_eq!(*sanitize([0xff; MAX_CHARS]), "\\xff".repeat(MAX_CHARS / 4) + "…");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_one_by_one() {
        assert_eq!(decode("Zoë".as_bytes()), "Zoë");
        assert_eq!(decode(b"a\xff\xc3b\x80"), "a\\xff\\xc3b\\x80");
    }

    #[test]
    fn a_value_that_is_no_text_is_cut_like_one_and_not_told_whole() {
        assert_eq!(*truncate_value(b"\xff\xfe"), *b"\xff\xfe");
        let cut = [&[0xff; MAX_CHARS], "…".as_bytes()].concat();
        assert_eq!(*truncate_value(&[0xff; MAX_CHARS + 1]), *cut);
        assert!(is_short_text(b"acme") && !is_short_text(b"acme\xff"));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\"b\r\u{1b}[2Jë"), "a\"b\\r\\u{1b}[2Jë");
    }
}
