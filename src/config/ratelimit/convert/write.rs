//! Writes the policy file.

use super::Converted;
use super::limit::Note;
use super::tables::{Item, Row, Table, tables};
use super::yaml::{list, scalar};
use crate::policy::address;
use crate::policy::descriptor_tree::{NewNode, NewTree};
use crate::policy::paths::PathEntries;

/// What differs of every limit.
const PREFACE: &str = "\
# The limits of a ratelimit configuration as tables. For all of them:
# - A limit of n is a token bucket that holds n tokens and gains n in each unit, one at a time. In a window of the tree, n
#   are there again when the unit begins.
# - A request is charged to all limits that it meets, or to none if one denies it. The tree counts it in each, and equal
#   descriptors of one request each by themselves; here these are charged once.
# - A table does not see the order of entries. It takes descriptors with further entries, unless they have the keys of a
#   longer descriptor of the tree.
# - A denial has a body in JSON and `retry-after`.
# Where one differs further, a comment says `differs`. What the policy lacks is `left out`.
";

/// The policy for a tree.
pub(super) fn policy(tree: &NewTree) -> Converted {
    let items = tables(tree);
    let mut file = Writer::default();
    file.text.push_str(PREFACE);
    file.line(0, &format!("domain: {}", scalar(&tree.domain)));
    file.line(0, "headers: off");
    let has_paths = has_key(&tree.nodes, &|key| PathEntries::default().contains(key));
    if has_paths {
        file.line(0, "paths: { entries: [] }    # a path counts with its query");
    }
    if has_key(&tree.nodes, &|key| key == address::KEY) {
        file.line(0, "addresses: { nat64: [] }");
    }
    file.line(0, "tables:");
    items.iter().for_each(|item| file.item(item));
    if !items.iter().any(|item| matches!(item, Item::Table(_))) {
        file.note(1, &Note::Plain("no table is left, and a policy has at least one".to_owned()));
        file.text.push_str("  - { name: none, key: [], rows: { all: unlimited } }\n");
    }
    let Writer { text, limits, left_out } = file;
    Converted { domain: tree.domain.clone(), text, limits, left_out }
}

fn has_key(nodes: &[NewNode], is_it: &impl Fn(&str) -> bool) -> bool {
    nodes.iter().any(|node| is_it(&node.key) || has_key(&node.children, is_it))
}

#[derive(Default)]
struct Writer {
    text: String,
    limits: usize,
    left_out: usize,
}

impl Writer {
    /// Writes a line with this many levels of indentation.
    fn line(&mut self, level: usize, line: &str) {
        self.text.extend(std::iter::repeat_n("  ", level));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn note(&mut self, level: usize, note: &Note) {
        match note {
            Note::Plain(what) => self.line(level, &format!("# {what}")),
            Note::Differs(what) => self.line(level, &format!("# differs: {what}")),
            Note::LeftOut(what) => {
                self.left_out += 1;
                self.line(level, &format!("# left out: {what}"));
            }
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Comment(note) => self.note(1, note),
            Item::Table(table) => self.table(table),
        }
    }

    fn table(&mut self, table: &Table) {
        table.notes.iter().for_each(|note| self.note(1, note));
        self.line(1, &format!("- name: {}", scalar(&table.name)));
        if !table.when.is_empty() {
            self.line(2, "when:");
            table
                .when
                .iter()
                .for_each(|(name, test)| self.line(3, &format!("{}: {test}", scalar(name))));
        }
        if let Some(select) = &table.select {
            self.line(2, &format!("select: {}", scalar(select)));
        }
        self.line(2, &format!("key: {}", list(&table.key)));
        if table.is_by_address() {
            self.line(2, "prefix: { ipv4: 32, ipv6: 128 }");
        }
        if let ([row], None) = (&*table.rows, &table.select) {
            self.limits += 1;
            self.line(2, &format!("rows: {{ {}: {} }}", scalar(&row.name), row.buckets));
            return;
        }
        self.line(2, "rows:");
        for row @ Row { notes, name, buckets } in &table.rows {
            self.limits += usize::from(row.is_limited());
            notes.iter().for_each(|note| self.note(3, note));
            self.line(3, &format!("{}: {buckets}", scalar(name)));
        }
    }
}
