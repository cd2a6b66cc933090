//! The identity of a bucket: a bucket is the same after a reload, in a snapshot and on another replica if its name is.
//!
//! A bucket's name, its [`Fingerprint`], is made of its place in the policy and of its key values. The place is the
//! domain, the table, the row, the table's key and, for an override whose conditions look beyond the key, these conditions;
//! then the kind of the bucket (of a
//! token bucket, its period) and its number among those of its kind. A policy change that keeps these keeps the
//! bucket's state. A bucket's size and its tokens per period are not part of its identity, so a raised limit applies to
//! the same bucket and to what was used of it. So does an override for some keys: it changes the limit of their buckets.

use std::net::IpAddr;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use siphasher::sip128::SipHasher13;

use super::address::{Addresses, Prefixes};
use super::condition::{Condition, Conditions};
use super::fingerprint::{
    self, Fingerprint, FingerprintKey, Kind, NameHasher, PARTITION_BITS, PLACE_BITS, SHARD_BITS,
};
use super::paths::{PathInKey, without_query};
use super::table::identity_name;
use super::values::{KeyIndex, Keys, Values};
use crate::descriptor::Entry;
use crate::limit::Bucket;

/// The identity of a row, or of one of its overrides: the part of the place that its buckets share.
#[derive(Debug)]
pub(super) struct RowIdentity {
    key: FingerprintKey,
    names: Vec<String>,
}

impl RowIdentity {
    /// The identity of a row in a table whose buckets `entries` name; with `conditions`, that of an override.
    pub(super) fn of_row(
        key: FingerprintKey,
        [domain, table, row]: [&str; 3],
        entries: Vec<String>,
        conditions: Option<&str>,
    ) -> Self {
        let mut names = [domain, table, identity_name(row)].map(str::to_owned).to_vec();
        names.push(entries.len().to_string());
        names.extend(entries);
        names.extend(conditions.map(str::to_owned));
        Self { key, names }
    }

    /// The salt of each bucket of the row or override, in order.
    pub(super) fn salts(&self, buckets: &[Bucket]) -> Vec<Salt> {
        let mut kinds: HashMap<String, usize> = HashMap::new();
        let salt = |bucket| {
            let kind = kind(bucket);
            let before = kinds.entry_ref(&*kind).or_default();
            let number = std::mem::replace(before, *before + 1).to_string();
            Salt::of(self.key, self.names.iter().map(String::as_str), [&*kind, &number])
        };
        buckets.iter().map(salt).collect()
    }
}

/// The kind of a bucket, which distinguishes the buckets of one row: `per second`, `concurrent` or `blocked`.
pub(crate) fn kind(bucket: &Bucket) -> String {
    match bucket {
        Bucket::Tokens(bucket) => format!("per {}", bucket.rate().period()),
        Bucket::Concurrency(_) => "concurrent".to_owned(),
        Bucket::Window(window) => format!("each {}", window.unit().name()),
        Bucket::Blocked(_) => "blocked".to_owned(),
    }
}

impl Fingerprint {
    /// The name of the bucket that replaces all of these, in any order. Its partition is the lowest of theirs.
    pub(super) fn in_place_of(others: impl Iterator<Item = Self>, salt: Salt) -> Option<Self> {
        let own = |word: u64| word & !PARTITION_BITS;
        others
            .reduce(|Self([a, b]), Self([c, d])| {
                let partition = (a & PARTITION_BITS).min(c & PARTITION_BITS);
                Self([own(a).wrapping_add(own(c)) | partition, b.wrapping_add(d)])
            })
            .map(|sum| Base(sum.0).salted(salt))
    }
}

/// The hash of the key values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base([u64; 2]);

impl Base {
    fn in_partition_of(self, other: Self) -> Self {
        let (Self([first, second]), Self([partition, _])) = (self, other);
        Self([first & !PARTITION_BITS | partition & PARTITION_BITS, second])
    }

    pub(super) fn salted(self, Salt([salt0, salt1]): Salt) -> Fingerprint {
        let Self([base0, base1]) = self;
        Fingerprint([base0 ^ salt0, base1 ^ salt1])
    }

