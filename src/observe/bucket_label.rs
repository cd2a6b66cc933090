//! The name of a bucket for people: its domain, table and row, and the entries of its key.

use std::borrow::Cow;

use ipnet::IpNet;

use crate::decision::Decided;
use crate::descriptor::{Entry, Query};
use crate::policy::Policy;
use crate::policy::address::{self, Addresses};
use crate::text;

/// The maximum number of entries that are kept of a key.
const MAX_ENTRIES: usize = 8;

/// An entry: its key, and its value, which may be any bytes.
pub type LabelEntry = (Box<str>, Box<[u8]>);

/// The name of a bucket. Its values come from clients: escape them before printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLabel {
    /// The policy's domain.
    pub domain: Box<str>,
    /// The table, or `limit override` for a limit that Envoy sends.
    pub table: Box<str>,
    /// The row.
    pub row: Box<str>,
    /// The entries that name the bucket, in order. An address is replaced by the network that shares the bucket.
    pub key: Box<[LabelEntry]>,
    /// Whether [`Self::key_text`] differs from the bucket's key: texts are cut after [`text::MAX_CHARS`] characters, with
    /// an ellipsis, the list after eight entries, and bytes that are not UTF-8 are escaped.
    pub is_truncated: bool,
    /// Whether the row is in shadow, so that the bucket denies nothing.
    pub is_shadow: bool,
}

impl BucketLabel {
    /// The name of a bucket that a query matched.
    pub fn of(policy: &Policy, query: &Query<'_>, decided: &Decided<'_>) -> Self {
        let row = decided.matched.row;
        let descriptor = query.descriptors().nth(decided.matched.descriptor);
        let key =
            descriptor.map(|descriptor| policy.bucket_key(descriptor, row)).unwrap_or_default();
        let is_less =
            |(name, value): &(&str, Vec<u8>)| text::is_long(name) || !text::is_short_text(value);
        Self {
            domain: policy.domain().into(),
            table: row.table().into(),
            row: row.name().into(),
            is_truncated: key.len() > MAX_ENTRIES || key.iter().any(is_less),
            key: key
                .iter()
                .take(MAX_ENTRIES)
                .map(|(name, value)| (text::truncate(name), text::truncate_value(value)))
                .collect(),
            is_shadow: row.is_shadow(),
        }
    }

    /// The key as text, for JSON. Only bytes that are not UTF-8 are escaped.
    pub fn key_text(&self) -> Vec<[Cow<'_, str>; 2]> {
        self.key.iter().map(|(name, value)| [Cow::Borrowed(&**name), text::decode(value)]).collect()
    }

    /// Whether the bucket's key has at least one entry of the filter, and no other value for any of them.
    pub fn matches(&self, filter: &EntryFilter) -> bool {
        let given = self.key.iter().filter_map(|(name, value)| {
            let asked = filter.0.iter().find(|asked| asked.key == *name)?;
            let network = || address::parse_network(value).zip(asked.network);
            Some(*value == asked.value || network().is_some_and(|(all, some)| all.contains(&some)))
        });
        let mut same = given.peekable();
        same.peek().is_some() && same.all(|same| same)
    }
}

/// Entries to search buckets by, truncated as labels are.
#[derive(Debug)]
pub struct EntryFilter(Vec<FilterEntry>);

#[derive(Debug)]
struct FilterEntry {
    key: Box<str>,
    value: Box<[u8]>,
    /// The network of the value, if the entry is an address.
    network: Option<IpNet>,
}

impl EntryFilter {
    /// A filter of these entries, which are truncated once, not for each bucket. An address is read as `addresses` says.
    pub fn new(entries: &[Entry<'_>], addresses: &Addresses) -> Self {
        let of = |(at, Entry { key, value }): (usize, &Entry<'_>)| {
            let is_address = *key == *address::KEY;
            let network = if is_address { addresses.read_network(value) } else { None };
            // As a policy names a later entry with the same key.
            let key = match entries.iter().take(at).filter(|other| other.key == *key).count() {
                0 => text::truncate(key.as_str()),
                number => text::truncate(&format!("{}[{number}]", key.as_str())),
            };
            FilterEntry { key, value: text::truncate_value(value), network }
        };
        Self(entries.iter().enumerate().map(of).collect())
    }
}
