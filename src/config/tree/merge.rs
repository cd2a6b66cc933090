//! Duplicate keys of a mapping, and the key `<<`, whose value YAML merges into the mapping.

use std::rc::Rc;

use hashbrown::HashSet;

use crate::config::document::Document;
use crate::config::path::{NodePath, Position, shown};
use crate::config::value::{Entry, Kind, Value};

const MERGE: &str = "<<";

/// The entries of a mapping of a policy, each key once, with those that `<<` merges into it. The mapping's own keys
/// take precedence, wherever `<<` stands. `place` is the path of the mapping, with the position of an entry.
pub(super) fn own_keys_first<'t>(
    entries: Vec<Entry<'t>>,
    document: &Document<'_>,
    place: impl Fn(Position) -> NodePath,
) -> Vec<Entry<'t>> {
    let mut keys: HashSet<Rc<str>> = HashSet::with_capacity(entries.len());
    let mut unique = Vec::with_capacity(entries.len());
    let mut merged = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.scalar() else {
            unique.push((key, value));
            continue;
        };
        let path = || place(key.position).key(&name, key.position);
        if !keys.insert((*name).into()) {
            document.report(&path(), "duplicate key; keep one of the two");
        } else if key.as_str() != Some(MERGE) {
            unique.push((key, value));
        } else if let Some(mappings) = mergeable(&value) {
            merged = mappings;
        } else {
            document.report(&path(), NOT_MERGEABLE);
        }
    }
    for (key, value) in merged.iter().flat_map(|entries| &**entries) {
        if key.scalar().is_none_or(|name| keys.insert((*name).into())) {
            unique.push((key.clone(), value.clone()));
        }
    }
    unique
}

/// The entries of a mapping of a ratelimit configuration in the order in which they count: of those with one key the
/// last takes precedence. Those that `<<` merges stand where it stands, so that they replace what is written before.
/// `place` is the path of the mapping, with the position of an entry.
pub(super) fn in_order<'t>(
    entries: Vec<Entry<'t>>,
    document: &Document<'_>,
    place: impl Fn(Position) -> NodePath,
) -> Vec<Entry<'t>> {
    let mut own: HashSet<Rc<str>> = HashSet::with_capacity(entries.len());
    let mut all = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let path = |name: &str| place(key.position).key(name, key.position);
        match &key.kind {
            // In quotes it is a key like any other.
            Kind::Plain(name) if name == MERGE => {
                let Some(mappings) = mergeable(&value) else {
                    document.report(&path(name), NOT_MERGEABLE);
                    continue;
                };
                // The first takes precedence, and therefore comes last.
                let merged = mappings.iter().rev().flat_map(|entries| entries.iter().cloned());
                let first = all.len();
                all.extend(merged);
                let merged = all.iter().skip(first).filter_map(|(key, _)| key.scalar());
                if let Some(hidden) = merged.into_iter().find(|name| own.contains(&**name)) {
                    let what = format!(
                        "the merged mapping has `{}`, too, which replaces the one before; put `<<` first",
                        shown(&hidden)
                    );
                    document.warn(&path(name), what);
                }
            }
            _ => {
                if let Some(name) = key.scalar()
                    && !own.insert((*name).into())
                {
                    let what = "duplicate key; the last one counts: keep one of the two";
                    document.warn(&path(&name), what);
                }
                all.push((key, value));
            }
        }
    }
    all
}

const NOT_MERGEABLE: &str = "`<<` merges a mapping or a list of mappings, as in `<<: *other`";

/// The mappings to merge, the first with the highest precedence.
fn mergeable<'t>(value: &Value<'t>) -> Option<Vec<Rc<[Entry<'t>]>>> {
    let one = |value: &Value<'t>| match &value.kind {
        Kind::Mapping(entries) => Some(Rc::clone(entries)),
        _ => None,
    };
    match &value.kind {
        Kind::List(items) => items.iter().map(one).collect(),
        _ => one(value).map(|entries| vec![entries]),
    }
}
