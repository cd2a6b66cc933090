//! tollgate's log, of which the lines about denials are read: text, and JSON with either set of names.
//!
//! Fields are `domain`, `table`, `row`, `wait`, `left_out`, `shadow`, and each entry of `values` under its own name.
//! All texts of the log are escaped for people; here they are as the client sent them, as far as the log has them.

use crate::error::LineError;
use crate::json::JsonReader;
use crate::named::Names;
use crate::names::{self, Alias};
use crate::record::{Asked, Record, When};
use crate::request::Part;
use crate::time::Time;
use crate::unescape::{Form, Raw};

/// What a line about a denial has, in this order.
const FIELDS: [&str; 7] = ["domain", "table", "row", "values", "wait", "left_out", "shadow"];

/// The position of `values`, the entries of the descriptor.
const VALUES: usize = 3;

/// The values of [`FIELDS`].
type Values<'v> = [Option<&'v [u8]>; 7];

/// Reads lines of tollgate's log.
#[derive(Debug, Clone)]
pub(crate) struct TollgateReader {
    names: Names,
    json: JsonReader,
    /// Values of text without their quotes and what these needed.
    buffer: Vec<u8>,
}

impl TollgateReader {
    pub(crate) fn new(asked: &Asked) -> Self {
        let json = JsonReader::with_names(Names::new(&in_json(asked)));
        Self { names: Names::new(asked), json, buffer: vec![] }
    }

    pub(crate) fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        let names = &self.names;
        with_denial(line, &mut self.json, &mut self.buffer, &mut |time, values| {
            let mut gathered = names.gather();
            each_field(values, &mut |name, raw| gathered.put(names.uses(name), raw));
            let when = When { time, is_end: false, duration: None };
            names.emit(when, &gathered, scratch, each);
        })
    }

    /// Every field of a denial by its name.
    pub(crate) fn fields(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        with_denial(line, &mut self.json, &mut self.buffer, &mut |_, values| {
            each_field(values, &mut |name, raw| {
                each(&String::from_utf8_lossy(name), &raw.value());
            });
        })
    }
}

/// What is asked of a line in JSON: the message, and [`FIELDS`].
fn in_json(asked: &Asked) -> Asked {
    let alias = |name: String| Alias { name: name.into(), part: Part::Whole };
    let aliases =
        |name: &str, logrus: &str| vec![alias(format!("fields.{name}")), alias(logrus.to_owned())];
    let message = std::iter::once(aliases("message", "@message"));
    let fields = message.chain(FIELDS.iter().map(|name| aliases(name, name))).collect();
    Asked { fields, times: names::times(None, Some(false)), durations: vec![], ..asked.clone() }
}

fn is_denial(message: &[u8]) -> bool {
    message.starts_with(b"denied") || message.starts_with(b"would be denied")
}

/// Calls `with` if the line tells of a denial.
fn with_denial(
    line: &[u8],
    json: &mut JsonReader,
    buffer: &mut Vec<u8>,
    with: &mut dyn FnMut(Time, Values<'_>),
) -> Result<(), LineError> {
    if line.first() != Some(&b'{') {
        return with_text(line, buffer, with);
    }
    json.read(line, buffer, &mut |record| {
        if let [Some(message), values @ ..] = record.values
            && is_denial(message)
            && let Ok(values @ [Some(_domain), ..]) = Values::try_from(values)
        {
            with(Time { nanos: record.start, is_whole_second: record.is_whole_second }, values);
        }
    })
}

/// `TIME LEVEL MESSAGE NAME=VALUE...`, where a text stands in quotes.
fn with_text(
    line: &[u8],
    buffer: &mut Vec<u8>,
    with: &mut dyn FnMut(Time, Values<'_>),
) -> Result<(), LineError> {
    let (time, rest) = word(line);
    let no_time = || LineError::new(0, "a time, a level and a message, or a JSON object");
    let time = Time::read(time).ok_or_else(no_time)?;
    let (_level, message) = word(rest.trim_ascii_start());
    let message = message.trim_ascii_start();
    if !is_denial(message) {
        return Ok(());
    }
    buffer.clear();
    let mut places: [Option<(usize, usize)>; 7] = [None; 7];
    let start = line.len().saturating_sub(message.len());
    let no_domain = || LineError::new(start, "a message with `domain=` and more behind it");
    let mut rest =
        message.split_at(memchr::memmem::find(message, b"domain=").ok_or_else(no_domain)?).1;
    while !rest.is_empty() {
        let expected = |rest: &[u8]| {
            let at = line.len().saturating_sub(rest.len());
            LineError::new(at, "a name, `=`, and a value, which is a number or a text in quotes")
        };
        let at = memchr::memchr(b'=', rest).ok_or_else(|| expected(rest))?;
        let (name, value) = rest.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        let start = buffer.len();
        rest = take_value(value, buffer).ok_or_else(|| expected(value))?.trim_ascii_start();
        if let Some(at) = FIELDS.iter().position(|field| field.as_bytes() == name)
            && let Some(place) = places.get_mut(at)
        {
            *place = Some((start, buffer.len()));
        }
    }
    with(time, places.map(|place| place.and_then(|(start, end)| buffer.get(start..end))));
    Ok(())
}

/// The text up to the next space, and from there on.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()))
}

/// Appends a value without quotes, and returns what is behind it.
fn take_value<'t>(text: &'t [u8], to: &mut Vec<u8>) -> Option<&'t [u8]> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (value, rest) = word(text);
        to.extend_from_slice(value);
        return Some(rest);
    };
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', quoted.get(at..)?)?;
        if quoted.get(at) == Some(&b'"') {
            let (bytes, rest) = quoted.split_at(at);
            Raw { bytes, form: Form::Debug }.append_to(to);
            return rest.get(1..);
        }
        at += 2;
    }
}

/// Hands over the fields of a denial: those of the bucket, and the entries.
fn each_field<'v>(values: Values<'v>, each: &mut dyn FnMut(&[u8], Raw<'v>)) {
    let raw = |bytes| Raw { bytes, form: Form::Debug };
    for (name, value) in FIELDS.iter().zip(values) {
        if let Some(value) = value.filter(|_| *name != "values") {
            each(name.as_bytes(), raw(value));
        }
    }
    let mut rest = values.get(VALUES).copied().flatten().unwrap_or_default();
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (name, value) = rest.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        let (value, others) = value.split_at(end_of_entry(value));
        each(name, raw(value));
        rest = others.get(1..).unwrap_or_default();
    }
}

/// Where an entry ends: before the last space in front of an `=`. A value may have spaces and `=`; one that has
/// ` name=` cannot be told from two entries.
fn end_of_entry(value: &[u8]) -> usize {
    let mut from = 0;
    for at in memchr::memchr_iter(b'=', value) {
        let text = value.get(from..at).unwrap_or_default();
        if let Some(space) = memchr::memrchr(b' ', text) {
            return from + space;
        }
        from = at;
    }
    value.len()
}
