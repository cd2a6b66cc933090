//! gRPC's own words on HTTP/2 (gRPC over HTTP/2: Length-Prefixed-Message and Responses).

use std::fmt::Write;

/// The length of what precedes a message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// Why a body is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// It has less than five bytes.
    NoPrefix,
    /// The message is compressed.
    Compressed,
    /// It is not as long as its prefix says: the length that is said.
    Length(u32),
}

/// The one message of a call's body.
///
/// # Errors
/// If the body is not one message, or if the message is compressed.
pub fn message(body: &[u8]) -> Result<&[u8], MessageError> {
    let ([flag, length @ ..], message) =
        body.split_first_chunk::<PREFIX>().ok_or(MessageError::NoPrefix)?;
    if *flag != 0 {
        return Err(MessageError::Compressed);
    }
    let length = u32::from_be_bytes(*length);
    if usize::try_from(length) == Ok(message.len()) {
        Ok(message)
    } else {
        Err(MessageError::Length(length))
    }
}

/// How long a body is going to be, by the prefix of its message, once that has come: in `kept` and the `next` bytes.
pub(crate) fn announced(kept: &[u8], next: &[u8]) -> Option<usize> {
    let mut prefix = kept.iter().chain(next).copied().skip(1);
    let length = [prefix.next()?, prefix.next()?, prefix.next()?, prefix.next()?];
    Some(usize::try_from(u32::from_be_bytes(length)).ok()?.saturating_add(PREFIX))
}

/// Whether a media type is that of gRPC: `application/grpc`, with a subtype or parameters or without (gRPC over
/// HTTP/2, Requests).
pub fn is_grpc(value: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    value.split_at_checked(GRPC.len()).is_some_and(|(kind, rest)| {
        kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}

/// A status message as it goes into a field: what is not printable ASCII, and the percent sign, is percent-encoded.
pub(crate) fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    // A field may not begin or end with a space (RFC 9113, Section 8.2.1).
    match (encoded.starts_with(' '), encoded.ends_with(' ')) {
        (false, false) => encoded,
        _ => encoded.replace(' ', "%20"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_message_behind_its_length() {
        assert_eq!(message(b"\0\0\0\0\x02ab"), Ok(&b"ab"[..]));
        assert_eq!(message(b"\0\0\0\0\0"), Ok(&b""[..]));
        assert_eq!(message(b"\0\0\0\0"), Err(MessageError::NoPrefix));
        assert_eq!(message(b"\x01\0\0\0\x02ab"), Err(MessageError::Compressed));
        assert_eq!(message(b"\0\0\0\0\x01ab"), Err(MessageError::Length(1)));
        assert_eq!(message(b"\0\xff\xff\xff\xffab"), Err(MessageError::Length(u32::MAX)));
    }

    #[test]
    fn a_status_message_is_printable_ascii() {
        assert_eq!(percent_encoded("no domain"), "no domain");
        assert_eq!(percent_encoded("100 %\n\u{e4}"), "100 %25%0A%C3%A4");
        assert_eq!(percent_encoded(" a "), "%20a%20");
    }
}
