//! A look-up table: from a value of the log to the value of an entry.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

/// The most rows of one look-up table.
pub(crate) const MAX_ROWS: usize = 1_000_000;

/// Values by the values of the log. Equal values are kept once: a table of tenants has few tenant types.
#[derive(Debug, Default)]
pub(crate) struct LookupTable {
    rows: HashMap<Box<[u8]>, Arc<[u8]>>,
    values: HashSet<Arc<[u8]>>,
}

/// A row is already there, with another value.
#[derive(Debug)]
pub(crate) struct Contradiction;

impl LookupTable {
    /// Adds a row. One that is already there changes nothing.
    ///
    /// # Errors
    /// If it is there with another value.
    pub(crate) fn insert(&mut self, from: &[u8], to: &[u8]) -> Result<(), Contradiction> {
        if let Some(known) = self.rows.get(from) {
            return if **known == *to { Ok(()) } else { Err(Contradiction) };
        }
        let to = Arc::clone(self.values.get_or_insert_with(to, |to| to.into()));
        self.rows.insert(from.into(), to);
        Ok(())
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The value of a value of the log.
    pub(super) fn get(&self, from: &[u8]) -> Option<&[u8]> {
        self.rows.get(from).map(|to| &**to)
    }
}
