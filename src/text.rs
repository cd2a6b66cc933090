//! Untrusted text, made safe to print and cut to a maximum length.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The maximum length of a client's text that is kept or printed, in characters.
pub const MAX_CHARS: usize = 128;

/// Any bytes as text that can be printed anywhere: escaped as in a Rust literal, with `\xff` for bytes that are not
/// UTF-8, and cut with an ellipsis after [`MAX_CHARS`] characters.
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

/// Bytes as text, with `\xff` for bytes that are not UTF-8 and no other escapes.
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
        // Writing to a String does not fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Writes a character to a terminal, escaped if it is a control character.
///
/// # Errors
/// Those of `to`.
pub fn write_printable(to: &mut impl fmt::Write, c: char) -> fmt::Result {
    if c.is_control() { write!(to, "{}", c.escape_debug()) } else { to.write_char(c) }
}

/// A text for a terminal, with its control characters escaped.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    // Writing to a String does not fail.
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

/// A value, cut with an ellipsis after [`MAX_CHARS`] characters, or after as many bytes if it is not UTF-8.
pub fn truncate_value(value: &[u8]) -> Box<[u8]> {
    match (std::str::from_utf8(value), value.get(..MAX_CHARS)) {
        (Ok(text), _) => truncate(text).into_boxed_bytes(),
        (Err(_), Some(kept)) if value.len() > MAX_CHARS => [kept, "…".as_bytes()].concat().into(),
        _ => value.into(),
    }
}

/// Whether a value is UTF-8 that [`truncate_value`] leaves as it is.
pub fn is_short_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| !is_long(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_has_no_control_characters() {
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
    fn bytes_that_are_not_utf8_are_escaped_one_by_one() {
        assert_eq!(decode("Zoë".as_bytes()), "Zoë");
        assert_eq!(decode(b"a\xff\xc3b\x80"), "a\\xff\\xc3b\\x80");
    }

    #[test]
    fn a_value_that_is_not_utf8_is_cut_like_text() {
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
