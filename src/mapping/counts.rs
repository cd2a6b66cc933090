//! What the lines had of what a mapping wants.

use super::builder::FieldIndex;

/// How many lines a mapping has read, and in how many each field occurred and each entry had no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    lines: u64,
    fields: Box<[u64]>,
    entries: Box<[Lacks]>,
}

/// In how many lines an entry had no value of the log, by reason. It then had its default, if it has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacks {
    /// The line does not have the field.
    pub absent: u64,
    /// The field has no such element, claim or match.
    pub unfit: u64,
    /// The look-up table does not list the value.
    pub unlisted: u64,
}

/// The counts of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryCount<'m> {
    /// The position of its descriptor, from 0.
    pub descriptor: usize,
    /// Its key.
    pub key: &'m str,
    /// In how many lines it had no value.
    pub lacks: Lacks,
}

/// Why an entry has no value of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    Absent,
    Unfit,
    Unlisted,
}

impl Counts {
    /// No lines yet.
    pub(super) fn new(fields: usize, entries: usize) -> Self {
        Self {
            lines: 0,
            fields: vec![0; fields].into(),
            entries: vec![Lacks::default(); entries].into(),
        }
    }

    /// How many lines there were, those that were skipped and those with an error included.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// In how many lines each field occurred, in the order of [`Mapping::fields`](super::Mapping::fields).
    pub const fn fields(&self) -> &[u64] {
        &self.fields
    }

    /// Adds the counts of another thread, for the same mapping.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.fields.iter_mut().zip(&other.fields).for_each(|(sum, more)| *sum += more);
        for (sum, more) in self.entries.iter_mut().zip(&other.entries) {
            sum.absent += more.absent;
            sum.unfit += more.unfit;
            sum.unlisted += more.unlisted;
        }
    }

    /// Counts a line and its fields.
    pub(super) fn line(&mut self, values: &[Option<&[u8]>]) {
        self.lines += 1;
        let counted = self.fields.iter_mut().zip(values);
        counted.for_each(|(count, value)| *count += u64::from(value.is_some()));
    }

    /// Counts an entry without a value, by its number.
    pub(super) fn lack(&mut self, entry: usize, lack: Lack) {
        let Some(lacks) = self.entries.get_mut(entry) else { return };
        let count = match lack {
            Lack::Absent => &mut lacks.absent,
            Lack::Unfit => &mut lacks.unfit,
            Lack::Unlisted => &mut lacks.unlisted,
        };
        *count += 1;
    }

    pub(super) fn of_field(&self, field: FieldIndex) -> u64 {
        field.of(&self.fields).copied().unwrap_or_default()
    }

    pub(super) fn of_entry(&self, number: usize) -> Lacks {
        self.entries.get(number).copied().unwrap_or_default()
    }
}
