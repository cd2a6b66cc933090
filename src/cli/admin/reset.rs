//! The answer to `tollgate admin reset` as text.

use super::{BUCKET_COLUMNS, bucket, escaped, table};
use crate::admin::api::types::{IncompleteTable, Reset, ResetTable};

/// The buckets that were not full, the numbers of each table if there are several, and what was left out.
pub(super) fn render(answer: &Reset) -> String {
    let Reset { list, already_full, tables, incomplete, slots } = answer;
    let count = list.items.len() + list.omitted;
    let mut lines = match count {
        0 => String::new(),
        _ => table(&BUCKET_COLUMNS, list, bucket),
    };
    if tables.len() > 1 || !incomplete.is_empty() {
        for ResetTable { table, reset, already_full } in tables {
            lines += &format!("{}: {}\n", escaped(table), counts(*reset, *already_full));
        }
    }
    lines += &format!("{}\n", counts(count, *already_full));
    for IncompleteTable { table, missing } in incomplete {
        let missing: Vec<_> = missing.iter().map(|key| format!("`{}`", escaped(key))).collect();
        lines += &format!(
            "note: the key of table {} also has {}; of its buckets, only those that the server has recently seen \
             near their limit are reset\n",
            escaped(table),
            missing.join(", ")
        );
    }
    for table in slots {
        lines += &format!(
            "note: slots of table {} are not reset; release their leases, which `tollgate admin leases` lists\n",
            escaped(table)
        );
    }
    lines
}

fn counts(reset: usize, already_full: usize) -> String {
    let buckets = if reset == 1 { "bucket" } else { "buckets" };
    format!("reset {reset} {buckets} ({already_full} were already full)")
}
