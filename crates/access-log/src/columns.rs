//! Lines of columns, whose names are known before their values: by the format, or by a header.

pub(crate) mod layout;
pub(crate) mod separated;

use memchr::memchr;

use crate::duration::Unit;
use crate::error::LineError;
use crate::names;
use crate::record::{self, Asked, Found, Record, When};
use crate::request::Part;
use crate::time::{Time, Times};
use crate::unescape::{Form, Raw};

/// Where a column stands in its line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether something in it is escaped.
    pub(crate) is_escaped: bool,
}

/// The cells of a line, and how they are escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'a, 'l> {
    pub(crate) line: &'l [u8],
    pub(crate) cells: &'a [Cell],
    pub(crate) escapes: Form<'static>,
}

impl<'l> Cells<'_, 'l> {
    fn raw(&self, column: usize) -> Option<Raw<'l>> {
        let cell = self.cells.get(column)?;
        let bytes = self.line.get(cell.start..cell.end)?;
        Some(Raw { bytes, form: if cell.is_escaped { self.escapes } else { Form::Plain } })
    }

    fn is_empty(&self, column: usize) -> bool {
        self.cells.get(column).is_none_or(|cell| cell.start == cell.end)
    }

    fn bytes(&self, column: usize) -> Option<&'l [u8]> {
        self.raw(column).map(|raw| raw.bytes)
    }

    fn start(&self, column: usize) -> usize {
        self.cells.get(column).map_or(self.line.len(), |cell| cell.start)
    }
}

/// A column that may have the value of a wanted field.
#[derive(Debug, Clone, Copy)]
struct Source {
    column: usize,
    part: Part,
    /// The column of the query behind a path.
    query: Option<usize>,
}

impl Source {
    fn find<'l>(&self, cells: &Cells<'_, 'l>) -> Option<Found<'l>> {
        let raw = cells.raw(self.column)?;
        let Some(query) = self.query.and_then(|column| cells.bytes(column)) else {
            return record::found(raw, self.part);
        };
        // It stays in its encoding, as it was in the request.
        let query = Raw::plain(query);
        let form = if query.is_absent() { Form::Plain } else { Form::WithQuery(query.bytes) };
        record::found(Raw { bytes: raw.bytes, form }, self.part)
    }
}

#[derive(Debug, Clone, Copy)]
struct TimeSource {
    column: usize,
    /// The column of the date, if the other has the time of day alone.
    date: Option<usize>,
    is_end: Option<bool>,
    may_be_caddys: bool,
}

#[derive(Debug, Clone)]
struct DurationSource {
    columns: Vec<usize>,
    unit: Unit,
    is_beside_end: bool,
    may_be_caddys: bool,
}

/// In which columns to look for what is asked.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    fields: Vec<Vec<Source>>,
    times: Vec<TimeSource>,
    durations: Vec<DurationSource>,
    is_end: bool,
    last: Times,
}

impl Sources {
    /// With the position of each column by its name.
    pub(crate) fn new(asked: &Asked, column: impl Fn(&str) -> Option<usize>) -> Self {
        let source = |alias: &names::Alias| {
            let query = (alias.name == "cs-uri-stem").then(|| column("cs-uri-query"));
            Some(Source { column: column(&alias.name)?, part: alias.part, query: query.flatten() })
        };
        let fields = asked.fields.iter();
        let fields = fields.map(|aliases| aliases.iter().filter_map(source).collect());
        let time = |time: &names::TimeName| {
            let is_half = matches!(&*time.name, "date" | "time");
            let (column, date) = match (column("date"), column("time")) {
                (Some(date), Some(time)) if is_half => (time, Some(date)),
                _ => (column(&time.name)?, None),
            };
            let may_be_caddys = names::may_be_caddys(&time.name);
            Some(TimeSource { column, date, is_end: time.is_end, may_be_caddys })
        };
        let duration = |duration: &names::DurationName| {
            let columns: Option<Vec<_>> = duration.names.iter().map(|name| column(name)).collect();
            let names::DurationName { unit, is_beside_end, may_be_caddys, .. } = *duration;
            Some(DurationSource { columns: columns?, unit, is_beside_end, may_be_caddys })
        };
        Self {
            fields: fields.collect(),
            times: asked.times.iter().filter_map(time).collect(),
            durations: asked.durations.iter().filter_map(duration).collect(),
            is_end: asked.is_end,
            last: Times::default(),
        }
    }

    /// Whether a column may have the time.
    pub(crate) fn has_time(&self) -> bool {
        !self.times.is_empty()
    }

    /// The number of columns that have to be there for everything to be found.
    pub(crate) fn columns(&self) -> usize {
        let fields = self.fields.iter().flatten();
        let fields = fields.flat_map(|source| [Some(source.column), source.query]);
        let times = self.times.iter().flat_map(|source| [Some(source.column), source.date]);
        let durations = self.durations.iter().flat_map(|source| &source.columns);
        let all = fields.chain(times).flatten().chain(durations.copied());
        all.max().map_or(0, |last| last.saturating_add(1))
    }

    /// The position of the first field for which no column is known.
    pub(crate) fn first_unknown(&self) -> Option<usize> {
        self.fields.iter().position(Vec::is_empty)
    }

    /// Whether a column may have the duration.
    pub(crate) fn has_duration(&self) -> bool {
        !self.durations.is_empty()
    }

    /// Hands over the record of a line.
    pub(crate) fn read(
        &mut self,
        cells: Cells<'_, '_>,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        let when = self.when(&cells)?;
        let find = |sources: &Vec<Source>| sources.iter().find_map(|source| source.find(&cells));
        record::emit(when, self.fields.iter().map(find), scratch, each);
        Ok(())
    }

    fn when(&mut self, cells: &Cells<'_, '_>) -> Result<When, LineError> {
        let present =
            |source: &&TimeSource| cells.raw(source.column).is_some_and(|it| !it.is_absent());
        let source = self.times.iter().find(present).or(self.times.first());
        let expected = |at| LineError::new(at, "a time, such as 2024-05-17T10:05:03.123Z");
        let source = source.ok_or_else(|| expected(0))?;
        let time = read_time(cells, source, &mut self.last)
            .ok_or_else(|| expected(cells.start(source.column)))?;
        let read = |of: &DurationSource| {
            let values = of.columns.iter().map(|column| cells.bytes(*column));
            let may_be_caddys = source.may_be_caddys && of.may_be_caddys;
            Some((record::duration(values, of.unit, may_be_caddys)?, of.is_beside_end))
        };
        let (duration, is_beside_end) = self.durations.iter().find_map(read).unzip();
        let is_end = source.is_end.unwrap_or(is_beside_end.unwrap_or(false) || self.is_end);
        Ok(When { time, is_end, duration })
    }
}

fn read_time(cells: &Cells<'_, '_>, source: &TimeSource, last: &mut Times) -> Option<Time> {
    let time = cells.bytes(source.column)?;
    let date = source.date.and_then(|column| cells.bytes(column));
    date.and_then(|date| Time::read_columns(date, time)).or_else(|| last.read(time))
}

/// The position of the byte from here on, or the end of the line.
fn find(byte: u8, line: &[u8], from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    memchr(byte, rest).map_or(line.len(), |at| from.saturating_add(at))
}
