//! Reads a tree of YAML values. Keeps every problem instead of stopping at the first.

use std::ops::RangeInclusive;

use super::document::{Document, Located};
use super::path::{NodePath, shown};
use super::value::{Entry, Kind, Value};

/// A value in the document.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) value: &'a Value<'a>,
    pub(super) path: NodePath,
}

impl<'a> Node<'a> {
    pub(super) fn report(&self, what: impl Into<String>) {
        self.document.report(&self.path, what);
    }

    /// Reports a value of the wrong kind.
    fn expected<T>(&self, what: &str, hint: &str) -> Option<T> {
        self.report(format!("expected {what}, found {}{hint}", self.value.describe()));
        None
    }

    pub(super) fn at<T>(&self, value: T) -> Located<T> {
        Located { value, path: self.path.clone() }
    }

    pub(super) fn text(&self) -> Option<Located<String>> {
        let is_plain = matches!(self.value.kind, Kind::Whole(_) | Kind::Number(_) | Kind::Flag(_));
        self.text_of("text", if is_plain { "; put it in quotes" } else { "" })
    }

    /// Text with a syntax of its own, such as a duration.
    pub(super) fn text_of(&self, what: &str, hint: &str) -> Option<Located<String>> {
        match self.value.as_str() {
            Some(text) => Some(self.at(text.to_owned())),
            None => self.expected(what, hint),
        }
    }

    /// The name of an entry: its key, with a number if it is not the first with that key.
    pub(super) fn entry_key(&self) -> Option<Located<String>> {
        self.text().map(|name| name.into_entry_name(self.document))
    }

    /// A whole number from 0 to 2^32 - 1. `range` is only told: a caller reports a number outside of it in its own words.
    pub(super) fn whole(&self, range: RangeInclusive<u32>) -> Option<Located<u32>> {
        let whole = match self.value.kind {
            Kind::Whole(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let hint = if self.value.is_string() { "; write digits only, without quotes" } else { "" };
        match whole {
            Some(number) => Some(self.at(number)),
            None => {
                let (from, to) = range.into_inner();
                self.expected(&format!("a whole number from {from} to {to}"), hint)
            }
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value.kind {
            Kind::Flag(flag) => Some(flag),
            _ => self.expected("true or false", ""),
        }
    }

    pub(super) fn list(&self, what: &str) -> Vec<Self> {
        let Some(items) = self.value.as_sequence() else {
            let hint = if self.value.is_string() { "; put it in brackets, `[..]`" } else { "" };
            self.expected::<()>(what, hint);
            return Vec::new();
        };
        let node = |(at, value): (usize, &'a Value<'a>)| Node {
            value,
            path: self.path.index(at, value.position),
            ..*self
        };
        items.iter().enumerate().map(node).collect()
    }

    fn mapping(&self, what: &str) -> Option<&'a [Entry<'a>]> {
        let entries = self.value.as_mapping();
        if entries.is_none() {
            self.expected::<()>(what, "");
        }
        entries
    }

    /// The entries of a mapping whose keys are the user's own names.
    pub(super) fn entries(&self, what: &str) -> Vec<(Located<String>, Self)> {
        let entries = self.mapping(what).unwrap_or_default();
        entries.iter().filter_map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: &Value<'_>, value: &'a Value<'a>) -> Option<(Located<String>, Self)> {
        let Some(name) = key.as_str() else {
            let (path, hint) = match key.scalar() {
                Some(name) => (self.path.key(&name, key.position), "; put it in quotes"),
                None => (self.path.clone().at(key.position), ""),
            };
            let what = format!("a name must be text, found {}{hint}", key.describe());
            self.document.report(&path, what);
            return None;
        };
        let path = self.path.key(name, key.position);
        let node = Node { value, path: path.clone(), ..*self };
        Some((Located { value: name.to_owned(), path }, node))
    }

    /// The entries of a mapping whose keys belong to the policy language. Keys that are left at the end are problems.
    pub(super) fn fields(&self, what: &str) -> Option<Fields<'a>> {
        self.mapping(what)?;
        Some(Fields { left: self.entries(what), known: Vec::new() })
    }
}

pub(super) struct Fields<'a> {
    left: Vec<(Located<String>, Node<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        let at = self.left.iter().position(|(key, _)| key.value == name)?;
        // Keeps the order of the others, in which they are reported.
        Some(self.left.remove(at).1)
    }

    /// Reports every key that was not taken.
    pub(super) fn finish(self) {
        for (key, node) in &self.left {
            let hint = node.document.suggest(&key.value, &self.known);
            node.report(format!("unknown key `{}`{hint}", shown(&key.value)));
        }
    }
}
