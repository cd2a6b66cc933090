//! The keys of a ratelimit configuration. The reference knows one list of them for all levels: on a level where a key
//! means nothing it is passed over, though its value must be one that the reference reads.

use super::scalar;
use crate::config::path::shown;
use crate::config::read::Node;
use crate::config::value::{Kind, Value};
use crate::config::yaml_1_1::Scalar;

/// A mapping of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Descriptor,
    Limit,
    Replaced,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Root => "the top of the file",
            Self::Descriptor => "a descriptor",
            Self::Limit | Self::Replaced => "`rate_limit`",
        }
    }
}

/// Each key, with the levels on which it has a meaning.
const WORDS: [(&str, &[Level]); 16] = [
    ("domain", &[Level::Root]),
    ("descriptors", &[Level::Descriptor, Level::Root]),
    ("key", &[Level::Descriptor]),
    ("value", &[Level::Descriptor]),
    ("rate_limit", &[Level::Descriptor]),
    ("shadow_mode", &[Level::Descriptor]),
    ("quota_mode", &[Level::Descriptor]),
    ("detailed_metric", &[Level::Descriptor]),
    ("value_to_metric", &[Level::Descriptor]),
    ("share_threshold", &[Level::Descriptor]),
    ("metadata", &[Level::Descriptor]),
    ("unit", &[Level::Limit]),
    ("requests_per_unit", &[Level::Limit]),
    ("unlimited", &[Level::Limit]),
    // At the top it is ignored, but a resource of a control plane has one there, too.
    ("name", &[Level::Limit, Level::Replaced, Level::Root]),
    ("replaces", &[Level::Limit]),
];

/// A key and its value.
type Field<'a> = (&'static str, Node<'a>);

/// The entries of a mapping that have a meaning on its level, in the order in which they count. Warns of others, and
/// reports keys that no level has.
pub(super) fn fields<'a>(node: &Node<'a>, level: Level, what: &str) -> Vec<Field<'a>> {
    let mut found = entries(node, Some(level), what);
    found.retain(|(name, node)| {
        let levels =
            WORDS.iter().find(|(word, _)| word == name).map_or(&[][..], |(_, levels)| levels);
        let has_meaning = levels.contains(&level);
        if let ([home, ..], false) = (levels, has_meaning) {
            ignored(name, *home, node);
        }
        has_meaning
    });
    found
}

/// The entries of a mapping. Reports keys that no level has, and suggests those of its own.
fn entries<'a>(node: &Node<'a>, level: Option<Level>, what: &str) -> Vec<Field<'a>> {
    let Some(entries) = node.value.as_mapping() else {
        return super::expected(node, what, "");
    };
    entries.iter().filter_map(|(key, value)| entry(node, level, key, value)).collect()
}

fn entry<'a>(
    node: &Node<'a>,
    level: Option<Level>,
    key: &Value<'_>,
    value: &'a Value<'a>,
) -> Option<Field<'a>> {
    let Some((Scalar::Text, name)) = scalar(key) else {
        let path = match key.scalar() {
            Some(name) => node.path.key(&name, key.position),
            None => node.path.clone().at(key.position),
        };
        let what =
            format!("a key must be text, found {}{}", key.describe(), suggestion(node, level, ""));
        node.document.report(&path, what);
        return None;
    };
    let path = node.path.key(name, key.position);
    let Some((word, _)) = WORDS.iter().find(|(word, _)| *word == name) else {
        let what = format!("unknown key `{}`{}", shown(name), suggestion(node, level, name));
        node.document.report(&path, what);
        return None;
    };
    Some((word, Node { value, path, ..*node }))
}

fn suggestion(node: &Node<'_>, level: Option<Level>, name: &str) -> String {
    if name == "tables" {
        return "; a policy has it, which is another language: give it to `serve --config`"
            .to_owned();
    }
    let is_known = |levels: &[Level]| level.is_none_or(|level| levels.contains(&level));
    let known = WORDS.iter().filter(|(_, levels)| is_known(levels)).map(|(word, _)| *word);
    node.document.suggest(name, &known.collect::<Vec<_>>())
}

fn ignored(name: &str, home: Level, node: &Node<'_>) {
    let what = format!("`{name}` has no meaning here; it belongs to {}", home.name());
    node.document.warn(&node.path, what);
    if name != "metadata" {
        check(node);
    }
}

/// Checks that a value is one that the reference reads, whatever it means.
pub(super) fn check(node: &Node<'_>) {
    match &node.value.kind {
        Kind::List(_) => {
            for item in node.list("a list") {
                check_mapping(&item);
            }
        }
        Kind::Mapping(_) => check_mapping(node),
        _ if matches!(scalar(node.value), None | Some((Scalar::Number(_), _))) => {
            super::expected(node, "text, a whole number, true or false", "; put it in quotes")
        }
        _ => {}
    }
}

fn check_mapping(node: &Node<'_>) {
    for (name, node) in entries(node, None, "a mapping") {
        if name != "metadata" {
            check(&node);
        }
    }
}