    /// The base of a whole descriptor: every key and every value, in order.
    pub(super) fn of_entries<'a>(
        key: FingerprintKey,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> Self {
        Self(key.hash(|hasher| {
            for Entry { key, value } in entries {
                hasher.value(key.as_bytes());
                hasher.value(value);
            }
        }))
    }
}

/// The hash of a place in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt([u64; 2]);

impl Salt {
    /// The salt of a bucket: `row` are the names that lead to its row, the domain first; `bucket` are those that
    /// distinguish the row's buckets.
    pub(super) fn of<'a>(
        key: FingerprintKey,
        row: impl IntoIterator<Item = &'a str>,
        bucket: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut of_row = 0;
        let [first, of_bucket] = key.hash(|hasher| {
            row.into_iter().for_each(|name| hasher.text(name));
            [_, of_row] = hasher.name();
            bucket.into_iter().for_each(|name| hasher.text(name));
        });
        // The bits that come from the base alone.
        let own = match key.0 {
            Kind::Secret(..) => SHARD_BITS,
            Kind::Shared => PARTITION_BITS,
        };
        Self([first & !own, of_row & PLACE_BITS | of_bucket & !PLACE_BITS])
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(fingerprint::words(bytes))
    }

    /// Its two words in little-endian bytes, as in a snapshot.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        fingerprint::bytes(self.0)
    }
}

/// An entry of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyEntry {
    pub(super) index: KeyIndex,
    pub(super) is: ValueKind,
}

/// What the value of an entry is, and so how much of it names a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ValueKind {
    /// A text, all of which counts.
    Text,
    /// A path.
    Path(PathInKey),
    /// An address, of which the bits of the prefix count, or a text that is none.
    Address,
}

impl KeyEntry {
    /// The part of a value that names a bucket, but for the prefix of an address.
    #[inline]
    fn counted(self, value: &[u8]) -> &[u8] {
        match self.is {
            ValueKind::Path(PathInKey::WithoutQuery) => without_query(value),
            ValueKind::Path(PathInKey::WithQuery) | ValueKind::Text | ValueKind::Address => value,
        }
    }

    #[inline]
    fn address(self, value: &[u8], values: &Values<'_>) -> Option<IpAddr> {
        if self.is == ValueKind::Address { values.addresses().read(value) } else { None }
    }
}

/// The entries whose values name a table's buckets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySet {
    pub(super) entries: Box<[KeyEntry]>,
    pub(super) prefixes: Prefixes,
    /// The entry that determines the partition of the buckets, if it is in the key; without it, all entries do.
    pub(super) partition: Option<KeyEntry>,
}

