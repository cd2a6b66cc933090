//! The paths under which the statistics of envoyproxy/ratelimit count the limits of a tree: the domain, and for each entry
//! its key, with `_value` behind it if there is a value to tell; joined by `.`.

use smallvec::SmallVec;

use super::{DescriptorTree, Node, Row, Takes, TreeRow, entries_in_tree};
use crate::descriptor::Entry;
use crate::policy::Policy;

impl Policy {
    /// The path of a row of its tree, if it is the same for all requests: its nodes as they are written.
    pub fn metric_path(&self, row: &Row) -> Option<String> {
        let of_tree = self.listed(row)?;
        let is_fixed = !of_tree.detailed_metric
            && !self.tree()?.path_from(of_tree).iter().any(|node| node.tells_value());
        is_fixed.then(|| format!("{}.{}", self.domain, row.name))
    }

    /// What a row has of its tree, unless it is that of the limits that Envoy brings.
    fn listed<'r>(&self, row: &'r Row) -> Option<&'r TreeRow> {
        row.of_tree.as_deref().filter(|_| row.id != self.limit_override.id)
    }

    /// Writes the path of a row of its tree, or of a limit that Envoy brings, for a descriptor with these entries.
    pub fn write_metric_path(&self, row: &Row, entries: &[Entry<'_>], write: impl FnMut(&[u8])) {
        let mut path = PathWriter { write };
        (path.write)(self.domain.as_bytes());
        let Some((tree, of_tree)) = self.tree().zip(self.listed(row)) else {
            path.brought(entries);
            return;
        };
        if of_tree.detailed_metric {
            path.detailed(row, of_tree, entries);
            return;
        }
        for (node, entry) in tree.path_from(of_tree).iter().rev().zip(entries) {
            let value = if node.tells_value() { Some(entry.value) } else { node.written_value() };
            path.node(node.key.as_bytes(), value.unwrap_or_default());
        }
    }
}

impl DescriptorTree {
    /// The nodes from that of a row up to the root, without the root.
    pub(super) fn path_from(&self, row: &TreeRow) -> SmallVec<[&Node; 16]> {
        let mut nodes = SmallVec::new();
        let mut at = row.node;
        while let Some(node) = self.node(at).filter(|_| at != super::ROOT) {
            nodes.push(node);
            at = node.parent;
        }
        nodes
    }
}

impl Node {
    /// Whether paths have the value of the request in place of its own. A pattern whose values share a count stays.
    const fn tells_value(&self) -> bool {
        let is_open = matches!(self.takes, Takes::Any | Takes::Pattern { is_shared: false, .. });
        self.value_to_metric && is_open
    }

    fn written_value(&self) -> Option<&[u8]> {
        self.value().map(str::as_bytes)
    }
}

/// Writes a path behind its domain.
struct PathWriter<W> {
    write: W,
}

impl<W: FnMut(&[u8])> PathWriter<W> {
    fn node(&mut self, key: &[u8], value: &[u8]) {
        (self.write)(b".");
        self.key_and_value(key, value);
    }

    fn key_and_value(&mut self, key: &[u8], value: &[u8]) {
        (self.write)(key);
        if !value.is_empty() {
            (self.write)(b"_");
            (self.write)(value);
        }
    }

