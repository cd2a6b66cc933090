//! A table: when it applies, which row it selects, and which buckets that row has.

use std::sync::Arc;

use super::condition::{Condition, Conditions};
use super::descriptor_tree::TreeRow;
use super::message::Message;
use super::name_map::NameMap;
use super::overrides::{Override, Overrides};
use super::paths::{PathInKey, without_query};
use super::rule::Rule;
use super::values::{KeyIndex, Values};
use crate::clock::Timestamp;
use crate::limit::{Counting, Debt};

/// The names of the row for every value without a row of its own: the name to write, and its old name.
pub(crate) const DEFAULT: [&str; 2] = ["default", "otherwise"];

/// The names of the row of a table without `select`: the name to write, and its old name.
pub(crate) const ALL: [&str; 2] = ["all", "always"];

/// The name of a row in the identity of its buckets: the old name of `default` and `all`, so that a policy that changes
/// from one name to the other keeps the state of its buckets.
pub(super) fn identity_name(row: &str) -> &str {
    let [_, otherwise] = DEFAULT;
    let [_, always] = ALL;
    match row {
        _ if DEFAULT.contains(&row) => otherwise,
        _ if ALL.contains(&row) => always,
        _ => row,
    }
}

/// The number of a row within its policy, counted through all tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(pub(super) usize);

impl RowId {
    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// The buckets for some of the calls to which a table applies.
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) id: RowId,
    pub(super) table: Arc<str>,
    pub(super) name: Box<str>,
    pub(super) label: Box<str>,
    pub(super) shadow: bool,
    pub(super) quota: bool,
    pub(super) debt: Option<Debt>,
    pub(super) counting: Counting,
    pub(super) message: Arc<Message>,
    pub(super) rules: Box<[Rule]>,
    pub(super) overrides: Overrides,
    /// What only a row of a descriptor tree has.
    pub(super) of_tree: Option<Box<TreeRow>>,
}

impl Row {
    /// The row's number.
    pub const fn id(&self) -> RowId {
        self.id
    }

    /// The name of the row's table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The row's own name as written in the policy: the value that selects it, `default` or `all`, or one of their old
    /// names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Table and row in one text, `tenant/free`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether its buckets are counted and reported, but never deny.
    pub const fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// Whether its windows deny a request only together with all other quotas that the request meets.
    pub const fn is_quota(&self) -> bool {
        self.quota
    }

    /// How far its token buckets and those of its overrides may owe, if they are charged whatever is left.
    pub const fn debt(&self) -> Option<Debt> {
        self.debt
    }

    /// What its windows count if one of the request is over its limit.
    pub const fn counting(&self) -> Counting {
        self.counting
    }

    /// The message to a client that one of its buckets denies.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The message about the row's own or an override's buckets, with its placeholders unfilled.
    pub fn message_of(&self, rules: &[Rule]) -> String {
        self.message.text(rules.first().map(Rule::bucket))
    }

    /// Its buckets; none if it is unlimited.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether it is neither unlimited nor blocked.
    pub fn is_limited(&self) -> bool {
        self.rules.iter().any(|rule| !rule.is_blocked())
    }

    /// Its overrides, of which the first that applies to a call is used.
    pub fn overrides(&self) -> &[Override] {
        self.overrides.listed()
    }

    /// The buckets for a call at `now`: an override's, if one applies, or the row's.
    pub(super) fn rules_for(&self, values: &Values<'_>, now: Timestamp) -> &[Rule] {
        self.overrides.find(values, now).map_or(&*self.rules, |other| &*other.rules)
    }
}

/// The rows of a table by the values of the entry that selects them.
#[derive(Debug, Clone)]
pub struct NamedRows {
    rows: NameMap<Row>,
    /// For an entry that is a path: how much of it counts.
    path: Option<PathInKey>,
}

impl NamedRows {
    /// Rows by the bytes of their names. If the entry is a path, `path` says how much of it counts.
    pub(crate) const fn new(rows: NameMap<Row>, path: Option<PathInKey>) -> Self {
        Self { rows, path }
    }

    /// The row for a value. One that is named like all of a path goes before one that is named like the path without its
    /// query.
    #[inline]
    pub(super) fn of_value(&self, value: &[u8]) -> Option<&Row> {
        match self.rows.get(value) {
            None if self.path == Some(PathInKey::WithoutQuery) => self.of_path(value),
            found => found,
        }
    }

