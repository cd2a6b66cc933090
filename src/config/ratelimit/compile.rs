//! Checks configurations, and joins those of one domain to its tree.

mod limit;

use hashbrown::{HashMap, HashSet};

use super::schema::{Descriptor, RateLimitConfig};
use crate::config::compile::MemoryBudget;
use crate::config::document::Document;
use crate::config::path::shown;
use crate::policy::descriptor_tree::{NewNode, NewTree, NodeValue};
use crate::policy::rule::Rule;
use crate::policy::table::Row;

/// The trees of all domains, of which each may come of several configurations.
#[derive(Default)]
pub(super) struct Forest {
    trees: Vec<NewTree>,
    /// The index of each domain's tree, and the names on its first level.
    by_domain: HashMap<String, (usize, Names)>,
}

/// The names of the children of one parent. The reference joins key and value, and refuses two that are then the same.
type Names = HashSet<String>;

impl Forest {
    /// Adds a configuration to the tree of its domain. Problems go to the document; the trees are then not usable.
    pub(super) fn add(
        &mut self,
        config: &RateLimitConfig,
        document: &Document<'_>,
        budget: &MemoryBudget,
    ) {
        let compiler = Compiler { document, budget };
        let domain = &config.domain;
        let next = (self.trees.len(), Names::new());
        let (index, names) = self.by_domain.entry(domain.clone()).or_insert(next);
        let nodes = compiler.nodes(&config.descriptors, names, domain.len());
        match self.trees.get_mut(*index) {
            Some(tree) => tree.nodes.extend(nodes),
            None => self.trees.push(NewTree { domain: domain.clone(), nodes }),
        }
    }

    /// The trees, in the order in which their domains came.
    pub(super) fn into_trees(self) -> Vec<NewTree> {
        self.trees
    }
}

struct Compiler<'a> {
    document: &'a Document<'a>,
    budget: &'a MemoryBudget,
}

impl Compiler<'_> {
    /// The nodes of a parent whose path has a length in bytes. A node is kept with its path, so that many of them below
    /// a long key take more memory than their text.
    fn nodes(&self, descriptors: &[Descriptor], names: &mut Names, path: usize) -> Vec<NewNode> {
        descriptors.iter().map_while(|descriptor| self.node(descriptor, names, path)).collect()
    }

    /// A node; `None` once the budget is spent.
    fn node(&self, written: &Descriptor, names: &mut Names, path: usize) -> Option<NewNode> {
        let path = path + written.key.len() + written.value.len() + 2;
        let size = size_of::<NewNode>() + size_of::<Row>() + size_of::<Rule>() + COPIES * path;
        if !self.budget.take_or_report(size, self.document, written.place.path(), BUDGET_HINT) {
            return None;
        }
        if !written.key.is_empty() {
            self.check_name(written, names);
        } else if !written.place.is_faulty() {
            let what = "`key` is missing; write the key of an entry that Envoy sends";
            self.document.report(&written.place.field("key"), what);
        }
        if written.share_threshold && !written.key.contains('*') && !written.value.contains('*') {
            let what = "`share_threshold` needs a `*` in `value`, whose matches share the counter; \
                        add one, or remove it";
            self.document.report(&written.place.field("share_threshold"), what);
        }
        Some(NewNode {
            key: written.key.clone(),
            value: value(written),
            limit: limit::limit(written, self.document),
            value_to_metric: written.value_to_metric,
            children: self.nodes(&written.descriptors, &mut Names::new(), path),
        })
    }

    fn check_name(&self, written: &Descriptor, names: &mut Names) {
        let name = match &*written.value {
            "" => written.key.clone(),
            value => format!("{}_{value}", written.key),
        };
        if let Some(name) = names.replace(name) {
            let what = format!(
                "key and value, joined as `{}`, are those of a descriptor before it; merge the two, \
                 or rename one",
                shown(&name)
            );
            self.document.report(&written.place.field("key"), what);
        }
    }
}

fn value(written: &Descriptor) -> NodeValue {
    let text = written.value.clone();
    match &*text {
        "" => NodeValue::Any,
        value if value.contains('*') => {
            NodeValue::Pattern { text, is_shared: written.share_threshold }
        }
        _ => NodeValue::Exact(text),
    }
}

/// How often the path of a node is kept.
const COPIES: usize = 3;

