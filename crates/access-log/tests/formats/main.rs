//! Golden lines of each format, written after the documentation of what writes them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod detection;
mod envoy;
mod json;
mod json_servers;
mod load_balancers;
mod otel;
mod separated;
mod text;
mod tollgate;

use access_log::{Format, Reader, TimeFields};

/// A record, with values as texts.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    start: u64,
    is_whole_second: bool,
    duration: Option<u64>,
    values: Vec<Option<String>>,
}

impl Told {
    /// Values, where `-` stands for none.
    fn values(&self) -> Vec<&str> {
        self.values.iter().map(|value| value.as_deref().unwrap_or("-")).collect()
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The records of these lines, of which none has an error.
fn read(format: Format, wanted: &[&str], lines: &[&str]) -> Vec<Told> {
    read_with(format, &TimeFields::default(), wanted, lines)
}

fn read_with(format: Format, times: &TimeFields, wanted: &[&str], lines: &[&str]) -> Vec<Told> {
    let mut reader = Reader::new(format, &strings(wanted), times).unwrap();
    let mut told = vec![];
    for line in lines {
        let result = reader.read(line.as_bytes(), &mut |record| {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            told.push(Told {
                start: record.start,
                is_whole_second: record.is_whole_second,
                duration: record.duration,
                values: record.values.iter().map(|value| value.map(text)).collect(),
            });
        });
        result.unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    told
}

/// The only record of these lines.
fn only(format: Format, wanted: &[&str], lines: &[&str]) -> Told {
    let mut told = read(format, wanted, lines);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

/// What is wrong with the last of these lines.
fn error(format: Format, lines: &[&str]) -> String {
    let mut reader = Reader::new(format, &[], &TimeFields::default()).unwrap();
    let (last, before) = lines.split_last().unwrap();
    for line in before {
        reader.read(line.as_bytes(), &mut |_| {}).unwrap();
    }
    reader.read(last.as_bytes(), &mut |_| {}).unwrap_err().to_string()
}

/// All fields of the last line, as `name=value`.
fn fields(format: Format, lines: &[&str]) -> Vec<String> {
    let mut reader = Reader::new(format, &[], &TimeFields::default()).unwrap();
    let mut fields = vec![];
    for line in lines {
        fields.clear();
        let mut note = |name: &str, value: &[u8]| {
            fields.push(format!("{name}={}", String::from_utf8_lossy(value)));
        };
        reader.fields(line.as_bytes(), &mut note).unwrap();
    }
    fields
}

/// 2024-05-17 10:05:03 UTC, which most lines here have.
const SECOND: u64 = 1_715_940_303_000_000_000;
const MS: u64 = 1_000_000;
