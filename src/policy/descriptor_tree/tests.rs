//! The walk, and the names of buckets.

use super::support::{node, policy};
use super::{NewNode, TreeSettings};
use crate::clock::Timestamp;
use crate::descriptor::{BroughtLimit, Hits, Query};
use crate::limit::Unit;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::{Plan, Policy};

fn tree(nodes: impl IntoIterator<Item = NewNode>) -> Policy {
    policy(nodes.into_iter().collect(), &TreeSettings::default())
}

fn resolved<T>(policy: &Policy, entries: &[(&str, &[u8])], read: impl FnOnce(&Plan<'_>) -> T) -> T {
    let mut query = Query::default();
    query.begin("d", 1).unwrap();
    entries.iter().for_each(|(key, value)| query.entry(*key, *value));
    query.close(Hits::ONE, None).unwrap();
    read(&policy.resolve(&query, Timestamp::default()))
}

/// The path of the node with the limit for a descriptor; none if it has no limit.
fn limit(policy: &Policy, entries: &[[&str; 2]]) -> Option<String> {
    let entries: Vec<_> = entries.iter().map(|[key, value]| (*key, value.as_bytes())).collect();
    resolved(policy, &entries, |plan| plan.matched.first().map(|of| of.row.name().to_owned()))
}

fn name(policy: &Policy, entries: &[[&str; 2]]) -> Fingerprint {
    let entries: Vec<_> = entries.iter().map(|[key, value]| (*key, value.as_bytes())).collect();
    resolved(policy, &entries, |plan| plan.matched[0].fingerprint)
}

#[test]
fn a_limit_applies_only_at_the_node_of_the_last_entry() {
    let tree = tree([node("a", "1")
        .per_minute(1)
        .with([node("b", "").with([node("c", "").per_minute(3)])])]);
    assert_eq!(limit(&tree, &[["a", "1"]]).unwrap(), "a_1");
    assert_eq!(limit(&tree, &[["a", "1"], ["b", "2"]]), None, "no limit at this node");
    assert_eq!(limit(&tree, &[["a", "1"], ["b", "2"], ["c", "3"]]).unwrap(), "a_1.b.c");
    assert_eq!(limit(&tree, &[["a", "1"], ["b", "2"], ["c", "3"], ["d", "4"]]), None);
    assert_eq!(limit(&tree, &[["b", "2"]]), None, "the order of entries counts");
    assert_eq!(limit(&tree, &[]), None);
    assert_eq!(limit(&tree, &[["", "1"]]), None);
}

#[test]
fn the_value_goes_before_patterns_and_patterns_before_the_key_alone() {
    let tree = tree([
        node("k", "").per_minute(1),
        node("k", "a*").per_minute(1),
        node("k", "ab*").per_minute(1),
        node("k", "abc").per_minute(1),
    ]);
    let limit = |value| limit(&tree, &[["k", value]]).unwrap();
    assert_eq!(limit("abc"), "k_abc");
    assert_eq!(limit("abx"), "k_a*", "the first in the order of the file, not the most specific");
    assert_eq!(limit("ab*"), "k_ab*", "a pattern has itself as its value");
    assert_eq!(limit("x"), "k");
    assert_eq!(limit("ABC"), "k", "case counts");
    assert_eq!(limit(""), "k");
}

#[test]
fn there_is_no_going_back() {
    let tree = tree([
        node("k", "a").with([node("x", "").per_minute(1)]),
        node("k", "b"),
        node("k", "b*").per_minute(1),
        node("k", "").per_minute(1).with([node("y", "").per_minute(1)]),
    ]);
    assert_eq!(limit(&tree, &[["k", "a"]]), None);
    assert_eq!(limit(&tree, &[["k", "a"], ["y", "1"]]), None);
    assert_eq!(limit(&tree, &[["k", "b"]]), None);
    assert_eq!(limit(&tree, &[["k", "b2"], ["y", "1"]]), None);
    assert_eq!(limit(&tree, &[["k", "c"], ["y", "1"]]).unwrap(), "k.y");
}

#[test]
fn an_empty_value_meets_a_pattern_or_the_key_alone() {
    let tree = tree([node("k", "*").per_minute(1), node("j", "").per_minute(1)]);
    assert_eq!(limit(&tree, &[["k", ""]]).unwrap(), "k_*");
    assert_eq!(limit(&tree, &[["j", ""]]).unwrap(), "j");
    assert_eq!(limit(&tree, &[["l", ""]]), None);
}

/// In the reference, the text `a_b_c` stands for both.
#[test]
fn key_and_value_are_compared_apart() {
    let tree = tree([node("a", "b_c").per_minute(1), node("k_*", "").per_minute(1)]);
    assert_eq!(limit(&tree, &[["a_b", "c"]]), None);
    assert_eq!(limit(&tree, &[["a_b_c", "x"]]), None);
    assert_eq!(limit(&tree, &[["k_1", "x"]]), None, "a key is no pattern");
    assert_ne!(name(&tree, &[["a", "b_c"]]), name(&tree, &[["k_*", "b_c"]]));
}

#[test]
fn any_bytes_meet_a_pattern_and_count_apart() {
    let tree = tree([node("k", "*").per_minute(1)]);
    let name = |value: &[u8]| resolved(&tree, &[("k", value)], |plan| plan.matched[0].fingerprint);
    assert_ne!(name(b"\xff"), name(b"\xfe"));
    assert_eq!(name(b"\xff"), name(b"\xff"));
}

#[test]
fn the_limits_of_many_nodes_are_found() {
    let children =
        |at: u32| (0..100).map(move |of| node("c", &format!("{at}.{of}")).per_minute(of));
    let tree = tree((0..100).map(|at| node("k", &at.to_string()).with(children(at))));
    for at in 0..100 {
        for of in 0..100 {
            let (parent, child) = (at.to_string(), format!("{at}.{of}"));
            let found = limit(&tree, &[["k", &parent], ["c", &child]]).unwrap();
            assert_eq!(found, format!("k_{parent}.c_{child}"));
        }
        assert_eq!(limit(&tree, &[["k", &at.to_string()], ["c", "100.0"]]), None);
    }
    assert_eq!(tree.rows().count(), 10_001);
}

#[test]
fn values_that_share_a_count_have_one_bucket_at_any_level_below() {
    let shared = || node("file", "a*").shared();
    let below = || node("user", "").per_minute(1);
    let tree = tree([
        shared().per_minute(1).with([below()]),
        node("file", "ab").per_minute(1),
        node("path", "a*").per_minute(1),
    ]);
    let of = |value| name(&tree, &[["file", value]]);
    assert_eq!(of("ac"), of("ad"));
    assert_eq!(of("ac"), of("a*"));
    assert_ne!(of("ac"), of("ab"), "a value of its own is not part of it");
    let below = |value, user| name(&tree, &[["file", value], ["user", user]]);
    assert_eq!(below("ac", "u"), below("ad", "u"));
    assert_ne!(below("ac", "u"), below("ac", "v"));
    assert_ne!(name(&tree, &[["path", "ac"]]), name(&tree, &[["path", "ad"]]));
}

#[test]
fn a_bucket_is_named_by_domain_unit_and_entries_alone() {
    let one = tree([node("k", "a").limited(1, Unit::Minute), node("j", "").per_minute(1)]);
    let moved = tree([node("k", "").limited(5, Unit::Minute).named("x").in_shadow()]);
    let other = tree([node("k", "a").limited(1, Unit::Hour)]);
    let of = |policy: &Policy| name(policy, &[["k", "a"]]);
    assert_eq!(of(&one), of(&moved));
    assert_ne!(of(&one), of(&other));
    assert_ne!(of(&one), name(&one, &[["j", "a"]]));
    let units =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];
    for unit in units {
        let configured = tree([node("k", "").limited(1, unit)]);
        let mut query = Query::default();
        query.begin("d", 1).unwrap();
        query.entry("k", "a");
        query.close(Hits::ONE, Some(BroughtLimit::new(9, 1, unit))).unwrap();
        let plan = moved.resolve(&query, Timestamp::default());
        assert_eq!(plan.matched[0].fingerprint, of(&configured), "{unit:?}");
    }
}

/// A recursive builder or drop would overflow the stack of a test.
#[test]
fn a_deep_tree_takes_no_stack() {
    let mut deep = node("k", "").per_minute(1);
    for _ in 0..200_000 {
        deep = node("k", "").with([deep]);
    }
    let tree = tree([deep]);
    assert_eq!(tree.rows().count(), 2);
    drop(tree);
}
