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
#[path = "../support/mod.rs"]
mod support;
mod text;
mod tollgate;
mod wrapped;

use access_log::{Format, Reader, TimeFields};
use support::{Told, reader_of};

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The records of these lines, of which none has an error.
fn read(format: Format, wanted: &[&str], lines: &[&str]) -> Vec<Told> {
    read_with(format, &TimeFields::default(), wanted, lines)
}

fn read_with(format: Format, times: &TimeFields, wanted: &[&str], lines: &[&str]) -> Vec<Told> {
    let mut reader = Reader::new(format, &strings(wanted), times).unwrap();
    let mut read = |line: &&str| {
        let told = support::read(&mut reader, line.as_bytes());
        told.unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    lines.iter().flat_map(&mut read).collect()
}

/// The only record of these lines.
fn only(format: Format, wanted: &[&str], lines: &[&str]) -> Told {
    let mut told = read(format, wanted, lines);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

/// What is wrong with the last of these lines.
fn error(format: Format, lines: &[&str]) -> String {
    let mut reader = reader_of(format, &[]);
    let (last, before) = lines.split_last().unwrap();
    for line in before {
        support::read(&mut reader, line.as_bytes()).unwrap();
    }
    support::read(&mut reader, last.as_bytes()).unwrap_err().to_string()
}

/// All fields of the last line, as `name=value`.
fn fields(format: Format, lines: &[&str]) -> Vec<String> {
    let mut reader = reader_of(format, &[]);
    let mut fields = vec![];
    for line in lines {
        fields = support::fields(&mut reader, line.as_bytes()).unwrap();
    }
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// 2024-05-17 10:05:03 UTC, which most lines here have.
const SECOND: u64 = 1_715_940_303_000_000_000;
const MS: u64 = 1_000_000;