impl KeySet {
    /// The keys of the entries, in order.
    pub fn names<'k>(&self, keys: &'k Keys) -> Vec<&'k str> {
        self.entries.iter().map(|entry| keys.name(entry.index)).collect()
    }

    /// Of these, the ones of which each value names other buckets: no address, of which a part may count, and no path without
    /// its query.
    pub(crate) fn plain_names<'k>(&self, keys: &'k Keys) -> Vec<&'k str> {
        let is_plain =
            |is: &ValueKind| matches!(is, ValueKind::Text | ValueKind::Path(PathInKey::WithQuery));
        let plain = self.entries.iter().filter(|entry| is_plain(&entry.is));
        plain.map(|entry| keys.name(entry.index)).collect()
    }

    /// The key as part of a bucket's identity: the keys of the entries and, with an address, how many bits of it
    /// count.
    pub(super) fn identity(&self, keys: &Keys) -> Vec<String> {
        let mut names: Vec<_> =
            self.entries.iter().map(|entry| keys.name(entry.index).to_owned()).collect();
        if self.has_address() {
            names.push(format!("/{} /{}", self.prefixes.ipv4(), self.prefixes.ipv6()));
        }
        names
    }

    /// Whether one of the entries is an address.
    pub fn has_address(&self) -> bool {
        self.entries.iter().any(|entry| entry.is == ValueKind::Address)
    }

    /// How many bits of an address count.
    pub const fn prefixes(&self) -> Prefixes {
        self.prefixes
    }

    /// Whether calls with the same key values all meet these conditions, or none of them does: the conditions test
    /// only entries of the key, and no part of a value that does not count.
    pub(super) fn determines(&self, when: &Conditions, addresses: &Addresses) -> bool {
        when.0.iter().all(|Condition { key, matcher }| {
            let entry = self.entries.iter().find(|entry| entry.index == *key);
            entry.is_some_and(|entry| match entry.is {
                ValueKind::Address => matcher.holds_for_networks(self.prefixes, addresses),
                ValueKind::Path(PathInKey::WithoutQuery) => false,
                ValueKind::Path(PathInKey::WithQuery) | ValueKind::Text => true,
            })
        })
    }

    /// The keys and values of the entries, in order, for display: an address as the network that counts, a path without
    /// its query unless that counts.
    pub(super) fn describe<'k>(
        &self,
        keys: &'k Keys,
        values: &Values<'_>,
    ) -> Vec<(&'k str, Vec<u8>)> {
        let described = |entry: &KeyEntry| {
            let value = entry.counted(values.get(entry.index)?);
            let network =
                entry.address(value, values).map(|address| self.prefixes.network(address));
            let shown = network.map_or_else(|| value.to_vec(), String::into_bytes);
            Some((keys.name(entry.index), shown))
        };
        self.entries.iter().filter_map(described).collect()
    }

    /// The base of a descriptor's key values.
    ///
    /// # Errors
    /// The index of the first entry that is missing.
    pub(super) fn base(&self, key: FingerprintKey, values: &Values<'_>) -> Result<Base, KeyIndex> {
        match key.0 {
            Kind::Secret(first, second) => {
                self.hash(&self.entries, values, SipHasher13::new_with_keys(first, second))
            }
            Kind::Shared => {
                let base = self.hash(&self.entries, values, Sha256::new())?;
                let Some(entry) = self.partition else { return Ok(base) };
                Ok(base.in_partition_of(self.hash(&[entry], values, Sha256::new())?))
            }
        }
    }

    fn hash(
        &self,
        entries: &[KeyEntry],
        values: &Values<'_>,
        mut hasher: impl NameHasher,
    ) -> Result<Base, KeyIndex> {
        for entry in entries {
            let value = entry.counted(values.get(entry.index).ok_or(entry.index)?);
            match entry.address(value, values).map(|address| self.prefixes.mask(address)) {
                Some(IpAddr::V4(address)) => hasher.bytes(4, &address.octets()),
                Some(IpAddr::V6(address)) => hasher.bytes(6, &address.octets()),
                None => hasher.value(value),
            }
        }
        Ok(Base(hasher.name()))
    }
}

