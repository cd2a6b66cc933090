//! A policy as a tree of YAML, and what the language means by each of its mappings.

use std::path::Path;

use serde_yaml::Value;

/// One step from the root of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// What the keys of a mapping are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Words of the language.
    Language(&'static str),
    /// Names that the policy gives, or that Envoy does.
    Names(&'static str),
    /// Whatever the policy likes: it goes out as it is.
    Free,
}

/// Every level whose keys are words of the language.
pub(crate) const LANGUAGE: [&str; 10] = [
    "policy",
    "addresses",
    "paths",
    "denial body",
    "table",
    "prefix",
    "row",
    "bucket",
    "override",
    "condition",
];

/// Every level whose keys are names.
pub(crate) const NAMES: [&str; 4] = ["endpoint groups", "rows", "conditions", "bypass"];

/// The level of a mapping. A mapping at any other place is new to the language, and to this test.
pub(crate) fn level(place: &[Step]) -> Level {
    let words: Vec<&str> = place
        .iter()
        .map(|step| match step {
            Step::Key(key) => &**key,
            Step::Index(_) => "#",
        })
        .collect();
    match *words {
        [] => Level::Language("policy"),
        ["addresses"] => Level::Language("addresses"),
        ["denial_body"] => Level::Language("denial body"),
        ["denial_body", "json", ..] => Level::Free,
        ["paths"] => Level::Language("paths"),
        ["endpoint_groups"] => Level::Names("endpoint groups"),
        ["tables", "#"] => Level::Language("table"),
        ["tables", "#", "prefix"] => Level::Language("prefix"),
        ["tables", "#", "rows"] => Level::Names("rows"),
        ["tables", "#", "rows", _] => Level::Language("row"),
        ["tables", "#", "rows", _, "#"]
        | ["tables", "#", "rows", _, "buckets", "#"]
        | ["overrides", "#", "buckets", "#"] => Level::Language("bucket"),
        ["overrides", "#"] => Level::Language("override"),
        ["tables" | "overrides", "#", "when"] => Level::Names("conditions"),
        ["bypass", "#"] => Level::Names("bypass"),
        ["tables" | "overrides", "#", "when", _]
        | ["tables" | "overrides", "#", "when", _, "not"]
        | ["bypass", "#", _]
        | ["bypass", "#", _, "not"] => Level::Language("condition"),
        _ => panic!("what is at {place:?}?"),
    }
}

/// A policy with its aliases and merges spelled out.
pub(crate) fn read(path: &Path) -> Value {
    let mut tree = yaml(&std::fs::read_to_string(path).unwrap());
    tree.apply_merge().unwrap();
    tree
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// Every place in a tree, its root first.
pub(crate) fn places(tree: &Value) -> Vec<Vec<Step>> {
    let inner: Vec<(Step, &Value)> = match tree {
        Value::Mapping(mapping) => {
            let key = |key: &Value| Step::Key(key.as_str().unwrap().to_owned());
            mapping.iter().map(|(name, value)| (key(name), value)).collect()
        }
        Value::Sequence(items) => {
            items.iter().enumerate().map(|(at, value)| (Step::Index(at), value)).collect()
        }
        _ => Vec::new(),
    };
    let mut found = vec![Vec::new()];
    for (step, value) in inner {
        found.extend(places(value).into_iter().map(|rest| [vec![step.clone()], rest].concat()));
    }
    found
}

/// Every place of a mapping.
pub(crate) fn mappings(tree: &Value) -> Vec<Vec<Step>> {
    let is_mapping = |place: &Vec<Step>| get(&mut tree.clone(), place).is_mapping();
    places(tree).into_iter().filter(is_mapping).collect()
}

fn get<'t>(tree: &'t mut Value, place: &[Step]) -> &'t mut Value {
    place.iter().fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()).unwrap(),
        Step::Index(index) => value.get_mut(*index).unwrap(),
    })
}

/// The text of a tree with another value at a place.
pub(crate) fn with_value(tree: &Value, place: &[Step], value: Value) -> String {
    let mut tree = tree.clone();
    *get(&mut tree, place) = value;
    serde_yaml::to_string(&tree).unwrap()
}

/// The text of a tree with another key in the mapping at a place.
pub(crate) fn with_key(tree: &Value, place: &[Step], key: &str, value: Value) -> String {
    let mut tree = tree.clone();
    let mapping = get(&mut tree, place).as_mapping_mut().unwrap();
    assert_eq!(mapping.insert(key.into(), value), None);
    serde_yaml::to_string(&tree).unwrap()
}

/// What the table selects by whose rows are at a place.
pub(crate) fn select(tree: &Value, rows: &[Step]) -> Option<String> {
    let (_, table) = rows.split_last().unwrap();
    let table = get(&mut tree.clone(), table).clone();
    table.get("select").map(|select| select.as_str().unwrap().to_owned())
}

/// A key at a place, as problems tell it.
pub(crate) fn told(place: &[Step], key: &str) -> String {
    let mut told = String::new();
    for step in place.iter().chain([&Step::Key(key.to_owned())]) {
        match step {
            Step::Key(key) if told.is_empty() => told += key,
            Step::Key(key) => told += &format!(".{key}"),
            Step::Index(index) => told += &format!("[{index}]"),
        }
    }
    told
}
