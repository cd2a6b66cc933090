//! JSON objects, one a line, whatever their fields.

pub(crate) mod array;
mod learnt;
mod scan;
mod walk;

use self::learnt::Learnt;
use self::scan::Cursor;
use self::walk::Visitor;
use crate::error::LineError;
use crate::named::{Gathered, Names};
use crate::record::{Asked, Record};
use crate::unescape::{Form, Raw};

/// Reads lines of JSON.
#[derive(Debug, Clone)]
pub(crate) struct JsonReader {
    names: Names,
    learnt: Learnt,
}

impl JsonReader {
    pub(crate) fn new(asked: &Asked) -> Self {
        Self::with_names(Names::new(asked))
    }

    pub(crate) fn with_names(names: Names) -> Self {
        Self { names, learnt: Learnt::default() }
    }

    pub(crate) fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        let gathered = self.gather(line)?;
        self.names.finish(&gathered, scratch, each)
    }

    /// The fields of a line that are of use.
    fn gather<'l>(&mut self, line: &'l [u8]) -> Result<Gathered<'l>, LineError> {
        let mut gathered = self.names.gather();
        let mut put = learnt::Put::new(&self.names, &mut self.learnt, &mut gathered);
        walk::walk(line, &mut put)?;
        Ok(gathered)
    }

    /// Every field by its name.
    pub(crate) fn fields(
        &self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        fields(line, each)
    }
}

/// Every field of an object by its name.
pub(crate) fn fields(line: &[u8], each: &mut dyn FnMut(&str, &[u8])) -> Result<(), LineError> {
    walk::walk(line, &mut All { name: String::new(), outer: vec![], each })
}

/// Hands over each field with its whole name.
struct All<'e> {
    name: String,
    /// The lengths of the names of the objects that the walk is in.
    outer: Vec<usize>,
    each: &'e mut dyn FnMut(&str, &[u8]),
}

impl<'l> Visitor<'l> for All<'_> {
    fn key(&mut self, cursor: &mut Cursor<'l>) -> Result<(), LineError> {
        let key = cursor.key()?;
        self.name.truncate(self.outer.last().copied().unwrap_or(0));
        if !self.outer.is_empty() {
            self.name.push('.');
        }
        self.name.push_str(&String::from_utf8_lossy(&key.value()));
        Ok(())
    }

    fn is_of_use(&self) -> bool {
        true
    }

    fn enter(&mut self) {
        self.outer.push(self.name.len());
    }

    fn leave(&mut self) {
        self.outer.pop();
    }

    fn value(&mut self, raw: Raw<'l>) {
        (self.each)(&self.name, &raw.value());
    }
}

/// A string as it stands between its quotes.
pub(crate) const fn string(bytes: &[u8], is_escaped: bool) -> Raw<'_> {
    Raw { bytes, form: if is_escaped { Form::Json } else { Form::Plain } }
}
