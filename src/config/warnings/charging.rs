//! Tables that are charged after a response, and that no request asks before.

use super::super::document::{Document, Located};
use super::super::path::shown;
use super::super::schema::{Bucket, Buckets, ChargeWhen, File, Row, Table, Test};

/// Entries that an Envoy can make only of a response, by the names of its access log's operators.
const OF_RESPONSES: [&str; 7] = [
    "grpc_status",
    "grpc_status_number",
    "response_code",
    "response_code_class",
    "response_code_details",
    "response_flags",
    "status_code",
];

/// Warns of tables that are always charged and cannot deny the requests whose responses they charge: a request that asks
/// lacks an entry that they need, or meets the buckets of another table with the same limits.
pub(super) fn warn(file: &File, document: &Document<'_>) {
    for table in file.tables.iter().filter(|table| is_always_charged(table)) {
        if let Some(Located { value, path }) = entry_of_responses(table) {
            let what = format!(
                "`{}` is known when a response has ended: a request that asks whether something is left does \
                 not have it, and is never denied by this table; leave it out, so that both send the same \
                 entries",
                shown(value)
            );
            document.warn(path, what);
        }
        let asked = file.tables.iter().find_map(|other| Some((other, split_by(table, other)?)));
        if let Some((other, Located { value, path })) = asked {
            let other = other.name.as_ref().map_or("", |name| &name.value);
            let what = format!(
                "requests with another `{}` ask the table `{}`, whose buckets are others than those that are \
                 charged here; ask and charge in one table",
                shown(value),
                shown(other)
            );
            document.warn(path, what);
        }
    }
}

fn is_always_charged(table: &Table) -> bool {
    let is_always = |charge: &Option<Located<ChargeWhen>>| matches!(charge, Some(of) if of.value == ChargeWhen::Always);
    let rows = || table.rows.iter();
    is_always(&table.charging.charge) || rows().any(|row| is_always(&row.charging.charge))
}

fn entry_of_responses(table: &Table) -> Option<&Located<String>> {
    let when = table.when.tests.iter().filter(|(_, test)| !matches!(test, Test::Absent));
    let key = table.key.iter().flatten();
    let mut entries = when.map(|(entry, _)| entry).chain(&table.select).chain(key);
    entries.find(|entry| {
        let name = entry.value.to_ascii_lowercase();
        OF_RESPONSES.contains(&name.trim_start_matches(':'))
    })
}

/// The entry by whose value alone requests meet one or the other of two tables with the same key and the same limits, of
/// which only the first is always charged.
fn split_by<'t>(table: &'t Table, other: &Table) -> Option<&'t Located<String>> {
    let entries = |table: &Table| -> Vec<String> {
        table.key.iter().flatten().map(|entry| entry.value.clone()).collect()
    };
    let limits = |table: &Table| -> Vec<_> { table.rows.iter().map(limits).collect() };
    let is_alike = !is_always_charged(other)
        && entries(table) == entries(other)
        && limits(table) == limits(other);
    let excludes = |(entry, test): &&(Located<String>, Test)| {
        let mut others = other.when.tests.iter().filter(|(of, _)| of.value == entry.value);
        others.any(|(_, other)| are_exclusive(test, other))
    };
    table.when.tests.iter().find(excludes).filter(|_| is_alike).map(|(entry, _)| entry)
}

/// The name of a row, and the size and the rate of its token buckets.
fn limits(row: &Row) -> (String, Vec<String>) {
    let Buckets::Listed(listed) = &row.buckets else { return (row.name.value.clone(), Vec::new()) };
    let limit = |bucket: &Bucket| {
        let number = |of: &Option<Located<u32>>| of.as_ref().map(|of| of.value);
        let per: Vec<_> = bucket.per.iter().map(|(unit, count)| (*unit, count.value)).collect();
        let every = bucket.every.as_ref().map(|every| &every.value);
        format!("{:?} {per:?} {:?} {every:?}", number(&bucket.size), number(&bucket.rate))
    };
    (row.name.value.clone(), listed.iter().map(limit).collect())
}

/// Whether no value satisfies both tests, as far as that is plain to see.
fn are_exclusive(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Equal(one), Test::Equal(other)) => one.value != other.value,
        (Test::Absent, Test::Absent) => false,
        (Test::Absent, _) | (_, Test::Absent) => true,
        _ => false,
    }
}
