//! Overrides: other buckets for some of a table's calls.

use super::super::problem::near_or_all;
use super::super::read::At;
use super::super::schema;
use super::buckets::{self, Rules};
use super::{Compiler, TableScope};
use crate::clock::Timestamp;
use crate::policy::condition::Conditions;
use crate::policy::table::{Override, Row, Table};

impl Compiler<'_> {
    /// Gives an override to the row it names; one that names none to every row of its table that has buckets,
    /// and one that blocks to every row, so that none stays open. What is wrong with it is told even where its table is not to be found.
    pub(super) fn over_ride(
        &mut self,
        written: &schema::Override,
        schemas: &[schema::Table],
        tables: &mut [Table],
    ) {
        let when = self.conditions(&written.when);
        let until = written.until.as_ref();
        let until = until.and_then(|until| buckets::moment(self.document, until));
        if let Some(listed) = &written.buckets {
            let (message, place) = (&self.message, Vec::new());
            let (document, key, row) = (self.document, self.key, ["", ""]);
            Rules { document, key, place, message, row, until }.compile(listed);
        }
        self.check_target(written, schemas);
        let name = written.table.as_ref().map(|table| &*table.value);
        if let Some(table) = tables.iter_mut().find(|table| Some(&*table.name) == name) {
            self.attach(written, &when, until, table);
        }
    }

    fn attach(
        &self,
        written: &schema::Override,
        when: &Conditions,
        until: Option<Timestamp>,
        table: &mut Table,
    ) {
        let Some(listed) = &written.buckets else { return };
        let whose = when.describe(&self.keys);
        let scope = TableScope { name: &table.name, key: self.key_set_names(table.key) };
        let is_meant = |row: &&mut Row| match &written.row {
            Some(name) => row.name() == name.value,
            None => row.is_limited() || matches!(listed, schema::Buckets::Blocked),
        };
        for row in table.rows.iter_mut().filter(is_meant) {
            let place = scope.place_of(self.domain, row.name(), Some(&whose));
            let rules = Rules {
                document: self.document,
                key: self.key,
                place,
                message: &row.message,
                row: [&row.table, &row.name],
                until,
            };
            let rules = rules.compile_quietly(listed);
            row.overrides.push(Override { when: when.clone(), until, rules });
        }
    }

    /// An override of nothing is a slip.
    fn check_target(&self, written: &schema::Override, tables: &[schema::Table]) {
        let Some(At { value, place }) = &written.table else { return };
        let named =
            |table: &&schema::Table| table.name.as_ref().is_some_and(|name| name.value == *value);
        let Some(table) = tables.iter().find(named) else {
            let names = tables.iter().filter_map(|table| Some(&*table.name.as_ref()?.value));
            let cure = near_or_all(value, &names.collect::<Vec<_>>());
            let what = format!("there is no table `{}`{cure}", value.escape_debug());
            return self.document.complain(place, what);
        };
        let is_of_none = || {
            !matches!(written.buckets, Some(schema::Buckets::Blocked))
                && !table.rows.is_empty()
                && !table.rows.iter().any(schema::Row::is_limited)
        };
        match &written.row {
            Some(row) => self.check_target_row(row, table),
            None if is_of_none() => {
                let what = "no row of this table has buckets; name the `row` that is overridden";
                self.document.complain(place, what);
            }
            None => {}
        }
    }

    fn check_target_row(&self, At { value, place }: &At<String>, table: &schema::Table) {
        let names: Vec<&str> = table.rows.iter().map(|row| &*row.name.value).collect();
        if !names.contains(&&**value) {
            let cure = near_or_all(value, &names);
            let what = format!("the table has no row `{}`{cure}", value.escape_debug());
            self.document.complain(place, what);
        }
    }
}
