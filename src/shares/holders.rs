//! All holders by their numbers.

use slab::Slab;

use super::holder::{Holder, HolderId};

/// Holders by their numbers. A division looks at each of its holders several times, so a number is a place; that of a holder
/// that is removed is given to another one.
#[derive(Debug, Default)]
pub(super) struct Holders(Slab<Holder>);

impl Holders {
    /// Adds a holder. Returns its number.
    pub(super) fn insert(&mut self, holder: Holder) -> HolderId {
        HolderId(self.0.insert(holder))
    }

    pub(super) fn get(&self, id: &HolderId) -> Option<&Holder> {
        self.0.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: &HolderId) -> Option<&mut Holder> {
        self.0.get_mut(id.0)
    }

    pub(super) fn remove(&mut self, id: &HolderId) -> Option<Holder> {
        self.0.try_remove(id.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (HolderId, &Holder)> {
        self.0.iter().map(|(id, holder)| (HolderId(id), holder))
    }
}
