//! Builds the policy of a tree: numbers its nodes, rows and rules, and names its buckets.
//!
//! A tree is built and freed without recursion, so that its depth takes no stack.

use std::sync::Arc;
use std::vec;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::{
    DescriptorTree, NameId, NewLimit, NewNode, NewTree, Node, NodeId, NodeValue, Pattern, ROOT,
    TABLE, Takes, TreeRow, TreeSettings, hash,
};
use crate::limit::{Bucket, Unit, Window};
use crate::policy::Policy;
use crate::policy::builder::{Builder, Settings};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::identity::{self, Salt};
use crate::policy::table::{Row, RowId};

/// The units, in the order of [`DescriptorTree::salts`].
const UNITS: [Unit; 7] =
    [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

/// Builds the policy of a tree. `key` hashes the names of its buckets.
pub(crate) fn build_tree(new: NewTree, key: FingerprintKey, settings: &TreeSettings) -> Policy {
    let NewTree { domain, nodes } = new;
    let salt = |unit| {
        let kind = identity::kind(&Bucket::Window(Window::new(0, unit)));
        Salt::of(key, [&*domain], [&*kind])
    };
    let tree = DescriptorTree {
        nodes: Box::default(),
        index: HashTable::new(),
        hasher: DefaultHashBuilder::default(),
        rows: Box::default(),
        names: Box::default(),
        salts: UNITS.map(salt),
        settings: settings.clone(),
    };
    let mut builder = TreeBuilder {
        builder: Builder::new(&domain, key, Settings::of_tree()),
        tree,
        table: Arc::from(TABLE),
        nodes: vec![Node::root()],
        rows: Vec::new(),
        names: HashMap::new(),
    };
    builder.add_all(nodes);
    let TreeBuilder { builder, mut tree, nodes, rows, names, .. } = builder;
    (tree.nodes, tree.rows) = (nodes.into(), rows.into());
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable_by_key(|(_, id)| *id);
    tree.names = names.into_iter().map(|(name, _)| name.into()).collect();
    builder.build_tree(tree)
}

struct TreeBuilder {
    builder: Builder,
    tree: DescriptorTree,
    table: Arc<str>,
    nodes: Vec<Node>,
    rows: Vec<Row>,
    names: HashMap<String, NameId>,
}

/// The place at which a node is added.
#[derive(Default)]
struct Place {
    /// The nodes that lead to it, joined by `.`.
    path: String,
    /// The positions of entries whose values share one count, with their patterns.
    shared: Vec<(usize, Arc<str>)>,
}

/// The children of one node that are still to be added.
struct Level {
    parent: NodeId,
    children: vec::IntoIter<NewNode>,
    /// The lengths of the path and of the list of shared values at the parent.
    path: usize,
    shared: usize,
}

impl TreeBuilder {
    /// Adds all nodes in the order of the file.
    fn add_all(&mut self, nodes: Vec<NewNode>) {
        let mut place = Place::default();
        let mut levels =
            vec![Level { parent: ROOT, children: nodes.into_iter(), path: 0, shared: 0 }];
        while let Some(level) = levels.last_mut() {
            place.path.truncate(level.path);
            place.shared.truncate(level.shared);
            let parent = level.parent;
            let Some(node) = level.children.next() else {
                levels.pop();
                continue;
            };
            let (id, children) = self.add(parent, levels.len() - 1, node, &mut place);
            levels.push(Level {
                parent: id,
                children: children.into_iter(),
                path: place.path.len(),
                shared: place.shared.len(),
            });
        }
    }

    /// Adds a node for the entries at this position; returns its children.
    fn add(
        &mut self,
        parent: NodeId,
        at: usize,
        new: NewNode,
        place: &mut Place,
    ) -> (NodeId, Vec<NewNode>) {
        let NewNode { key, value, limit, value_to_metric, children } = new;
        let id = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        let takes = Takes::from(value);
        self.builder.keys().add_key(&key);
        let mut node = Node { parent, key: key.into(), takes, value_to_metric, ..Node::root() };
        if !place.path.is_empty() {
            place.path.push('.');
        }
        node.push_name(&mut place.path);
        if let Takes::Pattern { pattern, is_shared: true } = &node.takes {
            place.shared.push((at, pattern.text().into()));
        }
        node.row = limit.map(|limit| self.add_row(id, limit, place));
        self.connect(id, &node);
        self.nodes.push(node);
        (id, children)
    }

    /// Makes a node known to its parent and to the index.
    fn connect(&mut self, id: NodeId, node: &Node) {
        let parent = usize::try_from(node.parent).ok().and_then(|at| self.nodes.get_mut(at));
        if let Some(parent) = parent {
            match &node.takes {
                Takes::Any => parent.has_keys = true,
                Takes::Exact(_) => parent.has_values = true,
                Takes::Pattern { .. } => {
                    parent.has_values = true;
                    parent.patterns.push(id);
                }
            }
        }
        let Self { tree: DescriptorTree { index, hasher, .. }, nodes, .. } = self;
        let hash_of = |node: &Node| {
            let value = node.value().map(str::as_bytes);
            hash(hasher, node.parent, node.key.as_bytes(), value)
        };
        index.insert_unique(hash_of(node), id, |id| {
            let known = usize::try_from(*id).ok().and_then(|at| nodes.get(at));
            known.map_or(0, hash_of)
        });
    }

    fn add_row(&mut self, node: NodeId, limit: NewLimit, place: &Place) -> RowId {
        let NewLimit { window, name, replaces, shadow, quota, detailed_metric, metadata } = limit;
        let settings = &self.tree.settings;
        let (quota, counting) = (quota || settings.is_quota, settings.counting);
        let rule = window.map(|window| {
            let bucket = Bucket::Window(window);
            self.builder.rule(bucket, self.tree.salt_of(&bucket))
        });
        let replaces = replaces.into_iter().map(|name| self.name(name)).collect();
        let id = (!name.is_empty()).then(|| self.name(name.clone()));
        let of_tree = TreeRow {
            node,
            told: name.into(),
            name: id,
            replaces,
            shared: place.shared.as_slice().into(),
            detailed_metric,
            metadata,
        };
        let row = Row {
            shadow,
            quota,
            counting,
            rules: rule.into_iter().collect(),
            of_tree: Some(Box::new(of_tree)),
            ..self.builder.empty_row(&self.table, &place.path)
        };
        let id = row.id;
        self.rows.push(row);
        id
    }

    /// The number of a name.
    fn name(&mut self, name: String) -> NameId {
        let next = NameId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        *self.names.entry(name).or_insert(next)
    }
}

impl Node {
    fn root() -> Self {
        Self {
            parent: ROOT,
            key: Box::default(),
            takes: Takes::Any,
            value_to_metric: false,
            row: None,
            has_values: false,
            has_keys: false,
            patterns: Vec::new(),
        }
    }
}

impl From<NodeValue> for Takes {
    fn from(value: NodeValue) -> Self {
        match value {
            NodeValue::Any => Self::Any,
            NodeValue::Exact(text) => Self::Exact(text.into()),
            NodeValue::Pattern { text, is_shared } => match Pattern::new(&text) {
                Some(pattern) => Self::Pattern { pattern, is_shared },
                None => Self::Exact(text.into()),
            },
        }
    }
}
