//! The fields of a protobuf message, one after another, read in place.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// What stands in a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    /// A number.
    Varint(u64),
    /// A text or a message.
    Length(&'a [u8]),
    /// Something of another wire type, which was passed over.
    Other,
}

impl<'a> Wire<'a> {
    pub(super) fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Malformed::WireType),
        }
    }

    /// As protobuf reads a number that is too large for its field: the low bits count.
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

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }
}

/// Bytes that are no such message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0}")]
    Bytes(#[from] DecodeError),
    #[error("a field is cut short")]
    Short,
    #[error("a field is of another type than the proto says")]
    WireType,
    #[error("a text is not UTF-8")]
    Text,
}

/// Goes through a message's fields in the order in which they were sent, unknown ones included.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Wire<'a>), Malformed> {
        let (tag, wire_type) = self.key()?;
        let wire = match wire_type {
            WireType::Varint => Wire::Varint(self.varint()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
                self.0 = rest;
                Wire::Length(bytes)
            }
            other => {
                skip_field(other, tag, &mut self.0, DecodeContext::default())?;
                Wire::Other
            }
        };
        Ok((tag, wire))
    }

    /// The number and type of the next field. Of fields 1 to 15 it is one byte, of all that we know.
    fn key(&mut self) -> Result<(u32, WireType), Malformed> {
        if let Some((&key @ 8..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok((u32::from(key >> 3), WireType::try_from(u64::from(key & 7))?));
        }
        Ok(decode_key(&mut self.0)?)
    }

    /// The next number, nearly always of one byte.
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((&short @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok(u64::from(short));
        }
        Ok(decode_varint(&mut self.0)?)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            // After what cannot be read there is nothing to go on with.
            self.0 = &[];
        }
        Some(read)
    }
}
