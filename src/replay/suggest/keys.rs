//! A set of keys.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::policy::fingerprint::ShortName;

/// Keys of one rule, by the names of their buckets.
#[derive(Debug, Default)]
pub(super) struct Keys(HashTable<ShortName>);

impl Keys {
    pub(super) fn insert(&mut self, name: ShortName) {
        let entry = self.0.entry(name.hash64(), |of| *of == name, |of| of.hash64());
        if let Entry::Vacant(place) = entry {
            place.insert(name);
        }
    }

    pub(super) fn contains(&self, name: ShortName) -> bool {
        self.0.find(name.hash64(), |of| *of == name).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<ShortName> for Keys {
    fn from_iter<I: IntoIterator<Item = ShortName>>(names: I) -> Self {
        let mut keys = Self::default();
        names.into_iter().for_each(|name| keys.insert(name));
        keys
    }
}
