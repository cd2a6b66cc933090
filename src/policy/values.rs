//! The entries of a descriptor, looked up by index instead of by key.
//!
//! A policy uses a handful of keys. Each gets a [`KeyIndex`] when the policy is compiled; a repeated key gets one for
//! each of its entries that the policy names. A descriptor is projected onto them once; conditions, rows and bucket keys
//! then read its values by index.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::address::{self, Addresses};
use super::entry_name::EntryName;
use super::name_map::NameMap;
use crate::descriptor::Entry;

/// The index of an entry key within one policy, or of one of several entries with the same key.
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

/// Whether a key has a built-in meaning. Only the first entry with such a key has it.
pub(crate) fn is_built_in(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// The entry keys that a policy uses.
#[derive(Debug)]
pub struct Keys {
    names: Vec<Box<str>>,
    /// The index of the first entry with each key.
    indices: NameMap<KeyIndex>,
    /// The index of a later entry with the same key as the first, by its number.
    repeated: HashMap<(KeyIndex, u8), KeyIndex>,
}

impl Default for Keys {
    fn default() -> Self {
        let (indices, repeated) = (NameMap::default(), HashMap::new());
        let mut keys = Self { names: Vec::new(), indices, repeated };
        for name in KNOWN {
            keys.intern(name);
        }
        keys
    }
}

impl Keys {
    /// The index of an entry, which is added if it is new. A text that names no entry, which `config` reports, counts as
    /// a key.
    pub(crate) fn intern(&mut self, name: &str) -> KeyIndex {
        let first = EntryName { key: name, number: 0 };
        let EntryName { key, number } = EntryName::parse(name).unwrap_or(first);
        let first = self.add_key(key);
        match self.repeated.get(&(first, number)).copied() {
            _ if number == 0 => first,
            Some(index) => index,
            None => {
                let index = self.add(name);
                self.repeated.insert((first, number), index);
                index
            }
        }
    }

    /// The index of the first entry with a key, which is added if it is new.
    pub(super) fn add_key(&mut self, key: &str) -> KeyIndex {
        if let Some(index) = self.indices.get(key.as_bytes()) {
            return *index;
        }
        let index = self.add(key);
        self.indices.insert(key.as_bytes().into(), index);
        index
    }

    fn add(&mut self, name: &str) -> KeyIndex {
        let index = KeyIndex(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.into());
        index
    }

    /// The name of the entry at an index: its key, with a number in brackets if it is not the first.
    pub fn name(&self, index: KeyIndex) -> &str {
        self.names.get(index.get()).map_or("", |name| name)
    }

    /// The name of every entry that the policy uses, as of [`Self::name`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Every key that the policy uses, as requests send it.
    pub fn sent(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| self.is_used(name.as_bytes()))
    }

    /// Whether the policy uses entries with this key.
    pub fn is_used(&self, key: &[u8]) -> bool {
        self.indices.get(key).is_some()
    }

    /// The index of an entry by its name; none for the first entry with a key, which needs no number.
    pub(super) fn numbered(&self, name: &[u8]) -> Option<KeyIndex> {
        let EntryName { key, number } = EntryName::parse(std::str::from_utf8(name).ok()?).ok()?;
        let first = self.indices.get(key.as_bytes())?;
        self.repeated.get(&(*first, number)).copied()
    }

    /// The index by which the policy reads an entry of these; none if it does not.
    pub(super) fn read_as(&self, entries: &[Entry<'_>], at: usize) -> Option<KeyIndex> {
        let (before, entry) = (entries.get(..at)?, entries.get(at)?);
        let first = *self.indices.get(entry.key.as_bytes())?;
        let number = before.iter().filter(|other| other.key == entry.key).count();
        match u8::try_from(number).ok()? {
            0 => Some(first),
            number => self.repeated.get(&(first, number)).copied(),
        }
    }

    /// Finds the value of each key, for values that are empty. The first entry with a key is used, and those of the
    /// others that the policy names.
    #[inline]
    pub(crate) fn project<'q>(&self, entries: &[Entry<'q>], to: &mut Values<'q>) {
        to.values.resize(self.names.len(), None);
        for entry in entries {
            if let Some(index) = self.indices.get(entry.key.as_bytes())
                && let Some(value) = to.values.get_mut(index.get())
            {
                match value {
                    None => *value = Some(entry.value),
                    Some(_) => self.project_repeated(entries, entry, to),
                }
            }
        }
    }

    /// Projects an entry whose key an earlier one has. Out of line, since few descriptors have one.
    #[cold]
    fn project_repeated<'q>(&self, entries: &[Entry<'q>], entry: &Entry<'q>, to: &mut Values<'q>) {
        let at = entries.iter().position(|other| std::ptr::eq(other, entry));
        match at.and_then(|at| self.read_as(entries, at)) {
            Some(index) => to.set(index, entry.value),
            None => to.unread += 1,
        }
    }
}

