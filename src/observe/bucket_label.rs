//! What a bucket is called, for people: the names of its table and row, and the entries that name it.

use std::borrow::Cow;

use ipnet::IpNet;

use crate::decision::Decided;
use crate::descriptor::{Entry, Query};
use crate::policy::{Policy, address};
use crate::text;

/// The most entries kept of those that name a bucket.
const MAX_ENTRIES: usize = 8;

/// The key of an entry and its value, which may be any bytes.
pub type LabelEntry = (Box<str>, Box<[u8]>);

/// What a bucket is called. Values are what clients sent: who prints one escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLabel {
    /// The policy's domain.
    pub domain: Box<str>,
    /// The table, or `limit override` for a limit that Envoy brings along.
    pub table: Box<str>,
    /// The row.
    pub row: Box<str>,
    /// The keys and values of the entries that name the bucket, in order. Of an address, the network that
    /// counts.
    pub key: Box<[LabelEntry]>,
    /// Whether [`Self::key_text`] is less than what names the bucket: a text is cut after [`text::MAX_CHARS`] characters,
    /// with an ellipsis, and the list after eight entries; and bytes that are no UTF-8 are told as text.
    pub is_truncated: bool,
    /// Whether the row is in shadow, so that the bucket denies nobody.
    pub is_shadow: bool,
}

impl BucketLabel {
    /// The name of a bucket that a query has met.
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

    /// The key as text, for JSON. It is what clients sent, unescaped but for bytes that are no UTF-8.
    pub fn key_text(&self) -> Vec<[Cow<'_, str>; 2]> {
        self.key.iter().map(|(name, value)| [Cow::Borrowed(&**name), text::decode(value)]).collect()
    }

    /// Whether the bucket's key has one of the entries that are asked for, and no other value for any of them.
    pub fn matches(&self, filter: &EntryFilter) -> bool {
        let given = self.key.iter().filter_map(|(name, value)| {
            let asked = filter.0.iter().find(|asked| asked.key == *name)?;
            let network = || address::network(value).zip(asked.network);
            Some(*value == asked.value || network().is_some_and(|(all, some)| all.contains(&some)))
        });
        let mut same = given.peekable();
        same.peek().is_some() && same.all(|same| same)
    }
}

/// Entries that are asked for, cut as names of buckets are.
#[derive(Debug)]
pub struct EntryFilter(Vec<FilterEntry>);

#[derive(Debug)]
struct FilterEntry {
    key: Box<str>,
    value: Box<[u8]>,
    /// What the value is, where it is an address.
    network: Option<IpNet>,
}

impl EntryFilter {
    /// Cuts entries once, however many buckets there are to compare them with.
    pub fn new(entries: &[Entry<'_>]) -> Self {
        let of = |Entry { key, value }: &Entry<'_>| {
            let is_address = *key == address::KEY;
            let network = if is_address { address::network(value) } else { None };
            FilterEntry { key: text::truncate(key), value: text::truncate_value(value), network }
        };
        Self(entries.iter().map(of).collect())
    }
}