/// A bucket's name, for tests of other modules.
#[cfg(test)]
pub(crate) fn name_for_tests(name: &str) -> Fingerprint {
    let key = FingerprintKey::fixed(7);
    Base::of_entries(key, [Entry { key: "name".into(), value: name.as_bytes() }].into_iter())
        .salted(Salt([0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fingerprint::ShortName;

    const KEY: FingerprintKey = FingerprintKey::fixed(7);

    fn base(parts: &[&str]) -> [u64; 2] {
        KEY.hash(|hasher| parts.iter().for_each(|part| hasher.text(part)))
    }

    #[test]
    fn joined_names_do_not_collide() {
        assert_ne!(base(&["a_b"]), base(&["a", "b"]));
        assert_ne!(base(&["a", "b_c"]), base(&["a_b", "c"]));
        assert_ne!(base(&["ab", ""]), base(&["a", "b"]));
        assert_ne!(base(&["", "a"]), base(&["a", ""]));
        assert_ne!(base(&["a"]), base(&["a", ""]));
    }

    #[test]
    fn all_buckets_of_one_tenant_share_a_shard() {
        let base = Base(base(&["acme"]));
        let shards: Vec<_> = ["per second", "per minute", "elsewhere"]
            .map(|place| base.salted(Salt::of(KEY, [place], [])).shard())
            .into();
        assert_eq!(shards, [base.salted(Salt([0, 0])).shard(); 3]);
    }

    #[test]
    fn the_buckets_of_one_row_share_a_place_and_those_of_another_have_their_own() {
        let place = |row, bucket| {
            let name = Base(base(&["acme"])).salted(Salt::of(KEY, [row], [bucket]));
            (name, name.hash64() & PLACE_BITS)
        };
        let (second, minute) = (place("free", "per second"), place("free", "per minute"));
        assert_ne!(second.0, minute.0);
        assert_eq!(second.1, minute.1);
        assert_ne!(second.1, place("paid", "per second").1);
    }

    #[test]
    fn the_bucket_in_place_of_others_has_a_name_of_its_own_in_any_order() {
        let names: Vec<_> =
            ["a", "b"].map(|place| Base(base(&["acme"])).salted(Salt::of(KEY, [place], []))).into();
        let salt = Salt::of(KEY, ["limit"], []);
        let forth = Fingerprint::in_place_of(names.iter().copied(), salt);
        let back = Fingerprint::in_place_of(names.iter().rev().copied(), salt);
        assert_eq!(forth, back);
        assert!(forth.is_some_and(|name| !names.contains(&name)));
        assert_eq!(Fingerprint::in_place_of([].into_iter(), salt), None);
    }

    /// Replicas of different versions must agree on these names: a change splits every bucket of a deployment
    /// during its upgrade.
    #[test]
    fn shared_names_stay_what_they_are() {
        let base = Base::of_entries(
            FingerprintKey::shared(),
            [Entry { key: "tenant".into(), value: b"acme" }].into_iter(),
        );
        let name = base.salted(Salt::of(FingerprintKey::shared(), ["tenant", "free"], ["second"]));
        assert_eq!(name.to_string(), "b9dd3a57f3f254cc4a42e2ec0339e1e0");
        assert_eq!(name.partition(), 5324);
    }

    #[test]
    fn a_path_without_a_query_names_the_same_bucket_whether_queries_count_or_not() {
        let keys = Keys::default();
        let named = |path, value: &[u8]| {
            let method = KeyEntry { index: KeyIndex::METHOD, is: ValueKind::Text };
            let path = KeyEntry { index: KeyIndex::PATH, is: ValueKind::Path(path) };
            let entries = [method, path].into();
            let set = KeySet { entries, prefixes: Prefixes::default(), partition: None };
            let addresses = crate::policy::address::Addresses::default();
            let mut values = Values::new(&addresses);
            let entries = [("method", &b"GET"[..]), ("path", value)];
            let entries = entries.map(|(key, value)| Entry { key: key.into(), value });
            keys.project(&entries, &mut values);
            let Ok(Base(base)) = set.base(KEY, &values) else { panic!("an entry is missing") };
            (base, set.identity(&keys))
        };
        let without = |value: &[u8]| named(PathInKey::WithoutQuery, value);
        let with = |value: &[u8]| named(PathInKey::WithQuery, value);
        let all =
            KEY.hash(|hasher| [&b"GET"[..], b"/a"].iter().for_each(|text| hasher.value(text)));
        assert_eq!(without(b"/a"), (all, vec!["method".to_owned(), "path".to_owned()]));
        assert_eq!(without(b"/a"), with(b"/a"));
        assert_eq!(without(b"/a?b"), without(b"/a"));
        assert_ne!(with(b"/a?b"), with(b"/a"));
    }

    #[test]
    fn a_short_name_has_the_shard_and_the_place() {
        for number in 0..1000 {
            let name = name_for_tests(&format!("bucket {number}"));
            let short = name.short();
            assert_eq!((short.shard(), short.hash64()), (name.shard(), name.hash64()));
        }
    }

    #[test]
    fn names_survive_a_round_trip_through_bytes() {
        let name = name_for_tests("acme");
        assert_eq!(Fingerprint::from_bytes(name.to_bytes()), name);
        assert_eq!(ShortName::from_bytes(name.short().to_bytes()), name.short());
        assert_eq!(Fingerprint::parse(&name.to_string()), Some(name));
        for wrong in ["", "0", "+00102030405060708090a0b0c0d0e0f", &"é".repeat(16)] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
        let key = FingerprintKey::from_bytes(KEY.to_bytes());
        assert_eq!(Salt::of(key, ["tenant"], []), Salt::of(KEY, ["tenant"], []));
    }

    #[test]
    fn another_key_gives_other_names() {
        let place = ["tenant", "free"];
        assert_ne!(Salt::of(KEY, place, []), Salt::of(FingerprintKey::fixed(8), place, []));
    }
}
