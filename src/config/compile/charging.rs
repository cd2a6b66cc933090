//! When hits are charged, and how far a bucket may owe.

use super::super::document::Document;
use super::super::schema::{Buckets, ChargeWhen, Charging, Row, Table};
use crate::limit::Debt;

const NEEDS_ALWAYS: &str =
    "`most_owed` needs `charge: always`; a bucket that is charged only if it admits never owes";

const NEEDS_TOKENS: &str = "`charge` is about token buckets, and there is none; list one, as in \
                            `{ per_minute: 1000 }`, or remove `charge`";

/// How far the token buckets of a row may owe, if they are charged whatever is left.
pub(super) fn debt(table: &Table, row: &Row) -> Option<Debt> {
    let most = row.charging.most_owed.as_ref().or(table.charging.most_owed.as_ref());
    let debt = most.map_or(Debt::UNBOUNDED, |most| Debt::up_to(most.value));
    is_always(table, row).then_some(debt)
}

/// Reports `charge` and `most_owed` where they have no effect.
pub(super) fn check(document: &Document<'_>, table: &Table) {
    let report = |charging: &Charging, has_tokens: bool, is_always: bool| {
        if let Some(charge) = charging.charge.as_ref().filter(|_| !has_tokens) {
            document.report(&charge.path, NEEDS_TOKENS);
        } else if let Some(most) = charging.most_owed.as_ref().filter(|_| !is_always) {
            document.report(&most.path, NEEDS_ALWAYS);
        }
    };
    for row in &table.rows {
        report(&row.charging, has_tokens(row), is_always(table, row));
    }
    let is_any_always = table.rows.iter().any(|row| is_always(table, row));
    report(&table.charging, table.rows.iter().any(has_tokens), is_any_always);
}

fn is_always(table: &Table, row: &Row) -> bool {
    let charge = row.charging.charge.as_ref().or(table.charging.charge.as_ref());
    charge.is_some_and(|charge| charge.value == ChargeWhen::Always)
}

fn has_tokens(row: &Row) -> bool {
    match &row.buckets {
        Buckets::Listed(listed) => listed.iter().any(|bucket| bucket.concurrent.is_none()),
        Buckets::Unlimited | Buckets::Blocked => false,
    }
}