/// A descriptor's values, by the index of their key.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    values: SmallVec<[Option<&'a [u8]>; 16]>,
    /// How many entries are not read, since others with their key come before them.
    unread: usize,
    addresses: &'a Addresses,
}

impl<'a> Values<'a> {
    /// No values yet. Addresses among them are read as `addresses` says.
    pub(crate) fn new(addresses: &'a Addresses) -> Self {
        Self { values: SmallVec::new(), unread: 0, addresses }
    }

    /// How addresses are read.
    pub(super) const fn addresses(&self) -> &'a Addresses {
        self.addresses
    }

    /// How many entries of keys that the policy uses are not read: others with the same key come before them, and the
    /// policy names no entry of their number.
    pub(super) const fn unread(&self) -> usize {
        self.unread
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn entries<'a>(written: &[(&'a str, &'a str)]) -> Vec<Entry<'a>> {
        let entry = |(key, value): &(&'a str, &'a str)| Entry {
            key: (*key).into(),
            value: value.as_bytes(),
        };
        written.iter().map(entry).collect()
    }

    #[test]
    fn entries_with_one_key_are_read_by_their_number() {
        let mut keys = Keys::default();
        let [second, first, tenth] = ["a[1]", "a", "a[9]"].map(|name| keys.intern(name));
        assert_eq!([keys.intern("a[0]"), keys.intern("a[1]")], [first, second]);
        assert_eq!([first, second, tenth].map(|index| keys.name(index)), ["a", "a[1]", "a[9]"]);
        let addresses = Addresses::default();
        let read = |written: &[(&str, &str)]| {
            let entries = entries(written);
            let mut values = Values::new(&addresses);
            keys.project(&entries, &mut values);
            let of = |index| values.get(index).map(|value| text::decode(value).into_owned());
            ([first, second, tenth].map(of), values.unread())
        };
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(read(&[("a", "1")]), ([some("1"), None, None], 0));
        assert_eq!(read(&[("a", "1"), ("b", "x"), ("a", "2")]), ([some("1"), some("2"), None], 0));
        assert_eq!(read(&[("a", "1"), ("a", ""), ("a", "3")]), ([some("1"), some(""), None], 1));
        let eleven: Vec<_> = (0..11).map(|_| ("a", "x")).collect();
        assert_eq!(read(&eleven), ([some("x"), some("x"), some("x")], 8));
        // A key that the policy does not use is not counted, nor is one that only looks like a number.
        assert_eq!(read(&[("b", "1"), ("b", "2")]), ([None, None, None], 0));
        assert_eq!(read(&[("a[1]", "1"), ("a[1]", "2")]), ([None, None, None], 0));
    }

    #[test]
    fn a_key_is_used_as_it_is_sent() {
        let mut keys = Keys::default();
        keys.intern("a[3]");
        assert!(keys.is_used(b"a") && !keys.is_used(b"a[3]"));
        assert_eq!(keys.sent().collect::<Vec<_>>(), [&KNOWN[..], &["a"]].concat());
        assert_eq!(keys.names().last(), Some("a[3]"));
        let entries = entries(&[("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("a", "5")]);
        let read: Vec<_> = (0..entries.len())
            .map(|at| keys.read_as(&entries, at).map(|index| keys.name(index)))
            .collect();
        assert_eq!(read, [Some("a"), None, None, None, Some("a[3]")]);
        assert_eq!(keys.numbered(b"a[3]").map(|index| keys.name(index)), Some("a[3]"));
        assert_eq!(
            [&b"a"[..], b"a[0]", b"a[2]", b"b[3]"].map(|name| keys.numbered(name)),
            [None; 4]
        );
    }
}
