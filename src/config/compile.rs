//! Compiles a policy from its schema, or reports all of its problems.

mod addresses;
mod buckets;
mod budget;
mod charging;
mod conditions;
mod denial;
mod keys;
mod overrides;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use self::buckets::Listed;
pub(super) use self::conditions::Reader as ConditionReader;
use self::keys::MAX_PATH_ENTRIES;
use self::overrides::Targets;
use super::document::{Document, Located};
use super::path::{NodePath, shown};
use super::schema;
use crate::policy::Policy;
use crate::policy::builder::{Builder, LIMIT_OVERRIDE, NewRow, Settings};
use crate::policy::condition::Conditions;
use crate::policy::endpoints::{self, Endpoints};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::message::{Message, Placeholder};
use crate::policy::paths::{PathEntries, PathRules};
use crate::policy::table::{ALL, DEFAULT, KeySetId, NamedRows, Row, Rows, Table};

pub(super) use self::budget::MemoryBudget;

/// The default of `partition`.
const PARTITION: &str = "tenant";

/// Compiles a file. Problems go to the document; the returned policy is then not usable.
pub(super) fn policy(
    file: &schema::File,
    document: &Document<'_>,
    key: FingerprintKey,
    budget: &MemoryBudget,
) -> Policy {
    let domain = file.domain.as_ref().map_or("", |domain| &domain.value);
    if let Some(Located { value, path }) = &file.domain
        && value.is_empty()
    {
        document.report(path, "a domain must not be empty");
    }
    let settings = Settings {
        headers: file.headers,
        on_store_error: file.on_store_error,
        store_prepaid: file.store_prepaid,
        denial_body: denial::body(file.denial_body.as_ref(), document),
        partition: file.partition.as_ref().map_or(PARTITION, |partition| &partition.value).into(),
        addresses: addresses::addresses(file.addresses.as_ref(), document),
        paths: path_entries(&file.paths),
    };
    let mut compiler = Compiler {
        document,
        budget,
        builder: Builder::new(domain, key, settings),
        message: Arc::default(),
        groups: file.groups.iter().map(|group| &*group.name.value).collect(),
    };
    let endpoints = compiler.endpoints(&file.groups, path_rules(&file.paths));
    let mut tables = compiler.tables(&file.tables);
    let targets = Targets::of(&file.tables, &tables);
    for policy_override in &file.overrides {
        compiler.compile_override(policy_override, &targets, &mut tables);
    }
    compiler.check_partition(file);
    compiler.check_path_entries(file);
    let bypass = file.bypass.iter().map(|when| compiler.conditions(when)).collect();
    compiler.builder.build(tables, endpoints, bypass)
}

/// The entries that are paths.
fn path_entries(written: &schema::Paths) -> PathEntries {
    let listed = written.entries.as_ref();
    let named = |listed: &Vec<Located<String>>| {
        PathEntries::new(listed.iter().take(MAX_PATH_ENTRIES).map(|name| &*name.value))
    };
    listed.map(named).unwrap_or_default()
}

/// The rules that are written, and the defaults of the others.
fn path_rules(written: &schema::Paths) -> PathRules {
    let usual = PathRules::default();
    let schema::Paths {
        merge_slashes,
        ignore_parameters,
        decode_unreserved,
        remove_dots,
        case,
        entries: _,
    } = written;
    PathRules {
        merge_slashes: merge_slashes.unwrap_or(usual.merge_slashes),
        ignore_parameters: ignore_parameters.unwrap_or(usual.ignore_parameters),
        decode_unreserved: decode_unreserved.unwrap_or(usual.decode_unreserved),
        remove_dots: remove_dots.unwrap_or(usual.remove_dots),
        ignore_case: match case {
            Some(schema::Case::Insensitive) => true,
            Some(schema::Case::Sensitive) => false,
            None => usual.ignore_case,
        },
    }
}

struct Compiler<'a> {
    document: &'a Document<'a>,
    budget: &'a MemoryBudget,
    builder: Builder,
    /// The default message, shared by all rows without their own.
    message: Arc<Message>,
    groups: HashSet<&'a str>,
}

