//! Requests of logs as they are asked about, in one piece of memory.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{Nanos, Timestamp};
use crate::descriptor::{BadRequest, Hits, Name, Query};

/// In how many parts requests are divided that share no bucket with those of another part.
pub(super) const PARTS: u8 = 64;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// When it began.
    pub(super) start: Timestamp,
    /// How long it took; zero if the log does not tell.
    pub(super) duration: Nanos,
    /// Whether the log tells its time in whole seconds.
    pub(super) is_whole_second: bool,
    /// Whether it was denied when the log was written.
    pub(super) was_denied: bool,
    /// Requests of different parts meet no bucket in common.
    pub(super) part: u8,
}

/// An entry of a descriptor: the number of its key, and where its value ends.
#[derive(Debug, Clone, Copy)]
struct StoredEntry {
    key: u32,
    end: u32,
}

/// Requests in the order of their lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Event>,
    /// Where the descriptors of each request end.
    descriptors_of: Vec<u32>,
    /// The hits of each descriptor, and where its entries end.
    descriptors: Vec<(Hits, u32)>,
    entries: Vec<StoredEntry>,
    values: Vec<u8>,
    /// The keys that occur, each once.
    keys: Vec<Box<str>>,
}

/// Batches to be filled again: to get new memory for each takes a quarter of the time of a replay.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Batch>>>);

/// The most batches that are kept.
const MAX_KEPT: usize = 64;

impl Batches {
    /// An empty batch.
    pub(super) fn get(&self) -> OwnedBatch {
        let batch = self.0.lock().pop().unwrap_or_default();
        OwnedBatch { batch, from: self.clone() }
    }
}

/// A batch that is kept to be filled again when it is dropped.
#[derive(Debug, Default)]
pub(super) struct OwnedBatch {
    batch: Batch,
    from: Batches,
}

impl Drop for OwnedBatch {
    fn drop(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let mut kept = self.from.0.lock();
        if kept.len() < MAX_KEPT {
            kept.push(batch);
        }
    }
}

impl Deref for OwnedBatch {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl DerefMut for OwnedBatch {
    fn deref_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl Batch {
    fn clear(&mut self) {
        let Self { events, descriptors_of, descriptors, entries, values, keys } = self;
        events.clear();
        descriptors_of.clear();
        descriptors.clear();
        entries.clear();
        values.clear();
        keys.clear();
    }

    /// Adds a request.
    pub(super) fn push(&mut self, event: Event, query: &Query<'_>) {
        for descriptor in query.descriptors() {
            for (place, entry) in descriptor.entries().iter().enumerate() {
                self.values.extend_from_slice(entry.value);
                let key = self.key(entry.key, place);
                self.entries.push(StoredEntry { key, end: count(self.values.len()) });
            }
            self.descriptors.push((descriptor.hits(), count(self.entries.len())));
        }
        self.descriptors_of.push(count(self.descriptors.len()));
        self.events.push(event);
    }

    /// The number of the key of an entry at this place of a descriptor. Mappings have few keys, and nearly all requests have
    /// them at the same places.
    fn key(&mut self, key: Name<'_>, place: usize) -> u32 {
        let is_it = |other: &str| other.as_bytes() == key.as_bytes();
        let known =
            Some(place).filter(|place| self.keys.get(*place).is_some_and(|other| is_it(other)));
        let known = known.or_else(|| self.keys.iter().position(|other| is_it(other)));
        let number = known.unwrap_or_else(|| {
            self.keys.push(key.as_str().into());
            self.keys.len() - 1
        });
        count(number)
    }

    /// The requests.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Builds the query of the request with this number.
    ///
    /// # Errors
    /// None for a query that was added.
    pub(super) fn query<'a>(
        &'a self,
        number: usize,
        domain: &'a str,
        query: &mut Query<'a>,
    ) -> Result<(), BadRequest> {
        let descriptors = range(&self.descriptors_of, number, |end| *end);
        query.begin(domain, descriptors.len())?;
        for at in descriptors {
            let hits = self.descriptors.get(at).map_or(Hits::PEEK, |(hits, _)| *hits);
            let entries = range(&self.descriptors, at, |(_, end)| *end);
            let mut begin = range(&self.entries, entries.start, |entry| entry.end).start;
            for entry in self.entries.get(entries).unwrap_or_default() {
                let key = self.keys.get(index(entry.key)).map_or("", |key| &**key);
                let end = index(entry.end);
                query.entry(key, self.values.get(begin..end).unwrap_or_default());
                begin = end;
            }
            query.close(hits, None)?;
        }
        Ok(())
    }
}

/// What belongs to the item with this number, of items that each tell where theirs ends.
fn range<T>(ends: &[T], number: usize, end: impl Fn(&T) -> u32) -> std::ops::Range<usize> {
    let begin = number.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, &end);
    index(begin)..ends.get(number).map_or(0, |of| index(end(of)))
}

/// Far less than a `u32` counts: a batch has a piece of a log, of a few megabytes, with each value at most once for each entry.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_comes_out_as_it_went_in() {
        let event = |start| Event {
            start: Timestamp::from_unix_nanos(start),
            duration: Nanos::new(5),
            is_whole_second: false,
            was_denied: false,
            part: 0,
        };
        let mut batch = Batch::default();
        let mut query = Query::default();
        query.begin("shop", 2).unwrap();
        query.entry("user", "ann");
        query.entry("path", "");
        query.close(Hits::ONE, None).unwrap();
        query.entry("user", "ann");
        query.close(Hits::charge(7), None).unwrap();
        batch.push(event(1), &query);
        query.begin("shop", 1).unwrap();
        query.entry("address", b"\xff");
        query.close(Hits::ONE, None).unwrap();
        batch.push(event(2), &query);
        assert_eq!(batch.events(), [event(1), event(2)]);
        type Told = Vec<(Hits, Vec<(String, Vec<u8>)>)>;
        let told = |number| -> Told {
            let mut query = Query::default();
            batch.query(number, "shop", &mut query).unwrap();
            let descriptors = query.descriptors().map(|descriptor| {
                let entries = descriptor.entries().iter();
                let entries = entries.map(|of| (of.key.as_str().to_owned(), of.value.to_vec()));
                (descriptor.hits(), entries.collect())
            });
            descriptors.collect()
        };
        let entry = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
        let first = vec![entry("user", b"ann"), entry("path", b"")];
        assert_eq!(told(0), [(Hits::ONE, first), (Hits::charge(7), vec![entry("user", b"ann")])]);
        assert_eq!(told(1), [(Hits::ONE, vec![entry("address", b"\xff")])]);
    }
}