    /// All keys and values. Without entries there is a last part that is empty.
    fn brought(&mut self, entries: &[Entry<'_>]) {
        (self.write)(b".");
        for (at, entry) in entries.iter().enumerate() {
            if at > 0 {
                (self.write)(b".");
            }
            self.key_and_value(entry.key.as_bytes(), entry.value);
        }
    }

    /// All keys and values, with patterns where values share a count. Without such patterns an empty value has its `_`, as
    /// in the reference.
    fn detailed(&mut self, row: &Row, of_tree: &TreeRow, entries: &[Entry<'_>]) {
        for entry in entries_in_tree(row, entries) {
            self.node(entry.key.as_bytes(), entry.value);
            if entry.value.is_empty() && of_tree.shared.is_empty() {
                (self.write)(b"_");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::descriptor::Entry;
    use crate::policy::descriptor_tree::support::{node, policy};
    use crate::policy::descriptor_tree::{NewNode, TreeSettings};

    /// The path of the only limit of a tree, if it is fixed, and that for these entries.
    fn paths(nodes: Vec<NewNode>, entries: &[(&str, &str)]) -> (Option<String>, String) {
        let policy = policy(nodes, &TreeSettings::default());
        let row = policy.rows().next().unwrap();
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| Entry { key: (*key).into(), value: value.as_bytes() })
            .collect();
        let mut path = Vec::new();
        policy.write_metric_path(row, &entries, |part| path.extend_from_slice(part));
        (policy.metric_path(row), String::from_utf8(path).unwrap())
    }

    fn fixed(nodes: Vec<NewNode>, entries: &[(&str, &str)]) -> String {
        let (fixed, path) = paths(nodes, entries);
        assert_eq!(fixed.as_ref(), Some(&path));
        path
    }

    fn of_request(nodes: Vec<NewNode>, entries: &[(&str, &str)]) -> String {
        let (fixed, path) = paths(nodes, entries);
        assert_eq!(fixed, None, "{path}");
        path
    }

    #[test]
    fn a_path_has_the_nodes_as_they_are_written() {
        let nodes =
            vec![node("a", "1").with([node("b", "").with([node("c", "x*").per_minute(1)])])];
        assert_eq!(fixed(nodes, &[("a", "1"), ("b", "2"), ("c", "xyz")]), "d.a_1.b.c_x*");
    }

    #[test]
    fn a_node_may_tell_the_value_of_the_request() {
        let any = vec![node("a", "").value_to_metric().with([node("b", "").per_minute(1)])];
        assert_eq!(of_request(any, &[("a", "1"), ("b", "2")]), "d.a_1.b");
        let pattern = || node("a", "x*").value_to_metric().per_minute(1);
        assert_eq!(of_request(vec![pattern()], &[("a", "xyz")]), "d.a_xyz");
        let empty = vec![node("a", "").value_to_metric().per_minute(1)];
        assert_eq!(of_request(empty, &[("a", "")]), "d.a");
        // Only one value is shared, and only one meets an exact node.
        assert_eq!(fixed(vec![pattern().shared()], &[("a", "xyz")]), "d.a_x*");
        let exact = vec![node("a", "1").value_to_metric().per_minute(1)];
        assert_eq!(fixed(exact, &[("a", "1")]), "d.a_1");
    }

    #[test]
    fn a_detailed_limit_tells_all_values_but_those_that_are_shared() {
        let limit = || node("b", "").per_minute(1).detailed();
        let nodes = vec![node("a", "x*").with([limit()])];
        assert_eq!(of_request(nodes, &[("a", "xyz"), ("b", "2")]), "d.a_xyz.b_2");
        let nodes = vec![node("a", "x*").shared().with([limit()])];
        assert_eq!(of_request(nodes, &[("a", "xyz"), ("b", "2")]), "d.a_x*.b_2");
        let nodes = vec![node("a", "x*").shared().with([limit()])];
        assert_eq!(of_request(nodes, &[("a", "xyz"), ("b", "")]), "d.a_x*.b");
        let nodes = vec![node("a", "").with([limit()])];
        assert_eq!(of_request(nodes, &[("a", ""), ("b", "2")]), "d.a_.b_2");
    }

    #[test]
    fn a_limit_that_envoy_brings_tells_all_values() {
        let policy = policy(vec![node("a", "x*").shared().per_minute(1)], &TreeSettings::default());
        let brought = policy.rows().last().unwrap();
        assert_eq!(policy.metric_path(brought), None);
        let path = |entries: &[Entry<'_>]| {
            let mut path = Vec::new();
            policy.write_metric_path(brought, entries, |part| path.extend_from_slice(part));
            String::from_utf8(path).unwrap()
        };
        let entry = |key: &'static str, value: &'static str| Entry {
            key: key.into(),
            value: value.as_bytes(),
        };
        assert_eq!(path(&[entry("a", "xyz"), entry("b", "")]), "d.a_xyz.b");
        assert_eq!(path(&[]), "d.");
    }
}
