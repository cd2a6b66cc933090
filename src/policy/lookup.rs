//! Finds the buckets that given entries name, for all calls with these entries.

use std::sync::Arc;

use super::Policy;
use super::fingerprint::Fingerprint;
use super::identity::Base;
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
    /// The bucket's limit.
    pub bucket: &'a Bucket,
    /// Its name in the store.
    pub fingerprint: Fingerprint,
    /// The keys and values of the entries that name it, an address as the network that counts. Empty for a bucket
    /// that all calls share.
    pub key: Arc<[(&'a str, Vec<u8>)]>,
}

impl Policy {
    /// Every bucket that the entries name and that calls with them can match at `now`, in the order of tables and
    /// rows. A missing entry may have any value, but an override with a condition on it is not applied. An address
    /// may be given as a network: it names the buckets that the whole network shares. Of several entries with one key,
    /// a later one may be given by its name in the policy, such as `generic_key[1]`.
    pub fn buckets_for<'a>(
        &'a self,
        entries: &[Entry<'a>],
        now: Timestamp,
    ) -> Vec<NamedBucket<'a>> {
        let mut values = self.read(entries);
        for entry in entries {
            if let Some(index) = self.keys.numbered(entry.key.as_bytes()) {
                values.set(index, entry.value);
            }
        }
        let address = values.get(KeyIndex::REMOTE_ADDRESS);
        let network =
            address.and_then(|address| Some((address, self.addresses.read_network(address)?)));
        if let Some((address, _)) = network {
            let end = memchr::memchr(b'/', address).and_then(|end| address.get(..end));
            values.set(KeyIndex::REMOTE_ADDRESS, end.unwrap_or(address));
        }
        let mut found = Vec::new();
        for table in &self.tables {
            let Some(set) = self.key_set(table.key) else { continue };
            let is_one_client =
                network.is_none_or(|(_, network)| set.prefixes.is_one_client(network));
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

fn named<'a>(
    row: &'a Row,
    rule: &'a Rule,
    base: Base,
    key: &Arc<[(&'a str, Vec<u8>)]>,
) -> NamedBucket<'a> {
    let fingerprint = base.salted(rule.salt);
    NamedBucket { row, bucket: &rule.bucket, fingerprint, key: Arc::clone(key) }
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
