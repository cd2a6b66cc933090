//! Reads a file: from a tree of YAML to the schema. A mapping is read as assignments in the order of its entries, so that
//! a key that stands twice, or that `<<` merges, counts for what it does in the reference. A value that is replaced must
//! be valid nevertheless.

mod metadata;
mod words;

use self::words::{Level, fields};
use super::schema::{Descriptor, Place, RateLimitConfig};
use crate::config::document::Document;
use crate::config::language::Language;
use crate::config::path::NodePath;
use crate::config::read::Node;
use crate::config::tree;
use crate::config::value::{Kind, Value};
use crate::config::yaml_1_1::{Scalar, resolve};

/// Reads a document. Problems go to the document; a configuration with problems is not usable.
pub(super) fn config(document: &Document<'_>) -> Option<RateLimitConfig> {
    let tree = tree::tree(document, Language::RateLimit)?;
    let root = Node { document, value: &tree, path: NodePath::root(tree.position) };
    let mut config = RateLimitConfig {
        source: document.file().to_owned(),
        place: Place::in_file(root.path.clone()),
        ..RateLimitConfig::default()
    };
    let before = document.problem_count();
    let mut below = Vec::new();
    let what = "a ratelimit configuration: `domain` and `descriptors`";
    for (name, node) in fields(&root, Level::Root, what) {
        config.place.add(name, node.path.position);
        match name {
            "domain" => config.domain = text(&node),
            "name" => words::check(&node),
            _ => below.push(node),
        }
    }
    config.place.set_faulty(document.problem_count() > before);
    config.descriptors = descriptors(&below);
    Some(config)
}

/// Reads lists of descriptors, of which the last counts.
fn descriptors(lists: &[Node<'_>]) -> Vec<Descriptor> {
    let read = |node: &Node<'_>| items(node, "a list of descriptors", descriptor);
    lists.iter().map(read).collect::<Vec<_>>().pop().unwrap_or_default()
}

fn descriptor(node: &Node<'_>) -> Descriptor {
    let (document, place) = (node.document, Place::in_file(node.path.clone()));
    let mut descriptor = Descriptor { place, ..Descriptor::default() };
    let before = document.problem_count();
    let mut below = Vec::new();
    let what = "a descriptor: `key`, `value`, `rate_limit` and so on";
    for (name, node) in fields(node, Level::Descriptor, what) {
        descriptor.place.add(name, node.path.position);
        match name {
            "key" => descriptor.key = text(&node),
            "value" => descriptor.value = text(&node),
            "rate_limit" => rate_limit(&node, &mut descriptor),
            "shadow_mode" => descriptor.shadow_mode = flag(&node),
            "quota_mode" => descriptor.quota_mode = flag(&node),
            "detailed_metric" => descriptor.detailed_metric = flag(&node),
            "value_to_metric" => descriptor.value_to_metric = flag(&node),
            "share_threshold" => descriptor.share_threshold = flag(&node),
            "metadata" => metadata::assign(&node, &mut descriptor.metadata),
            _ => below.push(node),
        }
    }
    descriptor.place.set_faulty(document.problem_count() > before);
    descriptor.descriptors = descriptors(&below);
    descriptor
}

/// Reads a limit into the one that its descriptor has by then: a second `rate_limit` adds to the first.
fn rate_limit(node: &Node<'_>, descriptor: &mut Descriptor) {
    if is_nothing(node.value) {
        descriptor.rate_limit = None;
        return;
    }
    let limit = descriptor.rate_limit.get_or_insert_default();
    let what = "a limit, as in `{ unit: minute, requests_per_unit: 10 }`";
    for (name, node) in fields(node, Level::Limit, what) {
        descriptor.place.add(name, node.path.position);
        match name {
            "unit" => limit.unit = text(&node),
            "requests_per_unit" => limit.requests_per_unit = number(&node),
            "unlimited" => limit.unlimited = flag(&node),
            "name" => limit.name = text(&node),
            _ => limit.replaces = items(&node, "a list of `name: LIMIT`", replaced),
        }
    }
}

fn replaced(node: &Node<'_>) -> String {
    let names = fields(node, Level::Replaced, "the name of a limit, as in `name: LIMIT`");
    names.iter().map(|(_, node)| text(node)).collect::<Vec<_>>().pop().unwrap_or_default()
}

/// The items of a list, of which nothing is an empty one.
fn items<T>(node: &Node<'_>, what: &str, read: impl Fn(&Node<'_>) -> T) -> Vec<T> {
    if is_nothing(node.value) {
        return Vec::new();
    }
    node.list(what).iter().map(read).collect()
}

/// A text as it is written; empty for nothing.
fn text(node: &Node<'_>) -> String {
    match scalar(node.value) {
        Some((Scalar::Nothing, _)) => String::new(),
        Some((Scalar::Flag(_) | Scalar::Whole(_) | Scalar::Text, text)) => text.to_owned(),
        Some((Scalar::Number(_), _)) => expected(node, "text", "; put it in quotes"),
        None => expected(node, "text", ""),
    }
}

/// A whole number; 0 for nothing.
fn number(node: &Node<'_>) -> u32 {
    let number = match scalar(node.value) {
        Some((Scalar::Nothing, _)) => Some(0),
        Some((Scalar::Whole(number), _)) => u32::try_from(number).ok(),
        _ => None,
    };
    number.unwrap_or_else(|| {
        let hint = if node.value.is_string() { "; write digits only, without quotes" } else { "" };
        expected(node, "a whole number from 0 to 4294967295", hint)
    })
}

/// A flag; false for nothing.
fn flag(node: &Node<'_>) -> bool {
    match scalar(node.value) {
        Some((Scalar::Nothing, _)) => false,
        Some((Scalar::Flag(flag), _)) => flag,
        _ => {
            let hint = if node.value.is_string() { "; write it without quotes" } else { "" };
            expected(node, "true or false", hint)
        }
    }
}

fn is_nothing(value: &Value<'_>) -> bool {
    matches!(scalar(value), Some((Scalar::Nothing, _)))
}

/// What a scalar is, and how it is written; `None` for other kinds.
fn scalar<'a>(value: &'a Value<'_>) -> Option<(Scalar, &'a str)> {
    match &value.kind {
        Kind::Plain(text) => Some((resolve(text), text)),
        Kind::Text(text) => Some((Scalar::Text, text)),
        Kind::Number(text) => text.parse().ok().map(|number| (Scalar::Number(number), &**text)),
        _ => None,
    }
}

/// Reports a value of the wrong kind, and returns what stands for it.
fn expected<T: Default>(node: &Node<'_>, what: &str, hint: &str) -> T {
    node.report(format!("expected {what}, found {}{hint}", node.value.describe()));
    T::default()
}
