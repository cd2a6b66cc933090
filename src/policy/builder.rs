//! Builds a [`Policy`] from checked parts, independently of the language of the policy file.
//!
//! Only the builder assigns the numbers of rows and rules and the salts of bucket names (see
//! [`identity`](super::identity)), on which a bucket's state across reloads depends.

use std::sync::Arc;

use hashbrown::HashMap;

use super::address::{Addresses, Prefixes};
use super::condition::Conditions;
use super::denial::DenialBody;
use super::descriptor_tree::{DescriptorTree, TreeSettings};
use super::endpoints::Endpoints;
use super::fingerprint::FingerprintKey;
use super::identity::{KeyEntry, KeySet, RowIdentity, Salt, ValueKind};
use super::message::Message;
use super::overrides::{Override, Overrides};
use super::paths::{PathEntries, PathInKey, PathRules};
use super::rule::{Rule, RuleId};
use super::table::{KeySetId, Row, RowId, Table};
use super::values::{KeyIndex, Keys};
use super::{HeaderStyle, OnStoreError, Policy, StorePrepaid};
use crate::clock::Timestamp;
use crate::limit::{Bucket, Counting, Debt};

/// The table and row under which limit overrides are counted.
pub(crate) const LIMIT_OVERRIDE: [&str; 2] = ["limit override", "request"];

/// The settings that all tables of a policy share.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Which response headers report the remaining limit.
    pub(crate) headers: HeaderStyle,
    /// What happens to requests while a shared store does not answer.
    pub(crate) on_store_error: OnStoreError,
    /// For how long admissions are charged in a shared store ahead of the requests.
    pub(crate) store_prepaid: StorePrepaid,
    /// The body of a denial.
    pub(crate) denial_body: DenialBody,
    /// The key of the entry whose value determines a bucket's partition.
    pub(crate) partition: Box<str>,
    /// How addresses are read.
    pub(crate) addresses: Addresses,
    /// Which entries are paths.
    pub(crate) paths: PathEntries,
}

impl Settings {
    /// Those of a tree, which has none of these. As in envoyproxy/ratelimit, calls fail while a shared store does not answer.
    pub(super) fn of_tree() -> Self {
        Self {
            headers: HeaderStyle::Off,
            on_store_error: OnStoreError::Fail,
            store_prepaid: StorePrepaid::default(),
            denial_body: DenialBody::default(),
            partition: Box::default(),
            addresses: Addresses::default(),
            paths: PathEntries::default(),
        }
    }
}

/// The size, in bytes, of the longest quota policy in a header without the names of its table and row.
const QUOTA_POLICY: usize = 128;

/// A policy under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    domain: Box<str>,
    key: FingerprintKey,
    settings: Settings,
    keys: Keys,
    key_sets: Vec<KeySet>,
    known_sets: HashMap<KeySet, KeySetId>,
    rows: usize,
    rules: usize,
}

/// The parts of a row.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    /// The name of its table.
    pub(crate) table: &'a Arc<str>,
    /// Which entries name its buckets.
    pub(crate) key: KeySetId,
    pub(crate) name: &'a str,
    pub(crate) shadow: bool,
    /// How far its token buckets may owe, if they are charged whatever is left.
    pub(crate) debt: Option<Debt>,
    pub(crate) message: &'a Arc<Message>,
    /// Its buckets; none if it is unlimited.
    pub(crate) buckets: Vec<Bucket>,
}

/// The calls to which an override applies, and its end.
#[derive(Debug)]
pub(crate) struct Scope {
    when: Conditions,
    until: Option<Timestamp>,
    /// The conditions in words, which are part of the identity of its buckets if they look beyond the key.
    description: String,
}

impl Scope {
    /// When the override ends.
    pub(crate) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The memory, in bytes, of an override in each row without its buckets. Its conditions are stored twice: in
    /// the override and in the index of overrides.
    pub(crate) fn size(&self) -> usize {
        size_of::<Override>() + 2 * self.description.len()
    }
}

impl Builder {
    /// Begins the policy of a domain. `key` hashes the names of its buckets.
    pub(crate) fn new(domain: &str, key: FingerprintKey, settings: Settings) -> Self {
        Self {
            domain: domain.into(),
            key,
            settings,
            keys: Keys::default(),
            key_sets: Vec::new(),
            known_sets: HashMap::new(),
            rows: 0,
            rules: 0,
        }
    }

    /// The entry keys that the policy uses.
    pub(crate) const fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Whether an entry is a path, by its name.
    pub(crate) fn is_path(&self, name: &str) -> bool {
        self.settings.paths.contains(name)
    }

    /// The key set of these entries, in this order, of which `path` counts of those that are paths. Tables with the same
    /// entries share it.
    pub(crate) fn key_set(
        &mut self,
        entries: &[&str],
        prefixes: Prefixes,
        path: PathInKey,
    ) -> KeySetId {
        let entry = |name: &&str| {
            let index = self.keys.intern(name);
            let is = match index {
                KeyIndex::REMOTE_ADDRESS => ValueKind::Address,
                _ if self.settings.paths.contains(name) => ValueKind::Path(path),
                _ => ValueKind::Text,
            };
            KeyEntry { index, is }
        };
        let entries: Box<[KeyEntry]> = entries.iter().map(entry).collect();
        let is_partition =
            |entry: &KeyEntry| *self.keys.name(entry.index) == *self.settings.partition;
        let partition = entries.iter().copied().find(is_partition);
        let set = KeySet { entries, prefixes, partition };
        *self.known_sets.entry(set).or_insert_with_key(|set| {
            self.key_sets.push(set.clone());
            KeySetId(self.key_sets.len() - 1)
        })
    }