const BUDGET_HINT: &str =
    "shorten the keys and values that have many descriptors below them, which each count again";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ratelimit::yaml;
    use crate::limit::{Unit, Window};
    use crate::policy::descriptor_tree::NewLimit;
    use crate::policy::metadata::{Map, Value};

    /// The trees of valid texts.
    fn trees(texts: &[&str]) -> Vec<NewTree> {
        let mut forest = Forest::default();
        for text in texts {
            let document = Document::new("test.yaml", text);
            let config = yaml::config(&document).unwrap();
            forest.add(&config, &document, &MemoryBudget::default());
            assert_eq!(document.problem_count(), 0, "{text}");
        }
        forest.into_trees()
    }

    fn nodes(descriptors: &str) -> Vec<NewNode> {
        let text = format!("domain: d\ndescriptors:\n{descriptors}");
        trees(&[&text]).pop().unwrap().nodes
    }

    fn node(key: &str, value: NodeValue) -> NewNode {
        let children = Vec::new();
        NewNode { key: key.into(), value, limit: None, value_to_metric: false, children }
    }

    fn limit(requests: u32, unit: Unit) -> NewLimit {
        NewLimit {
            window: Some(Window::new(requests, unit)),
            name: String::new(),
            replaces: Vec::new(),
            shadow: false,
            quota: false,
            detailed_metric: false,
            metadata: None,
        }
    }

    #[test]
    fn values_are_none_exact_or_patterns() {
        let exact = |text: &str| NodeValue::Exact(text.into());
        let pattern = |is_shared| NodeValue::Pattern { text: "a*b".into(), is_shared };
        for (written, expected) in [
            ("", NodeValue::Any),
            ("value: ~", NodeValue::Any),
            ("value: 010", exact("010")),
            ("value: yes", exact("yes")),
            ("value: 'a*b'", pattern(false)),
            ("value: 'a*b', share_threshold: on", pattern(true)),
        ] {
            let found = nodes(&format!("- {{ key: k, {written} }}"));
            assert_eq!(found, [node("k", expected)], "{written}");
        }
    }

    #[test]
    fn a_limit_has_everything_that_its_descriptor_says() {
        let found = nodes(
            "- key: k
  shadow_mode: yes
  quota_mode: yes
  detailed_metric: yes
  value_to_metric: yes
  metadata: { b: { 1: ~ }, a: [x, 2] }
  rate_limit: { unit: Week, requests_per_unit: 0x10, name: n, replaces: [{ name: m }] }
  descriptors: [{ key: below, rate_limit: { unlimited: on } }]",
        );
        let metadata = Map(Box::new([
            ("a".into(), Value::List(Box::new([Value::Text("x".into()), Value::Number(2.0)]))),
            ("b".into(), Value::Map(Map(Box::new([("1".into(), Value::Null)])))),
        ]));
        let limited = NewLimit {
            name: "n".into(),
            replaces: vec!["m".into()],
            shadow: true,
            quota: true,
            detailed_metric: true,
            metadata: Some(metadata),
            ..limit(16, Unit::Week)
        };
        let unlimited = NewLimit { window: None, ..limit(0, Unit::Second) };
        let below = NewNode { limit: Some(unlimited), ..node("below", NodeValue::Any) };
        let expected = NewNode {
            limit: Some(limited),
            value_to_metric: true,
            children: vec![below],
            ..node("k", NodeValue::Any)
        };
        assert_eq!(found, [expected]);
    }

    /// As the reference assigns to its structures: a merge replaces what stands before it, and of a limit only what the
    /// second one says.
    #[test]
    fn what_stands_twice_counts_as_in_the_reference() {
        let found = nodes(
            "- &a { key: a, value: x, rate_limit: { unit: day, requests_per_unit: 1 } }
- { <<: *a, key: b, rate_limit: { requests_per_unit: 2 } }
- { key: c, <<: *a, value: y, rate_limit: ~ }
- { key: d, rate_limit: { unit: hour }, rate_limit: { requests_per_unit: 3, requests_per_unit: 4 } }",
        );
        let named = |key: &str, value: &str, limit: Option<NewLimit>| NewNode {
            limit,
            ..node(key, NodeValue::Exact(value.into()))
        };
        let expected = [
            named("a", "x", Some(limit(1, Unit::Day))),
            named("b", "x", Some(limit(2, Unit::Day))),
            named("a", "y", None),
            NewNode { limit: Some(limit(4, Unit::Hour)), ..node("d", NodeValue::Any) },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_parts_of_a_domain_are_one_tree_in_their_order() {
        let part =
            |domain: &str, key: &str| format!("domain: {domain}\ndescriptors: [{{ key: {key} }}]");
        let parts = [part("d", "b"), part("e", "x"), part("d", "a")];
        let found = trees(&parts.each_ref().map(String::as_str));
        let keys = |tree: &NewTree| tree.nodes.iter().map(|node| node.key.clone()).collect();
        let found: Vec<(_, Vec<_>)> =
            found.iter().map(|tree| (tree.domain.clone(), keys(tree))).collect();
        let expected = [("d", vec!["b", "a"]), ("e", vec!["x"])].map(|(domain, keys)| {
            (domain.to_owned(), keys.into_iter().map(str::to_owned).collect())
        });
        assert_eq!(found, expected);
    }
}
