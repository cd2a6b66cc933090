//! The walk of a descriptor, and its end, in words.

use super::{DescriptorTree, NameId, Node, NodeId, ROOT, Takes};
use crate::descriptor::Entry;
use crate::limit::Counting;
use crate::policy::Policy;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::text;

/// The most children that are named where a walk ends.
const MAX_CHILDREN: usize = 8;

/// Why a walk goes to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It has exactly the value of the entry.
    Value,
    /// It is the first whose pattern matches, and none has exactly the value.
    Pattern,
    /// It is for any value, and no other takes this one.
    Key,
}

/// A step of a walk.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The node: `key`, or `key_value`.
    pub node: String,
    /// Why it was chosen.
    pub choice: Choice,
}

/// How a descriptor walks down a tree.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The nodes that it takes, one for each entry.
    pub steps: Vec<Step>,
    /// The limit at its end, or why there is none.
    pub end: Result<&'a Row, String>,
    /// The limit that Envoy brings in place of that of the tree.
    pub is_overridden: bool,
}

impl DescriptorTree {
    /// The walk of a descriptor with these entries.
    pub(in crate::policy) fn walk(&self, entries: &[Entry<'_>]) -> Walk<'_> {
        let mut at = ROOT;
        let mut steps = Vec::new();
        for entry in entries {
            let child = self.child(at, entry.key.as_bytes(), entry.value);
            let Some((child, node)) = child.and_then(|id| Some((id, self.node(id)?))) else {
                let end = Err(self.no_child(at, entry));
                return Walk { steps, end, is_overridden: false };
            };
            let mut name = String::new();
            node.push_name(&mut name);
            steps.push(Step { node: name, choice: choice(node, entry) });
            at = child;
        }
        let row = self.node(at).and_then(|node| self.rows.get(node.row?.get()));
        let end = row.ok_or_else(|| self.no_limit(at));
        Walk { steps, end, is_overridden: false }
    }

    fn no_child(&self, at: NodeId, entry: &Entry<'_>) -> String {
        let (key, value) = (entry.key.as_str().escape_debug(), text::sanitize(entry.value));
        let here = self.children(at);
        let reason = format!("no node for {key}={value} {}", self.place(at));
        if here.is_empty() {
            format!("{reason}: the tree ends there")
        } else {
            format!("{reason}: there are {here}")
        }
    }

    fn no_limit(&self, at: NodeId) -> String {
        let below = self.children(at);
        match (at, below.is_empty()) {
            (ROOT, _) => "a descriptor without entries has no limit".to_owned(),
            (_, true) => format!("no limit {}: its values pass", self.place(at)),
            (_, false) => {
                format!("no limit {}: a further entry could meet {below}", self.place(at))
            }
        }
    }

    fn place(&self, at: NodeId) -> String {
        match self.node(at) {
            Some(node) if at != ROOT => {
                let mut name = String::new();
                node.push_name(&mut name);
                format!("at {}", name.escape_debug())
            }
            _ => "at the root".to_owned(),
        }
    }

    /// The children of a node, in the order of the file.
    fn children(&self, of: NodeId) -> String {
        let children = self.nodes.iter().skip(1).filter(|node| node.parent == of);
        let (mut names, mut more) = (Vec::new(), 0_usize);
        for child in children {
            if names.len() < MAX_CHILDREN {
                let mut name = String::new();
                child.push_name(&mut name);
                names.push(name.escape_debug().to_string());
            } else {
                more += 1;
            }
        }
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    /// The limit of a node with this path.
    pub(in crate::policy) fn row(&self, path: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name() == path)
    }

    /// The nodes that lead to a row, from the first entry on.
    fn path_to(&self, row: &Row) -> Vec<&Node> {
        let path = row.of_tree.as_ref().map(|of_tree| self.path_from(of_tree));
        path.into_iter().flatten().rev().collect()
    }

    /// Entries of a descriptor that meets the first limit.
    pub fn example(&self) -> Option<Vec<(&str, String)>> {
        let path = self.path_to(self.rows.first()?);
        let value =
            |node: &Node| node.value().map_or_else(|| "acme".into(), |it| it.replace('*', "acme"));
        Some(path.into_iter().map(|node| (&*node.key, value(node))).collect())
    }

    /// The keys of the entries of which each value has a count of its own at a limit.
    fn counted_keys(&self, row: &Row) -> Vec<&str> {
        let path = self.path_to(row).into_iter();
        let each = path.filter(|node| match node.takes {
            Takes::Any | Takes::Pattern { is_shared: false, .. } => true,
            Takes::Exact(_) | Takes::Pattern { is_shared: true, .. } => false,
        });
        each.map(|node| &*node.key).collect()
    }
}

fn choice(node: &Node, entry: &Entry<'_>) -> Choice {
    match node.value() {
        None => Choice::Key,
        Some(value) if value.as_bytes() == entry.value => Choice::Value,
        Some(_) => Choice::Pattern,
    }
}

impl Walk<'_> {
    /// The rule of the limit at its end.
    pub fn rule(&self) -> Option<&Rule> {
        self.end.as_ref().ok().and_then(|row| row.rules().first())
    }

    /// The effect of the limit on the call.
    pub(in crate::policy) fn outcome(&self) -> String {
        match &self.end {
            _ if self.is_overridden => "1 window, of the limit that Envoy brings".to_owned(),
            Err(_) => "no limit; the call passes".to_owned(),
            Ok(row) if row.rules().is_empty() => "unlimited; the call passes".to_owned(),
            Ok(row) => {
                let effect = match (row.is_shadow(), row.is_quota()) {
                    (true, _) => "in shadow: it denies no call",
                    (_, true) => {
                        "a quota: it denies a call only together with all other quotas of the call"
                    }
                    _ => "which must admit",
                };
                format!("1 window, {effect}")
            }
        }
    }
}

impl Policy {
    /// The names of the limits that a row replaces.
    pub fn replaced_by(&self, row: &Row) -> Vec<&str> {
        let replaces = row.of_tree.as_ref().map(|of_tree| &*of_tree.replaces).unwrap_or_default();
        let names = self.tree().map(|tree| &*tree.names).unwrap_or_default();
        let name = |NameId(at): &NameId| names.get(usize::try_from(*at).ok()?).map(|name| &**name);
        replaces.iter().filter_map(name).collect()
    }

    /// Which calls share a count of a limit in its tree: `one for each tenant and path`.
    pub fn window_scope(&self, row: &Row) -> String {
        let keys = self.tree().map(|tree| tree.counted_keys(row)).unwrap_or_default();
        if keys.is_empty() {
            "one for all calls".to_owned()
        } else {
            format!("one for each {}", keys.join(" and "))
        }
    }
}

/// What a limit of a tree does beside counting: `in shadow`, `a quota`, the limits that it replaces, and what it counts
/// beyond its limit; empty if there is nothing to say.
pub fn describe_mode(policy: &Policy, row: &Row) -> Vec<String> {
    let mut said = Vec::new();
    if row.is_shadow() {
        said.push("in shadow: never denies".to_owned());
    }
    if row.is_quota() {
        said.push("a quota: denies only together with all other quotas of the call".to_owned());
    }
    let replaces = policy.replaced_by(row);
    if !replaces.is_empty() {
        said.push(format!("replaces {}", replaces.join(", ")));
    }
    match row.counting() {
        Counting::Each => {}
        Counting::SpareOthers => said.push("spared if another is exceeded".to_owned()),
        Counting::AllOrNone => said.push("counts admitted calls only".to_owned()),
    }
    said
}
