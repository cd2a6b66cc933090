//! Requests meet the same limits in a tree and in the tables that it converts to, and share buckets alike.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Met, met, policies, write};
use crate::limit::Unit;
use crate::policy::Policies;
use crate::policy::descriptor_tree::support::{KEY, node};
use crate::policy::descriptor_tree::{NewNode, NewTree, TreeSettings, build_tree};
use crate::policy::fingerprint::Fingerprint;

/// A node to be made.
#[derive(Debug, Clone)]
struct Spec {
    key: &'static str,
    value: &'static str,
    is_shared: bool,
    limit: Limit,
    children: Vec<Self>,
}

#[derive(Debug, Clone)]
enum Limit {
    None,
    Unlimited,
    Requests(u32, Unit),
    Shadow(u32),
}

const VALUES: [&str; 7] = ["", "x", "y", "xy", "xyz", "default", "z"];

fn nodes(specs: &[Spec]) -> Vec<NewNode> {
    let mut seen = std::collections::HashSet::new();
    let own = specs.iter().filter(|spec| seen.insert((spec.key, spec.value)));
    own.map(|spec| {
        let node = node(spec.key, spec.value).with(nodes(&spec.children));
        let node = if spec.is_shared { node.shared() } else { node };
        match spec.limit {
            Limit::None => node,
            Limit::Unlimited => node.unlimited(),
            Limit::Requests(requests, unit) => node.limited(requests, unit),
            Limit::Shadow(requests) => node.per_minute(requests).in_shadow(),
        }
    })
    .collect()
}

/// The keys of all descriptors that lead to a node.
fn shapes(nodes: &[NewNode], keys: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    for node in nodes {
        keys.push(node.key.clone());
        found.push(keys.clone());
        shapes(&node.children, keys, found);
        keys.pop();
    }
}

/// Every list of this many values.
fn values(length: usize) -> Vec<Vec<&'static str>> {
    (0..length).fold(vec![vec![]], |lists, _| {
        let longer = |list: &Vec<&'static str>| {
            let list = list.clone();
            VALUES.map(|value| [&list[..], &[value]].concat())
        };
        lists.iter().flat_map(longer).collect()
    })
}

/// Compares all requests of a tree's shapes; returns how many meet a limit.
fn compare(tree: &Policies, tables: &Policies, shapes: &[Vec<String>], text: &str) -> usize {
    let mut buckets: BTreeMap<Fingerprint, Fingerprint> = BTreeMap::new();
    let mut names: BTreeMap<Fingerprint, Fingerprint> = BTreeMap::new();
    let mut limited = 0;
    for keys in shapes {
        for values in values(keys.len()) {
            let entries: Vec<_> =
                keys.iter().map(String::as_str).zip(values.iter().copied()).collect();
            let (expected, windows) = met(tree, &entries);
            let (found, tokens) = met(tables, &entries);
            assert_eq!(found, expected, "{entries:?}\n{text}");
            limited += expected.len();
            if let ([Met { requests: 1.., .. }], [window], [token]) =
                (&*expected, &*windows, &*tokens)
            {
                assert_eq!(buckets.entry(*window).or_insert(*token), token, "{entries:?}\n{text}");
                assert_eq!(names.entry(*token).or_insert(*window), window, "{entries:?}\n{text}");
            }
        }
    }
    limited
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let limit = prop_oneof![
        2 => Just(Limit::None),
        1 => Just(Limit::Unlimited),
        1 => Just(Limit::Requests(0, Unit::Day)),
        4 => (1..1000_u32, prop_oneof![Just(Unit::Second), Just(Unit::Week)])
            .prop_map(|(requests, unit)| Limit::Requests(requests, unit)),
        1 => (1..1000_u32).prop_map(Limit::Shadow),
    ];
    let key = prop_oneof![Just("a"), Just("b"), Just("path"), Just("remote_address"), Just("e")];
    let value =
        prop::sample::select(vec!["", "", "x", "y", "xy", "default", "x*", "xy*", "*", "**", "*z"]);
    let own = (key, value, any::<bool>(), limit).prop_map(|(key, value, is_shared, limit)| Spec {
        key,
        value,
        is_shared: is_shared && value.contains('*'),
        limit,
        children: Vec::new(),
    });
    let spec = own.clone().prop_recursive(2, 12, 3, move |inner| {
        (own.clone(), prop::collection::vec(inner, 0..3))
            .prop_map(|(spec, children)| Spec { children, ..spec })
    });
    prop::collection::vec(spec, 1..6)
}

#[test]
fn requests_meet_the_same_limits_and_share_the_same_buckets() {
    let mut runner = TestRunner::deterministic();
    let (mut same, mut limited) = (0, 0);
    for _ in 0..400 {
        let specs = specs().new_tree(&mut runner).unwrap().current();
        let new = NewTree { domain: "d".into(), nodes: nodes(&specs) };
        let converted = write::policy(&new);
        let tables = policies(&converted);
        let mut found = Vec::new();
        shapes(&new.nodes, &mut Vec::new(), &mut found);
        let tree = Policies::new([build_tree(new, KEY, &TreeSettings::default())]);
        // A comment may say that it is not so.
        let excused = ["left out: the limit", "another order", "further entry", "in the tree meet"];
        if excused.iter().all(|comment| !converted.text.contains(comment)) {
            limited += compare(&tree, &tables, &found, &converted.text);
            same += 1;
        }
    }
    assert!(same > 150 && limited > 5_000, "{same} {limited}");
}
