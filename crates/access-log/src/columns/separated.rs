//! Lines of values with a separator between them, whose columns a header names: CSV, TSV and CloudFront.

use memchr::memchr;

use crate::columns::{Cell, Cells, Sources, find};
use crate::error::LineError;
use crate::record::{Asked, Record};
use crate::unescape::{Form, Raw};

/// The columns of CloudFront's standard log, for a file that begins without its header.
const CLOUDFRONT: &str = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) \
    cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes \
    time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status \
    fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len \
    sc-range-start sc-range-end";

/// Which values with separators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Commas; a value may stand in quotes, with `""` for a quote.
    Csv,
    /// Tabs; a value may stand in quotes as well.
    Tsv,
    /// Tabs between values that are URL-encoded. Lines with `#` are headers; `#Fields:` names the columns.
    CloudFront,
}

/// Reads lines of values.
#[derive(Debug, Clone)]
pub(crate) struct SeparatedReader {
    dialect: Dialect,
    asked: Asked,
    /// The line with the names of the columns, of CSV and TSV.
    header: Vec<u8>,
    /// The names of the columns, once the header was there.
    columns: Vec<String>,
    sources: Option<Sources>,
    cells: Vec<Cell>,
}

impl SeparatedReader {
    pub(crate) fn new(dialect: Dialect, asked: Asked) -> Self {
        let asked = Asked { is_end: dialect == Dialect::CloudFront, ..asked };
        let mut reader =
            Self { dialect, asked, header: vec![], columns: vec![], sources: None, cells: vec![] };
        if dialect == Dialect::CloudFront {
            let columns = CLOUDFRONT.split_ascii_whitespace().map(str::to_owned).collect();
            reader.set_columns(columns);
        }
        reader
    }

    /// The same with the fields of the general names.
    pub(crate) fn general(&self) -> Self {
        let mut reader = Self { asked: self.asked.with_general_fields(), ..self.clone() };
        if reader.sources.is_some() {
            reader.set_columns(self.columns.clone());
        }
        reader
    }

    fn set_columns(&mut self, columns: Vec<String>) {
        let position = |name: &str| columns.iter().position(|column| column == name);
        self.sources = Some(Sources::new(&self.asked, position));
        self.columns = columns;
    }

    pub(crate) fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        if !self.split(line)? {
            return Ok(());
        }
        let cells = Cells { line, cells: &self.cells, escapes: self.escapes() };
        match &mut self.sources {
            Some(sources) => sources.read(cells, scratch, each),
            None => Ok(()),
        }
    }

    /// Every column by its name.
    pub(crate) fn fields(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        if self.split(line)? {
            let cells = Cells { line, cells: &self.cells, escapes: self.escapes() };
            for (column, name) in self.columns.iter().enumerate() {
                if let Some(raw) = cells.raw(column) {
                    each(name, &raw.value());
                }
            }
        }
        Ok(())
    }

    const fn escapes(&self) -> Form<'static> {
        match self.dialect {
            Dialect::Csv | Dialect::Tsv => Form::DoubledQuotes,
            Dialect::CloudFront => Form::Percent,
        }
    }

    /// Where the values stand. Returns whether there are any: not in a header.
    fn split(&mut self, line: &[u8]) -> Result<bool, LineError> {
        match self.dialect {
            Dialect::CloudFront => self.split_cloudfront(line),
            Dialect::Csv => self.split_quoted(line, b',').and_then(|()| self.is_of_values(line)),
            Dialect::Tsv => self.split_quoted(line, b'\t').and_then(|()| self.is_of_values(line)),
        }
    }

    fn split_cloudfront(&mut self, line: &[u8]) -> Result<bool, LineError> {
        if let Some(header) = line.strip_prefix(b"#") {
            if let Some(names) = header.strip_prefix(b"Fields:") {
                let names = String::from_utf8_lossy(names);
                self.set_columns(names.split_ascii_whitespace().map(str::to_owned).collect());
            }
            return Ok(false);
        }
        self.cells.clear();
        let mut start = 0;
        while start <= line.len() {
            let end = find(b'\t', line, start);
            let bytes = line.get(start..end).unwrap_or_default();
            // A path and its query are in the encoding of the request.
            let name = self.columns.get(self.cells.len());
            let is_path = name.is_some_and(|name| name.starts_with("cs-uri-"));
            let is_escaped = !is_path && memchr(b'%', bytes).is_some();
            self.cells.push(Cell { start, end, is_escaped });
            start = end.saturating_add(1);
        }
        self.check_count(line)
    }

    /// A file may lack the columns that were added last.
    fn check_count(&self, line: &[u8]) -> Result<bool, LineError> {
        let (count, columns) = (self.cells.len(), self.columns.len());
        let is_default = self.dialect == Dialect::CloudFront && columns > 26 && count >= 26;
        if count == columns || is_default {
            Ok(true)
        } else {
            let message = format!("{columns} values as the header has names, not {count}");
            Err(LineError::new(line.len(), message))
        }
    }

    fn split_quoted(&mut self, line: &[u8], separator: u8) -> Result<(), LineError> {
        self.cells.clear();
        let mut start = 0;
        while start <= line.len() {
            let cell = match line.get(start) {
                Some(b'"') => quoted(line, start.saturating_add(1), separator),
                _ => None,
            };
            let end = match cell {
                Some(cell) => {
                    self.cells.push(cell);
                    cell.end.saturating_add(1)
                }
                // A tab needs no quotes, so that one may be part of the value.
                None if separator == b',' && line.get(start) == Some(&b'"') => {
                    let message = "a quote that ends the value, and a comma or the line's end behind it \
                                   (a value with a line break cannot be read)";
                    return Err(LineError::new(start, message));
                }
                None => {
                    let end = find(separator, line, start);
                    self.cells.push(Cell { start, end, is_escaped: false });
                    end
                }
            };
            start = end.saturating_add(1);
        }
        Ok(())
    }

    /// Takes the header, which may come again where files were put together.
    fn is_of_values(&mut self, line: &[u8]) -> Result<bool, LineError> {
        if self.sources.is_some() {
            return if line == self.header { Ok(false) } else { self.check_count(line) };
        }
        let cells = Cells { line, cells: &self.cells, escapes: Form::DoubledQuotes };
        let raw = |column: usize| cells.raw(column);
        let name = |column| raw(column).map(name).unwrap_or_default();
        let columns: Vec<String> = (0..self.cells.len()).map(name).collect();
        let position = |name: &str| columns.iter().position(|column| column == name);
        if !Sources::new(&self.asked, position).has_time() {
            let names = self.asked.times.iter().map(|time| &*time.name).collect::<Vec<_>>();
            let message =
                format!("a header with a column for the time, one of: {}", names.join(", "));
            return Err(LineError::new(0, message));
        }
        self.set_columns(columns);
        self.header = line.to_vec();
        Ok(false)
    }
}

/// A value between quotes, with a separator or the line's end behind it.
fn quoted(line: &[u8], start: usize, separator: u8) -> Option<Cell> {
    let (mut at, mut is_escaped) = (start, false);
    loop {
        let end = find(b'"', line, at);
        match line.get(end.checked_add(1)?) {
            _ if end >= line.len() => return None,
            Some(b'"') => {
                is_escaped = true;
                at = end.checked_add(2)?;
            }
            Some(next) if *next != separator => return None,
            _ => return Some(Cell { start, end, is_escaped }),
        }
    }
}

fn name(raw: Raw<'_>) -> String {
    String::from_utf8_lossy(&raw.value()).trim().to_owned()
}