impl<'a> Compiler<'a> {
    fn endpoints(&self, groups: &[schema::Group], paths: PathRules) -> Endpoints {
        let mut endpoints = Endpoints::new(paths);
        for group in groups {
            self.check_group_name(&group.name);
            for endpoint in &group.endpoints {
                let text = 3 * endpoint.value.len() + group.name.value.len();
                let size = endpoints::method_count(&endpoint.value) * (ENDPOINT_SIZE + text);
                if !self.budget.take(size, self.document, &endpoint.path) {
                    return endpoints;
                }
                if let Err(error) = endpoints.add(&endpoint.value, &group.name.value) {
                    self.document.report(&endpoint.path, error.to_string());
                }
            }
        }
        endpoints
    }

    /// A table that selects by endpoint group has rows of the groups' names.
    fn check_group_name(&self, Located { value, path }: &Located<String>) {
        if ALL.contains(&&**value) || DEFAULT.contains(&&**value) {
            let what =
                format!("`{value}` is a reserved row name; choose another name for the group");
            self.document.report(path, what);
        }
    }

    fn tables(&mut self, tables: &[schema::Table]) -> Box<[Table]> {
        let mut seen = HashSet::new();
        tables.iter().filter_map(|table| self.table(table, &mut seen)).collect()
    }

    fn table<'s>(
        &mut self,
        table: &'s schema::Table,
        seen: &mut HashSet<&'s str>,
    ) -> Option<Table> {
        let name = self.table_name(table, seen).unwrap_or_default();
        let key = self.key_set(table);
        let when = self.conditions(&table.when);
        let message = self.message(table.message.as_ref());
        let shared: Arc<str> = Arc::from(name);
        self.check_row_names(table);
        charging::check(self.document, table);
        let mut rows = HashMap::with_capacity(table.rows.len());
        for row in &table.rows {
            let size = size_of::<Row>() + 2 * row.name.value.len() + shared.len();
            if !self.budget.take(size, self.document, &row.name.path) {
                break;
            }
            let compiled = self.table_row(&shared, key, row, table, &message);
            rows.insert(Box::from(row.name.value.as_bytes()), compiled);
        }
        let rows = self.row_choice(table, rows)?;
        Some(Table { name: shared, when, key, rows })
    }

    fn table_name<'s>(
        &self,
        table: &'s schema::Table,
        seen: &mut HashSet<&'s str>,
    ) -> Option<&'s str> {
        let name = table.name.as_ref()?;
        let [limit_override, _] = LIMIT_OVERRIDE;
        let problem = if !is_label(&name.value) {
            LABEL_RULE
        } else if name.value == limit_override {
            "`limit override` is reserved for limits that Envoy sends; choose another name"
        } else if !seen.insert(&name.value) {
            "another table already has this name; choose another"
        } else {
            return Some(&name.value);
        };
        self.document.report(&name.path, problem);
        None
    }

    fn message(&self, text: Option<&Located<String>>) -> Arc<Message> {
        let Some(Located { value, path }) = text else { return Arc::clone(&self.message) };
        if value.len() > MAX_MESSAGE_LENGTH {
            let what = format!("a message has at most {MAX_MESSAGE_LENGTH} bytes; shorten it");
            self.document.report(path, what);
            return Arc::clone(&self.message);
        }
        Message::parse(value).map(Arc::new).unwrap_or_else(|unknown| {
            let known = Placeholder::ALL.map(|(name, _)| name);
            report_placeholder(self.document, path, value, &unknown, &known);
            Arc::clone(&self.message)
        })
    }

    fn check_row_names(&self, table: &schema::Table) {
        for schema::Row { name: Located { value, path }, .. } in &table.rows {
            match &table.select {
                _ if !is_label(value) => self.document.report(path, LABEL_RULE),
                Some(_) if ALL.contains(&&**value) => {
                    let what = format!(
                        "`{value}` is only for a table without `select`; call the row for all other \
                         values `default`"
                    );
                    self.document.report(path, what);
                }
                Some(select)
                    if select.value == "endpoint_group" && !DEFAULT.contains(&&**value) =>
                {
                    self.check_group(value, path);
                }
                _ => {}
            }
        }
        let is_own = |row: &&schema::Row| !ALL.contains(&&*row.name.value);
        if table.select.is_none()
            && let Some(row) = table.rows.iter().find(is_own)
        {
            let what = "a table without `select` has one row, `all`; for more rows add `select`, as in \
                        `select: tenant_type`";
            self.document.report(&row.name.path, what);
        }
    }

    /// If the policy lists endpoint groups, any other name is a misspelling.
    fn check_group(&self, name: &str, path: &NodePath) {
        if self.groups.is_empty() || self.groups.contains(name) {
            return;
        }
        let similar = self.document.did_you_mean(name, self.groups.iter().copied());
        let hint = if similar.is_empty() {
            "; add it to `endpoint_groups`, with `[]` if only Envoy assigns it".to_owned()
        } else {
            similar
        };
        let what = format!("there is no endpoint group `{}`{hint}", shown(name));
        self.document.report(path, what);
    }

    fn row_choice(
        &mut self,
        table: &schema::Table,
        mut rows: HashMap<Box<[u8]>, Row>,
    ) -> Option<Rows> {
        match &table.select {
            None => self.take_row(table, &mut rows, ALL).map(|row| Rows::All(Box::new(row))),
            Some(select) => {
                let default = self.take_row(table, &mut rows, DEFAULT).map(Box::new);
                let by = self.builder.keys().intern(&select.value);
                // In the order of the file, so that the same file makes the same policy.
                let mut rows: Vec<_> = rows.into_iter().collect();
                rows.sort_unstable_by_key(|(_, row)| row.id());
                let rows = NamedRows::new(rows.into_iter().collect(), self.selecting_path(table));
                Some(Rows::Selected { by, rows, default })
            }
        }
    }

    /// Removes the row that has one of two names for the same thing.
    fn take_row(
        &self,
        table: &schema::Table,
        rows: &mut HashMap<Box<[u8]>, Row>,
        words: [&str; 2],
    ) -> Option<Row> {
        let [row, old] = words.map(|word| rows.remove(word.as_bytes()));
        let [word, old_word] = words;
        if row.is_some()
            && old.is_some()
            && let Some(second) = table.rows.iter().rfind(|row| words.contains(&&*row.name.value))
        {
            let what = format!("`{word}` and `{old_word}` name the same row; keep one");
            self.document.report(&second.name.path, what);
        }
        row.or(old)
    }

    fn table_row(
        &mut self,
        table: &Arc<str>,
        key: KeySetId,
        row: &schema::Row,
        of: &schema::Table,
        message: &Arc<Message>,
    ) -> Row {
        let (name, at) = (&row.name.value, &row.name.path);
        // An invalid name is reported already; keeping it would only use the budget.
        let name = if is_label(name) { name } else { "" };
        buckets::check(self.document, &row.buckets);
        let listed = Listed { buckets: &row.buckets, until: None, at };
        let buckets = self.buckets(&listed, message, [table, name]);
        let (shadow, debt) = (of.shadow || row.shadow, charging::debt(of, row));
        self.builder.row(NewRow { table, key, name, shadow, debt, message, buckets })
    }

    fn conditions(&mut self, when: &schema::When) -> Conditions {
        let mut reader = ConditionReader {
            document: self.document,
            keys: self.builder.keys(),
            groups: Vec::new(),
        };
        let conditions = reader.read(when);
        for Located { value, path } in std::mem::take(&mut reader.groups) {
            self.check_group(&value, &path);
        }
        conditions
    }
}

