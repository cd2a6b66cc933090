//! The fields of the script's replies.

use super::StoreError;

/// A field of a reply of the script.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// Null, or false.
    Nil,
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a [u8]),
}

impl Field<'_> {
    /// The number in it.
    ///
    /// # Errors
    /// If it is not a number, or negative.
    pub(crate) fn number(self) -> Result<u64, StoreError> {
        match self {
            Self::Number(number) => u64::try_from(number).ok(),
            _ => None,
        }
        .ok_or(StoreError::Reply("a field is not a number"))
    }
}
