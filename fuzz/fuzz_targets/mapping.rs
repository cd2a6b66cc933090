//! A mapping's text and lines: it is refused with a reason that says where, or the lines become requests.
#![no_main]

use std::io::{self, ErrorKind};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tollgate::config::{Source, mapping};
use tollgate::descriptor::{MAX_ENTRIES, Query};
use tollgate::mapping::{Mapped, Mapping, Requests};
use tollgate_fuzz::parts::source;
use tollgate_fuzz::told;

const FILE: &str = "mapping.yaml";

// The mapping, then, behind a byte 0 each, a look-up table and lines. A line has the values of the fields, which are
// separated by line feeds; `-` is a field that it does not have.
fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|byte| *byte == 0);
    let Some(text) = parts.next().and_then(|text| std::str::from_utf8(text).ok()) else { return };
    let table = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    match compile(&source(FILE, text), &table) {
        Ok(mapping) => parts.for_each(|line| read(&mapping, line)),
        Err(problems) => {
            let is_of_table = |line: &str| line.starts_with("table.");
            let of_mapping: Vec<_> =
                problems.lines().into_iter().filter(|line| !is_of_table(line)).collect();
            assert!(!of_mapping.is_empty(), "only a table is told of: {problems}");
            assert!(of_mapping[0].starts_with(&format!("{FILE}:")), "which file? {problems}");
            told::check_text(&problems.to_string());
        }
    }
});

fn compile(source: &Source, table: &str) -> Result<Mapping, tollgate::config::Problems> {
    mapping::compile(source, &[], Path::new(""), &|path: &Path| -> io::Result<String> {
        match path.to_str() {
            Some("table.csv" | "table.tsv" | "table.yaml") => Ok(table.to_owned()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    })
}

/// The same line makes the same request each time, with entries that have keys, whatever it has.
fn read(mapping: &Mapping, line: &[u8]) {
    let mut fields = line.split(|byte| *byte == b'\n');
    let values: Vec<_> =
        mapping.fields().iter().map(|_| fields.next().filter(|value| *value != b"-")).collect();
    let mut scratch = mapping.scratch();
    let first = request(mapping, &values, &mut scratch);
    let again = request(mapping, &values, &mut scratch);
    assert_eq!(first, again);
    assert_eq!(scratch.counts().lines(), 2);
    let is_seen = |count: &u64| *count == 0 || *count == 2;
    assert!(scratch.counts().fields().iter().all(is_seen));
    mapping.unseen(scratch.counts());
    mapping.entry_counts(scratch.counts());
}

/// The entries and hits of each descriptor.
type Request = Vec<(Vec<(String, Vec<u8>)>, u64)>;

fn request(
    mapping: &Mapping,
    values: &[Option<&[u8]>],
    scratch: &mut tollgate::mapping::Scratch,
) -> Result<(Mapped, Request), String> {
    let mut requests = Requests::default();
    let mapped = mapping.read(values, scratch, &mut requests);
    let mapped = mapped.map_err(|error| {
        let told = error.to_string();
        assert!(!told.contains(char::is_control), "{told:?}");
        told
    })?;
    if mapped != Mapped::Request {
        return Ok((mapped, Vec::new()));
    }
    let mut query = Query::default();
    assert!(requests.query(0, mapping, "d", &mut query).is_ok());
    assert_eq!(query.check(), Ok(()));
    let descriptors = query.descriptors().map(|descriptor| {
        let entries = descriptor.entries().iter();
        let entries: Vec<_> =
            entries.map(|entry| (entry.key.as_str().to_owned(), entry.value.to_vec())).collect();
        assert!((1..=MAX_ENTRIES).contains(&entries.len()));
        (entries, descriptor.hits().charged())
    });
    Ok((mapped, descriptors.collect()))
}
