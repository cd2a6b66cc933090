//! Reading a tree of YAML values with every complaint kept, instead of stopping at the first.

use std::cell::RefCell;

use serde_yaml::{Mapping, Value};

use super::place::Place;
use super::problem::{Problem, Problems, near_or_all};
use super::tree::key_text;

/// How many complaints about one file get their line: to find a place again takes another parse.
const MOST_LOCATED: usize = 200;

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

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn complain(&self, place: &Place, what: impl Into<String>) {
        let text = (self.complaints() < MOST_LOCATED).then_some(self.text);
        self.push(Problem::of(self.file, text, place, what));
    }

    pub(super) fn complain_of_syntax(&self, error: &serde_yaml::Error) {
        self.push(Problem::of_syntax(self.file, self.text, error));
    }

    /// Complains of a second document, which a line of `---` begins.
    pub(super) fn complain_of_another(&self, document: serde_yaml::Deserializer<'_>) {
        let position = Place::default().locate_in(document);
        let what = "another document begins here; one file, one domain";
        self.push(Problem::at(self.file, position, what));
    }

    fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// How many complaints there are so far.
    pub(super) fn complaints(&self) -> usize {
        self.problems.borrow().len()
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
    pub(super) value: &'a Value,
    pub(super) place: Place,
}

impl<'a> Node<'a> {
    pub(super) fn complain(&self, what: impl Into<String>) {
        self.document.complain(&self.place, what);
    }

    /// Complains of a value of another kind, with the cure if there is one.
    fn expected<T>(&self, what: &str, cure: &str) -> Option<T> {
        self.complain(format!("expected {what}, found {}{cure}", kind(self.value)));
        None
    }

    pub(super) fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place.clone() }
    }

    pub(super) fn text(&self) -> Option<At<String>> {
        let is_plain = matches!(self.value, Value::Number(_) | Value::Bool(_));
        self.text_of("text", if is_plain { "; put it in quotes" } else { "" })
    }

    /// Text of a form of its own, such as a duration.
    pub(super) fn text_of(&self, what: &str, cure: &str) -> Option<At<String>> {
        match self.value {
            Value::String(text) => Some(self.at(text.clone())),
            _ => self.expected(what, cure),
        }
    }

    /// The key of an entry.
    pub(super) fn entry_key(&self) -> Option<At<String>> {
        self.text().inspect(|key| key.check_key(self.document))
    }

    /// A whole number from 0 to 2^32 - 1.
    pub(super) fn whole(&self) -> Option<At<u32>> {
        let whole = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        let cure = if self.value.is_string() { "; write digits only, without quotes" } else { "" };
        match whole {
            Some(number) => Some(self.at(number)),
            None => self.expected("a whole number from 1 to 4294967295", cure),
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            _ => self.expected("true or false", ""),
        }
    }

    pub(super) fn list(&self, what: &str) -> Vec<Self> {
        let Value::Sequence(items) = self.value else {
            let cure = if self.value.is_string() { "; put it in brackets, `[..]`" } else { "" };
            self.expected::<()>(what, cure);
            return Vec::new();
        };
        let nodes = items.iter().enumerate();
        nodes.map(|(at, value)| Node { value, place: self.place.index(at), ..*self }).collect()
    }

    fn mapping(&self, what: &str) -> Option<&'a Mapping> {
        match self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => self.expected(what, ""),
        }
    }

    /// The entries of a mapping whose keys are the user's own names.
    pub(super) fn entries(&self, what: &str) -> Vec<(At<String>, Self)> {
        let mapping = self.mapping(what);
        mapping.into_iter().flatten().filter_map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: &Value, value: &'a Value) -> Option<(At<String>, Self)> {
        let Value::String(name) = key else {
            let (place, cure) = match key_text(key) {
                Some(text) => (self.place.key(&text), "; put it in quotes"),
                None => (self.place.clone(), ""),
            };
            let what = format!("a name must be text, found {}{cure}", kind(key));
            self.document.complain(&place, what);
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
            let cure = near_or_all(&key.value, &self.known);
            node.complain(format!("unknown key `{}`{cure}", key.value.escape_debug()));
        }
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "text".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Tagged(tagged) => format!("the tag {}", tagged.tag),
    }
}
