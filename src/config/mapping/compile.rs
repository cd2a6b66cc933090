//! Compiles a mapping from its schema, or reports all of its problems.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use regex::bytes::RegexBuilder;

use super::table::{self, Format};
use super::{ReadTable, schema};
use crate::config::compile::ConditionReader;
use crate::config::document::{Document, Located};
use crate::config::path::shown;
use crate::config::problem::Problems;
use crate::descriptor::{Hits, MAX_DESCRIPTORS, MAX_ENTRIES};
use crate::mapping::{
    Builder, Derived, HitsSource, LookupTable, MAX_FIELDS, MAX_PATTERN_BYTES, MAX_PATTERNS,
    Mapping, NewEntry, PatternIndex, Skip, Source, Times,
};
use crate::policy::entry_name::EntryName;

/// The most look-up tables of one mapping.
const MAX_TABLES: usize = 16;

/// Bytes of the text of one regular expression.
const MAX_PATTERN_LENGTH: usize = 4096;

/// Compiles a file. Problems go to the document, those of look-up tables are returned; with problems, the mapping is not
/// usable.
pub(super) fn mapping(
    file: &schema::File,
    document: &Document<'_>,
    folder: &Path,
    read: &ReadTable<'_>,
) -> (Mapping, Problems) {
    let mut compiler = Compiler {
        document,
        folder,
        read,
        builder: Builder::default(),
        tables: HashMap::new(),
        problems: Problems::default(),
    };
    if let Some(descriptor) = file.descriptors.get(MAX_DESCRIPTORS) {
        let what = format!("a request has at most {MAX_DESCRIPTORS} descriptors; shorten the list");
        document.report(&descriptor.path, what);
    }
    let descriptors = file.descriptors.iter().take(MAX_DESCRIPTORS);
    descriptors.for_each(|descriptor| compiler.descriptor(descriptor));
    let skip = compiler.skip(file);
    compiler.check_fields(file);
    (compiler.builder.build(skip, times(file)), compiler.problems)
}

fn times(file: &schema::File) -> Times {
    let time = file.time.as_ref();
    Times {
        time: time.and_then(|time| time.field.clone()),
        at: time.and_then(|time| time.at),
        duration: file.duration.as_ref().map(|of| (of.field.clone(), of.unit)),
    }
}

struct Compiler<'a> {
    document: &'a Document<'a>,
    folder: &'a Path,
    read: &'a ReadTable<'a>,
    builder: Builder,
    /// The tables that have been read; `None` for one with problems.
    tables: HashMap<PathBuf, Option<Arc<LookupTable>>>,
    /// Those of tables.
    problems: Problems,
}

