//! The tables that stand for the limits of a tree.

use hashbrown::{HashMap, HashSet};

use super::limit::{Note, UNLIMITED, buckets, left_out, notes};
use super::shape::{self, Others, Shapes};
use super::step::{NoTable, Step, step};
use crate::config::compile::is_label;
use crate::config::path::shown;
use crate::policy::address;
use crate::policy::builder::LIMIT_OVERRIDE;
use crate::policy::descriptor_tree::{NewLimit, NewNode, NewTree, NodeValue};
use crate::policy::table::{ALL, DEFAULT};

/// A table, or a comment in its place.
pub(super) enum Item {
    Table(Table),
    Comment(Note),
}

/// A table of the policy.
pub(super) struct Table {
    pub(super) notes: Vec<Note>,
    pub(super) name: String,
    /// Conditions, as they are written.
    pub(super) when: Vec<(String, String)>,
    pub(super) select: Option<String>,
    pub(super) key: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A row of a table.
pub(super) struct Row {
    pub(super) notes: Vec<Note>,
    pub(super) name: String,
    /// Its buckets, as they are written.
    pub(super) buckets: String,
}

/// The tables for a tree, and comments, in its order.
pub(super) fn tables(tree: &NewTree) -> Vec<Item> {
    let mut replaced = HashSet::new();
    collect_replaced(&tree.nodes, &mut replaced);
    let shapes = Shapes::of(&tree.nodes);
    let [reserved, _] = LIMIT_OVERRIDE;
    let names = HashMap::from([(reserved.to_owned(), 1)]);
    let mut tables = Tables { shapes, replaced, names, items: Vec::new() };
    tables.add_level(&tree.nodes, &mut Way::default());
    tables.items
}

fn collect_replaced<'t>(nodes: &'t [NewNode], found: &mut HashSet<&'t str>) {
    for node in nodes {
        found.extend(node.limit.iter().flat_map(|limit| &limit.replaces).map(|name| &**name));
        collect_replaced(&node.children, found);
    }
}

/// The way from the root to a node.
#[derive(Default)]
struct Way<'t> {
    keys: Vec<&'t str>,
    steps: Vec<Step>,
    /// The nodes, as paths name them.
    names: Vec<String>,
    /// The nodes whose values statistics tell.
    told_values: usize,
}

impl<'t> Way<'t> {
    fn path(&self) -> String {
        self.names.join(".")
    }

    /// The path of a child, or of all children with a key.
    fn path_of(&self, child: &str) -> String {
        self.names.iter().map(String::as_str).chain([child]).collect::<Vec<_>>().join(".")
    }

    fn count(&self, key: &str) -> usize {
        self.keys.iter().filter(|other| **other == key).count()
    }

    fn push(&mut self, node: &'t NewNode, step: Step) {
        self.keys.push(&node.key);
        self.steps.push(step);
        self.names.push(name(node));
        self.told_values += usize::from(node.value_to_metric);
    }

    fn pop(&mut self, node: &NewNode) {
        self.keys.pop();
        self.steps.pop();
        self.names.pop();
        self.told_values -= usize::from(node.value_to_metric);
    }
}

/// A node as paths name it.
fn name(node: &NewNode) -> String {
    match &node.value {
        NodeValue::Any => node.key.clone(),
        NodeValue::Exact(value) | NodeValue::Pattern { text: value, .. } => {
            format!("{}_{value}", node.key)
        }
    }
}

struct Tables<'t> {
    shapes: Shapes<'t>,
    /// The names of limits that others replace.
    replaced: HashSet<&'t str>,
    /// The names of tables, and the last number that follows each.
    names: HashMap<String, u32>,
    items: Vec<Item>,
}

