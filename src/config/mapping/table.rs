//! Look-up tables: files of two columns.

use std::path::Path;

use crate::config::document::Document;
use crate::config::language::Language;
use crate::config::path::{NodePath, Position};
use crate::config::problem::{Problem, Problems};
use crate::config::read::Node;
use crate::config::tree;
use crate::mapping::{LookupTable, MAX_ROWS};

/// The language of a table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    /// Lines of two columns with this byte between them.
    Separated(u8),
    /// A mapping.
    Yaml,
}

impl Format {
    /// By the end of the name of a file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Separated(b',')),
            "tsv" => Some(Self::Separated(b'\t')),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Compiles the text of a table, by the name of its file.
///
/// # Errors
/// All problems of a mapping; the first of lines.
pub(super) fn table(name: &str, text: &str, format: Format) -> Result<LookupTable, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document::new(name, text);
    let mut table = LookupTable::default();
    match format {
        Format::Separated(separator) => {
            if let Err(problem) = separated(name, text, separator, &mut table) {
                document.push(problem);
            }
        }
        Format::Yaml => yaml(&document, &mut table),
    }
    if table.len() == 0 && document.problem_count() == 0 {
        document.push(Problem::of_file(
            name,
            "the table is empty; write a line for each value of the log",
        ));
    }
    let problems = document.into_findings().problems;
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

fn separated(name: &str, text: &str, separator: u8, to: &mut LookupTable) -> Result<(), Problem> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).delimiter(separator);
    let mut reader = reader.from_reader(text.as_bytes());
    let mut record = csv::ByteRecord::new();
    loop {
        let line = usize::try_from(reader.position().line()).unwrap_or(usize::MAX);
        let is_record = reader.read_byte_record(&mut record);
        let line = record.position().map_or(line, |at| usize::try_from(at.line()).unwrap_or(line));
        let problem = |what: String| Problem::at(name, Position::new(line, 1), what);
        if !is_record.map_err(|error| problem(format!("cannot be read: {error}")))? {
            return Ok(());
        }
        let mut columns = record.iter();
        let (Some(from), Some(value), None) = (columns.next(), columns.next(), columns.next())
        else {
            return Err(problem(format!(
                "a look-up table has two columns, the value in the log and that of the entry; this line has {}",
                record.len()
            )));
        };
        add(from, value, to).map_err(problem)?;
    }
}

fn yaml(document: &Document<'_>, to: &mut LookupTable) {
    let Some(tree) = tree::tree(document, Language::Policy) else { return };
    let root = Node { document, value: &tree, path: NodePath::root(tree.position) };
    for (from, node) in root.entries("a look-up table: the value in the log and that of the entry")
    {
        if let Some(value) = node.text()
            && let Err(what) = add(from.value.as_bytes(), value.value.as_bytes(), to)
        {
            node.report(what);
        }
    }
}

fn add(from: &[u8], value: &[u8], to: &mut LookupTable) -> Result<(), String> {
    let is_new = to.insert(from, value);
    is_new.map_err(|_| {
        "an earlier line has another value for this one; keep one of them".to_owned()
    })?;
    if to.len() > MAX_ROWS {
        return Err(format!("a look-up table has at most {MAX_ROWS} values; shorten it"));
    }
    Ok(())
}