impl Compiler<'_> {
    fn descriptor(&mut self, descriptor: &schema::Descriptor) {
        if descriptor.entries.len() > MAX_ENTRIES {
            let what = format!("a descriptor has at most {MAX_ENTRIES} entries; leave some out");
            self.document.report(&descriptor.path, what);
        }
        let entries = descriptor.entries.iter().take(MAX_ENTRIES);
        let entries = entries.enumerate().map(|(at, entry)| {
            self.check_number(descriptor.entries.get(..at).unwrap_or_default(), &entry.name);
            self.entry(entry)
        });
        let entries = entries.collect();
        let hits = self.hits(descriptor.hits.as_ref());
        self.builder.descriptor(entries, hits);
    }

    /// The entries with one key are in the order of their numbers, since a descriptor has no numbers.
    fn check_number(&self, before: &[schema::Entry], name: &Located<String>) {
        let key_of =
            |name: &Located<String>| EntryName::parse(&name.value).map(|name| name.key.to_owned());
        let Ok(EntryName { key, number }) = EntryName::parse(&name.value) else { return };
        let same = before.iter().filter(|entry| key_of(&entry.name).as_deref() == Ok(key)).count();
        if same != usize::from(number) {
            let what = format!(
                "`{}` stands behind {same} entries with its key; write them in the order of their numbers, from 0",
                shown(&name.value)
            );
            self.document.report(&name.path, what);
        }
    }

    fn check_fields(&self, file: &schema::File) {
        if self.builder.field_count() > MAX_FIELDS
            && let Some(descriptor) = file.descriptors.first()
        {
            let what = format!("a mapping has at most {MAX_FIELDS} fields; leave some out");
            self.document.report(&descriptor.path, what);
        }
    }

    fn entry(&mut self, entry: &schema::Entry) -> NewEntry {
        let name = &*entry.name.value;
        let key = EntryName::parse(name).map_or(name, |name| name.key).into();
        match &entry.value {
            schema::Value::Constant(text) => {
                let source = Source::Constant(text.as_bytes().into());
                NewEntry { key, source, is_required: false, is_optional: false }
            }
            schema::Value::Derived(from) => NewEntry {
                key,
                source: Source::Derived(self.derived(from)),
                is_required: from.is_required,
                is_optional: from.is_optional,
            },
        }
    }

    fn derived(&mut self, from: &schema::Derived) -> Derived {
        let fields = from.fields.iter().map(|name| self.builder.field(name)).collect();
        let claim = from.jwt.as_ref().map(|path| self.builder.claim(&fields, path.clone()));
        Derived {
            fields,
            claim,
            element: from.element,
            pattern: from.pattern.as_ref().and_then(|text| self.pattern(text)),
            lookup: from.lookup.as_ref().and_then(|name| self.table(name)),
            default: from.default.as_ref().map(|text| text.as_bytes().into()),
        }
    }

    fn pattern(&mut self, Located { value, path }: &Located<String>) -> Option<PatternIndex> {
        let what = if value.len() > MAX_PATTERN_LENGTH {
            format!("a regular expression has at most {MAX_PATTERN_LENGTH} bytes; shorten it")
        } else if self.builder.pattern_count() == MAX_PATTERNS {
            format!("a mapping has at most {MAX_PATTERNS} regular expressions; leave some out")
        } else {
            // Of bytes: a byte of no character would end what `[^/]+` matches.
            let mut pattern = RegexBuilder::new(value);
            match pattern.unicode(false).size_limit(MAX_PATTERN_BYTES).build() {
                Ok(pattern) => return Some(self.builder.pattern(pattern)),
                Err(error) => wrong_pattern(&error),
            }
        };
        self.document.report(path, what);
        None
    }

    /// A look-up table, which is read once, however many entries have it.
    fn table(&mut self, Located { value, path }: &Located<String>) -> Option<Arc<LookupTable>> {
        let file = self.folder.join(value);
        if let Some(known) = self.tables.get(&file) {
            return known.clone();
        }
        if self.tables.len() == MAX_TABLES {
            let what = format!("a mapping has at most {MAX_TABLES} look-up tables; leave some out");
            self.document.report(path, what);
            return None;
        }
        let found = self.read_table(&file).map(Arc::new);
        let found = found.map_err(|what| self.document.report(path, what)).ok();
        self.tables.insert(file, found.clone());
        found
    }

    /// Reads a table. Those of its problems that have a place go to the others.
    ///
    /// # Errors
    /// What is wrong as a whole.
    fn read_table(&mut self, file: &Path) -> Result<LookupTable, String> {
        let name = file.display().to_string();
        let format = Format::of(file).ok_or_else(|| {
            format!("`{}`: a look-up table is a .csv, .tsv, .yaml or .yml file", shown(&name))
        })?;
        let text = (self.read)(file).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "; its path is relative to the folder of the mapping",
                ErrorKind::InvalidData => "; save it as UTF-8",
                ErrorKind::FileTooLarge => "; shorten it",
                _ => "",
            };
            format!("`{}` cannot be read: {error}{hint}", shown(&name))
        })?;
        table::table(&name, &text, format).map_err(|problems| {
            self.problems.append(problems);
            format!("`{}` has problems", shown(&name))
        })
    }

    fn hits(&mut self, written: Option<&schema::Hits>) -> HitsSource {
        let charge = |count: u32| Hits::charge(count.into());
        match written {
            None => HitsSource::Constant(Hits::ONE),
            Some(schema::Hits::Constant(count)) => HitsSource::Constant(charge(*count)),
            Some(schema::Hits::From(from)) => HitsSource::Field {
                fields: from.fields.iter().map(|name| self.builder.field(name)).collect(),
                divide: from
                    .divide
                    .and_then(|by| NonZeroU64::new(by.into()))
                    .unwrap_or(NonZeroU64::MIN),
                default: from.default.map(charge),
            },
        }
    }

    fn skip(&mut self, file: &schema::File) -> Skip {
        let mut skip = Skip::default();
        for when in &file.skip {
            for (name, _) in &when.tests {
                self.skip_name(name, file, &mut skip);
            }
            let mut reader = ConditionReader {
                document: self.document,
                keys: &mut skip.keys,
                groups: Vec::new(),
            };
            let conditions = reader.read(when);
            skip.any.push(conditions);
        }
        skip
    }

    /// What a condition tests: a field, or an entry that a descriptor has.
    fn skip_name(&mut self, name: &Located<String>, file: &schema::File, skip: &mut Skip) {
        match schema::read_text(&name.value) {
            Ok(schema::Text::Field(field)) => {
                let index = skip.keys.intern(&name.value);
                let field = self.builder.field(&field);
                if !skip.fields.contains(&(index, field)) {
                    skip.fields.push((index, field));
                }
            }
            Ok(schema::Text::Constant(_)) => {
                let entries = || file.descriptors.iter().flat_map(|of| &of.entries);
                let names = || entries().map(|entry| &*entry.name.value);
                if !names().any(|known| known == name.value) {
                    let similar = self.document.did_you_mean(&name.value, names());
                    let hint = match &*similar {
                        "" => "; name an entry, or a field with `$`",
                        similar => similar,
                    };
                    let what =
                        format!("no descriptor has the entry `{}`{hint}", shown(&name.value));
                    self.document.report(&name.path, what);
                }
            }
            Err(what) => self.document.report(&name.path, what),
        }
    }
}

/// Why a regular expression is refused, in one line.
fn wrong_pattern(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(bytes) => format!(
            "the regular expression takes more than {bytes} bytes of memory; shorten it, or its repetitions"
        ),
        other => {
            let text = other.to_string();
            let why = text.lines().last().unwrap_or_default();
            let why = why.strip_prefix("error: ").unwrap_or(why);
            format!("not a regular expression: {why}; docs/replay.md shows some")
        }
    }
}
