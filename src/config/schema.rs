//! The policy file as it is written: one type for each thing a file can say, with the place it was said.
//! Whether it makes sense is decided in `compile`.

use super::problem::{Place, did_you_mean};
use super::read::{At, Node};
use crate::limit::Unit;
use crate::policy::HeaderStyle;

pub(super) struct File {
    pub(super) domain: Option<At<String>>,
    pub(super) headers: HeaderStyle,
    pub(super) groups: Vec<Group>,
    pub(super) tables: Vec<Table>,
    pub(super) overrides: Vec<Override>,
    pub(super) bypass: Vec<When>,
}

pub(super) struct Group {
    pub(super) name: At<String>,
    pub(super) endpoints: Vec<At<String>>,
}

pub(super) struct Table {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) when: When,
    pub(super) select: Option<At<String>>,
    pub(super) key: Option<Vec<At<String>>>,
    pub(super) prefix: Option<At<Prefix>>,
    pub(super) shadow: bool,
    pub(super) message: Option<At<String>>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Prefix {
    pub(super) ipv4: Option<u32>,
    pub(super) ipv6: Option<u32>,
}

pub(super) struct Row {
    pub(super) name: At<String>,
    pub(super) shadow: bool,
    pub(super) buckets: Buckets,
}

pub(super) enum Buckets {
    Unlimited,
    Listed(Vec<Bucket>),
}

pub(super) struct Bucket {
    pub(super) place: Place,
    pub(super) size: Option<At<u32>>,
    pub(super) per: Vec<(Unit, At<u32>)>,
    pub(super) rate: Option<At<u32>>,
    pub(super) every: Option<At<String>>,
    pub(super) concurrent: Option<At<u32>>,
    pub(super) hold: Option<At<String>>,
}

/// Conditions on entries; all must hold.
#[derive(Default)]
pub(super) struct When {
    pub(super) place: Place,
    pub(super) tests: Vec<(At<String>, Test)>,
}

pub(super) enum Test {
    Equal(At<String>),
    Prefix(String),
    Cidr(Vec<At<String>>),
    Present,
    Absent,
    Any(Vec<Self>),
}

pub(super) struct Override {
    pub(super) place: Place,
    pub(super) table: Option<At<String>>,
    pub(super) row: Option<At<String>>,
    pub(super) when: When,
    pub(super) until: Option<At<String>>,
    pub(super) buckets: Option<Buckets>,
}

const PER: [(&str, Unit); 4] = [
    ("per_second", Unit::Second),
    ("per_minute", Unit::Minute),
    ("per_hour", Unit::Hour),
    ("per_day", Unit::Day),
];

const STYLES: [(&str, HeaderStyle); 4] = [
    ("epoch", HeaderStyle::Epoch),
    ("delta", HeaderStyle::Delta),
    ("ietf", HeaderStyle::Ietf),
    ("off", HeaderStyle::Off),
];

pub(super) fn file(node: &Node<'_>) -> Option<File> {
    let mut fields = node.fields("a policy: `domain`, `tables` and so on")?;
    let domain = fields.take("domain");
    if domain.is_none() {
        node.complain("`domain` is missing; it is the domain that Envoy's filter names");
    }
    let tables = fields.take("tables");
    if tables.is_none() {
        node.complain("`tables` is missing; a policy without tables limits nothing");
    }
    let file = File {
        domain: domain.and_then(|domain| domain.text()),
        headers: fields.take("headers").and_then(|node| style(&node)).unwrap_or_default(),
        groups: fields.take("endpoint_groups").map(|node| groups(&node)).unwrap_or_default(),
        tables: tables
            .map(|node| node.list().iter().filter_map(table).collect())
            .unwrap_or_default(),
        overrides: items(fields.take("overrides"), over_ride),
        bypass: items(fields.take("bypass"), |node| Some(when(node))),
    };
    fields.finish();
    Some(file)
}

