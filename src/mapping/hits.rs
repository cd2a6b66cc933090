//! How many hits a descriptor charges.

use std::num::NonZeroU64;

use super::builder::FieldIndex;
use super::{Fields, LineError};
use crate::descriptor::Hits;
use crate::text;

/// Where the hits of a descriptor come from.
#[derive(Debug, Clone)]
pub(crate) enum HitsSource {
    /// The same for all lines.
    Constant(Hits),
    /// A field with a whole number, divided and rounded up.
    Field { fields: Fields, divide: NonZeroU64, default: Option<Hits> },
}

impl HitsSource {
    /// The hits of a line.
    ///
    /// # Errors
    /// If the field has no whole number, or if it is absent and there is no default.
    pub(super) fn read(
        &self,
        values: &[Option<&[u8]>],
        names: &[String],
    ) -> Result<Hits, LineError> {
        let (fields, divide, default) = match self {
            Self::Constant(hits) => return Ok(*hits),
            Self::Field { fields, divide, default } => (fields, divide, default),
        };
        let name = |field: FieldIndex| field.of(names).cloned().unwrap_or_default();
        let Some((field, value)) = fields.find(values) else {
            let first = || fields.iter().next().map(name).unwrap_or_default();
            return default.ok_or_else(|| LineError::NoHits { field: first() });
        };
        match whole(value) {
            Some(number) => Ok(Hits::charge(number.div_ceil(divide.get()))),
            None => Err(LineError::Hits { field: name(field), value: text::sanitize(value) }),
        }
    }

    /// The fields that it is read from.
    pub(super) const fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Constant(_) => None,
            Self::Field { fields, .. } => Some(fields),
        }
    }
}

/// A whole number in plain digits. `parse` alone takes a sign.
fn whole(value: &[u8]) -> Option<u64> {
    let is_plain = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_plain)?.parse().ok()
}
