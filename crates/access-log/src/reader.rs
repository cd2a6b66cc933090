//! Reading lines.

use crate::columns::layout::{self, Layout, LayoutReader};
use crate::columns::separated::{Dialect, SeparatedReader};
use crate::error::{FieldError, LineError};
use crate::format::Format;
use crate::json::JsonReader;
use crate::names::GENERAL;
use crate::otlp::OtlpReader;
use crate::record::{Asked, Record, TimeFields};
use crate::tollgate::TollgateReader;
use crate::unescape::{Form, Raw};
use crate::wrapped::unwrapped;

/// Reads the lines of one log. What it has learnt of them (the header of CSV, the order of fields in JSON) it keeps.
#[derive(Debug, Clone)]
pub struct Reader {
    asked: Asked,
    lines: Lines,
    /// Values without their escapes.
    scratch: Vec<u8>,
    /// A line without those of what was written around it.
    inner: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Lines {
    Layout(LayoutReader),
    Separated(SeparatedReader),
    Json(JsonReader),
    Otlp(OtlpReader),
    Tollgate(Box<TollgateReader>),
}

impl Reader {
    /// A reader of a log from its first line on. More than 16 wanted fields cost an allocation for each line.
    ///
    /// # Errors
    /// If a field is wanted, or has the time, that no line of a format with fixed columns can have. JSON, CSV, TSV,
    /// CloudFront's and tollgate's logs may have any field; one that a line does not have is `None`.
    pub fn new(format: Format, wanted: &[String], times: &TimeFields) -> Result<Self, FieldError> {
        let asked = Asked::new(wanted, times);
        let layout = |layout: &'static Layout| {
            LayoutReader::new(layout, &asked, wanted, times).map(Lines::Layout)
        };
        let separated = |dialect| Lines::Separated(SeparatedReader::new(dialect, asked.clone()));
        let lines = match format {
            Format::Envoy => layout(&layout::ENVOY)?,
            Format::Istio => layout(&layout::ISTIO)?,
            Format::Combined => layout(&layout::COMBINED)?,
            Format::Alb => layout(&layout::ALB)?,
            Format::CloudFront => separated(Dialect::CloudFront),
            Format::Csv => separated(Dialect::Csv),
            Format::Tsv => separated(Dialect::Tsv),
            Format::Json => Lines::Json(JsonReader::new(&asked)),
            Format::OtelJson => Lines::Otlp(OtlpReader::new(&asked)),
            Format::Tollgate => Lines::Tollgate(Box::new(TollgateReader::new(&asked))),
        };
        Ok(Self { asked, lines, scratch: vec![], inner: vec![] })
    }

    /// Reads a line, without its end; a carriage return there is not part of it. Header lines and empty lines give no
    /// record, a line of OpenTelemetry may give many, and one of tollgate only if it tells of a denial.
    ///
    /// What container runtimes and syslog write in front of a line, or around it, is not part of it either.
    ///
    /// Takes time in proportion to the length of the line, whatever it contains.
    ///
    /// # Errors
    /// If the line is not of the format; records that it gave before remain valid.
    pub fn read(&mut self, line: &[u8], each: &mut dyn FnMut(Record<'_>)) -> Result<(), LineError> {
        let Some(line) = trimmed(line) else { return Ok(()) };
        let Some(inner) = unwrapped(line) else {
            return self.lines.read(line, &mut self.scratch, each);
        };
        let (inner, before) = unescaped(inner, line, &mut self.inner);
        let Some(inner) = trimmed(inner) else { return Ok(()) };
        self.lines.read(inner, &mut self.scratch, each).map_err(|error| error.behind(before))
    }

    /// Hands over all fields of a line: by their own names, then those of [`GENERAL`] that it has under other names.
    ///
    /// # Errors
    /// As of [`Reader::read`].
    pub fn fields(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        let Some(line) = trimmed(line) else { return Ok(()) };
        let Some(inner) = unwrapped(line) else { return self.fields_of(line, each) };
        let mut buffer = vec![];
        let (inner, before) = unescaped(inner, line, &mut buffer);
        let Some(inner) = trimmed(inner) else { return Ok(()) };
        self.fields_of(inner, each).map_err(|error| error.behind(before))
    }

    fn fields_of(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        let mut own = vec![];
        let mut note = |name: &str, value: &[u8]| {
            own.extend(GENERAL.into_iter().filter(|general| *general == name));
            each(name, value);
        };
        match &mut self.lines {
            Lines::Layout(reader) => reader.fields(line, &mut note),
            Lines::Separated(reader) => reader.fields(line, &mut note),
            Lines::Json(reader) => reader.fields(line, &mut note),
            Lines::Otlp(reader) => reader.fields(line, &mut note),
            Lines::Tollgate(reader) => reader.fields(line, &mut note),
        }?;
        let mut general = self.lines.general(&self.asked);
        general.read(line, &mut self.scratch, &mut |record| {
            for (name, value) in GENERAL.into_iter().zip(record.values) {
                if let Some(value) = value
                    && !own.contains(&name)
                {
                    each(name, value);
                }
            }
        })
    }
}

impl Lines {
    fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        match self {
            Self::Layout(reader) => reader.read(line, scratch, each),
            Self::Separated(reader) => reader.read(line, scratch, each),
            Self::Json(reader) => reader.read(line, scratch, each),
            Self::Otlp(reader) => reader.read(line, scratch, each),
            Self::Tollgate(reader) => reader.read(line, scratch, each),
        }
    }

    /// A reader of the general fields that has learnt what this one has.
    fn general(&self, asked: &Asked) -> Self {
        match self {
            Self::Layout(reader) => Self::Layout(reader.general(asked)),
            Self::Separated(reader) => Self::Separated(reader.general()),
            Self::Json(_) => Self::Json(JsonReader::new(&asked.with_general_fields())),
            Self::Otlp(_) => Self::Otlp(OtlpReader::new(&asked.with_general_fields())),
            Self::Tollgate(_) => {
                Self::Tollgate(Box::new(TollgateReader::new(&asked.with_general_fields())))
            }
        }
    }
}

/// The line within another one, and how many bytes are before it. One with escapes goes to the buffer; its places are counted
/// from its own beginning.
fn unescaped<'l>(inner: Raw<'l>, line: &[u8], buffer: &'l mut Vec<u8>) -> (&'l [u8], usize) {
    if let Form::Plain = inner.form {
        return (inner.bytes, line.len().saturating_sub(inner.bytes.len()));
    }
    buffer.clear();
    inner.append_to(buffer);
    (buffer, 0)
}

/// The line without a byte order mark and a carriage return. `None` if nothing is left.
fn trimmed(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (!line.trim_ascii().is_empty()).then_some(line)
}