fn items<T>(node: Option<Node<'_>>, read: impl Fn(&Node<'_>) -> Option<T>) -> Vec<T> {
    node.map(|node| node.list().iter().filter_map(read).collect()).unwrap_or_default()
}

fn texts(node: &Node<'_>) -> Vec<At<String>> {
    node.list().iter().filter_map(Node::text).collect()
}

fn style(node: &Node<'_>) -> Option<HeaderStyle> {
    let text = node.text()?.value;
    let style = STYLES.iter().find(|(name, _)| *name == text).map(|(_, style)| *style);
    if style.is_none() {
        let names = STYLES.map(|(name, _)| name);
        let near = did_you_mean(&text, names);
        node.complain(format!("`headers` is one of {}{near}", names.join(", ")));
    }
    style
}

fn groups(node: &Node<'_>) -> Vec<Group> {
    let entries = node.entries("endpoint groups: a name and a list of `METHOD /path` each");
    entries.into_iter().map(|(name, node)| Group { name, endpoints: texts(&node) }).collect()
}

fn table(node: &Node<'_>) -> Option<Table> {
    let mut fields = node.fields("a table: `name`, `key`, `rows` and so on")?;
    let rows = fields.take("rows");
    if rows.is_none() {
        node.complain("`rows` is missing; write `rows: { always: [..] }` for one row");
    }
    let table = Table {
        place: node.place.clone(),
        name: fields.take("name").and_then(|node| node.text()),
        when: fields.take("when").map(|node| when(&node)).unwrap_or_default(),
        select: fields.take("select").and_then(|node| node.text()),
        key: fields.take("key").map(|node| texts(&node)),
        prefix: fields.take("prefix").and_then(|node| prefix(&node)),
        shadow: fields.take("shadow").and_then(|node| node.flag()).unwrap_or(false),
        message: fields.take("message").and_then(|node| node.text()),
        rows: rows.map(|node| table_rows(&node)).unwrap_or_default(),
    };
    fields.finish();
    Some(table)
}

fn prefix(node: &Node<'_>) -> Option<At<Prefix>> {
    let mut fields = node.fields("`ipv4` and `ipv6`, the bits of an address that count")?;
    let mut bits = |name| fields.take(name).and_then(|node| node.whole()).map(|bits| bits.value);
    let value = Prefix { ipv4: bits("ipv4"), ipv6: bits("ipv6") };
    fields.finish();
    Some(At { value, place: node.place.clone() })
}

fn table_rows(node: &Node<'_>) -> Vec<Row> {
    let entries = node.entries("rows: a name and a list of buckets each");
    entries.into_iter().filter_map(|(name, node)| row(name, &node)).collect()
}

fn row(name: At<String>, node: &Node<'_>) -> Option<Row> {
    if !node.value.is_mapping() {
        return Some(Row { name, shadow: false, buckets: buckets(node)? });
    }
    let mut fields = node.fields("a list of buckets")?;
    let shadow = fields.take("shadow").and_then(|node| node.flag()).unwrap_or(false);
    let listed = fields.take("buckets");
    fields.finish();
    if listed.is_none() {
        node.complain("a row is a list of buckets, as in `[{ per_second: 10 }]`");
    }
    Some(Row { name, shadow, buckets: buckets(&listed?)? })
}

fn buckets(node: &Node<'_>) -> Option<Buckets> {
    match node.value.as_str() {
        Some("unlimited") => return Some(Buckets::Unlimited),
        Some(other) => {
            let near = did_you_mean(other, ["unlimited"]);
            node.complain(format!("expected a list of buckets, or `unlimited`{near}"));
            return None;
        }
        None => {}
    }
    let listed: Vec<_> = node.list().iter().filter_map(bucket).collect();
    if node.value.as_sequence().is_some_and(Vec::is_empty) {
        node.complain("no bucket at all; write `unlimited` if that is meant");
    }
    Some(Buckets::Listed(listed))
}

