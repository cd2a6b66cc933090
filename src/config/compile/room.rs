//! How much the policies of all files may take.

use std::cell::Cell;

use super::super::bounds::MAX_COMPILED_BYTES;
use super::super::path::NodePath;
use super::super::document::Document;

/// The room there is, in bytes. What is kept for each bucket of each row is many times what is written: a file
/// of 4 MiB could take gigabytes.
pub(in crate::config) struct Room {
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: Cell::new(MAX_COMPILED_BYTES), is_spent: Cell::new(false) }
    }
}

impl Room {
    /// Takes some of it for what stands at a path. Where there is not so much left it is told, once, and
    /// nothing more fits.
    pub(super) fn take(&self, bytes: usize, document: &Document<'_>, at: &NodePath) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) if !self.is_spent.get() => {
                self.left.set(left);
                true
            }
            _ => {
                if !self.is_spent.replace(true) {
                    let what = format!(
                        "with this the policies take more than {MAX_COMPILED_BYTES} bytes of memory; \
                         an override of many rows counts for each, so name a `row`, and a message \
                         counts for each bucket, so shorten it"
                    );
                    document.report(at, what);
                }
                false
            }
        }
    }
}
