//! The names in a request: its domain, and the keys of its entries.

use std::fmt;

/// A domain or the key of an entry: UTF-8, kept as the bytes that were sent, since a call compares its names and does
/// not read them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// A name of these bytes; `None` if they are not UTF-8.
    #[inline]
    pub fn from_utf8(bytes: &'a [u8]) -> Option<Self> {
        (is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()).then_some(Self(bytes))
    }

    /// The name as text.
    pub fn as_str(self) -> &'a str {
        // Checked when the name was made.
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The bytes of the text.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The length in bytes.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Whether bytes are ASCII, as those of nearly every name are. It takes a tenth of what checking them for UTF-8 takes.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let all = if bytes.len() > 16 {
        return bytes.is_ascii();
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from_le_bytes(*first) | u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last))
    } else {
        bytes.iter().fold(0, |all, byte| all | u64::from(*byte))
    };
    all & 0x8080_8080_8080_8080 == 0
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, text: &str) -> bool {
        self.0 == text.as_bytes()
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_in_utf8() {
        for text in ["", "tenant", "schlüssel", "🔑"] {
            let name = Name::from_utf8(text.as_bytes()).unwrap();
            assert_eq!((name.as_str(), name), (text, text.into()));
            assert_eq!(format!("{name:?}"), format!("{text:?}"));
        }
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b'k'; length];
                assert!(Name::from_utf8(&bytes).is_some());
                bytes[at] = 0xff;
                assert_eq!(Name::from_utf8(&bytes), None, "{at} of {length}");
            }
        }
        for other in [&b"tenant\xc3"[..], b"\xed\xa0\x80"] {
            assert_eq!(Name::from_utf8(other), None, "{other:?}");
        }
    }
}
