//! One entry on the way to a node: which values lead there, as conditions of a table.

use super::shape;
use super::yaml::scalar;
use crate::config::path::shown;
use crate::policy::address;
use crate::policy::descriptor_tree::{NewNode, NodeValue};

/// What a table says of one entry.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// How the table names the entry.
    pub(super) name: String,
    /// Whether each value has a bucket of its own.
    pub(super) is_in_key: bool,
    /// Conditions on the entry, each with the name that it is written under.
    pub(super) tests: Vec<(String, String)>,
    /// How the table differs from the tree.
    pub(super) differs: Vec<String>,
    /// Whether it is the first entry with its key.
    is_first: bool,
}

/// Why no table can stand for a node.
#[derive(Debug)]
pub(super) enum NoTable {
    /// No value leads to the node, so that nothing is lost.
    Unreached(String),
    /// The language has no words for it.
    Unsayable(String),
}

/// The step to a node from its parent, whose children are the siblings. That many entries before it have the same key.
pub(super) fn step(node: &NewNode, siblings: &[NewNode], before: usize) -> Result<Step, NoTable> {
    let Some(name) = shape::name(&node.key, before) else {
        return Err(NoTable::Unsayable(match before {
            0 => format!("a policy cannot name the key `{}`", shown(&node.key)),
            _ => format!(
                "a policy cannot name entry {} of the key `{}`",
                before + 1,
                shown(&node.key)
            ),
        }));
    };
    let mut step = Step { name, is_in_key: true, is_first: before == 0, ..Step::default() };
    match &node.value {
        NodeValue::Exact(value) if is_network(node, value) => {
            let what = format!("an address never equals the network `{}`", shown(value));
            return Err(NoTable::Unsayable(what));
        }
        NodeValue::Exact(value) => {
            step.is_in_key = false;
            step.test(scalar(value));
        }
        NodeValue::Pattern { text, is_shared } => {
            let Some(prefix) = prefix(text) else {
                let what = "a condition takes `*` at the end of a value only".to_owned();
                return Err(NoTable::Unsayable(what));
            };
            step.is_in_key = !is_shared;
            if !prefix.is_empty() {
                step.test(scalar(&format!("{prefix}*")));
            }
            step.exclude(node, prefix, siblings)?;
            if *is_shared && step.tests.is_empty() {
                step.test("{ present: true }".to_owned());
            }
        }
        NodeValue::Any => step.exclude(node, "", siblings)?,
    }
    Ok(step)
}

/// The text before the `*` of a pattern that has one at its end alone.
pub(super) fn prefix(pattern: &str) -> Option<&str> {
    let prefix = pattern.trim_end_matches('*');
    (!prefix.contains('*')).then_some(prefix)
}

/// Whether a value of an address is a network, which the policy language refuses to compare as a text.
fn is_network(node: &NewNode, value: &str) -> bool {
    node.key == address::KEY && value.parse::<ipnet::IpNet>().is_ok()
}

impl Step {
    fn test(&mut self, test: String) {
        self.tests.push((self.name.clone(), test));
    }

    /// Excludes the values with a prefix that lead to a sibling: to one with the value, or to a pattern that goes first.
    fn exclude(
        &mut self,
        node: &NewNode,
        prefix: &str,
        siblings: &[NewNode],
    ) -> Result<(), NoTable> {
        let of_key = || siblings.iter().filter(|sibling| sibling.key == node.key);
        let before = of_key().take_while(|sibling| {
            node.value == NodeValue::Any || !std::ptr::eq::<NewNode>(*sibling, node)
        });
        let mut excluded: Vec<String> = Vec::new();
        for text in before.filter_map(pattern) {
            match self::prefix(text) {
                Some(other) if prefix.starts_with(other) => {
                    let what = format!("`{}` takes all of its values", shown(text));
                    return Err(NoTable::Unreached(what));
                }
                Some(other) if other.starts_with(prefix) => excluded.push(format!("{other}*")),
                Some(_) => {}
                None => self.overlap(prefix, text),
            }
        }
        let is_excluded =
            |value: &str| excluded.iter().any(|text| value.starts_with(text.trim_end_matches('*')));
        let exact = of_key().filter_map(|sibling| match &sibling.value {
            NodeValue::Exact(value) if !is_network(sibling, value) => Some(value),
            _ => None,
        });
        let exact = exact.filter(|value| value.starts_with(prefix) && !is_excluded(value));
        let exact: Vec<String> = exact.cloned().collect();
        excluded.extend(exact);
        self.test_not(&excluded);
        Ok(())
    }

    /// A pattern before this one that no condition can exclude.
    fn overlap(&mut self, prefix: &str, text: &str) {
        let first = text.split('*').next().unwrap_or_default();
        if first.starts_with(prefix) || prefix.starts_with(first) {
            self.differs.push(format!(
                "values of `{}` that `{}` takes in the tree meet this limit",
                shown(&self.name),
                shown(text)
            ));
        }
    }

    fn test_not(&mut self, excluded: &[String]) {
        let test = match excluded {
            [] => return,
            [one] => format!("{{ not: {} }}", scalar(one)),
            all => format!("{{ not: {} }}", super::yaml::list(all)),
        };
        if self.tests.is_empty() {
            self.test(test);
        } else if !self.is_first {
            let excluded: Vec<_> =
                excluded.iter().map(|text| format!("`{}`", shown(text))).collect();
            self.differs.push(format!(
                "values of `{}` that {} takes in the tree meet this limit, too",
                shown(&self.name),
                excluded.join(" or ")
            ));
        } else {
            // An entry has one condition under each of its names.
            self.tests.push((format!("{}[0]", self.name), test));
        }
    }
}

fn pattern(node: &NewNode) -> Option<&str> {
    match &node.value {
        NodeValue::Pattern { text, .. } => Some(text),
        NodeValue::Any | NodeValue::Exact(_) => None,
    }
}
