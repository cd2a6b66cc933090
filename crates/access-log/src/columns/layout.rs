//! Text formats, whose columns are always the same: words, texts in quotes, and times in brackets.

mod alb;
mod combined;
mod envoy;

use memchr::{memchr, memchr2};

pub(crate) use self::alb::ALB;
pub(crate) use self::combined::COMBINED;
pub(crate) use self::envoy::{ENVOY, ISTIO};
use crate::columns::{Cell, Cells, Sources};
use crate::error::{FieldError, LineError};
use crate::find::near;
use crate::format::Format;
use crate::names::{self, GENERAL};
use crate::record::{Asked, Record, TimeFields};
use crate::unescape::Form;

/// The last column that has a name: those behind the columns of a format are `column_11` and so on.
const MAX_COLUMNS: usize = 64;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Up to the next space.
    Word,
    /// Up to the next column, which is in brackets: a user's name may have spaces.
    Name,
    /// Digits, or `-`.
    Number,
    /// In double quotes.
    Quoted,
    /// In square brackets.
    Bracketed,
}

impl Kind {
    const fn expected(self) -> &'static str {
        match self {
            Self::Word => "a word",
            Self::Name => "a name, with a time in brackets behind it",
            Self::Number => "a number",
            Self::Quoted => "a text in quotes",
            Self::Bracketed => "a time in brackets",
        }
    }
}

/// A text format.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many of them each line has.
    pub(crate) required: usize,
    /// Whether backslashes escape quotes. If not, a quote ends a text where a space or the line's end follows.
    pub(crate) has_escapes: bool,
    /// Whether the time is that of the end, if its name does not tell.
    pub(crate) is_end: bool,
    /// Whether a line may begin with a stray quote, as some collectors leave it, or with `host:port `, as Apache's
    /// `vhost_combined` does.
    pub(crate) may_have_prefix: bool,
}

impl Layout {
    fn column(&self, name: &str) -> Option<usize> {
        if let Some(number) = name.strip_prefix("column_") {
            let number = number.parse::<usize>().ok()?;
            return (self.columns.len()..MAX_COLUMNS)
                .find(|column| number.checked_sub(1) == Some(*column));
        }
        self.columns.iter().position(|(known, _)| *known == name)
    }

    /// The names of its columns, and the general names that it knows.
    fn known(&self) -> Vec<String> {
        let knows = |name: &&str| {
            names::aliases(name).iter().any(|alias| self.column(&alias.name).is_some())
        };
        let own = self.columns.iter().map(|(name, _)| *name);
        let others = GENERAL.into_iter().filter(|name| self.column(name).is_none()).filter(knows);
        own.chain(others).map(str::to_owned).collect()
    }

    /// Finds as many columns as there are cells, at least those that are required. A cell of none is empty.
    fn split(&self, line: &[u8], cells: &mut [Cell]) -> Result<(), LineError> {
        let mut at = if self.may_have_prefix { length_of_prefix(line) } else { 0 };
        let none = Cell { start: line.len(), end: line.len(), is_escaped: false };
        let mut left = self.required;
        let mut cells = cells.iter_mut();
        for ((name, kind), cell) in self.columns.iter().zip(&mut cells) {
            match self.cell(line, at, *kind) {
                Some((found, next)) => (*cell, at) = (found, next),
                // Left out; what stands here is a further column.
                None if left == 0 => *cell = none,
                None => return Err(self.expected(*kind, name, at.min(line.len()))),
            }
            left = left.saturating_sub(1);
        }
        for cell in cells {
            let kind = match line.get(at) {
                Some(b'"') => Kind::Quoted,
                Some(b'[') => Kind::Bracketed,
                _ => Kind::Word,
            };
            (*cell, at) = self.cell(line, at, kind).unwrap_or((none, at));
        }
        Ok(())
    }

    #[cold]
    fn expected(&self, kind: Kind, name: &str, at: usize) -> LineError {
        LineError::new(at, format!("{} ({name}) of {} logs", kind.expected(), self.format))
    }

    /// The column that begins here, and where the one behind it does.
    #[inline(always)]
    fn cell(&self, line: &[u8], at: usize, kind: Kind) -> Option<(Cell, usize)> {
        let first = *line.get(at)?;
        let inner = at.saturating_add(1);
        let (start, end, closing) = match kind {
            Kind::Word if first != b' ' => (at, end_of_word(line, at), 1),
            Kind::Number if matches!(first, b'0'..=b'9' | b'-') => (at, end_of_word(line, at), 1),
            Kind::Name => (at, end_of_name(line, at)?, 1),
            Kind::Bracketed if first == b'[' => {
                (inner, inner.saturating_add(memchr(b']', line.get(inner..)?)?), 2)
            }
            Kind::Quoted if first == b'"' && self.has_escapes => {
                let cell = escaped(line, inner)?;
                return Some((cell, cell.end.saturating_add(2)));
            }
            Kind::Quoted if first == b'"' => (inner, end_of_unescaped(line, inner)?, 2),
            _ => return None,
        };
        Some((Cell { start, end, is_escaped: false }, end.saturating_add(closing)))
    }
}

