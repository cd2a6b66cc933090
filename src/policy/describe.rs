//! Explains in words how a descriptor matches a policy, for `tollgate explain` and the dashboard.

use std::borrow::Cow;

use super::condition::Conditions;
use super::descriptor_tree::Walk;
use super::identity::{KeyEntry, KeySet, ValueKind};
use super::paths::PathInKey;
use super::rule::Rule;
use super::table::{Miss, Row, Table};
use super::values::KeyIndex;
use super::{Bases, Policy};
use crate::clock::Timestamp;
use crate::descriptor::{Descriptor, Entry};
use crate::text;

/// How one descriptor matches a policy, table by table.
#[derive(Debug)]
pub struct Explained<'a> {
    /// The entries, in order, each with the name by which the policy reads it; none if it does not read it.
    pub entries: Vec<(Entry<'a>, Option<&'a str>)>,
    /// The endpoint group, sent or resolved.
    pub group: Option<Cow<'a, str>>,
    /// The bypass that it matches.
    pub bypass: Option<&'a Conditions>,
    /// Each table, with its matching row and buckets or the reason why there are none.
    pub tables: Vec<(&'a Table, TableMatch<'a>)>,
    /// The walk down the tree, if the policy is one. It has no tables then.
    pub walk: Option<Walk<'a>>,
}

/// The row and the buckets that a descriptor matches in a table, or why it matches none.
pub type TableMatch<'a> = Result<(&'a Row, &'a [Rule]), Miss<'a>>;

impl Policy {
    /// The entries of a descriptor with the names by which they are read; for each table, the row and the buckets that
    /// it matches, or why it matches none.
    pub fn explain<'a>(&'a self, descriptor: Descriptor<'a>, now: Timestamp) -> Explained<'a> {
        let entries = descriptor.entries();
        if let Some(tree) = self.tree() {
            let is_overridden = descriptor.limit_override().is_some();
            let walk = Walk { is_overridden, ..tree.walk(entries) };
            let read = |(at, entry): (usize, &Entry<'a>)| {
                (*entry, (at < walk.steps.len()).then(|| entry.key.as_str()))
            };
            let entries = entries.iter().enumerate().map(read).collect();
            let (group, bypass, tables, walk) = (None, None, Vec::new(), Some(walk));
            return Explained { entries, group, bypass, tables, walk };
        }
        let values = self.read(entries);
        let mut bases = Bases::new(self);
        let tables = self.tables.iter().map(|table| {
            let matched = table.resolve(&values, now).and_then(|matched| {
                bases.base(table.key, &values).map(|_| matched).map_err(Miss::NoKey)
            });
            (table, matched)
        });
        let tables = tables.collect();
        let bypass = self.bypass.iter().find(|bypass| bypass.all_match(&values));
        let group = values.get(KeyIndex::ENDPOINT_GROUP).map(text::decode);
        let name = |at| self.keys.read_as(entries, at).map(|index| self.keys.name(index));
        let entries = entries.iter().enumerate().map(|(at, entry)| (*entry, name(at))).collect();
        Explained { entries, group, bypass, tables, walk: None }
    }

    /// Which calls share a bucket of a table: `one for each tenant and remote_address (/32 of IPv4, /64 of IPv6)`.
    pub fn scope_description(&self, table: &Table) -> String {
        let keys = self.key_set(table.key()).map(|set| self.key_names(set)).unwrap_or_default();
        if keys.is_empty() {
            "one for all calls".to_owned()
        } else {
            format!("one for each {}", keys.join(" and "))
        }
    }

    /// The keys of the entries that name a bucket, an address with the bits of it that count.
    fn key_names(&self, set: &KeySet) -> Vec<String> {
        let name = |KeyEntry { index, is }: &KeyEntry| {
            let name = self.keys.name(*index);
            match is {
                ValueKind::Address => {
                    let prefixes = set.prefixes();
                    format!("{name} (/{} of IPv4, /{} of IPv6)", prefixes.ipv4(), prefixes.ipv6())
                }
                ValueKind::Path(PathInKey::WithQuery) => format!("{name} (with its query)"),
                ValueKind::Path(PathInKey::WithoutQuery) | ValueKind::Text => name.to_owned(),
            }
        };
        set.entries.iter().map(name).collect()
    }

    /// Why a descriptor matches no bucket of a table.
    pub fn miss_reason(&self, miss: Miss<'_>) -> String {
        let keys = self.keys();
        match miss {
            Miss::Condition(condition) => {
                format!("does not apply: only if {}", condition.describe(keys))
            }
            Miss::NoKey(key) => {
                format!("does not apply: no entry `{}` to name the bucket", keys.name(key))
            }
            Miss::NoRow(key) => {
                format!("no row for this `{}`, and no `default`", keys.name(key))
            }
            Miss::Unlimited(row) if row.rules().is_empty() => {
                format!("row {} is unlimited", row.name())
            }
            Miss::Unlimited(row) => format!("row {} is unlimited by an override", row.name()),
        }
    }

    /// The bypass that a descriptor matches, in words.
    pub fn describe_bypass(&self, explained: &Explained<'_>) -> Option<String> {
        explained.bypass.map(|bypass: &Conditions| bypass.describe(self.keys()))
    }
}

impl Explained<'_> {
    /// The effect of all buckets together on the call.
    pub fn outcome(&self) -> String {
        if let Some(walk) = &self.walk {
            return walk.outcome();
        }
        let matched = || self.tables.iter().filter_map(|(_, matched)| matched.as_ref().ok());
        let buckets = |is_shadow| -> usize {
            let rows = matched().filter(|(row, _)| row.is_shadow() == is_shadow);
            rows.map(|(_, rules): &(_, &[Rule])| rules.len()).sum()
        };
        let mut enforced = matched().filter(|(row, _)| !row.is_shadow());
        let is_blocked = enforced.any(|(_, rules)| rules.iter().any(Rule::is_blocked));
        let is_any_always = matched().any(|(row, _)| row.debt().is_some());
        let but_always = if is_any_always { " but those that always are" } else { "" };
        let outcome = match buckets(false) {
            _ if self.bypass.is_some() => "bypassed: no bucket is charged".to_owned(),
            _ if is_blocked => {
                format!("a blocked row; the call is denied, and nothing is charged{but_always}")
            }
            0 => "no bucket; the call passes".to_owned(),
            1 => "1 bucket, which must admit".to_owned(),
            more => {
                format!("{more} buckets; all of them must admit, or none is charged{but_always}")
            }
        };
        match buckets(true) {
            0 => outcome,
            shadow => format!("{outcome}; {shadow} in shadow"),
        }
    }
}
