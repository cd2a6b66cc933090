//! What is wrong with a configuration, and where.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// One step from a document's root towards a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from a document's root to a value: `tables[2].rows.free[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

impl Place {
    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// Line and column of the place in the text it was read from.
    fn locate(&self, text: &str) -> Option<(usize, usize)> {
        let walk = Walk(&self.0);
        let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        error.location().map(|location| (location.line(), location.column()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, step)| match step {
            Step::Key(key) if at == 0 => write!(f, "{}", key.escape_debug()),
            Step::Key(key) => write!(f, ".{}", key.escape_debug()),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

/// Reads a document along a place and stops there with an error, to which the parser adds the position:
/// a tree of values has none. Only done once something is wrong.
struct Walk<'p>(&'p [Step]);

const FOUND: &str = "found";

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(key), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        let wanted = WantedKey { key, is_last: rest.is_empty() };
        while let Some(is_it) = map.next_key_seed(&wanted)? {
            if is_it {
                return map.next_value_seed(Walk(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom(FOUND))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Index(index), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        for _ in 0..*index {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Walk(rest))?;
        Err(A::Error::custom(FOUND))
    }
}

struct WantedKey<'p> {
    key: &'p str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for &WantedKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for &WantedKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.key && self.is_last { Err(E::custom(FOUND)) } else { Ok(key == self.key) }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    file: String,
    position: Option<(usize, usize)>,
    place: String,
    what: String,
}

impl Problem {
    /// Something wrong with a file as a whole.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position: None, place: String::new(), what: what.into() }
    }

    /// Text that is no YAML, in the parser's words.
    pub(super) fn of_syntax(file: &str, error: &serde_yaml::Error) -> Self {
        let position = error.location().map(|location| (location.line(), location.column()));
        Self { file: file.to_owned(), position, place: String::new(), what: error.to_string() }
    }

    /// Something wrong at a place in a file.
    pub(super) fn at(file: &str, text: &str, place: &Place, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: place.locate(text),
            place: place.to_string(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        others.0.sort_by_key(|problem| problem.position);
        self.0.append(&mut others.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many things are wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// One problem a line: `file:line:column: place: what is wrong and what to do`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, problem)| {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// `; did you mean X?` where one of the known names is near, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "domain: d\ntables:\n  - name: one\n    rows:\n      free: [{ per_secnd: 1 }]\n";

    #[test]
    fn a_place_is_found_in_the_text_again() {
        let table = Place::default().key("tables").index(0);
        assert_eq!(table.locate(TEXT), Some((3, 5)));
        assert_eq!(table.key("rows").key("free").locate(TEXT), Some((5, 7)));
        let bucket = table.key("rows").key("free").index(0).key("per_secnd");
        assert_eq!(bucket.locate(TEXT), Some((5, 16)));
        assert_eq!(bucket.to_string(), "tables[0].rows.free[0].per_secnd");
    }

    #[test]
    fn a_place_that_is_not_there_is_told_as_where_it_would_be() {
        assert!(Place::default().key("tables").index(0).key("key").locate(TEXT).is_some());
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["per_second", "per_minute", "size"];
        assert_eq!(did_you_mean("per_secnd", known), "; did you mean `per_second`?");
        assert_eq!(did_you_mean("burst", known), "");
        assert_eq!(did_you_mean("siez", known), "; did you mean `size`?");
    }
}
