//! A tree of descriptors: the limits of a domain in the language of envoyproxy/ratelimit.
//!
//! A descriptor walks down the tree from its root, one level for each entry, in the order of its entries. At each level it
//! goes to the child with the entry's key and exactly its value; else to the first one, in the order of the file, whose
//! pattern matches the value; else to the one of the key alone. It never goes back: if that child leads nowhere, the
//! descriptor has no limit. A limit applies only at the node of the last entry.
//!
//! A descriptor has one limit at most: a [`Row`] with one rule, or with none if it is unlimited. Its bucket is named by
//! the domain, the unit and the entries of the request, not by the node: see
//! [`identity`](super::identity).

mod builder;
mod explain;
mod metric_path;
mod new;
mod pattern;
mod resolve;
#[cfg(test)]
pub(crate) mod support;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use self::pattern::Pattern;
use super::identity::{Base, Salt};
use super::metadata;
use super::table::{Row, RowId};
use crate::descriptor::Entry;
use crate::limit::{Bucket, Unit};

pub(crate) use self::builder::build_tree;
pub use self::explain::{Choice, Step, Walk, describe_mode};

pub use self::new::TreeSettings;
pub(crate) use self::new::{NewLimit, NewNode, NewTree, NodeValue};

/// The table under which all rows of a tree are listed and counted.
pub(crate) const TABLE: &str = "descriptors";

/// The number of a node within its tree.
type NodeId = u32;

const ROOT: NodeId = 0;

/// The values of an entry to which a node applies.
#[derive(Debug)]
enum Takes {
    Any,
    Exact(Box<str>),
    Pattern { pattern: Pattern, is_shared: bool },
}

/// A node. Its children by value and by key alone are found in [`DescriptorTree::index`].
#[derive(Debug)]
struct Node {
    parent: NodeId,
    key: Box<str>,
    takes: Takes,
    /// Whether statistics have the value of the request in place of that of the node.
    value_to_metric: bool,
    /// The limit at this node.
    row: Option<RowId>,
    /// Whether any child has a value; patterns are values, too, and match themselves.
    has_values: bool,
    /// Whether any child is for a key alone.
    has_keys: bool,
    /// The children with patterns, in the order of the file.
    patterns: Vec<NodeId>,
}

impl Node {
    /// The value as written; none for any.
    fn value(&self) -> Option<&str> {
        match &self.takes {
            Takes::Any => None,
            Takes::Exact(value) => Some(value),
            Takes::Pattern { pattern, .. } => Some(pattern.text()),
        }
    }

    /// The node in a path: `key`, or `key_value`.
    fn push_name(&self, to: &mut String) {
        to.push_str(&self.key);
        if let Some(value) = self.value() {
            to.push('_');
            to.push_str(value);
        }
    }
}

/// The number of a name of limits within its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameId(u32);

/// What a row of a tree has beside what all rows have.
#[derive(Debug, Clone, Default)]
pub(super) struct TreeRow {
    /// The node of the limit; the root for a limit that Envoy brings.
    node: NodeId,
    /// The name that statuses have; may be empty.
    told: Box<str>,
    /// Its name, if it is one that others replace.
    name: Option<NameId>,
    /// The names that it replaces.
    replaces: Box<[NameId]>,
    /// The positions of the entries whose values share one count, with the patterns that stand for them.
    shared: Box<[(usize, Arc<str>)]>,
    /// Whether statistics have all values of the request.
    detailed_metric: bool,
    metadata: Option<metadata::Map>,
}

/// A tree of descriptors and the settings of its deployment.
#[derive(Debug)]
pub struct DescriptorTree {
    nodes: Box<[Node]>,
    /// The nodes by parent, key and value, those for any value by parent and key.
    index: HashTable<NodeId>,
    hasher: DefaultHashBuilder,
    rows: Box<[Row]>,
    /// The names of limits, and those that limits replace.
    names: Box<[Box<str>]>,
    /// One for each unit: see [`salt_of`](Self::salt_of).
    salts: [Salt; 7],
    settings: TreeSettings,
}

