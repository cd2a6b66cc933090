//! Overrides: other buckets for some requests of a table.

use hashbrown::{HashMap, HashSet};

use super::super::document::Located;
use super::super::path::shown;
use super::super::schema;
use super::Compiler;
use super::buckets::{self, Listed};
use crate::policy::builder::Scope;
use crate::policy::table::{ALL, DEFAULT, Row, Table};

/// The tables that overrides may name, by name: there may be thousands of tables and of overrides.
pub(super) struct Targets<'a> {
    names: Vec<&'a str>,
    by_name: HashMap<&'a str, Target<'a>>,
}

struct Target<'a> {
    rows: HashSet<&'a str>,
    /// Whether it has rows, but none with buckets.
    has_no_buckets: bool,
    /// Its index among the compiled tables; `None` if it has a problem.
    compiled: Option<usize>,
}

impl<'a> Targets<'a> {
    pub(super) fn of(written: &'a [schema::Table], compiled: &[Table]) -> Self {
        let numbers = compiled.iter().enumerate().map(|(at, table)| (&*table.name, at));
        let numbers: HashMap<&str, usize> = numbers.collect();
        let named = |table: &'a schema::Table| Some((&*table.name.as_ref()?.value, table));
        let mut targets = Self { names: Vec::new(), by_name: HashMap::new() };
        for (name, table) in written.iter().filter_map(named) {
            targets.names.push(name);
            let rows = &table.rows;
            targets.by_name.entry(name).or_insert_with(|| Target {
                rows: rows.iter().map(|row| &*row.name.value).collect(),
                has_no_buckets: !rows.is_empty() && !rows.iter().any(schema::Row::is_limited),
                compiled: numbers.get(name).copied(),
            });
        }
        targets
    }
}

impl Compiler<'_> {
    /// Attaches an override to the row that it names. Without `row` it goes to every row of the table that has buckets,
    /// and if it blocks, to every row. Its problems are reported even if there is no such table.
    pub(super) fn compile_override(
        &mut self,
        written: &schema::Override,
        targets: &Targets<'_>,
        tables: &mut [Table],
    ) {
        let when = self.conditions(&written.when);
        let until = written.until.as_ref();
        let until = until.and_then(|until| buckets::time(self.document, until));
        if let Some(listed) = &written.buckets {
            buckets::check(self.document, listed);
        }
        let target = self.target(written, targets).and_then(|target| target.compiled);
        if let Some(table) = target.and_then(|at| tables.get_mut(at)) {
            let scope = self.builder.scope(when, until);
            self.attach(written, &scope, table);
        }
    }

    fn attach(&mut self, written: &schema::Override, scope: &Scope, table: &mut Table) {
        let Some((buckets, named)) = written.buckets.as_ref().zip(written.table.as_ref()) else {
            return;
        };
        let key = table.key();
        let blocks = matches!(buckets, schema::Buckets::Blocked);
        let rows: Box<dyn Iterator<Item = &mut Row>> = match &written.row {
            Some(name) => Box::new(table.rows.row_mut(&name.value).into_iter()),
            None => Box::new(table.rows.iter_mut().filter(move |row| blocks || row.is_limited())),
        };
        let listed = Listed { buckets, until: scope.until(), at: &named.path };
        for row in rows {
            if !self.budget.take(scope.size(), self.document, &named.path) {
                return;
            }
            let buckets = self.buckets(&listed, row.message(), [row.table(), row.name()]);
            self.builder.add_override(row, key, scope, buckets);
        }
    }

    /// The table of an override. A table or row that does not exist is a problem.
    fn target<'t>(
        &self,
        written: &schema::Override,
        targets: &'t Targets<'_>,
    ) -> Option<&'t Target<'t>> {
        let Located { value, path } = written.table.as_ref()?;
        let Some(target) = targets.by_name.get(&**value) else {
            let hint = self.document.suggest(value, &targets.names);
            let what = format!("there is no table `{}`{hint}", shown(value));
            self.document.report(path, what);
            return None;
        };
        let blocks = matches!(written.buckets, Some(schema::Buckets::Blocked));
        match &written.row {
            Some(row) => self.check_target_row(row, target),
            None if target.has_no_buckets && !blocks => {
                let what = "no row of this table has buckets; name the `row` to override";
                self.document.report(path, what);
            }
            None => {}
        }
        Some(target)
    }

    fn check_target_row(&self, Located { value, path }: &Located<String>, target: &Target<'_>) {
        let is_same = |words: [&str; 2]| {
            words.contains(&&**value) && words.iter().any(|word| target.rows.contains(word))
        };
        if !target.rows.contains(&**value) && !is_same(DEFAULT) && !is_same(ALL) {
            let mut names: Vec<&str> = target.rows.iter().copied().collect();
            names.sort_unstable();
            let hint = self.document.suggest(value, &names);
            let what = format!("the table has no row `{}`{hint}", shown(value));
            self.document.report(path, what);
        }
    }
}
