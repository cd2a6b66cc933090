//! The entries of a descriptor, looked up by index instead of by key.
//!
//! A policy uses a handful of keys. Each gets a [`KeyIndex`] when the policy is compiled. A descriptor is projected
//! onto them once; conditions, rows and bucket keys then read its values by index.

use smallvec::SmallVec;

use super::address::{self, Addresses};
use super::name_map::NameMap;
use crate::descriptor::Entry;

/// The index of an entry key within one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyIndex(u32);

impl KeyIndex {
    /// `endpoint_group`: sent by Envoy, or resolved from method and path.
    pub const ENDPOINT_GROUP: Self = Self(0);
    /// `method`.
    pub const METHOD: Self = Self(1);
    /// `path`.
    pub const PATH: Self = Self(2);
    /// `remote_address`: parsed as an address if it is one.
    pub const REMOTE_ADDRESS: Self = Self(3);

    fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The key of the entry with the path of a request.
pub(crate) const PATH: &str = "path";

/// The keys with a built-in meaning, in the order of the constants of [`KeyIndex`].
const KNOWN: [&str; 4] = ["endpoint_group", "method", PATH, address::KEY];

/// The entry keys that a policy uses.
#[derive(Debug)]
pub struct Keys {
    names: Vec<Box<str>>,
    indices: NameMap<KeyIndex>,
}

impl Default for Keys {
    fn default() -> Self {
        let mut keys = Self { names: Vec::new(), indices: NameMap::default() };
        for name in KNOWN {
            keys.intern(name);
        }
        keys
    }
}

impl Keys {
    /// The index of a key, which is added if it is new.
    pub(crate) fn intern(&mut self, name: &str) -> KeyIndex {
        if let Some(index) = self.indices.get(name.as_bytes()) {
            return *index;
        }
        let index = KeyIndex(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.into());
        self.indices.insert(name.as_bytes().into(), index);
        index
    }

    /// The key at an index.
    pub fn name(&self, index: KeyIndex) -> &str {
        self.names.get(index.get()).map_or("", |name| name)
    }

    /// Every key that the policy uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Finds the value of each key, for values that are empty. Of several entries with the same key, the first is used.
    #[inline]
    pub(crate) fn project<'q>(&self, entries: &[Entry<'q>], of: &mut Values<'q>) {
        let values = &mut of.values;
        values.resize(self.names.len(), None);
        for entry in entries {
            if let Some(index) = self.indices.get(entry.key.as_bytes())
                && let Some(value) = values.get_mut(index.get())
            {
                value.get_or_insert(entry.value);
            }
        }
    }
}

/// A descriptor's values, by the index of their key.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    values: SmallVec<[Option<&'a [u8]>; 16]>,
    addresses: &'a Addresses,
}

impl<'a> Values<'a> {
    /// No values yet. Addresses among them are read as `addresses` says.
    pub(crate) fn new(addresses: &'a Addresses) -> Self {
        Self { values: SmallVec::new(), addresses }
    }

    /// How addresses are read.
    pub(super) const fn addresses(&self) -> &'a Addresses {
        self.addresses
    }

    /// The value of an entry, if the descriptor has one.
    pub fn get(&self, index: KeyIndex) -> Option<&'a [u8]> {
        self.values.get(index.get()).copied().flatten()
    }

    pub(crate) fn set(&mut self, index: KeyIndex, value: &'a [u8]) {
        if let Some(current) = self.values.get_mut(index.get()) {
            *current = Some(value);
        }
    }
}