fn bucket(node: &Node<'_>) -> Option<Bucket> {
    let mut fields = node.fields("a bucket, as in `{ size: 10, per_second: 5 }`")?;
    let mut whole = |name| fields.take(name).and_then(|node| node.whole());
    let size = whole("size");
    let per = PER.iter().filter_map(|(name, unit)| Some((*unit, whole(name)?))).collect();
    let rate = whole("rate");
    let concurrent = whole("concurrent");
    let every = fields.take("every").and_then(|node| node.text());
    let hold = fields.take("hold").and_then(|node| node.text());
    fields.finish();
    Some(Bucket { place: node.place.clone(), size, per, rate, every, concurrent, hold })
}

fn when(node: &Node<'_>) -> When {
    let entries = node.entries("conditions: an entry's key and what its value must be like");
    let tests = entries.into_iter().filter_map(|(key, node)| Some((key, test(&node)?)));
    When { tests: tests.collect(), place: node.place.clone() }
}

fn test(node: &Node<'_>) -> Option<Test> {
    if node.value.is_sequence() {
        let any: Vec<_> = node.list().iter().filter_map(text_test).collect();
        if any.is_empty() {
            node.complain("a list of no values never holds");
        }
        return Some(Test::Any(any));
    }
    if !node.value.is_mapping() {
        return text_test(node);
    }
    let mut fields = node.fields("a condition")?;
    let mut tests = Vec::new();
    let mut flag = |fields: &mut super::read::Fields<'_>, name, test| {
        let Some(node) = fields.take(name) else { return };
        if node.flag() == Some(true) {
            tests.push(test);
        } else {
            node.complain(format!("`{name}` can only be true; leave the condition out otherwise"));
        }
    };
    flag(&mut fields, "present", Test::Present);
    flag(&mut fields, "absent", Test::Absent);
    tests.extend(fields.take("equal").and_then(|node| node.text()).map(Test::Equal));
    let one_of = fields.take("one_of");
    tests.extend(one_of.map(|node| Test::Any(texts(&node).into_iter().map(Test::Equal).collect())));
    let prefix = fields.take("prefix").and_then(|node| node.text());
    tests.extend(prefix.map(|prefix| Test::Prefix(prefix.value)));
    tests.extend(fields.take("cidr").map(|node| Test::Cidr(networks(&node))));
    fields.finish();
    match tests.len() {
        1 => tests.pop(),
        _ => {
            node.complain("a condition is one of equal, one_of, prefix, cidr, present, absent");
            None
        }
    }
}

fn networks(node: &Node<'_>) -> Vec<At<String>> {
    if node.value.is_string() { node.text().into_iter().collect() } else { texts(node) }
}

/// A value, or the beginning of one: `text*`.
fn text_test(node: &Node<'_>) -> Option<Test> {
    let text = node.text()?;
    match text.value.split_once('*') {
        None => Some(Test::Equal(text)),
        Some((prefix, "")) => Some(Test::Prefix(prefix.to_owned())),
        Some(_) => {
            node.complain(
                "`*` stands at the end, for any rest; write `{ equal: .. }` to mean a star",
            );
            None
        }
    }
}

fn over_ride(node: &Node<'_>) -> Option<Override> {
    let mut fields = node.fields("an override: `table`, `when`, `buckets` and so on")?;
    let table = fields.take("table");
    let when_node = fields.take("when");
    let listed = fields.take("buckets");
    for (name, field) in [("table", &table), ("when", &when_node), ("buckets", &listed)] {
        if field.is_none() {
            node.complain(format!(
                "`{name}` is missing; an override is a table, whose calls, and buckets"
            ));
        }
    }
    let over_ride = Override {
        place: node.place.clone(),
        table: table.and_then(|node| node.text()),
        row: fields.take("row").and_then(|node| node.text()),
        when: when_node.map(|node| when(&node)).unwrap_or_default(),
        until: fields.take("until").and_then(|node| node.text()),
        buckets: listed.and_then(|node| buckets(&node)),
    };
    fields.finish();
    Some(over_ride)
}
