//! The conditions under which a line is passed over.

use super::builder::FieldIndex;
use crate::descriptor::Entry;
use crate::policy::address::Addresses;
use crate::policy::condition::Conditions;
use crate::policy::values::{KeyIndex, Keys, Values};

/// Conditions of which one set must hold for a descriptor of the line.
#[derive(Debug, Default)]
pub(crate) struct Skip {
    /// The entries and fields that the conditions test.
    pub(crate) keys: Keys,
    /// Those of them that are fields.
    pub(crate) fields: Vec<(KeyIndex, FieldIndex)>,
    /// Sets of conditions, of which none is empty.
    pub(crate) any: Vec<Conditions>,
    pub(crate) addresses: Addresses,
}

impl Skip {
    /// Whether all conditions of a set hold for a descriptor.
    pub(super) fn is_met(&self, entries: &[Entry<'_>], line: &[Option<&[u8]>]) -> bool {
        let mut values = Values::new(&self.addresses);
        self.keys.project(entries, &mut values);
        for (index, field) in &self.fields {
            if let Some(Some(value)) = field.of(line) {
                values.set(*index, value);
            }
        }
        self.any.iter().any(|conditions| conditions.all_match(&values))
    }
}