    /// Whether the partition entry is in the key of any table.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.key_sets.iter().any(|set| set.partition.is_some())
    }

    /// Builds a row; [`Self::add_override`] adds its overrides.
    pub(crate) fn row(&mut self, new: NewRow<'_>) -> Row {
        let NewRow { table, key, name, shadow, debt, message, buckets } = new;
        let rules = self.rules(self.place([table, name], key, None), buckets);
        Row { shadow, debt, message: Arc::clone(message), rules, ..self.empty_row(table, name) }
    }

    /// Builds a row without buckets.
    pub(super) fn empty_row(&mut self, table: &Arc<str>, name: &str) -> Row {
        let id = RowId(self.rows);
        self.rows += 1;
        Row {
            id,
            label: format!("{table}/{name}").into(),
            table: Arc::clone(table),
            name: name.into(),
            shadow: false,
            quota: false,
            debt: None,
            counting: Counting::AllOrNone,
            message: Arc::default(),
            rules: Box::default(),
            overrides: Overrides::default(),
            of_tree: None,
        }
    }

    /// Numbers a rule.
    pub(super) const fn rule(&mut self, bucket: Bucket, salt: Salt) -> Rule {
        let id = RuleId(self.rules);
        self.rules += 1;
        Rule { id, bucket, salt, changes: None }
    }

    /// The scope of an override with these conditions.
    pub(crate) fn scope(&self, when: Conditions, until: Option<Timestamp>) -> Scope {
        Scope { description: when.describe(&self.keys), when, until }
    }

    /// Adds an override to a row of a table with this key. The first override that applies to a call is used.
    pub(crate) fn add_override(
        &mut self,
        row: &mut Row,
        key: KeySetId,
        scope: &Scope,
        buckets: Vec<Bucket>,
    ) {
        let limits_the_keys_of_the_row = self
            .key_sets
            .get(key.0)
            .is_some_and(|set| set.determines(&scope.when, &self.settings.addresses));
        let conditions = (!limits_the_keys_of_the_row).then_some(&*scope.description);
        let place = self.place([&row.table, &row.name], key, conditions);
        let rules = self.rules(place, buckets);
        row.overrides.push(Override { when: scope.when.clone(), until: scope.until, rules });
    }

    /// The memory, in bytes, of one more bucket of a row, its encoded denial and its quota policy included.
    pub(crate) fn rule_size(
        &self,
        message: &Message,
        [table, row]: [&str; 2],
        bucket: &Bucket,
    ) -> usize {
        let quota_policy = match self.settings.headers {
            HeaderStyle::Ietf => QUOTA_POLICY + table.len() + row.len(),
            HeaderStyle::Epoch | HeaderStyle::Delta | HeaderStyle::Off => 0,
        };
        let denial = self.settings.denial_body.size(message, [table, row], bucket);
        size_of::<Rule>() + denial + quota_policy
    }

    fn place(
        &self,
        [table, row]: [&str; 2],
        key: KeySetId,
        conditions: Option<&str>,
    ) -> RowIdentity {
        let set = self.key_sets.get(key.0);
        let entries = set.map(|set| set.identity(&self.keys)).unwrap_or_default();
        RowIdentity::of_row(self.key, [&self.domain, table, row], entries, conditions)
    }

    fn rules(&mut self, place: RowIdentity, buckets: Vec<Bucket>) -> Box<[Rule]> {
        let salts = place.salts(&buckets);
        buckets.into_iter().zip(salts).map(|(bucket, salt)| self.rule(bucket, salt)).collect()
    }

    /// Builds the policy. Its tables keep their order.
    pub(crate) fn build(
        mut self,
        mut tables: Box<[Table]>,
        endpoints: Endpoints,
        bypass: Box<[Conditions]>,
    ) -> Policy {
        tables
            .iter_mut()
            .flat_map(|table| table.rows.iter_mut())
            .for_each(|row| row.overrides.index());
        let rows = tables.iter().flat_map(|table| table.rows.iter());
        let mut ends: Vec<_> = rows.flat_map(Row::overrides).filter_map(Override::until).collect();
        ends.sort_unstable();
        let [table, name] = LIMIT_OVERRIDE;
        let limit_override = self.empty_row(&Arc::from(table), name);
        let Settings {
            headers,
            on_store_error,
            store_prepaid,
            denial_body,
            partition,
            addresses,
            paths: _,
        } = self.settings;
        Policy {
            domain: self.domain,
            headers,
            on_store_error,
            store_prepaid,
            denial_body,
            partition,
            addresses,
            endpoints,
            bypass,
            tables,
            ends: ends.into(),
            tree: None,
            limit_override,
            keys: self.keys,
            key_sets: self.key_sets.into(),
            key: self.key,
        }
    }

    /// Builds the policy of a tree.
    pub(super) fn build_tree(self, tree: DescriptorTree) -> Policy {
        let endpoints = Endpoints::new(PathRules::default());
        let policy = self.build(Box::default(), endpoints, Box::default());
        let TreeSettings { is_quota: quota, counting, .. } = *tree.settings();
        let of_tree = Some(Box::default());
        let limit_override = Row { quota, counting, of_tree, ..policy.limit_override };
        Policy { limit_override, tree: Some(Box::new(tree)), ..policy }
    }
}
