//! Finds the buckets that given entries name, for all calls with these entries.

use std::sync::Arc;

use ipnet::IpNet;

use super::Policy;
use super::descriptor_tree::{DescriptorTree, key_in_tree};
use super::fingerprint::Fingerprint;
use super::identity::{Base, KeyEntry};
use super::overrides::Override;
use super::rule::Rule;
use super::table::{Row, Rows, Table};
use super::values::{KeyIndex, Values};
use crate::clock::Timestamp;
use crate::descriptor::Entry;
use crate::limit::Bucket;

/// A bucket with its name and its key.
#[derive(Debug, Clone)]
pub struct NamedBucket<'a> {
    /// The bucket's row.
    pub row: &'a Row,
    /// The rule that decides it.
    pub rule: &'a Rule,
    /// Its name in the store.
    pub fingerprint: Fingerprint,
    /// The keys and values of the entries that name it, an address as the network that counts. Empty for a bucket
    /// that all calls share.
    pub key: Arc<[(&'a str, Vec<u8>)]>,
}

impl<'a> NamedBucket<'a> {
    /// The bucket's limit.
    pub const fn bucket(&self) -> &'a Bucket {
        self.rule.bucket()
    }
}

/// A table whose buckets entries name in part.
#[derive(Debug)]
pub struct PartlyNamed<'a> {
    /// The table.
    pub table: &'a Table,
    /// The entries of its key that are missing, in the order of the key.
    pub missing: Vec<&'a str>,
}

impl Policy {
    /// Every table that calls with the entries can match and whose key has some of them, and others as well, in order.
    pub fn partly_named<'a>(&'a self, entries: &[Entry<'a>]) -> Vec<PartlyNamed<'a>> {
        let (values, _) = self.lookup_values(entries);
        let partly_named = |table: &'a Table| {
            let key = &self.key_set(table.key)?.entries;
            let is_given = |entry: &KeyEntry| values.get(entry.index).is_some();
            let is_partly = key.iter().any(is_given) && !key.iter().all(is_given);
            let missing = key.iter().filter(|entry| !is_given(entry));
            let missing = missing.map(|entry| self.keys.name(entry.index)).collect();
            (is_partly && table.when.could_match(&values)).then_some(PartlyNamed { table, missing })
        };
        self.tables.iter().filter_map(partly_named).collect()
    }

    /// The values of entries, an address without the length of its network, and that network.
    fn lookup_values<'a>(&'a self, entries: &[Entry<'a>]) -> (Values<'a>, Option<IpNet>) {
        let mut values = self.read(entries);
        for entry in entries {
            if let Some(index) = self.keys.numbered(entry.key.as_bytes()) {
                values.set(index, entry.value);
            }
        }
        let address = values.get(KeyIndex::REMOTE_ADDRESS);
        let network = address.and_then(|address| self.addresses.read_network(address));
        if let Some(address) = address.filter(|_| network.is_some()) {
            let end = memchr::memchr(b'/', address).and_then(|end| address.get(..end));
            values.set(KeyIndex::REMOTE_ADDRESS, end.unwrap_or(address));
        }
        (values, network)
    }

    /// The rule by which calls at `now` decide a bucket of a table and row, given the entries of its key; none if the
    /// policy has no such bucket. An address may be given as a network, and a later entry with the same key by its name
    /// in the policy.
    pub fn rule_of(
        &self,
        [table, row]: [&str; 2],
        key: &[Entry<'_>],
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Option<&Rule> {
        if let Some(tree) = self.tree() {
            let found =
                tree.find(key).filter(|found| [found.table(), found.name()] == [table, row]);
            let (row, rule) = found.and_then(|row| Some((row, row.rules.first()?)))?;
            return (self.name_in_tree(key, row, rule.salt) == fingerprint).then_some(rule);
        }
        let (values, _) = self.lookup_values(key);
        let table = self.tables.iter().find(|of| of.name() == table)?;
        let row = table.rows.row(row)?;
        let base = self.key_set(table.key)?.base(self.key, &values).ok()?;
        // An override that looks beyond the key has buckets of its own. Any other has those of the row, and applies to
        // all calls with the key or to none.
        let others = row.overrides().iter().flat_map(Override::rules);
        let mut all = row.rules_for(&values, now).iter().chain(row.rules()).chain(others);
        all.find(|rule| base.salted(rule.salt) == fingerprint)
    }

    /// Every bucket that the entries name and that calls with them can match at `now`, in the order of tables and
    /// rows. A missing entry may have any value, but an override with a condition on it is not applied. An address
    /// may be given as a network: it names the buckets that the whole network shares. Of several entries with one key,
    /// a later one may be given by its name in the policy, such as `generic_key[1]`. In a descriptor tree, the bucket of
    /// the descriptor with these entries.
    pub fn buckets_for<'a>(
        &'a self,
        entries: &[Entry<'a>],
        now: Timestamp,
    ) -> Vec<NamedBucket<'a>> {
        if let Some(tree) = self.tree() {
            return self.window_for(tree, entries).into_iter().collect();
        }
        let (values, network) = self.lookup_values(entries);
        let mut found = Vec::new();
        for table in &self.tables {
            let Some(set) = self.key_set(table.key) else { continue };
            let is_one_client = network.is_none_or(|network| set.prefixes.is_one_client(network));
            if set.has_address() && !is_one_client {
                continue;
            }
            let Ok(base) = set.base(self.key, &values) else { continue };
            let key = set.describe(&self.keys, &values).into();
            for (row, rules) in reachable(table, &values, now) {
                found.extend(rules.iter().map(|rule| named(row, rule, base, &key)));
            }
        }
        found
    }
}

impl Policy {
    /// The bucket of a descriptor with exactly these entries, in this order.
    fn window_for<'a>(
        &'a self,
        tree: &'a DescriptorTree,
        entries: &[Entry<'a>],
    ) -> Option<NamedBucket<'a>> {
        let row = tree.find(entries)?;
        let rule = row.rules.first()?;
        let fingerprint = self.name_in_tree(entries, row, rule.salt);
        let key = key_in_tree(row, entries).into();
        Some(NamedBucket { row, rule, fingerprint, key })
    }
}

fn named<'a>(
    row: &'a Row,
    rule: &'a Rule,
    base: Base,
    key: &Arc<[(&'a str, Vec<u8>)]>,
) -> NamedBucket<'a> {
    let fingerprint = base.salted(rule.salt);
    NamedBucket { row, rule, fingerprint, key: Arc::clone(key) }
}

/// Every row of a table that calls with these values can match, with its buckets for them.
fn reachable<'a>(
    table: &'a Table,
    values: &Values<'a>,
    now: Timestamp,
) -> Vec<(&'a Row, &'a [Rule])> {
    let mut found: Vec<(&Row, &[Rule])> = Vec::new();
    let mut add = |values: &Values<'a>| {
        if table.when.could_match(values)
            && let Some(row) = table.rows.pick(values)
        {
            found.push((row, row.rules_for(values, now)));
        }
    };
    match &table.rows {
        Rows::Selected { by, rows, .. } if values.get(*by).is_none() => {
            // A missing value picks the default row.
            add(values);
            for value in rows.names() {
                let mut values = values.clone();
                values.set(*by, value);
                add(&values);
            }
        }
        _ => add(values),
    }
    found.sort_unstable_by_key(|(row, _)| row.id());
    found
}
