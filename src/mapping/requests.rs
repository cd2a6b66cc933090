//! The requests that a mapping makes of lines, in one piece of memory.

use std::ops::Range;

use super::Mapping;
use crate::descriptor::{BadRequest, Entry, Hits, Query};

/// Requests of one mapping, in the order of their lines.
#[derive(Debug, Default)]
pub struct Requests {
    /// Where the descriptors of each request end.
    ends: Vec<u32>,
    /// The hits of each descriptor, and where its entries end.
    descriptors: Vec<(Hits, u32)>,
    entries: Vec<StoredEntry>,
    values: Vec<u8>,
}

/// An entry of a descriptor: its number in the mapping, and where its value ends.
#[derive(Debug, Clone, Copy)]
struct StoredEntry {
    number: u32,
    end: u32,
}

impl Requests {
    /// Removes all requests, and keeps their memory.
    pub fn clear(&mut self) {
        let Self { ends, descriptors, entries, values } = self;
        ends.clear();
        descriptors.clear();
        entries.clear();
        values.clear();
    }

    /// Builds the query of the request with this number, counted from 0. `mapping` is the one that made the request.
    ///
    /// # Errors
    /// If the domain is empty.
    pub fn query<'a>(
        &'a self,
        number: usize,
        mapping: &'a Mapping,
        domain: &'a str,
        query: &mut Query<'a>,
    ) -> Result<(), BadRequest> {
        let descriptors = range(&self.ends, number, |end| *end);
        query.begin(domain, descriptors.len())?;
        let mut first = range(&self.descriptors, descriptors.start, |(_, end)| *end).start;
        for (hits, end) in self.descriptors.get(descriptors).unwrap_or_default() {
            let end = index(*end);
            self.each_entry(mapping, first..end, |entry| query.entry(entry.key, entry.value));
            query.close(*hits, None)?;
            first = end;
        }
        Ok(())
    }

    /// The value of the first entry with this key in the request that was added last. `mapping` is the one that made it.
    pub fn last_value(&self, mapping: &Mapping, key: &str) -> Option<&[u8]> {
        let descriptors = range(&self.ends, self.ends.len().checked_sub(1)?, |end| *end);
        let first = range(&self.descriptors, descriptors.start, |(_, end)| *end).start;
        let mut entries = self.entries.iter().enumerate().skip(first);
        let (at, _) = entries.find(|(_, entry)| mapping.key(index(entry.number)) == key)?;
        self.values.get(range(&self.entries, at, |entry| entry.end))
    }

    /// The entries of the descriptor that is not complete.
    pub(super) fn each_open_entry<'a>(&'a self, mapping: &'a Mapping, each: impl FnMut(Entry<'a>)) {
        self.each_entry(mapping, self.first_open()..self.entries.len(), each);
    }

    fn each_entry<'a>(
        &'a self,
        mapping: &'a Mapping,
        entries: Range<usize>,
        mut each: impl FnMut(Entry<'a>),
    ) {
        let mut begin = range(&self.entries, entries.start, |entry| entry.end).start;
        for StoredEntry { number, end } in self.entries.get(entries).unwrap_or_default() {
            let (key, end) = (mapping.key(index(*number)).into(), index(*end));
            each(Entry { key, value: self.values.get(begin..end).unwrap_or_default() });
            begin = end;
        }
    }

    /// Adds an entry to the descriptor that is not complete, by its number in the mapping.
    pub(super) fn entry(&mut self, number: usize, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.entries.push(StoredEntry { number: count(number), end: count(self.values.len()) });
    }

    /// Whether the descriptor that is not complete has entries.
    pub(super) fn has_open_entries(&self) -> bool {
        self.first_open() < self.entries.len()
    }

    /// Completes the descriptor.
    pub(super) fn close(&mut self, hits: Hits) {
        self.descriptors.push((hits, count(self.entries.len())));
    }

    /// Removes the entries of the descriptor that is not complete.
    pub(super) fn drop_open_entries(&mut self) {
        self.entries.truncate(self.first_open());
        self.values.truncate(self.entries.last().map_or(0, |entry| index(entry.end)));
    }

    /// Whether the request that is not complete has descriptors.
    pub(super) fn has_open_descriptors(&self) -> bool {
        self.first_open_descriptor() < self.descriptors.len()
    }

    /// Completes the request.
    pub(super) fn finish(&mut self) {
        self.ends.push(count(self.descriptors.len()));
    }

    /// Removes the request that is not complete.
    pub(super) fn abandon(&mut self) {
        self.descriptors.truncate(self.first_open_descriptor());
        self.drop_open_entries();
    }

    fn first_open(&self) -> usize {
        self.descriptors.last().map_or(0, |(_, end)| index(*end))
    }

    fn first_open_descriptor(&self) -> usize {
        self.ends.last().map_or(0, |end| index(*end))
    }
}

/// What belongs to the item with this number, of items that each tell where theirs ends.
fn range<T>(ends: &[T], number: usize, end: impl Fn(&T) -> u32) -> Range<usize> {
    let begin = number.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, &end);
    index(begin)..ends.get(number).map_or(0, |of| index(end(of)))
}

/// Far less than a `u32` counts: requests are of a piece of a log, of a few megabytes, with each value at most once for each
/// entry.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
