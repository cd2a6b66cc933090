//! Reads the fields of a protobuf message in place, one after another.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::descriptor::Name;

const VARINT: u64 = WireType::Varint as u64;
const LENGTH_DELIMITED: u64 = WireType::LengthDelimited as u64;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum FieldValue<'a> {
    /// A number.
    Varint(u64),
    /// A text or a message.
    Length(&'a [u8]),
    /// A value of another wire type, which was skipped.
    Other,
}

impl<'a> FieldValue<'a> {
    pub(super) fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Malformed::WireType),
        }
    }

    /// A number for a field of 32 bits. As in protobuf, the high bits of a larger number are dropped.
    pub(super) fn number32(self) -> Result<u32, Malformed> {
        let [a, b, c, d, ..] = self.number()?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Length(bytes) => Ok(bytes),
            _ => Err(Malformed::WireType),
        }
    }

    pub(super) fn name(self) -> Result<Name<'a>, Malformed> {
        name(self.bytes()?)
    }
}

/// The name of these bytes.
#[inline]
pub(super) fn name(bytes: &[u8]) -> Result<Name<'_>, Malformed> {
    Name::from_utf8(bytes).ok_or(Malformed::Text)
}

/// Why bytes are not a valid message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0}")]
    Bytes(#[from] DecodeError),
    #[error("a field is truncated")]
    Short,
    #[error("a field has another type than in the proto file")]
    WireType,
    #[error("a text is not UTF-8")]
    Text,
}

/// Iterates over a message's fields in the order in which they were sent, unknown fields included.
pub(super) struct FieldReader<'a>(pub(super) &'a [u8]);

impl<'a> FieldReader<'a> {
    /// Takes the next field if it is a text or a message of this number, below 16, and shorter than 2^14 bytes: a
    /// field that is expected takes a few instructions so.
    #[inline]
    pub(super) fn short(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&key, rest) = self.0.split_first()?;
        if key != tag << 3 | WireType::LengthDelimited as u8 {
            return None;
        }
        let (length, rest) = match rest {
            [length @ ..0x80, rest @ ..] => (usize::from(*length), rest),
            [low, high @ ..0x80, rest @ ..] => {
                (usize::from(*low & 0x7f) | usize::from(*high) << 7, rest)
            }
            _ => return None,
        };
        let (bytes, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Inlined, so that a known field takes a few instructions.
    #[inline]
    fn read(&mut self) -> Result<(u32, FieldValue<'a>), Malformed> {
        let key = match self.0.split_first() {
            Some((&key @ 8..0x80, rest)) => {
                self.0 = rest;
                u64::from(key)
            }
            _ => self.long_key()?,
        };
        let tag = u32::try_from(key >> 3).unwrap_or(u32::MAX);
        let value = match key & 7 {
            VARINT => FieldValue::Varint(self.varint()?),
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
                self.0 = rest;
                FieldValue::Length(bytes)
            }
            other => self.skip(tag, other)?,
        };
        Ok((tag, value))
    }

    /// The next byte, if it is a whole number, as it nearly always is.
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (&byte @ ..0x80, rest) = self.0.split_first()? else { return None };
        self.0 = rest;
        Some(byte)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.byte() {
            Some(byte) => Ok(u64::from(byte)),
            None => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        Ok(decode_varint(&mut self.0)?)
    }

    /// The key of a field from number 16 on, or an invalid key.
    #[cold]
    fn long_key(&mut self) -> Result<u64, Malformed> {
        let (tag, wire_type) = decode_key(&mut self.0)?;
        Ok(u64::from(tag) << 3 | wire_type as u64)
    }

    #[cold]
    fn skip(&mut self, tag: u32, wire_type: u64) -> Result<FieldValue<'a>, Malformed> {
        let wire_type = WireType::try_from(wire_type)?;
        skip_field(wire_type, tag, &mut self.0, DecodeContext::default())?;
        Ok(FieldValue::Other)
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = Result<(u32, FieldValue<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            // The start of the next field is unknown.
            self.0 = &[];
        }
        Some(read)
    }
}
