//! Values without a schema, as a configuration has them for the answers: those of `google.protobuf.Struct`.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Box<str>),
    /// Values in order.
    List(Box<[Value]>),
    /// Values by key.
    Map(Map),
}

/// Values by key, sorted, no key twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(pub Box<[(Box<str>, Value)]>);

impl Map {
    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Box<str>, Value)> for Map {
    /// Of several values with one key, the first is kept.
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(fields: I) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields.dedup_by(|(later, _), (first, _)| later == first);
        Self(fields.into())
    }
}

/// One map of several: key by key, the first that has a key keeps its value, except that maps under one key are merged in
/// the same way.
pub fn merged(maps: &[&Map]) -> Map {
    let mut keys: Vec<&str> = maps.iter().flat_map(|map| &map.0).map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    keys.dedup();
    let field = |key: &str| {
        let mut values = maps.iter().filter_map(|map| value(map, key));
        let first = values.next()?;
        let Value::Map(first) = first else { return Some((key.into(), first.clone())) };
        let others = values.filter_map(|value| match value {
            Value::Map(map) => Some(map),
            _ => None,
        });
        let maps: Vec<&Map> = [first].into_iter().chain(others).collect();
        Some((key.into(), Value::Map(merged(&maps))))
    };
    Map(keys.into_iter().filter_map(field).collect())
}

fn value<'a>(map: &'a Map, key: &str) -> Option<&'a Value> {
    let at = map.0.binary_search_by(|(of, _)| (**of).cmp(key)).ok()?;
    map.0.get(at).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Map {
        fields.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }

    #[test]
    fn the_first_value_of_a_key_is_kept_and_maps_are_merged_key_by_key() {
        let tier = |name: &str| Value::Map(map([("tier", Value::Text(name.into()))]));
        let first = map([("b", Value::Number(1.0)), ("a", tier("gold"))]);
        let other = Value::Map(map([("tier", Value::Text("tin".into())), ("of", Value::Null)]));
        let second = map([("a", other), ("b", tier("tin")), ("c", Value::Bool(true))]);
        let both = Value::Map(map([("tier", Value::Text("gold".into())), ("of", Value::Null)]));
        let expected = map([("a", both), ("b", Value::Number(1.0)), ("c", Value::Bool(true))]);
        assert_eq!(merged(&[&first, &second]), expected);
        assert_eq!(merged(&[&first]), first);
        assert!(merged(&[]).is_empty());
    }

    #[test]
    fn a_map_is_sorted_and_has_no_key_twice() {
        let twice = map([("b", Value::Null), ("a", Value::Null), ("b", Value::Bool(true))]);
        assert_eq!(twice, map([("a", Value::Null), ("b", Value::Null)]));
    }
}