#[inline]
fn end_of_word(line: &[u8], at: usize) -> usize {
    let length = near(b' ', line.get(at..).unwrap_or_default());
    length.map_or(line.len(), |length| at.saturating_add(length))
}

/// The length of a quote in front of the line, and of `host:port ` behind it. No address has just one colon.
#[inline]
fn length_of_prefix(line: &[u8]) -> usize {
    let quote = usize::from(line.first() == Some(&b'"'));
    let first = line.get(quote..end_of_word(line, quote)).unwrap_or_default();
    match first.iter().rposition(|byte| !byte.is_ascii_digit()) {
        Some(at) if first.get(at) == Some(&b':') && memchr(b':', first) == Some(at) => {
            quote.saturating_add(first.len()).saturating_add(1)
        }
        _ => quote,
    }
}

/// The space in front of the next bracket.
fn end_of_name(line: &[u8], at: usize) -> Option<usize> {
    let length = memchr(b'[', line.get(at..)?)?.checked_sub(1).filter(|length| *length > 0)?;
    let end = at.checked_add(length)?;
    (line.get(end) == Some(&b' ')).then_some(end)
}

/// A text with backslashes, up to a quote without one.
fn escaped(line: &[u8], start: usize) -> Option<Cell> {
    let (mut at, mut is_escaped) = (start, false);
    loop {
        let end = at.checked_add(memchr2(b'"', b'\\', line.get(at..)?)?)?;
        if line.get(end) == Some(&b'"') {
            return Some(Cell { start, end, is_escaped });
        }
        is_escaped = true;
        at = end.checked_add(2)?;
    }
}

/// The end of a text without escapes: a quote behind which the column ends.
fn end_of_unescaped(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let end = at.checked_add(memchr(b'"', line.get(at..)?)?)?;
        at = end.checked_add(1)?;
        if matches!(line.get(at), None | Some(b' ')) {
            return Some(end);
        }
    }
}

/// Reads lines of a text format.
#[derive(Debug, Clone)]
pub(crate) struct LayoutReader {
    layout: &'static Layout,
    sources: Sources,
    /// As many as columns are needed.
    cells: Vec<Cell>,
}

impl LayoutReader {
    /// `wanted` and `times` are what `asked` was made of.
    pub(crate) fn new(
        layout: &'static Layout,
        asked: &Asked,
        wanted: &[String],
        times: &TimeFields,
    ) -> Result<Self, FieldError> {
        let reader = Self::with(layout, asked.clone());
        let sources = &reader.sources;
        let unknown = sources.first_unknown().and_then(|at| wanted.get(at));
        let time = times.time.as_ref().filter(|_| !sources.has_time());
        let duration = times.duration.as_ref().map(|(name, _)| name);
        let duration = duration.filter(|_| !sources.has_duration());
        match unknown.or(time).or(duration) {
            Some(field) => {
                let (format, field, known) = (layout.format, field.clone(), layout.known());
                Err(FieldError { format, field, known })
            }
            None => Ok(reader),
        }
    }

    fn with(layout: &'static Layout, mut asked: Asked) -> Self {
        asked.is_end = layout.is_end;
        let sources = Sources::new(&asked, |name| layout.column(name));
        let cells = vec![Cell::default(); sources.columns().max(layout.required)];
        Self { layout, sources, cells }
    }

    /// The same with the fields of the general names.
    pub(crate) fn general(&self, asked: &Asked) -> Self {
        Self::with(self.layout, asked.with_general_fields())
    }

    pub(crate) fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        self.layout.split(line, &mut self.cells)?;
        let cells = Cells { line, cells: &self.cells, escapes: Form::Backslashes };
        self.sources.read(cells, scratch, each)
    }

    /// Every column by its name.
    pub(crate) fn fields(
        &self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        let mut cells = [Cell::default(); MAX_COLUMNS];
        self.layout.split(line, &mut cells)?;
        let all = Cells { line, cells: &cells, escapes: Form::Backslashes };
        for column in (0..MAX_COLUMNS).filter(|column| !all.is_empty(*column)) {
            let Some(raw) = all.raw(column) else { continue };
            let value = raw.value();
            match self.layout.columns.get(column) {
                Some((name, _)) => each(name, &value),
                None => each(&format!("column_{}", column.saturating_add(1)), &value),
            }
        }
        Ok(())
    }
}
