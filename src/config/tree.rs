//! From text to a tree of values. What a tree has no room for is told with its place, and the rest of the
//! text is read all the same: a key that stands twice, a number beyond 64 bits, a second document.

use std::fmt;

use hashbrown::HashMap;
use serde::de::value::EnumAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor,
};
use serde_yaml::{Mapping, Value};

use super::place::Place;
use super::read::Document;

/// The key under which YAML merges other mappings into one.
const MERGE: &str = "<<";

/// The tree of a document; `None` where its text is no YAML.
pub(super) fn tree(document: &Document<'_>) -> Option<Value> {
    let mut documents = serde_yaml::Deserializer::from_str(document.text());
    let grow = Grow { document, place: Place::default() };
    let grown = documents.next().map_or(Ok(Value::Null), |first| grow.deserialize(first));
    let grown = grown.and_then(|mut tree| tree.apply_merge().map(|()| tree));
    if grown.is_ok()
        && let Some(second) = documents.next()
    {
        document.complain_of_another(second);
    }
    grown.map_err(|error| document.complain_of_syntax(&error)).ok()
}

/// Reads one value, which stands at `place`.
struct Grow<'a, 'd> {
    document: &'a Document<'d>,
    place: Place,
}

impl Grow<'_, '_> {
    fn at(&self, place: Place) -> Self {
        Self { document: self.document, place }
    }

    /// Adds a key and its value, unless that would hide another, or merge what is no mapping.
    fn add(&self, mapping: &mut Mapping, key: Value, value: Value, place: &Place) {
        if mapping.contains_key(&key) {
            let what = "this key is here already; keep one of the two";
            self.document.complain(place, what);
        } else if key == MERGE && !is_mergeable(&value) {
            let what = "`<<` takes in a mapping, or a list of them, as in `<<: *other`";
            self.document.complain(place, what);
        } else {
            mapping.insert(key, value);
        }
    }
}

/// A key as it is written in the text, where it is a single word.
pub(super) fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn is_mergeable(value: &Value) -> bool {
    match value {
        Value::Sequence(items) => items.iter().all(Value::is_mapping),
        other => other.is_mapping(),
    }
}

impl<'de> DeserializeSeed<'de> for Grow<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Grow<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    /// Nothing in a policy is so large, so that it need not be exact.
    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    /// A tagged value. No tag means anything here, so what is within need not be read with care.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        Value::deserialize(EnumAccessDeserializer::new(tagged))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.at(self.place.index(items.len())))? {
            items.push(item);
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut mapping = Mapping::new();
        let mut counts: HashMap<Value, usize> = HashMap::new();
        while let Some(key) = map.next_key::<Value>()? {
            let count = counts.entry(key.clone()).or_default();
            let place = self.place.again(&key_text(&key).unwrap_or_default(), *count);
            *count += 1;
            let value = map.next_value_seed(self.at(place.clone()))?;
            self.add(&mut mapping, key, value, &place);
        }
        Ok(Value::Mapping(mapping))
    }
}
