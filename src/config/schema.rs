//! The policy file as it is written: one type for each mapping of the language, each value with its path. `compile`
//! checks the meaning.

mod addresses;
mod conditions;
mod denial;
mod foreign;
mod paths;

pub(super) use self::addresses::{Addresses, MAX_HOPS};
pub(super) use self::conditions::some_when;
use self::conditions::when;
pub(super) use self::denial::{Content, DenialBody, Json};
pub(super) use self::paths::{Case, Paths};
use super::document::Located;
use super::path::NodePath;
use super::read::{Fields, Node};
use crate::limit::{LimitError, Unit};
use crate::policy::paths::PathInKey;
use crate::policy::{HeaderStyle, OnStoreError, StorePrepaid};

pub(super) struct File {
    pub(super) domain: Option<Located<String>>,
    pub(super) headers: HeaderStyle,
    pub(super) partition: Option<Located<String>>,
    pub(super) on_store_error: OnStoreError,
    pub(super) store_prepaid: StorePrepaid,
    pub(super) denial_body: Option<DenialBody>,
    pub(super) paths: Paths,
    pub(super) addresses: Option<Addresses>,
    pub(super) groups: Vec<Group>,
    pub(super) tables: Vec<Table>,
    pub(super) overrides: Vec<Override>,
    pub(super) bypass: Vec<When>,
}

pub(super) struct Group {
    pub(super) name: Located<String>,
    pub(super) endpoints: Vec<Located<String>>,
}

pub(super) struct Table {
    pub(super) name: Option<Located<String>>,
    pub(super) when: When,
    pub(super) select: Option<Located<String>>,
    pub(super) key: Option<Vec<Located<String>>>,
    pub(super) key_path: Option<Located<PathInKey>>,
    pub(super) prefix: Option<Prefix>,
    pub(super) shadow: bool,
    pub(super) charging: Charging,
    pub(super) message: Option<Located<String>>,
    pub(super) rows: Vec<Row>,
}

