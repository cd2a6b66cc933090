//! Where something stands in a document, and on which line that is.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// One step from a document's root towards a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A key, of which as many of the same are passed over: more than none only where that is the error.
    Key(String, usize),
    Index(usize),
}

/// The way from a document's root to a value: `tables[2].rows.free[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

impl Place {
    pub(super) fn key(&self, key: &str) -> Self {
        self.again(key, 0)
    }

    /// A key that stands `before` times before in the same mapping.
    pub(super) fn again(&self, key: &str, before: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned(), before));
        Self(steps)
    }

    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// Line and column of the place in the text it was read from.
    pub(super) fn locate(&self, text: &str) -> Option<Position> {
        self.locate_in(serde_yaml::Deserializer::from_str(text))
    }

    pub(super) fn locate_in(&self, document: serde_yaml::Deserializer<'_>) -> Option<Position> {
        position(&Walk(&self.0).deserialize(document).err()?)
    }
}

/// Line and column, both from 1.
pub(super) type Position = (usize, usize);

pub(super) fn position(error: &serde_yaml::Error) -> Option<Position> {
    error.location().map(|location| (location.line(), location.column()))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, step)| match step {
            Step::Key(key, _) if at == 0 => write!(f, "{}", key.escape_debug()),
            Step::Key(key, _) => write!(f, ".{}", key.escape_debug()),
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
        let Some((Step::Key(key, before), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        let mut before = *before;
        let wanted = |before| WantedKey { key, is_last: rest.is_empty() && before == 0 };
        while let Some(is_it) = map.next_key_seed(wanted(before))? {
            if is_it && before == 0 {
                return map.next_value_seed(Walk(rest));
            }
            before -= usize::from(is_it);
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

impl<'de> DeserializeSeed<'de> for WantedKey<'_> {
    type Value = bool;

    /// Any word is taken as text: a key that is a number is a mistake, but has a place all the same.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for WantedKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.key && self.is_last { Err(E::custom(FOUND)) } else { Ok(key == self.key) }
    }
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
}
