//! From a policy as it is written to one that cannot be wrong, or to everything that is wrong with it.

mod buckets;
mod conditions;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use self::buckets::Rules;
use self::conditions::Reader;
use super::problem::{Place, did_you_mean};
use super::read::{At, Document};
use super::schema;
use crate::policy::Policy;
use crate::policy::address::Prefixes;
use crate::policy::condition::Conditions;
use crate::policy::endpoints::Endpoints;
use crate::policy::fingerprint::{FingerprintKey, KeySet};
use crate::policy::message::{Message, Placeholder};
use crate::policy::table::{KeySetId, Override, Row, RowId, Rows, Table};
use crate::policy::values::{Keys, Slot};

/// The table under which limits that Envoy brings along are counted.
const BROUGHT: [&str; 2] = ["limit override", "request"];

/// The row of every value without a row of its own.
const OTHERWISE: &str = "otherwise";
/// The row of a table that does not select.
const ALWAYS: &str = "always";

/// Compiles a file. What is wrong is told to the document; the policy then only served to find it.
pub(super) fn policy(file: &schema::File, document: &Document<'_>, key: FingerprintKey) -> Policy {
    let domain = file.domain.as_ref().map_or("", |domain| &domain.value);
    if let Some(At { value, place }) = &file.domain
        && value.is_empty()
    {
        document.complain(place, "a domain must not be empty");
    }
    let mut compiler = Compiler {
        document,
        key,
        domain,
        keys: Keys::default(),
        key_sets: Vec::new(),
        message: Arc::default(),
        rows: 0,
        groups: file.groups.iter().map(|group| &*group.name.value).collect(),
    };
    let endpoints = compiler.endpoints(&file.groups);
    let tables = compiler.tables(&file.tables, &file.overrides);
    let bypass = file.bypass.iter().map(|when| compiler.bypass(when)).collect();
    let [table, row] = BROUGHT;
    let brought = compiler.row(Arc::from(table), row, false, &Arc::default(), Rules::none());
    Policy {
        domain: domain.into(),
        headers: file.headers,
        endpoints,
        bypass,
        tables,
        brought,
        rows: compiler.rows,
        keys: compiler.keys,
        key_sets: compiler.key_sets.into(),
        key,
    }
}

struct Compiler<'a> {
    document: &'a Document<'a>,
    key: FingerprintKey,
    domain: &'a str,
    keys: Keys,
    key_sets: Vec<KeySet>,
    /// The default message, shared by all rows that have no other.
    message: Arc<Message>,
    rows: usize,
    groups: HashSet<&'a str>,
}