    fn of_path(&self, value: &[u8]) -> Option<&Row> {
        let path = without_query(value);
        if path.len() < value.len() { self.rows.get(path) } else { None }
    }

    /// The name of every row, in the order of the file.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.names()
    }
}

/// The rows of a table, by how one of them is selected.
#[derive(Debug, Clone)]
pub enum Rows {
    /// One row for every call.
    All(Box<Row>),
    /// By the value of an entry.
    Selected {
        /// The entry.
        by: KeyIndex,
        /// The rows of its values.
        rows: NamedRows,
        /// The row of every other value, and of calls without the entry.
        default: Option<Box<Row>>,
    },
}

impl Rows {
    pub(super) fn pick(&self, values: &Values<'_>) -> Option<&Row> {
        match self {
            Self::All(row) => Some(row),
            Self::Selected { by, rows, default } => {
                let named = values.get(*by).and_then(|value| rows.of_value(value));
                named.or(default.as_deref())
            }
        }
    }

    /// Every row, in no order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = &Row> + '_> {
        match self {
            Self::All(row) => Box::new(std::iter::once(&**row)),
            Self::Selected { rows, default, .. } => {
                Box::new(rows.rows.values().chain(default.as_deref()))
            }
        }
    }

    /// The row of this name, old or new.
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        match self {
            Self::All(row) => Some(&**row).filter(|row| is_named(row, name)),
            Self::Selected { rows, default, .. } => match rows.rows.get(name.as_bytes()) {
                Some(row) => Some(row),
                None => default.as_deref().filter(|row| is_named(row, name)),
            },
        }
    }

    /// As [`Self::row`], to be changed.
    pub(crate) fn row_mut(&mut self, name: &str) -> Option<&mut Row> {
        match self {
            Self::All(row) => Some(&mut **row).filter(|row| is_named(row, name)),
            Self::Selected { rows, default, .. } => match rows.rows.get_mut(name.as_bytes()) {
                Some(row) => Some(row),
                None => default.as_deref_mut().filter(|row| is_named(row, name)),
            },
        }
    }

    pub(crate) fn iter_mut(&mut self) -> Box<dyn Iterator<Item = &mut Row> + '_> {
        match self {
            Self::All(row) => Box::new(std::iter::once(&mut **row)),
            Self::Selected { rows, default, .. } => {
                Box::new(rows.rows.values_mut().chain(default.as_deref_mut()))
            }
        }
    }
}

/// Whether a row has this name, old or new.
fn is_named(row: &Row, name: &str) -> bool {
    identity_name(row.name()) == identity_name(name)
}

/// The number of a [`KeySet`](super::identity::KeySet) within its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySetId(pub(super) usize);

/// One table of the policy.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) name: Arc<str>,
    pub(crate) when: Conditions,
    pub(crate) key: KeySetId,
    pub(crate) rows: Rows,
}

/// Why a descriptor matches no bucket of a table.
#[derive(Debug, Clone, Copy)]
pub enum Miss<'a> {
    /// A condition of the table does not match.
    Condition(&'a Condition),
    /// The descriptor has no value of an entry of the table's key.
    NoKey(KeyIndex),
    /// No row has the value of the selecting entry, and there is no `default`.
    NoRow(KeyIndex),
    /// The row, or an override, is `unlimited`.
    Unlimited(&'a Row),
}

impl Table {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the table applies.
    pub const fn when(&self) -> &Conditions {
        &self.when
    }

    /// The key set that names its buckets.
    pub const fn key(&self) -> KeySetId {
        self.key
    }

    /// Its rows.
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The row and the buckets that a descriptor matches.
    #[inline]
    pub(crate) fn resolve<'a>(
        &'a self,
        values: &Values<'_>,
        now: Timestamp,
    ) -> Result<(&'a Row, &'a [Rule]), Miss<'a>> {
        if let Some(condition) = self.when.first_mismatch(values) {
            return Err(Miss::Condition(condition));
        }
        let row = self.rows.pick(values).ok_or_else(|| Miss::NoRow(self.selecting_key()))?;
        let rules = row.rules_for(values, now);
        if rules.is_empty() { Err(Miss::Unlimited(row)) } else { Ok((row, rules)) }
    }

    fn selecting_key(&self) -> KeyIndex {
        match self.rows {
            Rows::All(_) => KeyIndex::ENDPOINT_GROUP,
            Rows::Selected { by, .. } => by,
        }
    }
}
