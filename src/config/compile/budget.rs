//! The memory that the policies of all files may take.

use std::cell::Cell;

use super::super::bounds::MAX_COMPILED_BYTES;
use super::super::document::Document;
use super::super::path::NodePath;

/// The memory left for compiled policies, in bytes. Overrides and messages are kept once for each row or bucket, so
/// that a file of 4 MiB could compile to gigabytes.
pub(in crate::config) struct MemoryBudget {
    left: Cell<usize>,
    is_exceeded: Cell<bool>,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { left: Cell::new(MAX_COMPILED_BYTES), is_exceeded: Cell::new(false) }
    }
}

impl MemoryBudget {
    /// Takes bytes of a policy, as [`Self::take_or_report`] does.
    pub(super) fn take(&self, bytes: usize, document: &Document<'_>, path: &NodePath) -> bool {
        let hint = "name a `row` in overrides, which otherwise count once for each row, and shorten \
                    messages, which count once for each bucket";
        self.take_or_report(bytes, document, path, hint)
    }

    /// Takes bytes for the value at a path, and returns whether they were left. The first time that they are not is
    /// reported, with a hint; from then on nothing is taken.
    pub(in crate::config) fn take_or_report(
        &self,
        bytes: usize,
        document: &Document<'_>,
        path: &NodePath,
        hint: &str,
    ) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) if !self.is_exceeded.get() => {
                self.left.set(left);
                true
            }
            _ => {
                if !self.is_exceeded.replace(true) {
                    let what = format!(
                        "the policies up to here take more than {MAX_COMPILED_BYTES} bytes of memory; \
                         {hint}"
                    );
                    document.report(path, what);
                }
                false
            }
        }
    }
}
