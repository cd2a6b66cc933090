//! The file of a mapping as it is written: one type for each mapping of the language, each value with its path.
//! `compile` checks the meaning.

mod derived;
mod hits;
mod text;
mod times;

pub(super) use self::derived::Derived;
use self::derived::{derived, scalar_hint};
pub(super) use self::hits::Hits;
use self::hits::hits;
pub(super) use self::text::{Text, read as read_text};
pub(super) use self::times::{Duration, Time};
use self::times::{duration, time};
use crate::config::document::Located;
use crate::config::path::NodePath;
use crate::config::read::Node;
use crate::config::schema::{When, some_when};
use crate::descriptor::MAX_KEY_LENGTH;
use crate::policy::entry_name::EntryName;

pub(super) struct File {
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) skip: Vec<When>,
    pub(super) time: Option<Time>,
    pub(super) duration: Option<Duration>,
}

pub(super) struct Descriptor {
    pub(super) path: NodePath,
    pub(super) entries: Vec<Entry>,
    pub(super) hits: Option<Hits>,
}

#[derive(Clone)]
pub(super) struct Entry {
    /// Its name: its key, with a number if it is not the first with that key.
    pub(super) name: Located<String>,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Constant(String),
    Derived(Box<Derived>),
}

const POLICY: &str =
    "this is a policy: give it to `--config`; a mapping, for `--map`, has `descriptor`";

pub(super) fn file(node: &Node<'_>) -> Option<File> {
    let has = |name| {
        node.value
            .as_mapping()
            .is_some_and(|all| all.iter().any(|(key, _)| key.as_str() == Some(name)))
    };
    if has("domain") {
        node.report(POLICY);
        return None;
    }
    let mut fields = node.fields("a mapping, with `descriptor`")?;
    let (one, several) = (fields.take("descriptor"), fields.take("descriptors"));
    let common_hits = fields.take("hits").and_then(|node| hits(&node));
    let mut descriptors = match (one, several) {
        (Some(node), None) => {
            vec![Descriptor { path: node.path.clone(), entries: entries(&node), hits: None }]
        }
        (None, Some(node)) => descriptors(&node),
        (None, None) => {
            node.report(
                "`descriptor` is missing; write the entries of a request, as in `descriptor: { method: $method }`",
            );
            Vec::new()
        }
        (Some(_), Some(node)) => {
            node.report("keep one of `descriptor`, for one, and `descriptors`, for several");
            Vec::new()
        }
    };
    for descriptor in &mut descriptors {
        descriptor.hits = descriptor.hits.take().or_else(|| common_hits.clone());
    }
    let file = File {
        descriptors,
        skip: fields.take("skip").map(|node| skip(&node)).unwrap_or_default(),
        time: fields.take("time").and_then(|node| time(&node)),
        duration: fields.take("duration").and_then(|node| duration(&node)),
    };
    fields.finish();
    Some(file)
}

fn descriptors(node: &Node<'_>) -> Vec<Descriptor> {
    let listed = node.list("a list of descriptors, as in `[{ entries: { method: $method } }]`");
    if listed.is_empty() && node.value.is_sequence() {
        node.report("the list of descriptors is empty; list at least one");
    }
    listed.iter().filter_map(descriptor).collect()
}

fn descriptor(node: &Node<'_>) -> Option<Descriptor> {
    let mut fields = node.fields("a descriptor: `entries` and `hits`")?;
    let listed = fields.take("entries");
    if listed.is_none() {
        node.report("`entries` is missing; write `{ entries: { method: $method } }`");
    }
    let hits = fields.take("hits").and_then(|node| hits(&node));
    fields.finish();
    let listed = listed?;
    Some(Descriptor { path: listed.path.clone(), entries: entries(&listed), hits })
}

fn entries(node: &Node<'_>) -> Vec<Entry> {
    if node.value.as_mapping().is_some_and(<[_]>::is_empty) {
        node.report("a descriptor needs an entry; add one, as in `{ method: $method }`");
    }
    let listed = node.entries("entries: a key, and a field or a constant each");
    listed.into_iter().filter_map(|(name, node)| entry(name, &node)).collect()
}

fn entry(name: Located<String>, node: &Node<'_>) -> Option<Entry> {
    if let Err(what) = check_name(&name.value) {
        node.report(what);
        return None;
    }
    let name = name.into_entry_name(node.document);
    let value = if node.value.is_mapping() {
        Value::Derived(Box::new(derived(node)?))
    } else {
        text_value(node)?
    };
    Some(Entry { name, value })
}

/// Whether an entry may have a name, apart from its number.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.starts_with('$') {
        return Err("`$` begins the name of a field; write the key of an entry on the left, and the field on the right".to_owned());
    }
    let key = EntryName::parse(name).map_or(name, |name| name.key);
    if key.len() > MAX_KEY_LENGTH {
        return Err(format!("a key has at most {MAX_KEY_LENGTH} bytes; shorten it"));
    }
    Ok(())
}

fn text_value(node: &Node<'_>) -> Option<Value> {
    let text = node.text_of(
        "a field, as in `$path`, a constant, or a mapping with `from`",
        scalar_hint(node),
    )?;
    match read_text(&text.value) {
        Ok(Text::Constant(text)) => Some(Value::Constant(text)),
        Ok(Text::Field(name)) => Some(Value::Derived(Box::new(Derived::field(name)))),
        Err(what) => {
            node.report(what);
            None
        }
    }
}

/// Sets of conditions: one, or a list of them.
fn skip(node: &Node<'_>) -> Vec<When> {
    let no_condition =
        "conditions are missing, and every line would be skipped; add one, or remove `skip`";
    if !node.value.is_sequence() {
        return vec![some_when(node, no_condition)];
    }
    let listed = node.list("conditions");
    if listed.is_empty() {
        node.report("the list of conditions is empty; add one, or remove `skip`");
    }
    listed.iter().map(|node| some_when(node, no_condition)).collect()
}
