//! Reads metadata: any mapping, as a google.protobuf.Struct.

use std::collections::BTreeMap;

use super::{is_nothing, scalar};
use crate::config::read::Node;
use crate::config::value::{Entry, Kind, Value as Yaml};
use crate::config::yaml_1_1::Scalar;
use crate::policy::metadata::{Map, Value};

/// Reads metadata into what its descriptor has by then: a second mapping adds to the first.
pub(super) fn assign(node: &Node<'_>, metadata: &mut Option<Map>) {
    if is_nothing(node.value) {
        *metadata = None;
        return;
    }
    let Some(entries) = node.value.as_mapping() else {
        return super::expected(node, "a mapping", "");
    };
    let mut all: BTreeMap<Box<str>, Value> = BTreeMap::new();
    all.extend(metadata.take().into_iter().flat_map(|Map(entries)| entries));
    for (key, entry) in entries {
        // The outermost keys are texts, as they are written.
        let Some((kind, written)) = scalar(key) else {
            report_key(node, key);
            continue;
        };
        let name = if kind == Scalar::Nothing { "" } else { written };
        all.insert(name.into(), value(node, entry));
    }
    *metadata = (!all.is_empty()).then(|| Map(all.into_iter().collect()));
}

fn value(node: &Node<'_>, yaml: &Yaml<'_>) -> Value {
    match (&yaml.kind, scalar(yaml)) {
        (Kind::List(items), _) => Value::List(items.iter().map(|item| value(node, item)).collect()),
        (Kind::Mapping(entries), _) => Value::Map(map(node, entries)),
        (_, Some((Scalar::Nothing, _))) => Value::Null,
        (_, Some((Scalar::Flag(flag), _))) => Value::Bool(flag),
        // A Struct has no other numbers.
        (_, Some((Scalar::Whole(number), _))) => Value::Number(number as f64),
        (_, Some((Scalar::Number(number), _))) => Value::Number(number),
        (_, Some((Scalar::Text, text))) => Value::Text(text.into()),
        (_, None) => {
            let path = node.path.clone().at(yaml.position);
            let what = format!("metadata cannot have {}; write the value out", yaml.describe());
            node.document.report(&path, what);
            Value::Null
        }
    }
}

/// A mapping within metadata. Its keys are values, and become text as the reference prints them.
fn map(node: &Node<'_>, entries: &[Entry<'_>]) -> Map {
    let mut all = BTreeMap::new();
    for (key, entry) in entries {
        let name = match scalar(key) {
            Some((Scalar::Nothing, _)) => "<nil>".to_owned(),
            Some((Scalar::Flag(flag), _)) => flag.to_string(),
            Some((Scalar::Whole(number), _)) => number.to_string(),
            Some((Scalar::Number(number), _)) => number.to_string(),
            Some((Scalar::Text, text)) => text.to_owned(),
            None => {
                report_key(node, key);
                continue;
            }
        };
        all.insert(Box::from(name), value(node, entry));
    }
    Map(all.into_iter().collect())
}

fn report_key(node: &Node<'_>, key: &Yaml<'_>) {
    let path = node.path.clone().at(key.position);
    let what = format!("a key of metadata must be text, found {}", key.describe());
    node.document.report(&path, what);
}