impl DescriptorTree {
    /// Its limits, in the order of the file.
    pub(super) const fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The settings of the deployment.
    pub const fn settings(&self) -> &TreeSettings {
        &self.settings
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?)
    }

    /// The limit for a descriptor with these entries.
    #[inline]
    pub(super) fn find(&self, entries: &[Entry<'_>]) -> Option<&Row> {
        let mut at = ROOT;
        for entry in entries {
            at = self.child(at, entry.key.as_bytes(), entry.value)?;
        }
        self.rows.get(self.node(at)?.row?.get())
    }

    /// The child for an entry.
    #[inline]
    fn child(&self, parent: NodeId, key: &[u8], value: &[u8]) -> Option<NodeId> {
        let node = self.node(parent)?;
        if node.has_values
            && let Some(exact) = self.indexed(parent, key, Some(value))
        {
            return Some(exact);
        }
        let matches = |id: &&NodeId| match self.node(**id) {
            Some(Node { key: own, takes: Takes::Pattern { pattern, .. }, .. }) => {
                own.as_bytes() == key && pattern.matches(value)
            }
            _ => false,
        };
        match node.patterns.iter().find(matches) {
            Some(matching) => Some(*matching),
            None if node.has_keys => self.indexed(parent, key, None),
            None => None,
        }
    }

    /// The child of this key that is written with this value, or for any.
    fn indexed(&self, parent: NodeId, key: &[u8], value: Option<&[u8]>) -> Option<NodeId> {
        let is_it = |id: &NodeId| {
            self.node(*id).is_some_and(|node| {
                node.parent == parent
                    && node.key.as_bytes() == key
                    && node.value().map(str::as_bytes) == value
            })
        };
        self.index.find(hash(&self.hasher, parent, key, value), is_it).copied()
    }

    /// The salt of the names of all buckets with such a limit: one for each unit. Neither the number of a limit nor its
    /// node is part of it, so that a limit that is raised or moved keeps its count.
    fn salt_of(&self, bucket: &Bucket) -> Salt {
        let [second, minute, hour, day, week, month, year] = self.salts;
        match bucket {
            Bucket::Window(window) => match window.unit() {
                Unit::Second => second,
                Unit::Minute => minute,
                Unit::Hour => hour,
                Unit::Day => day,
                Unit::Week => week,
                Unit::Month => month,
                Unit::Year => year,
            },
            // In no tree.
            Bucket::Tokens(_) | Bucket::Concurrency(_) | Bucket::Blocked(_) => second,
        }
    }
}

fn hash(hasher: &DefaultHashBuilder, parent: NodeId, key: &[u8], value: Option<&[u8]>) -> u64 {
    hasher.hash_one((parent, key, value))
}

/// The entries that name the bucket of a row for a descriptor with these: its own, with the pattern for each value that
/// shares a count.
pub(super) fn entries_in_tree<'r>(
    row: &'r Row,
    entries: &'r [Entry<'_>],
) -> impl Iterator<Item = Entry<'r>> {
    let shared = row.of_tree.as_ref().map(|of_tree| &*of_tree.shared).unwrap_or_default();
    let mut shared = shared.iter().peekable();
    entries.iter().enumerate().map(move |(at, entry)| match shared.next_if(|(of, _)| *of == at) {
        Some((_, pattern)) => Entry { key: entry.key, value: pattern.as_bytes() },
        None => *entry,
    })
}

/// The same entries, for display.
pub(super) fn key_in_tree<'a>(row: &Row, entries: &[Entry<'a>]) -> Vec<(&'a str, Vec<u8>)> {
    let counted = entries.iter().zip(entries_in_tree(row, entries));
    counted.map(|(own, counted)| (own.key.as_str(), counted.value.to_vec())).collect()
}

impl Row {
    /// The name of the limit that statuses have: in a descriptor tree the configured one, which may be empty.
    pub fn told_name(&self) -> &str {
        self.of_tree.as_ref().map_or(&*self.label, |row| &row.told)
    }

    /// The metadata of answers that it admits.
    pub fn metadata(&self) -> Option<&metadata::Map> {
        self.of_tree.as_ref()?.metadata.as_ref()
    }
}
