//! Builds a [`Policy`] out of parts that have been checked, whatever language they were written in.
//!
//! What must not change unseen from one policy to the next is made here and nowhere else: the numbers of rows
//! and rules, and the salts that make the names of buckets (see [`identity`](super::identity)).

use std::sync::Arc;

use hashbrown::HashMap;

use super::address::Prefixes;
use super::condition::Conditions;
use super::denial::DenialBody;
use super::endpoints::Endpoints;
use super::fingerprint::FingerprintKey;
use super::identity::{KeySet, RowIdentity};
use super::message::Message;
use super::overrides::{Override, Overrides};
use super::rule::{Rule, RuleId};
use super::table::{KeySetId, Row, RowId, Table};
use super::values::{KeyIndex, Keys};
use super::{HeaderStyle, OnStoreError, Policy};
use crate::clock::Timestamp;
use crate::limit::Bucket;

/// The table and row under which limits that Envoy brings along are counted.
pub(crate) const LIMIT_OVERRIDE: [&str; 2] = ["limit override", "request"];

/// What a policy says once for all of its tables.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How clients are told what is left.
    pub(crate) headers: HeaderStyle,
    /// What becomes of requests while a shared store is away.
    pub(crate) on_store_error: OnStoreError,
    /// The body of a denial.
    pub(crate) denial_body: DenialBody,
    /// The key of the entry whose value says in which partition a bucket is.
    pub(crate) partition: Box<str>,
}

/// A policy that is being built.
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

/// A row as it is handed in.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    /// The name of its table.
    pub(crate) table: &'a Arc<str>,
    /// Which entries name its buckets.
    pub(crate) key: KeySetId,
    pub(crate) name: &'a str,
    pub(crate) shadow: bool,
    pub(crate) message: &'a Arc<Message>,
    /// Its buckets; none where it is unlimited.
    pub(crate) buckets: Vec<Bucket>,
}

/// For which calls an override counts, and until when.
#[derive(Debug)]
pub(crate) struct Scope {
    when: Conditions,
    until: Option<Timestamp>,
    /// The conditions in words, as the names of its buckets have them.
    description: String,
}

impl Scope {
    /// When the override ends.
    pub(crate) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// How many bytes it takes in each row beside its buckets: its conditions are kept a second time to find it by.
    pub(crate) fn size(&self) -> usize {
        size_of::<Override>() + 2 * self.description.len()
    }
}

impl Builder {
    /// A policy of a domain, whose buckets are named under a key.
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

    /// The entry keys that the policy asks about.
    pub(crate) const fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The key set of these entries, in this order. Tables with the same share it.
    pub(crate) fn key_set(&mut self, entries: &[&str], prefixes: Prefixes) -> KeySetId {
        let slots: Box<[KeyIndex]> = entries.iter().map(|name| self.keys.slot(name)).collect();
        let is_partition = |slot: &KeyIndex| *self.keys.name(*slot) == *self.settings.partition;
        let partition = slots.iter().copied().find(is_partition);
        let set = KeySet { slots, prefixes, partition };
        *self.known_sets.entry(set).or_insert_with_key(|set| {
            self.key_sets.push(set.clone());
            KeySetId(self.key_sets.len() - 1)
        })
    }

    /// Whether the entry that says the partition names buckets of any table.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.key_sets.iter().any(|set| set.partition.is_some())
    }

    /// A row with the buckets of all its calls.
    pub(crate) fn row(&mut self, new: NewRow<'_>) -> Row {
        let NewRow { table, key, name, shadow, message, buckets } = new;
        let rules = self.rules(self.place([table, name], key, None), buckets);
        Row { shadow, message: Arc::clone(message), rules, ..self.empty_row(table, name) }
    }

    /// The next row, without buckets.
    fn empty_row(&mut self, table: &Arc<str>, name: &str) -> Row {
        let id = RowId(self.rows);
        self.rows += 1;
        Row {
            id,
            label: format!("{table}/{name}").into(),
            table: Arc::clone(table),
            name: name.into(),
            shadow: false,
            message: Arc::default(),
            rules: Box::default(),
            overrides: Overrides::default(),
        }
    }

    /// For whom an override is that has these conditions.
    pub(crate) fn scope(&self, when: Conditions, until: Option<Timestamp>) -> Scope {
        Scope { description: when.describe(&self.keys), when, until }
    }

    /// Adds an override to a row of a table whose buckets these entries name. The first that applies counts.
    pub(crate) fn add_override(
        &mut self,
        row: &mut Row,
        key: KeySetId,
        scope: &Scope,
        buckets: Vec<Bucket>,
    ) {
        let place = self.place([&row.table, &row.name], key, Some(&scope.description));
        let rules = self.rules(place, buckets);
        row.overrides.push(Override { when: scope.when.clone(), until: scope.until, rules });
    }

    /// How many bytes one more bucket of a row takes, with what a client is told whom it denies.
    pub(crate) fn rule_size(
        &self,
        message: &Message,
        [table, row]: [&str; 2],
        bucket: &Bucket,
    ) -> usize {
        size_of::<Rule>() + self.settings.denial_body.size(message, [table, row], bucket)
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
        let first = self.rules;
        self.rules += buckets.len();
        let numbered = buckets.into_iter().zip(salts).zip(first..);
        numbered.map(|((bucket, salt), number)| Rule { id: RuleId(number), bucket, salt }).collect()
    }

    /// The policy, with its tables in the order in which they are tried.
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
        let [table, name] = LIMIT_OVERRIDE;
        let limit_override = self.empty_row(&Arc::from(table), name);
        let Settings { headers, on_store_error, denial_body, partition } = self.settings;
        Policy {
            domain: self.domain,
            headers,
            on_store_error,
            denial_body,
            partition,
            endpoints,
            bypass,
            tables,
            limit_override,
            keys: self.keys,
            key_sets: self.key_sets.into(),
            key: self.key,
        }
    }
}