impl<'a> Compiler<'a> {
    fn endpoints(&self, groups: &[schema::Group]) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for group in groups {
            for endpoint in &group.endpoints {
                if let Err(error) = endpoints.add(&endpoint.value, &group.name.value) {
                    self.document.complain(&endpoint.place, error.to_string());
                }
            }
        }
        endpoints
    }

    fn tables(&mut self, tables: &[schema::Table], overrides: &[schema::Override]) -> Box<[Table]> {
        let names: HashSet<&str> =
            tables.iter().filter_map(|table| Some(&*table.name.as_ref()?.value)).collect();
        for over_ride in overrides {
            if let Some(table) = &over_ride.table
                && !names.contains(&*table.value)
            {
                let near = did_you_mean(&table.value, names.iter().copied());
                let what = format!("there is no table `{}`{near}", table.value.escape_debug());
                self.document.complain(&table.place, what);
            }
        }
        let mut seen = HashSet::new();
        tables.iter().filter_map(|table| self.table(table, overrides, &mut seen)).collect()
    }

    fn table<'s>(
        &mut self,
        table: &'s schema::Table,
        overrides: &[schema::Override],
        seen: &mut HashSet<&'s str>,
    ) -> Option<Table> {
        let name = self.table_name(table, seen).unwrap_or_default();
        let key = self.key_set(table).unwrap_or(KeySetId(0));
        let when = self.conditions(&table.when);
        let message = self.message(table.message.as_ref());
        let shared: Arc<str> = Arc::from(name);
        let scope = TableScope { name: &shared, key: self.key_set_names(key), message };
        let mut rows = HashMap::new();
        for row in &table.rows {
            self.check_row_name(row, table);
            let compiled = self.table_row(&scope, row, table.shadow);
            rows.insert(Box::from(&*row.name.value), compiled);
        }
        let mut rows = self.row_choice(table, rows)?;
        for over_ride in overrides {
            if over_ride.table.as_ref().is_some_and(|table| table.value == name) {
                self.over_ride(&scope, over_ride, &mut rows);
            }
        }
        Some(Table { name: shared, when, key, rows })
    }

    fn table_name<'s>(
        &self,
        table: &'s schema::Table,
        seen: &mut HashSet<&'s str>,
    ) -> Option<&'s str> {
        let Some(name) = &table.name else {
            self.document
                .complain(&table.place, "`name` is missing; metrics and overrides need one");
            return None;
        };
        let [brought, _] = BROUGHT;
        let wrong = if !is_label(&name.value) {
            LABEL_RULE
        } else if name.value == brought {
            "this name stands for limits that Envoy sends along; choose another"
        } else if !seen.insert(&name.value) {
            "another table has this name already; its buckets could not be told apart"
        } else {
            return Some(&name.value);
        };
        self.document.complain(&name.place, wrong);
        None
    }

    fn key_set(&mut self, table: &schema::Table) -> Option<KeySetId> {
        let Some(key) = &table.key else {
            let what =
                "`key` is missing; it lists the entries that name a bucket (`[]`: one for all)";
            self.document.complain(&table.place, what);
            return None;
        };
        let slots: Box<[Slot]> = key.iter().map(|name| self.keys.slot(&name.value)).collect();
        let prefixes = self.prefixes(table, slots.contains(&Slot::REMOTE_ADDRESS))?;
        let set = KeySet { slots, prefixes };
        let known = self.key_sets.iter().position(|other| *other == set);
        let at = known.unwrap_or_else(|| {
            self.key_sets.push(set);
            self.key_sets.len() - 1
        });
        Some(KeySetId(at))
    }

    fn prefixes(&self, table: &schema::Table, has_address: bool) -> Option<Prefixes> {
        let usual = Prefixes::default();
        let Some(At { value, place }) = &table.prefix else { return Some(usual) };
        if !has_address {
            let what = "`prefix` is about `remote_address`, which is not in this table's `key`";
            self.document.complain(place, what);
        }
        let bits =
            |bits: Option<u32>, usual| bits.map_or(Some(usual), |bits| u8::try_from(bits).ok());
        let ipv4 = bits(value.ipv4, usual.ipv4());
        let ipv6 = bits(value.ipv6, usual.ipv6());
        let prefixes = ipv4.zip(ipv6).and_then(|(ipv4, ipv6)| Prefixes::new(ipv4, ipv6));
        if prefixes.is_none() {
            self.document.complain(place, "`ipv4` counts 1 to 32 bits, `ipv6` 1 to 128");
        }
        prefixes
    }

    /// The key's entries and prefixes as a bucket's identity has them.
    fn key_set_names(&self, KeySetId(at): KeySetId) -> Vec<String> {
        let Some(set) = self.key_sets.get(at) else { return Vec::new() };
        let mut names: Vec<_> =
            set.slots.iter().map(|slot| self.keys.name(*slot).to_owned()).collect();
        if set.slots.contains(&Slot::REMOTE_ADDRESS) {
            names.push(format!("/{} /{}", set.prefixes.ipv4(), set.prefixes.ipv6()));
        }
        names
    }

    fn message(&self, text: Option<&At<String>>) -> Arc<Message> {
        let Some(At { value, place }) = text else { return Arc::clone(&self.message) };
        Message::parse(value).map(Arc::new).unwrap_or_else(|unknown| {
            let names = Placeholder::ALL.map(|(name, _)| name);
            let near = did_you_mean(&unknown, names);
            let listed = names.map(|name| format!("{{{name}}}")).join(", ");
            let unknown = unknown.escape_debug();
            let what = format!("unknown placeholder `{unknown}`{near}; there are {listed}");
            self.document.complain(place, what);
            Arc::clone(&self.message)
        })
    }

    fn check_row_name(&self, row: &schema::Row, table: &schema::Table) {
        let At { value: name, place } = &row.name;
        let selects_group =
            table.select.as_ref().is_some_and(|select| select.value == "endpoint_group");
        let what = match (name.as_str(), &table.select) {
            (name, _) if !is_label(name) => LABEL_RULE.to_owned(),
            (ALWAYS, Some(_)) => {
                "`always` is the row of a table without `select`; the rest is `otherwise`"
                    .to_owned()
            }
            (ALWAYS, None) | (OTHERWISE, Some(_)) => return,
            (name, None) => format!(
                "row `{name}`: a table without `select` has one row, `always`; name the entry to select by"
            ),
            (name, Some(_)) if selects_group => return self.check_group(name, place),
            _ => return,
        };
        self.document.complain(place, what);
    }

    /// Where the policy lists endpoint groups, a name that is none of them is a slip.
    fn check_group(&self, name: &str, place: &Place) {
        if self.groups.is_empty() || self.groups.contains(name) {
            return;
        }
        let near = did_you_mean(name, self.groups.iter().copied());
        let cure = if near.is_empty() {
            "; list it under `endpoint_groups`, with `[]` where only Envoy assigns it".to_owned()
        } else {
            near
        };
        let what = format!("there is no endpoint group `{}`{cure}", name.escape_debug());
        self.document.complain(place, what);
    }

    fn row_choice(
        &mut self,
        table: &schema::Table,
        mut rows: HashMap<Box<str>, Row>,
    ) -> Option<Rows> {
        if rows.is_empty() {
            self.document
                .complain(&table.place, "`rows` is empty; a table without rows limits nothing");
            return None;
        }
        match &table.select {
            None => rows.remove(ALWAYS).map(|row| Rows::Always(Box::new(row))),
            Some(select) => {
                let otherwise = rows.remove(OTHERWISE).map(Box::new);
                let by = self.keys.slot(&select.value);
                Some(Rows::Selected { by, rows, otherwise })
            }
        }
    }

    fn table_row(&mut self, scope: &TableScope<'_>, row: &schema::Row, shadow: bool) -> Row {
        let rules = Rules {
            document: self.document,
            key: self.key,
            place: scope.place_of(self.domain, &row.name.value, None),
        };
        let rules = rules.compile(&row.buckets);
        let name = Arc::clone(scope.name);
        self.row(name, &row.name.value, shadow || row.shadow, &scope.message, rules)
    }

    fn row(
        &mut self,
        table: Arc<str>,
        name: &str,
        shadow: bool,
        message: &Arc<Message>,
        rules: Box<[crate::policy::table::Rule]>,
    ) -> Row {
        let id = RowId(self.rows);
        self.rows += 1;
        Row {
            id,
            label: format!("{table}/{name}").into(),
            table,
            name: name.into(),
            shadow,
            message: Arc::clone(message),
            rules,
            overrides: Box::default(),
        }
    }

    /// Gives an override to the row it names, or to every row that is not unlimited.
    fn over_ride(&mut self, scope: &TableScope<'_>, over_ride: &schema::Override, rows: &mut Rows) {
        let when = self.conditions(&over_ride.when);
        if over_ride.when.tests.is_empty() {
            let what =
                "an override must say whose calls it is for; to change them all, change the row";
            self.document.complain(&over_ride.place, what);
        }
        let until =
            over_ride.until.as_ref().and_then(|until| buckets::moment(self.document, until));
        let Some(listed) = &over_ride.buckets else { return };
        if let Some(row) = &over_ride.row
            && !rows.iter().any(|other| other.name() == row.value)
        {
            let near = did_you_mean(&row.value, rows.iter().map(Row::name));
            let what = format!("the table has no row `{}`{near}", row.value.escape_debug());
            self.document.complain(&row.place, what);
        }
        let whose = when.describe(&self.keys);
        let is_meant = |row: &Row| match &over_ride.row {
            Some(name) => row.name() == name.value,
            None => !row.rules().is_empty(),
        };
        for (at, row) in rows.iter_mut().filter(|row| is_meant(row)).enumerate() {
            let place = scope.place_of(self.domain, row.name(), Some(&whose));
            // The first row tells what is wrong with the buckets; the others need not repeat it.
            let rules = Rules { document: self.document, key: self.key, place };
            let rules = if at == 0 { rules.compile(listed) } else { rules.compile_quietly(listed) };
            let mut overrides = std::mem::take(&mut row.overrides).into_vec();
            overrides.push(Override { when: when.clone(), until, rules });
            row.overrides = overrides.into();
        }
    }

    fn conditions(&mut self, when: &schema::When) -> Conditions {
        let mut reader =
            Reader { document: self.document, keys: &mut self.keys, groups: Vec::new() };
        let conditions = reader.read(when);
        for At { value, place } in std::mem::take(&mut reader.groups) {
            self.check_group(&value, &place);
        }
        conditions
    }

    fn bypass(&mut self, when: &schema::When) -> Conditions {
        if when.tests.is_empty() {
            let what = "a bypass without conditions would let every call through";
            self.document.complain(&when.place, what);
        }
        self.conditions(when)
    }
}

/// What all rows of a table have in common.
struct TableScope<'a> {
    name: &'a Arc<str>,
    key: Vec<String>,
    message: Arc<Message>,
}

impl TableScope<'_> {
    /// A bucket's identity without the bucket itself. A reload that leaves these names alone leaves the
    /// bucket's state alone.
    fn place_of(&self, domain: &str, row: &str, over_ride: Option<&str>) -> Vec<String> {
        let mut place = vec![domain.to_owned(), (**self.name).to_owned(), row.to_owned()];
        place.push(self.key.len().to_string());
        place.extend(self.key.iter().cloned());
        place.extend(over_ride.map(ToOwned::to_owned));
        place
    }
}

const LABEL_RULE: &str = "a name goes into headers and metrics: 1 to 100 printable ASCII characters, \
                          without quotes and backslashes";

fn is_label(name: &str) -> bool {
    let is_plain = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\';
    (1..=100).contains(&name.len()) && name.bytes().all(is_plain)
}