impl<'t> Tables<'t> {
    /// Adds the tables for the children of a node and for all nodes below it.
    fn add_level(&mut self, nodes: &'t [NewNode], way: &mut Way<'t>) {
        let mut groups: Vec<(&str, Vec<&'t NewNode>)> = Vec::new();
        let mut indexes: HashMap<&str, usize> = HashMap::new();
        for node in nodes {
            let index = *indexes.entry(&node.key).or_insert(groups.len());
            match groups.get_mut(index) {
                Some((_, group)) => group.push(node),
                None => groups.push((&node.key, vec![node])),
            }
        }
        for (key, group) in groups {
            let selected = self.add_selecting(key, &group, way);
            for node in group {
                match step(node, nodes, way.count(key)) {
                    Ok(step) => {
                        way.push(node, step);
                        if !selected.contains(&name(node)) {
                            self.add_node(node, way);
                        }
                        self.add_level(&node.children, way);
                        way.pop(node);
                    }
                    Err(NoTable::Unreached(what)) => {
                        let path = shown(&way.path_of(&name(node)));
                        let what = format!("`{path}` and what is below it has no table: {what}");
                        self.items.push(Item::Comment(Note::Plain(what)));
                    }
                    Err(NoTable::Unsayable(what)) => {
                        self.leave_out(node, &way.path_of(&name(node)), &what);
                    }
                }
            }
        }
    }

    /// Adds one table for the limits of several values of an entry, and returns the names of the nodes that it stands for.
    fn add_selecting(
        &mut self,
        key: &'t str,
        group: &[&'t NewNode],
        way: &mut Way<'t>,
    ) -> HashSet<String> {
        let mut selected = HashSet::new();
        let rows = group.iter().filter(|node| is_row(node));
        let limited = rows.clone().filter(|node| buckets(node).is_some()).count();
        let any = group.iter().find(|node| node.value == NodeValue::Any);
        // The row for all other values must not take those that lead elsewhere.
        let takes_others = group.iter().all(|node| node.value == NodeValue::Any || is_row(node));
        let default = any.filter(|any| takes_others && buckets(any).is_some());
        let is_worth = limited > 1 || limited == 1 && default.is_some();
        let Some(entry) = shape::name(key, way.count(key)) else { return selected };
        if !is_worth || key == address::KEY {
            return selected;
        }
        let mut listed = Vec::new();
        for node in rows {
            let Some(buckets) = buckets(node).or(default.map(|_| UNLIMITED.to_owned())) else {
                continue;
            };
            let NodeValue::Exact(value) = &node.value else { continue };
            let notes = self.notes(node, &way.path_of(&name(node)), way);
            listed.push(Row { notes, name: value.clone(), buckets });
            selected.insert(name(node));
        }
        let [default_row, _] = DEFAULT;
        let path = way.path_of(key);
        let notes = default.map(|any| self.notes(any, &path, way)).unwrap_or_default();
        let buckets = default.and_then(|any| buckets(any)).unwrap_or_else(|| UNLIMITED.to_owned());
        listed.push(Row { notes, name: default_row.to_owned(), buckets });
        selected.extend(default.map(|any| name(any)));
        way.keys.push(key);
        let mut table = self.table(&path, way);
        way.keys.pop();
        table.key.push(entry.clone());
        table.select = Some(entry);
        table.rows = listed;
        self.items.push(Item::Table(table));
        selected
    }

    /// Adds the table for the limit of a node, which is the last of the way.
    fn add_node(&mut self, node: &'t NewNode, way: &Way<'t>) {
        let Some(limit) = &node.limit else { return };
        let path = way.path();
        let notes = self.notes(node, &path, way);
        let Some(buckets) = buckets(node) else {
            if limit.window.is_none() {
                let what = format!("`{}` is unlimited: no table", shown(&path));
                self.items.push(Item::Comment(Note::Plain(what)));
            }
            self.items.extend(notes.into_iter().map(Item::Comment));
            return;
        };
        let mut table = self.table(&path, way);
        let [all, _] = ALL;
        table.notes.extend(notes);
        table.rows = vec![Row { notes: Vec::new(), name: all.to_owned(), buckets }];
        self.items.push(Item::Table(table));
    }

    /// What comments say of the limit of a node with this path, which is the next or the last of the way.
    fn notes(&self, node: &NewNode, path: &str, way: &Way<'_>) -> Vec<Note> {
        let tells_values = way.told_values > 0 || node.value_to_metric;
        let is_replaced = |limit: &NewLimit| self.replaced.contains(&*limit.name);
        let limit = node.limit.as_ref();
        limit.map(|limit| notes(limit, path, tells_values, is_replaced(limit))).unwrap_or_default()
    }

    /// A table for descriptors with the keys of a way, without rows.
    fn table(&mut self, path: &str, way: &Way<'_>) -> Table {
        let Others { absent, unnamed, has_other_order } = self.shapes.others(&way.keys);
        let mut notes: Vec<Note> =
            way.steps.iter().flat_map(|step| &step.differs).cloned().map(Note::Differs).collect();
        let key: Vec<String> =
            way.steps.iter().filter(|step| step.is_in_key).map(|step| step.name.clone()).collect();
        let unnamed = unnamed.into_iter().map(|key| {
            let what =
                "descriptors with a further entry are limited, too, since a policy cannot name";
            Note::Differs(format!("{what} its key `{}`", shown(&key)))
        });
        notes.extend(unnamed);
        if has_other_order {
            let what = "descriptors with the same entries in another order are limited, too, which the tree \
                        tells apart";
            notes.push(Note::Differs(what.to_owned()));
        }
        if key.iter().any(|name| name == address::KEY) {
            let what = "an address has one bucket, however it is spelled";
            notes.push(Note::Differs(what.to_owned()));
        }
        let tests = way.steps.iter().flat_map(|step| step.tests.iter().cloned());
        let absent = absent.into_iter().map(|name| (name, "{ absent: true }".to_owned()));
        Table {
            notes,
            name: self.table_name(path),
            when: tests.chain(absent).collect(),
            select: None,
            key,
            rows: Vec::new(),
        }
    }

    /// A name for a table that no other has, and that metrics and headers may contain.
    fn table_name(&mut self, path: &str) -> String {
        let plain = |c: char| if is_label(c.encode_utf8(&mut [0; 4])) { c } else { '_' };
        let name: String = path.chars().take(MAX_NAME).map(plain).collect();
        let mut unique = name.clone();
        while self.names.contains_key(&unique) {
            let last = self.names.entry(name.clone()).or_insert(1);
            *last += 1;
            unique = format!("{name} {last}");
        }
        self.names.insert(unique.clone(), 1);
        unique
    }

    /// Comments in place of the limits of a node and of those below it.
    fn leave_out(&mut self, node: &NewNode, path: &str, why: &str) {
        if let Some(NewLimit { window: Some(window), .. }) = &node.limit {
            self.items.push(Item::Comment(left_out(*window, path, why)));
        }
        for child in &node.children {
            self.leave_out(child, &format!("{path}.{}", name(child)), why);
        }
    }
}

/// The most characters of a path in the name of a table: a name has at most 100, and a number may follow.
const MAX_NAME: usize = 80;

/// Whether a node may be a row of a table that selects by its key.
fn is_row(node: &NewNode) -> bool {
    match &node.value {
        NodeValue::Exact(value) => {
            is_label(value) && !ALL.contains(&&**value) && !DEFAULT.contains(&&**value)
        }
        NodeValue::Any | NodeValue::Pattern { .. } => false,
    }
}

impl Table {
    /// Whether buckets are named by an address.
    pub(super) fn is_by_address(&self) -> bool {
        self.key.iter().any(|name| name == address::KEY)
    }
}

impl Row {
    /// Whether it has a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.buckets != UNLIMITED
    }
}
