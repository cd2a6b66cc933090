//! Entries from the command line.

use super::schema::{self, Derived, Entry, Text, Value};
use super::{Pair, schema::File};
use crate::config::document::Located;
use crate::config::path::{NodePath, shown};
use crate::config::problem::{Problem, Problems};
use crate::policy::entry_name::EntryName;

/// Puts entries into every descriptor, in the place of those with their names. Returns what is wrong with them.
pub(super) fn apply(pairs: &[Pair], file: &mut File) -> Problems {
    let mut problems = Problems::default();
    for (name, text) in pairs {
        match entry(name, text) {
            Ok(entry) => file.descriptors.iter_mut().for_each(|of| put(&entry, &mut of.entries)),
            Err(what) => {
                problems.push(Problem::of_file(&format!("{}={}", shown(name), shown(text)), what))
            }
        }
    }
    problems
}

fn put(entry: &Entry, entries: &mut Vec<Entry>) {
    match entries.iter_mut().find(|known| known.name.value == entry.name.value) {
        Some(known) => known.value = entry.value.clone(),
        None => entries.push(entry.clone()),
    }
}

fn entry(name: &str, text: &str) -> Result<Entry, String> {
    schema::check_name(name)?;
    match EntryName::parse(name) {
        Ok(EntryName { key: "", .. }) => {
            return Err("an entry needs a key; write it as KEY=$FIELD or KEY=VALUE".to_owned());
        }
        Ok(_) => {}
        Err(error) => return Err(format!("`{}` names no entry: {error}", shown(name))),
    }
    let path = NodePath::default().key(name, None);
    let value = match schema::read_text(text)? {
        Text::Constant(text) => Value::Constant(text),
        Text::Field(field) => Value::Derived(Box::new(Derived::field(field))),
    };
    Ok(Entry { name: Located { value: name.to_owned(), path }, value })
}
