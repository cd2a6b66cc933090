//! Tables that leave values without a limit.

use hashbrown::HashSet;

use super::super::document::{Document, Located};
use super::super::path::shown;
use super::super::schema::{Row, Table, Test};
use super::keys::is_one_typo_away;
use crate::policy::table::DEFAULT;

/// Names that a reader may take for that of the row of all other values.
const LIKE_DEFAULT: [&str; 10] = [
    "*",
    "any",
    "catch_all",
    "catchall",
    "else",
    "fallback",
    "other",
    "others",
    "rest",
    "wildcard",
];

/// Warns of rows that take fewer values than their names say, and of a table that limits only the values it names.
pub(super) fn warn(table: &Table, document: &Document<'_>) {
    let Some(select) = &table.select else { return };
    let has_default = table.rows.iter().any(|row| DEFAULT.contains(&&*row.name.value));
    let mut has_meant_default = false;
    for Row { name: Located { value, path }, .. } in &table.rows {
        if !has_default && is_like_default(value) {
            let what = format!(
                "`{}` is one value of `{}` like any other; call the row `default` if it is for all other \
                 values",
                shown(value),
                shown(&select.value)
            );
            document.warn(path, what);
            has_meant_default = true;
        } else if value.ends_with('*') {
            let what = format!(
                "`*` has no meaning in the name of a row, which is compared as a whole; for a prefix write \
                 a table with `when: {{ {}: \"{}\" }}`",
                shown(&select.value),
                shown(value)
            );
            document.warn(path, what);
        }
    }
    let is_limited = table.rows.iter().any(Row::is_limited);
    if is_limited && !has_default && !has_meant_default && !is_complete(table, select) {
        let select_key = shown(&select.value);
        let what = format!(
            "the table has no row `default`: calls with another `{select_key}`, or without one, are not \
             limited by it; add the row, as `default: unlimited` if that is meant"
        );
        document.warn(&select.path, what);
    }
}

fn is_like_default(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    LIKE_DEFAULT.contains(&&*name)
        || DEFAULT.contains(&&*name)
        || DEFAULT.iter().any(|word| is_one_typo_away(&name, word))
}

/// Whether the table applies only to values that have a row.
fn is_complete(table: &Table, select: &Located<String>) -> bool {
    let names: HashSet<&str> = table.rows.iter().map(|row| &*row.name.value).collect();
    let mut tests = table.when.tests.iter().filter(|(key, _)| key.value == select.value);
    tests.any(|(_, test)| match test {
        Test::Equal(value) => names.contains(&*value.value),
        Test::Any(tests) => tests.iter().all(|test| match test {
            Test::Equal(value) => names.contains(&*value.value),
            _ => false,
        }),
        _ => false,
    })
}
