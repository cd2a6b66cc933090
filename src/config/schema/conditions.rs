//! Conditions on entries.

use super::super::document::Located;
use super::super::read::Node;
use super::{Test, When};

pub(super) fn when(node: &Node<'_>) -> When {
    let entries = node.entries("conditions: an entry's key and the value that it must have");
    let named = entries.into_iter().map(|(key, node)| (key.into_entry_name(node.document), node));
    let tests = named.filter_map(|(key, node)| Some((key, test(&node)?)));
    When { tests: tests.collect() }
}

/// Conditions, at least one; `what` is the problem if there is none, which would match every request.
pub(in crate::config) fn some_when(node: &Node<'_>, what: &str) -> When {
    if node.value.as_mapping().is_some_and(<[_]>::is_empty) {
        node.report(what);
    }
    when(node)
}

fn test(node: &Node<'_>) -> Option<Test> {
    if node.value.is_sequence() {
        return Some(Test::Any(some(node).iter().filter_map(text_test).collect()));
    }
    if !node.value.is_mapping() {
        return text_test(node);
    }
    let before = node.document.problem_count();
    let mut tests = tests(node)?;
    if node.document.problem_count() > before {
        return None;
    }
    if tests.len() != 1 {
        node.report("a condition is one of equal, one_of, prefix, cidr, present, absent, not");
    }
    tests.pop()
}

fn tests(node: &Node<'_>) -> Option<Vec<Test>> {
    let mut fields = node.fields("a condition")?;
    let equal = fields.take("equal").and_then(|node| node.text()).map(Test::Equal);
    let one_of = fields.take("one_of").map(|node| {
        let texts = some(&node).iter().filter_map(Node::text).map(Test::Equal).collect();
        Test::Any(texts)
    });
    let prefix = fields.take("prefix").and_then(|node| node.text());
    let prefix = prefix.map(|prefix| Test::Prefix(prefix.value));
    let cidr = fields.take("cidr").map(|node| Test::Cidr(networks(&node)));
    let present = fields.take("present").map(|node| only_true(&node, Test::Present));
    let absent = fields.take("absent").map(|node| only_true(&node, Test::Absent));
    let not = fields.take("not").and_then(|node| negated(&node));
    fields.finish();
    Some([equal, one_of, prefix, cidr, present, absent, not].into_iter().flatten().collect())
}

/// Any condition, negated, unless another word says it more plainly.
fn negated(node: &Node<'_>) -> Option<Test> {
    let negated = test(node)?;
    let what = match negated {
        Test::Present => "an entry that is not there is `{ absent: true }`; write that",
        Test::Absent => "an entry that is there is `{ present: true }`; write that",
        Test::Not(_) => "a condition is negated once; remove both `not`",
        Test::Equal(_) | Test::Prefix(_) | Test::Cidr(_) | Test::Any(_) => {
            return Some(Test::Not(Box::new(negated)));
        }
    };
    node.report(what);
    None
}

fn only_true(node: &Node<'_>, test: Test) -> Test {
    if node.flag() == Some(false) {
        node.report("this can only be true; remove the condition instead");
    }
    test
}

/// The items of a list, which must not be empty.
fn some<'a>(node: &Node<'a>) -> Vec<Node<'a>> {
    if node.value.as_sequence().is_some_and(<[_]>::is_empty) {
        node.report("an empty list never matches; list at least one value");
    }
    node.list("a list")
}

fn networks(node: &Node<'_>) -> Vec<Located<String>> {
    if node.value.is_string() {
        return node.text().into_iter().collect();
    }
    some(node).iter().filter_map(Node::text).collect()
}

/// A whole value, or a prefix: `text*`.
fn text_test(node: &Node<'_>) -> Option<Test> {
    let text = node.text()?;
    match text.value.split_once('*') {
        None => Some(Test::Equal(text)),
        Some((prefix, "")) => Some(Test::Prefix(prefix.to_owned())),
        Some(_) => {
            node.report(
                "`*` may only be at the end; to match the character, write `{ equal: .. }`",
            );
            None
        }
    }
}
