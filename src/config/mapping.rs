//! Compiles mappings: which fields of a log's lines make the descriptors of a request. docs/replay.md describes the
//! language.

mod compile;
mod pairs;
mod schema;
mod table;

use std::io::{self, ErrorKind};
use std::path::Path;

use super::Source;
use super::bounds::MAX_BYTES;
use super::document::Document;
use super::language::Language;
use super::path::NodePath;
use super::problem::Problems;
use super::read::Node;
use super::{text, tree};
use crate::file;
use crate::mapping::Mapping;

/// The mapping of a replay that is given none: method, path and remote address.
pub const DEFAULT: &str = include_str!("../../config/replay/default.yaml");

/// The name of the default mapping in problems.
const DEFAULT_NAME: &str = "the default mapping";

/// Bytes of the file of one look-up table.
pub const MAX_TABLE_BYTES: u64 = 64 << 20;

/// An entry from the command line: its key, and a constant or a field, as in a file.
pub type Pair = (String, String);

/// Reads the file of a look-up table.
pub type ReadTable<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

/// Reads and compiles the file of a mapping, with its look-up tables, whose paths are relative to its folder. The pairs
/// replace the entries with their keys in every descriptor, and are added where there are none. Reads at most 4 MiB of
/// the file, and [`MAX_TABLE_BYTES`] of a table.
///
/// # Errors
/// If a file cannot be read; all problems of the mapping, of its tables and of the pairs.
pub fn load(path: &Path, pairs: &[Pair]) -> Result<Mapping, Problems> {
    let read = file::read_text(path, MAX_BYTES);
    let text = read.map_err(|error| Problems::of_path(path, &unreadable(&error)))?;
    let source = Source { name: path.display().to_string(), text };
    let folder = path.parent().unwrap_or(Path::new(""));
    compile(&source, pairs, folder, &|table| file::read_text(table, MAX_TABLE_BYTES))
}

/// The [default mapping](DEFAULT), with entries from the command line.
///
/// # Errors
/// All problems of the pairs.
pub fn from_pairs(pairs: &[Pair]) -> Result<Mapping, Problems> {
    let source = Source { name: DEFAULT_NAME.to_owned(), text: DEFAULT.to_owned() };
    compile(&source, pairs, Path::new(""), &|_| Err(ErrorKind::NotFound.into()))
}

/// Compiles a mapping. Look-up tables are read by `read`, by their paths joined to `folder`.
///
/// # Errors
/// As of [`load`].
pub fn compile(
    source: &Source,
    pairs: &[Pair],
    folder: &Path,
    read: &ReadTable<'_>,
) -> Result<Mapping, Problems> {
    let document = Document::new(&source.name, text(source));
    let schema = tree::tree(&document, Language::Policy).and_then(|tree| {
        let path = NodePath::root(tree.position);
        schema::file(&Node { document: &document, value: &tree, path })
    });
    let Some(mut schema) = schema else { return Err(document.into_findings().problems) };
    let mut problems = pairs::apply(pairs, &mut schema);
    let (mapping, of_tables) = compile::mapping(&schema, &document, folder, read);
    problems.append(document.into_findings().problems);
    problems.append(of_tables);
    if problems.is_empty() { Ok(mapping) } else { Err(problems) }
}

/// Why the file of a mapping cannot be read, and what to do.
fn unreadable(error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => "; name the file of a mapping",
        ErrorKind::InvalidData => "; save it as UTF-8",
        ErrorKind::FileTooLarge => "; put long tables into files of their own, for `lookup`",
        ErrorKind::Unsupported => "; put a regular file there",
        _ => "",
    };
    format!("cannot be read: {error}{hint}")
}

#[cfg(test)]
mod tests;
