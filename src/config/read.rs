//! Reading a tree of YAML values with every complaint kept, instead of stopping at the first.

use std::cell::RefCell;

use serde_yaml::{Mapping, Value};

use super::problem::{Place, Problem, Problems, did_you_mean};

/// A file being read.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Problems>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    pub(super) fn complain(&self, place: &Place, what: impl Into<String>) {
        let problem = Problem::at(self.file, self.text, place, what);
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }
}

/// Something read, with the place it was read from.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A value in the document.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) value: &'a Value,
    pub(super) place: Place,
}

impl<'a> Node<'a> {
    pub(super) fn complain(&self, what: impl Into<String>) {
        self.document.complain(&self.place, what);
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        self.complain(format!("expected {what}, found {}", kind(self.value)));
        None
    }

    fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place.clone() }
    }

    pub(super) fn text(&self) -> Option<At<String>> {
        match self.value {
            Value::String(text) => Some(self.at(text.clone())),
            Value::Number(_) | Value::Bool(_) => self.expected("text (put it in quotes)"),
            _ => self.expected("text"),
        }
    }

    /// A whole number from 0 to 2^32 - 1.
    pub(super) fn whole(&self) -> Option<At<u32>> {
        let whole = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        match whole {
            Some(number) => Some(self.at(number)),
            None => self.expected("a whole number from 1 to 4294967295"),
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            _ => self.expected("true or false"),
        }
    }

    pub(super) fn list(&self) -> Vec<Self> {
        let Value::Sequence(items) = self.value else {
            self.expected::<()>("a list");
            return Vec::new();
        };
        let nodes = items.iter().enumerate();
        nodes.map(|(at, value)| Node { value, place: self.place.index(at), ..*self }).collect()
    }

    fn mapping(&self, what: &str) -> Option<&'a Mapping> {
        match self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => self.expected(what),
        }
    }

    /// The entries of a mapping whose keys are the user's own names.
    pub(super) fn entries(&self, what: &str) -> Vec<(At<String>, Self)> {
        let mapping = self.mapping(what);
        mapping.into_iter().flatten().filter_map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: &Value, value: &'a Value) -> Option<(At<String>, Self)> {
        let Value::String(name) = key else {
            self.complain(format!("a name must be text, found {}; put it in quotes", kind(key)));
            return None;
        };
        let place = self.place.key(name);
        let node = Node { value, place: place.clone(), ..*self };
        Some((At { value: name.clone(), place }, node))
    }

    /// The entries of a mapping whose keys are the language's: whatever is left at the end is an error.
    pub(super) fn fields(&self, what: &str) -> Option<Fields<'a>> {
        self.mapping(what)?;
        Some(Fields { left: self.entries(what), known: Vec::new() })
    }
}

pub(super) struct Fields<'a> {
    left: Vec<(At<String>, Node<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        let at = self.left.iter().position(|(key, _)| key.value == name)?;
        Some(self.left.swap_remove(at).1)
    }

    /// Complains of every key that nobody took.
    pub(super) fn finish(self) {
        for (key, node) in &self.left {
            let near = did_you_mean(&key.value, self.known.iter().copied());
            let cure = if near.is_empty() {
                format!("; there can be {}", self.known.join(", "))
            } else {
                near
            };
            node.complain(format!("unknown key `{}`{cure}", key.value.escape_debug()));
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}