/// When hits are charged, and how far a bucket may then owe.
#[derive(Default)]
pub(super) struct Charging {
    pub(super) charge: Option<Located<ChargeWhen>>,
    pub(super) most_owed: Option<Located<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChargeWhen {
    IfAdmitted,
    Always,
}

pub(super) struct Prefix {
    pub(super) path: NodePath,
    pub(super) ipv4: Option<Located<u32>>,
    pub(super) ipv6: Option<Located<u32>>,
}

pub(super) struct Row {
    pub(super) name: Located<String>,
    pub(super) shadow: bool,
    pub(super) charging: Charging,
    pub(super) buckets: Buckets,
}

impl Row {
    /// Whether it lists buckets, valid or not.
    pub(super) const fn is_limited(&self) -> bool {
        matches!(self.buckets, Buckets::Listed(_))
    }
}

pub(super) enum Buckets {
    Unlimited,
    Blocked,
    Listed(Vec<Bucket>),
}

impl Default for Buckets {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

pub(super) struct Bucket {
    pub(super) path: NodePath,
    pub(super) size: Option<Located<u32>>,
    pub(super) per: Vec<(Unit, Located<u32>)>,
    pub(super) rate: Option<Located<u32>>,
    pub(super) every: Option<Located<String>>,
    pub(super) concurrent: Option<Located<u32>>,
    pub(super) ttl: Option<Located<String>>,
}

/// Conditions on entries; all must match.
#[derive(Default)]
pub(super) struct When {
    pub(super) tests: Vec<(Located<String>, Test)>,
}

pub(super) enum Test {
    Equal(Located<String>),
    Prefix(String),
    Cidr(Vec<Located<String>>),
    Present,
    Absent,
    Any(Vec<Self>),
    /// Of any test but `Present`, `Absent` and `Not`.
    Not(Box<Self>),
}

pub(super) struct Override {
    pub(super) table: Option<Located<String>>,
    pub(super) row: Option<Located<String>>,
    pub(super) when: When,
    pub(super) until: Option<Located<String>>,
    pub(super) buckets: Option<Buckets>,
}

const PER: [(&str, Unit); 7] = [
    ("per_second", Unit::Second),
    ("per_minute", Unit::Minute),
    ("per_hour", Unit::Hour),
    ("per_day", Unit::Day),
    ("per_week", Unit::Week),
    ("per_month", Unit::Month),
    ("per_year", Unit::Year),
];

const STYLES: [(&str, HeaderStyle); 4] = [
    ("epoch", HeaderStyle::Epoch),
    ("delta", HeaderStyle::Delta),
    ("ietf", HeaderStyle::Ietf),
    ("off", HeaderStyle::Off),
];

const KEY_PATH: [(&str, PathInKey); 2] =
    [("without_query", PathInKey::WithoutQuery), ("with_query", PathInKey::WithQuery)];

const CHARGE: [(&str, ChargeWhen); 2] =
    [("if_admitted", ChargeWhen::IfAdmitted), ("always", ChargeWhen::Always)];

const ON_STORE_ERROR: [(&str, OnStoreError); 4] = [
    ("allow", OnStoreError::Allow),
    ("deny", OnStoreError::Deny),
    ("fail", OnStoreError::Fail),
    ("local", OnStoreError::Local),
];

const BUCKETS: &str = "a list of buckets, `unlimited` or `blocked`";
const DURATION: &str = "a duration, as in `30s`, `5m` or `1h`";
const TIME: &str = "a time, as in `2027-01-01T00:00:00Z`";

pub(super) fn file(node: &Node<'_>) -> Option<File> {
    if let Some(what) = foreign::file(node.value) {
        node.report(what);
        return None;
    }
    let what = "a policy, with `domain` and `tables`, or a ratelimit configuration, with `domain` and \
                `descriptors`";
    let mut fields = node.fields(what)?;
    let domain = fields.take("domain");
    if domain.is_none() {
        node.report("`domain` is missing; write the domain that Envoy's filter sends");
    }
    let tables = fields.take("tables");
    if tables.is_none() {
        node.report(
            "`tables` is missing; a policy without tables limits nothing, and a ratelimit \
             configuration has `descriptors`",
        );
    }
    if tables.as_ref().and_then(|node| node.value.as_sequence()).is_some_and(<[_]>::is_empty) {
        node.report(
            "the list of tables is empty; to limit nothing, write a table with `rows: { all: \
             unlimited }`",
        );
    }
    let no_condition = "a bypass without conditions matches every request; add one, or remove it";
    let file = File {
        domain: domain.and_then(|domain| domain.text()),
        headers: fields
            .take("headers")
            .and_then(|node| one_of(&node, "style", &STYLES))
            .unwrap_or_default(),
        partition: fields.take("partition").and_then(|node| node.entry_key()),
        on_store_error: fields
            .take("on_store_error")
            .and_then(|node| one_of(&node, "mode", &ON_STORE_ERROR))
            .unwrap_or_default(),
        store_prepaid: fields
            .take("store_prepaid")
            .and_then(|node| store_prepaid(&node))
            .unwrap_or_default(),
        denial_body: fields.take("denial_body").and_then(|node| denial::body(&node)),
        paths: fields.take("paths").and_then(|node| paths::paths(&node)).unwrap_or_default(),
        addresses: fields.take("addresses").and_then(|node| addresses::addresses(&node)),
        groups: fields.take("endpoint_groups").map(|node| groups(&node)).unwrap_or_default(),
        tables: items(tables, "a list of tables", table),
        overrides: items(fields.take("overrides"), "a list of overrides", policy_override),
        bypass: items(fields.take("bypass"), "a list of conditions", |node| {
            Some(some_when(node, no_condition))
        }),
    };
    fields.finish();
    Some(file)
}

fn items<T>(node: Option<Node<'_>>, what: &str, read: impl Fn(&Node<'_>) -> Option<T>) -> Vec<T> {
    node.map(|node| node.list(what).iter().filter_map(read).collect()).unwrap_or_default()
}

fn entry_keys(node: &Node<'_>) -> Vec<Located<String>> {
    node.list("a list of entries' keys").iter().filter_map(Node::entry_key).collect()
}

pub(super) fn one_of<T: Copy, const N: usize>(
    node: &Node<'_>,
    what: &str,
    choices: &[(&str, T); N],
) -> Option<T> {
    let text = node.text()?.value;
    let choice = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    if choice.is_none() {
        let hint = node.document.suggest(&text, &choices.map(|(name, _)| name));
        node.report(format!("unknown {what} `{}`{hint}", text.escape_debug()));
    }
    choice
}

fn store_prepaid(node: &Node<'_>) -> Option<StorePrepaid> {
    let text = node.text()?.value;
    match StorePrepaid::parse(&text) {
        Ok(time) => Some(time.map_or(StorePrepaid::Off, StorePrepaid::For)),
        Err(error) => {
            node.report(format!("`{}`: {error}", text.escape_debug()));
            None
        }
    }
}

fn groups(node: &Node<'_>) -> Vec<Group> {
    let entries = node.entries("endpoint groups: a name and a list of `METHOD /path` each");
    let group = |(name, node): (_, Node<'_>)| {
        let endpoints = node.list("a list of endpoints");
        Group { name, endpoints: endpoints.iter().filter_map(Node::text).collect() }
    };
    entries.into_iter().map(group).collect()
}

fn table(node: &Node<'_>) -> Option<Table> {
    let mut fields = node.fields("a table: `name`, `key`, `rows` and so on")?;
    let (name, key, rows) = (fields.take("name"), fields.take("key"), fields.take("rows"));
    for (field, what) in [
        (&name, "`name` is missing; metrics and overrides need one"),
        (&key, "`key` is missing; list the entries that tell buckets apart (`[]`: one for all)"),
        (&rows, "`rows` is missing; write `rows: { all: [..] }` for one row"),
    ] {
        if field.is_none() {
            node.report(what);
        }
    }
    let table = Table {
        name: name.and_then(|node| node.text()),
        when: fields.take("when").map(|node| when(&node)).unwrap_or_default(),
        select: fields.take("select").map(|node| select(&node)),
        key: key.map(|node| entry_keys(&node)),
        key_path: fields
            .take("key_path")
            .and_then(|node| one_of(&node, "choice", &KEY_PATH).map(|choice| node.at(choice))),
        prefix: fields.take("prefix").and_then(|node| prefix(&node)),
        shadow: fields.take("shadow").and_then(|node| node.flag()).unwrap_or(false),
        charging: read_charging(&mut fields),
        message: fields.take("message").and_then(|node| node.text()),
        rows: rows.map(|node| table_rows(&node)).unwrap_or_default(),
    };
    fields.finish();
    Some(table)
}

/// The key of the selecting entry; empty if it is invalid, so that the table still counts as selecting.
fn select(node: &Node<'_>) -> Located<String> {
    node.entry_key().unwrap_or_else(|| node.at(String::new()))
}

fn prefix(node: &Node<'_>) -> Option<Prefix> {
    let mut fields = node.fields("`ipv4` and `ipv6`, the bits of an address that count")?;
    let mut bits = |name, all| fields.take(name).and_then(|node| node.whole(1..=all));
    let prefix =
        Prefix { ipv4: bits("ipv4", 32), ipv6: bits("ipv6", 128), path: node.path.clone() };
    fields.finish();
    Some(prefix)
}

fn table_rows(node: &Node<'_>) -> Vec<Row> {
    if node.value.as_mapping().is_some_and(<[_]>::is_empty) {
        node.report("the table has no row and limits nothing; add a row");
    }
    let entries = node.entries("rows: a name and a list of buckets each");
    entries.into_iter().map(|(name, node)| row(name, &node)).collect()
}

fn row(name: Located<String>, node: &Node<'_>) -> Row {
    if !node.value.is_mapping() {
        let (shadow, charging) = Default::default();
        return Row { name, shadow, charging, buckets: buckets(node) };
    }
    let (shadow, charging, buckets) = row_fields(node).unwrap_or_default();
    Row { name, shadow, charging, buckets }
}

fn row_fields(node: &Node<'_>) -> Option<(bool, Charging, Buckets)> {
    let mut fields = node.fields("a row")?;
    let shadow = fields.take("shadow").and_then(|node| node.flag()).unwrap_or(false);
    let listed = fields.take("buckets");
    if listed.is_none() {
        node.report(
            "`buckets` is missing; a row may also be the list itself, as in `[{ per_second: 10 }]`",
        );
    }
    let charging = read_charging(&mut fields);
    fields.finish();
    Some((shadow, charging, buckets(&listed?)))
}

fn read_charging(fields: &mut Fields<'_>) -> Charging {
    Charging {
        charge: fields
            .take("charge")
            .and_then(|node| one_of(&node, "choice", &CHARGE).map(|choice| node.at(choice))),
        most_owed: fields.take("most_owed").and_then(|node| node.whole(0..=u32::MAX)),
    }
}

/// The buckets of a row that can be read.
fn buckets(node: &Node<'_>) -> Buckets {
    match node.value.as_str() {
        Some("unlimited") => return Buckets::Unlimited,
        Some("blocked") => return Buckets::Blocked,
        Some(other) => {
            let similar = node.document.did_you_mean(other, ["unlimited", "blocked"]);
            let other = other.escape_debug();
            node.report(format!("expected {BUCKETS}, found `{other}`{similar}"));
            return Buckets::default();
        }
        None => {}
    }
    if node.value.as_sequence().is_some_and(<[_]>::is_empty) {
        node.report("the list of buckets is empty; write `unlimited` or `blocked` instead");
    }
    let listed = node.list(BUCKETS);
    Buckets::Listed(listed.iter().filter_map(bucket).collect())
}

/// A bucket; `None` if it has a problem, since a field that seems missing may be the misspelled one.
fn bucket(node: &Node<'_>) -> Option<Bucket> {
    let before = node.document.problem_count();
    let mut fields = node.fields("a bucket, as in `{ size: 10, per_second: 5 }`")?;
    let mut count = |name| fields.take(name).and_then(|node| count(&node));
    let size = count("size");
    let per = PER.iter().filter_map(|(name, unit)| Some((*unit, count(name)?))).collect();
    let rate = count("rate");
    let concurrent = count("concurrent");
    let span = |name| fields.take(name).and_then(|node| node.text_of(DURATION, ""));
    let [every, ttl, hold] = ["every", "ttl", "hold"].map(span);
    fields.finish();
    if let (Some(_), Some(Located { path, .. })) = (&ttl, &hold) {
        node.document.report(path, "`hold` is the old name of `ttl`; keep one of them");
    }
    let ttl = ttl.or(hold);
    let bucket = Bucket { path: node.path.clone(), size, per, rate, every, concurrent, ttl };
    (node.document.problem_count() == before).then_some(bucket)
}

fn count(node: &Node<'_>) -> Option<Located<u32>> {
    let count = node.whole(1..=u32::MAX)?;
    if count.value == 0 {
        node.report(LimitError::Zero.to_string());
    }
    Some(count)
}

fn policy_override(node: &Node<'_>) -> Option<Override> {
    let mut fields = node.fields("an override: `table`, `when`, `buckets` and so on")?;
    let table = fields.take("table");
    let when_node = fields.take("when");
    let listed = fields.take("buckets");
    for (name, field) in [("table", &table), ("when", &when_node), ("buckets", &listed)] {
        if field.is_none() {
            node.report(format!(
                "`{name}` is missing; an override needs `table`, `when` and `buckets`"
            ));
        }
    }
    let no_condition = "an override needs a condition; to change all requests, change the row";
    let policy_override = Override {
        table: table.and_then(|node| node.text()),
        row: fields.take("row").and_then(|node| node.text()),
        when: when_node.map(|node| some_when(&node, no_condition)).unwrap_or_default(),
        until: fields.take("until").and_then(|node| node.text_of(TIME, "")),
        buckets: listed.map(|node| buckets(&node)),
    };
    fields.finish();
    Some(policy_override)
}
