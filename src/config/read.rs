//! Reading a tree of YAML values with every complaint kept, instead of stopping at the first.

use std::cell::{Cell, RefCell};

use super::place::{Place, shown};
use super::problem::{Problem, Problems, did_you_mean, near_or_all};
use super::value::{Entry, Kind, Value};

/// A file being read.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Problems>,
    /// Complaints that are only counted: nobody reads thousands of them.
    untold: Cell<usize>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::default(), untold: Cell::default() }
    }

    pub(super) const fn file(&self) -> &'a str {
        self.file
    }

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn complain(&self, place: &Place, what: impl Into<String>) {
        if self.is_full() {
            self.untold.set(self.untold.get() + 1);
        } else {
            self.push(Problem::of(self.file, place, what));
        }
    }

    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether further complaints are only counted, so that their words need not be looked for.
    pub(super) fn is_full(&self) -> bool {
        self.problems.borrow().is_full()
    }

    /// As [`did_you_mean`], where that will be told.
    pub(super) fn did_you_mean<'n>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> String {
        if self.is_full() { String::new() } else { did_you_mean(name, known) }
    }

    /// As [`near_or_all`], where that will be told.
    pub(super) fn near_or_all(&self, name: &str, known: &[&str]) -> String {
        if self.is_full() { String::new() } else { near_or_all(name, known) }
    }

    /// How many complaints there are so far.
    pub(super) fn complaints(&self) -> usize {
        self.problems.borrow().len() + self.untold.get()
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner().in_order(self.file, self.untold.get())
    }
}

/// Something read, with the place it was read from.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl At<String> {
    /// Complains of an empty key, which no entry has.
    pub(super) fn check_key(&self, document: &Document<'_>) {
        if self.value.is_empty() {
            document.complain(&self.place, "no entry has an empty key; name one that Envoy sends");
        }
    }
}

/// A value in the document.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) value: &'a Value<'a>,
    pub(super) place: Place,
}

impl<'a> Node<'a> {
    pub(super) fn complain(&self, what: impl Into<String>) {
        self.document.complain(&self.place, what);
    }

    /// Complains of a value of another kind, with the cure if there is one.
    fn expected<T>(&self, what: &str, cure: &str) -> Option<T> {
        self.complain(format!("expected {what}, found {}{cure}", self.value.describe()));
        None
    }

    pub(super) fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place.clone() }
    }

    pub(super) fn text(&self) -> Option<At<String>> {
        let is_plain = matches!(self.value.kind, Kind::Whole(_) | Kind::Number(_) | Kind::Flag(_));
        self.text_of("text", if is_plain { "; put it in quotes" } else { "" })
    }

    /// Text of a form of its own, such as a duration.
    pub(super) fn text_of(&self, what: &str, cure: &str) -> Option<At<String>> {
        match self.value.as_str() {
            Some(text) => Some(self.at(text.to_owned())),
            None => self.expected(what, cure),
        }
    }

    /// The key of an entry.
    pub(super) fn entry_key(&self) -> Option<At<String>> {
        self.text().inspect(|key| key.check_key(self.document))
    }

    /// A whole number from 0 to 2^32 - 1.
    pub(super) fn whole(&self) -> Option<At<u32>> {
        let whole = match self.value.kind {
            Kind::Whole(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let cure = if self.value.is_string() { "; write digits only, without quotes" } else { "" };
        match whole {
            Some(number) => Some(self.at(number)),
            None => self.expected("a whole number from 1 to 4294967295", cure),
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
            let cure = if self.value.is_string() { "; put it in brackets, `[..]`" } else { "" };
            self.expected::<()>(what, cure);
            return Vec::new();
        };
        let node = |(at, value): (usize, &'a Value<'a>)| Node {
            value,
            place: self.place.index(at, value.position),
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
    pub(super) fn entries(&self, what: &str) -> Vec<(At<String>, Self)> {
        let entries = self.mapping(what).unwrap_or_default();
        entries.iter().filter_map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: &Value<'_>, value: &'a Value<'a>) -> Option<(At<String>, Self)> {
        let Some(name) = key.as_str() else {
            let (place, cure) = match key.word() {
                Some(word) => (self.place.key(&word, key.position), "; put it in quotes"),
                None => (self.place.clone().at(key.position), ""),
            };
            let what = format!("a name must be text, found {}{cure}", key.describe());
            self.document.complain(&place, what);
            return None;
        };
        let place = self.place.key(name, key.position);
        let node = Node { value, place: place.clone(), ..*self };
        Some((At { value: name.to_owned(), place }, node))
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
        // What is left stays in its order, in which it is told.
        Some(self.left.remove(at).1)
    }

    /// Complains of every key that nobody took.
    pub(super) fn finish(self) {
        for (key, node) in &self.left {
            let cure = node.document.near_or_all(&key.value, &self.known);
            node.complain(format!("unknown key `{}`{cure}", shown(&key.value)));
        }
    }
}
