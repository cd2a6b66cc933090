//! What is wrong with a line, or with what is asked of a format.

use std::borrow::Cow;

use crate::format::Format;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: expected {expected}")]
pub struct LineError {
    at: usize,
    expected: Cow<'static, str>,
}

impl LineError {
    /// `at` counts bytes from 0.
    pub(crate) fn new(at: usize, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { at: at.saturating_add(1), expected: expected.into() }
    }

    /// The same error in a line that begins with `bytes` more bytes.
    pub(crate) const fn behind(mut self, bytes: usize) -> Self {
        self.at = self.at.saturating_add(bytes);
        self
    }

    /// Where the line stops to make sense, in bytes from 1.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// What was expected there, in words, without anything of the line.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

/// A field that no line of a format can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{format} logs have no field `{}`; they have: {}", field.escape_debug(), known.join(", "))]
pub struct FieldError {
    pub(crate) format: Format,
    pub(crate) field: String,
    pub(crate) known: Vec<String>,
}

impl FieldError {
    /// The field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The fields that the format has, under their own and their general names.
    #[must_use]
    pub fn known(&self) -> &[String] {
        &self.known
    }
}
