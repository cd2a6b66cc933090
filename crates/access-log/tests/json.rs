//! JSON, against serde_json: a line that it reads has the same fields here.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a failure is a panic")]

mod support;

use access_log::Format;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};
use support::{fields, read, reader_of};

/// Few keys, so that they come again in other places, with dots in them, too.
fn key() -> impl Strategy<Value = String> {
    select(&["a", "b", "c", "a.b", "b.c", "", "ä\"\\", "time"][..]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-c/ \\\\\"\u{e9}\u{1f600}\n]{0,8}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..5).prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    vec((key(), value()), 0..6).prop_map(|members| {
        let mut object = Map::from_iter(members);
        object.insert("time".to_owned(), 1.into());
        object
    })
}

/// The fields of an object by their whole names, sorted. None for one with a name twice, of which one counts.
fn expected(object: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    fn add(prefix: &str, object: &Map<String, Value>, to: &mut Vec<(String, String)>) {
        for (key, value) in object {
            let name = format!("{prefix}{key}");
            match value {
                Value::Object(inner) => add(&format!("{name}."), inner, to),
                value => to.extend(text(value).map(|text| (name, text))),
            }
        }
    }
    let mut fields = vec![];
    add("", object, &mut fields);
    fields.sort();
    let is_twice = fields.windows(2).any(|two| matches!(two, [one, other] if one.0 == other.0));
    (!is_twice).then_some(fields)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(elements) => {
            let is_list =
                elements.iter().all(|element| !element.is_array() && !element.is_object());
            let texts: Vec<_> = elements.iter().filter_map(text).collect();
            Some(if is_list { texts.join(", ") } else { value.to_string() })
        }
        value => Some(value.to_string()),
    }
}

fn sorted_fields(line: &[u8]) -> Vec<(String, String)> {
    let mut fields = fields(&mut reader_of(Format::Json, &[]), line).unwrap();
    fields.sort();
    fields
}

/// The same object with a space at each place where there may be one, and with every character of strings escaped.
fn spaced(line: &str) -> String {
    let (mut spaced, mut is_string, mut is_escape) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' if !is_escape => {
                is_string = !is_string;
                spaced.push('"');
            }
            ',' | ':' | '{' | '}' | '[' | ']' if !is_string => {
                spaced.extend([' ', c, '\t']);
            }
            c if is_string && !is_escape && c != '\\' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    spaced.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => spaced.push(c),
        }
        is_escape = c == '\\' && !is_escape;
    }
    spaced
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn an_object_has_the_fields_that_serde_json_finds(object in object()) {
        let line = Value::Object(object.clone()).to_string();
        // A general name would come once more.
        if let Some(expected) = expected(&object) {
            prop_assert_eq!(sorted_fields(line.as_bytes()), expected, "{}", line);
        }
    }

    /// Wanted fields, with a reader that has read other objects before.
    #[test]
    fn wanted_fields_are_those_that_serde_json_finds(objects in vec(object(), 1..6)) {
        let wanted = ["a", "b", "a.b", "b.c", "a.b.c", "c.a", "a.a.b", "ä\"\\"];
        let mut reader = reader_of(Format::Json, &wanted);
        for object in objects {
            let Some(all) = expected(&object) else { continue };
            let find = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
            let expected = wanted.iter().map(|name| find(name).filter(|text| !text.is_empty()).unwrap_or("-"));
            let expected: Vec<_> = expected.collect();
            let line = Value::Object(object.clone()).to_string();
            for line in [&line, &spaced(&line)] {
                // With an array of arrays or objects, the text is that of the line.
                if line.contains('[') && line.contains("\\u") {
                    continue;
                }
                let told = read(&mut reader, line.as_bytes()).unwrap();
                prop_assert_eq!(told[0].values(), &expected[..], "{}", line);
            }
        }
    }

    /// A line without escapes is read exactly if serde_json reads it: no bracket, comma or number is overlooked, be it
    /// where something is wanted or not.
    #[test]
    fn a_broken_object_is_refused_as_serde_json_refuses_it(
        object in plain(), at in any::<Index>(), insert in "[]{},:0-9.eE+\\-a\" ]{0,3}", remove in 0_usize..3,
    ) {
        let mut line = object.to_string();
        let at = at.index(line.len() + 1);
        line.replace_range(at..(at + remove).min(line.len()), &insert);
        let json = serde_json::from_str::<Map<String, Value>>(&line);
        let mut reader = reader_of(Format::Json, &[]);
        let read = reader.read(line.as_bytes(), &mut |_| {}).map_err(|error| error.to_string());
        let all = reader.fields(line.as_bytes(), &mut |_, _| {}).map_err(|error| error.to_string());
        prop_assert_eq!(read.is_ok(), all.is_ok(), "{:?} {:?} {}", read, all, line);
        match json {
            // The change may have been one of the time.
            Ok(_) => prop_assert!(read.is_ok() || read.is_err_and(|text| text.contains("time")), "{line}"),
            // A number that no f64 holds is a text here.
            Err(error) => prop_assert!(read.is_err() || error.to_string().contains("out of range"), "{error}: {line}"),
        }
    }
}

/// An object of objects, arrays, numbers and words.
fn plain() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c {}:,]{0,4}".prop_map(Value::from),
    ];
    let inner = scalar.prop_recursive(3, 12, 4, |inner| {
        let members = vec((select(&["url", "http", "server", "x"][..]), inner.clone()), 0..4);
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), members.prop_map(Value::from_iter)]
    });
    vec((select(&["request", "http", "url", "x"][..]), inner), 1..5).prop_map(|members| {
        let time = ("time", Value::from(1));
        Value::from_iter(std::iter::once(time).chain(members))
    })
}