/// Reports a placeholder that is unknown or not closed.
fn report_placeholder(
    document: &Document<'_>,
    path: &NodePath,
    text: &str,
    unknown: &str,
    known: &[&str],
) {
    let is_closed = text.contains(&format!("{{{unknown}}}"));
    let similar = match is_closed {
        true => document.did_you_mean(unknown, known.iter().copied()),
        false => String::new(),
    };
    let hint = match &*similar {
        "" => {
            let all: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
            format!("; choose from {}", all.join(", "))
        }
        similar => similar.to_owned(),
    };
    let what = match is_closed {
        true => format!("unknown placeholder `{}`{hint}", shown(unknown)),
        false => format!("`{{` begins a placeholder that is not closed{hint}"),
    };
    document.report(path, what);
}

/// Bytes that the router takes for one method of an endpoint besides its text, as measured.
const ENDPOINT_SIZE: usize = 1024;

/// Bytes of a message: each denial carries it.
const MAX_MESSAGE_LENGTH: usize = 1024;

const LABEL_RULE: &str = "a name has 1 to 100 printable ASCII characters without quotes and \
                          backslashes, since headers and metrics contain it";

/// Whether a table or a row may have a name.
pub(super) fn is_label(name: &str) -> bool {
    let is_plain = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\';
    (1..=100).contains(&name.len()) && name.bytes().all(is_plain)
}
