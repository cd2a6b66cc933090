//! What mappings make of lines.

mod counts;
mod pairs;
mod requests;
mod sources;

use std::collections::HashMap;
use std::io::{self, ErrorKind};

use super::*;
use crate::descriptor::Query;
use crate::mapping::{LineError, Mapped, Requests, Scratch};
use crate::text::decode;

/// The files of look-up tables.
const TABLES: [(&str, &str); 3] = [
    (
        "maps/tiers.csv",
        "tenant,tenant_type\nacme,enterprise\n\"a,b\",trial\nzoë,free\nacme,enterprise\n",
    ),
    ("maps/tiers.tsv", "acme\tstartup\n"),
    ("maps/tiers.yaml", "acme: paid\n'42': trial\n"),
];

fn read_table(path: &Path) -> io::Result<String> {
    let found = TABLES.iter().find(|(known, _)| Path::new(known) == path);
    found.map(|(_, text)| (*text).to_owned()).ok_or(ErrorKind::NotFound.into())
}

fn compile_with(text: &str, pairs: &[[&str; 2]]) -> Result<Mapping, Problems> {
    let source = Source { name: "map.yaml".into(), text: text.into() };
    compile(&source, &owned(pairs), Path::new("maps"), &read_table)
}

fn owned(pairs: &[[&str; 2]]) -> Vec<Pair> {
    pairs.iter().map(|[key, text]| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn mapping(text: &str) -> Mapping {
    compile_with(text, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The fields of a line and their values.
type Line<'a> = &'a [(&'a str, &'a [u8])];

/// The query of a line, as `key=value` with a blank between entries, a bar between descriptors, and hits other than 1.
fn query(mapping: &Mapping, line: Line<'_>, scratch: &mut Scratch) -> Result<String, LineError> {
    let of: HashMap<&str, &[u8]> = line.iter().copied().collect();
    let values: Vec<_> = mapping.fields().iter().map(|name| of.get(&**name).copied()).collect();
    let mut requests = Requests::default();
    let mapped = mapping.read(&values, scratch, &mut requests)?;
    Ok(match mapped {
        Mapped::Request => told(mapping, &requests, 0),
        Mapped::Skipped => "skipped".to_owned(),
        Mapped::NoDescriptor => "none".to_owned(),
    })
}

/// The query of the request with this number.
fn told(mapping: &Mapping, requests: &Requests, number: usize) -> String {
    let mut query = Query::default();
    requests.query(number, mapping, "d", &mut query).unwrap();
    let told = query.descriptors().map(|descriptor| {
        let entries = descriptor.entries().iter();
        let mut words: Vec<_> =
            entries.map(|of| format!("{}={}", of.key.as_str(), decode(of.value))).collect();
        let hits = descriptor.hits().charged();
        words.extend((hits != 1).then(|| format!("*{hits}")));
        words.join(" ")
    });
    told.collect::<Vec<_>>().join(" | ")
}

fn of(text: &str, line: Line<'_>) -> String {
    let mapping = mapping(text);
    query(&mapping, line, &mut mapping.scratch()).unwrap()
}

/// The value that a source makes of the field `f`; `-` for none.
fn value(source: &str, field: &[u8]) -> String {
    let told = of(&format!("descriptor: {{ a: 1x, e: {source} }}"), &[("f", field)]);
    told.strip_prefix("a=1x").unwrap().strip_prefix(" e=").unwrap_or("-").to_owned()
}
