//! From the fields of a line of an access log to the request that Envoy would have sent for it.
//!
//! A [`Mapping`] is compiled once, by [`config::mapping`](crate::config::mapping), and does not change. For each line it
//! takes the values of the fields that it [wants](Mapping::fields) and adds a request to [`Requests`], which build its
//! [`Query`](crate::descriptor::Query). Buffers and counts are in a [`Scratch`], one for each thread, so that an ordinary
//! line allocates nothing.

mod builder;
mod counts;
mod hits;
mod lookup;
mod requests;
mod scratch;
mod skip;
mod source;
mod times;
mod token;

use regex::bytes::Regex;
use smallvec::SmallVec;

pub(crate) use self::builder::{Builder, NewEntry, PatternIndex};
pub use self::counts::{Counts, EntryCount, Lacks};
pub(crate) use self::hits::HitsSource;
pub(crate) use self::lookup::{LookupTable, MAX_ROWS};
pub use self::requests::Requests;
pub use self::scratch::Scratch;
pub(crate) use self::skip::Skip;
pub(crate) use self::source::{Derived, Element, Fields, Source};
pub use self::times::{At, DurationUnit, Times};
use self::token::Token;
use crate::descriptor::Entry;

/// The most different fields of one mapping.
pub const MAX_FIELDS: usize = 256;

/// The most regular expressions of one mapping. Each takes at most [`MAX_PATTERN_BYTES`] of memory.
pub const MAX_PATTERNS: usize = 64;

/// Bytes that a compiled regular expression may take.
pub const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What the lines of a log say, as descriptors.
#[derive(Debug)]
pub struct Mapping {
    fields: Box<[String]>,
    times: Times,
    descriptors: Box<[DescriptorPlan]>,
    /// The keys of the entries of all descriptors, by their number.
    keys: Box<[Box<str>]>,
    /// The tokens whose claims are read, and how many claims.
    tokens: Box<[Token]>,
    claims: usize,
    patterns: Box<[Regex]>,
    skip: Skip,
}

/// How one descriptor is built.
#[derive(Debug)]
struct DescriptorPlan {
    entries: Box<[EntryPlan]>,
    hits: HitsSource,
}

/// How one entry is built.
#[derive(Debug)]
struct EntryPlan {
    source: Source,
    /// Whether a line without a value has no such descriptor, instead of one without the entry.
    is_required: bool,
    /// Whether its fields may occur in no line at all.
    is_optional: bool,
    /// Its number among the entries of all descriptors.
    number: usize,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// It is a request.
    Request,
    /// Conditions of `skip` hold.
    Skipped,
    /// Every descriptor lacks a required entry, or all entries. Envoy would not have asked.
    NoDescriptor,
}

/// Why a line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line does not have the field with the hits.
    #[error("the line has no `{field}`, which has the hits; give `hits` a `default`")]
    NoHits {
        /// The name of the field; the first, if there are several.
        field: String,
    },
    /// The hits are not a whole number from 0 to 2^64 - 1.
    #[error("`{value}` in `{field}` is no number of hits; map a field with whole numbers")]
    Hits {
        /// The name of the field.
        field: String,
        /// What the line has, safe to print.
        value: Box<str>,
    },
}

/// An entry whose fields occur in no line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen<'m> {
    /// The key of the entry; `None` for the hits.
    pub key: Option<&'m str>,
    /// The names of its fields.
    pub fields: Vec<&'m str>,
}

impl Mapping {
    /// The names of the fields that it wants, each once. A line's values are in this order.
    pub const fn fields(&self) -> &[String] {
        &self.fields
    }

    /// How many descriptors a request has at most.
    pub const fn descriptor_count(&self) -> usize {
        self.descriptors.len()
    }

    /// Which fields have the time and the duration, where the mapping says so.
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// Adds the request of a line, if it [is one](Mapped::Request), from the values of the [wanted fields](Self::fields), in
    /// their order, `None` for a field that the line does not have. The requests and the scratch are of this mapping.
    ///
    /// # Errors
    /// If the hits of a descriptor are no number.
    pub fn read(
        &self,
        values: &[Option<&[u8]>],
        scratch: &mut Scratch,
        requests: &mut Requests,
    ) -> Result<Mapped, LineError> {
        let mapped = self.read_open(values, scratch, requests);
        if mapped == Ok(Mapped::Request) {
            requests.finish();
        } else {
            requests.abandon();
        }
        mapped
    }

    /// As [`Self::read`], of a request that is not completed.
    fn read_open(
        &self,
        values: &[Option<&[u8]>],
        scratch: &mut Scratch,
        requests: &mut Requests,
    ) -> Result<Mapped, LineError> {
        let Scratch { payload, claims, locations, counts } = scratch;
        counts.line(values);
        claims.clear();
        self.tokens.iter().for_each(|token| token.read(values, payload, claims));
        let mut wrong_hits = None;
        for plan in &self.descriptors {
            let mut is_complete = true;
            for EntryPlan { source, is_required, number, .. } in &plan.entries {
                let found = source.read(values, claims, &self.patterns, locations);
                let found = found.inspect_err(|lack| counts.lack(*number, *lack)).ok();
                match found.or_else(|| source.default()) {
                    Some(value) => requests.entry(*number, value),
                    None => is_complete &= !is_required,
                }
            }
            if self.is_skipped(values, requests) {
                return Ok(Mapped::Skipped);
            }
            if !is_complete {
                requests.drop_open_entries();
            }
            if !requests.has_open_entries() {
                continue;
            }
            match plan.hits.read(values, &self.fields) {
                Ok(hits) => requests.close(hits),
                // A later descriptor may have the line skipped.
                Err(error) => {
                    requests.drop_open_entries();
                    wrong_hits = wrong_hits.or(Some(error));
                }
            }
        }
        match wrong_hits {
            Some(error) => Err(error),
            None if requests.has_open_descriptors() => Ok(Mapped::Request),
            None => Ok(Mapped::NoDescriptor),
        }
    }

    /// Whether the line is passed over, by its values and the entries of the descriptor that is not complete.
    fn is_skipped(&self, values: &[Option<&[u8]>], requests: &Requests) -> bool {
        if self.skip.any.is_empty() {
            return false;
        }
        let mut entries: SmallVec<[Entry<'_>; 12]> = SmallVec::new();
        requests.each_open_entry(self, |entry| entries.push(entry));
        self.skip.is_met(&entries, values)
    }

    /// The key of the entry with this number, counted through all descriptors.
    fn key(&self, number: usize) -> &str {
        self.keys.get(number).map_or("", |key| key)
    }

    /// The entries and hits whose fields occur in no line, although the mapping does not call them optional: a field is
    /// misspelled, or the log does not have it. None if there was no line.
    pub fn unseen(&self, counts: &Counts) -> Vec<Unseen<'_>> {
        let is_unseen = |fields: &&Fields| fields.iter().all(|field| counts.of_field(field) == 0);
        let mut unseen = Vec::new();
        let mut add = |key, fields: &Fields| {
            let fields = fields.iter().filter_map(|field| field.of(&self.fields));
            let found = Unseen { key, fields: fields.map(|name| &**name).collect() };
            if !unseen.contains(&found) {
                unseen.push(found);
            }
        };
        if counts.lines() == 0 {
            return Vec::new();
        }
        for plan in &self.descriptors {
            for entry in plan.entries.iter().filter(|entry| !entry.is_optional) {
                if let Some(fields) = entry.source.fields().filter(is_unseen) {
                    add(Some(self.key(entry.number)), fields);
                }
            }
            if let Some(fields) = plan.hits.fields().filter(is_unseen) {
                add(None, fields);
            }
        }
        unseen
    }

    /// How often each entry that is read from a field had no value, and why, in the order of the mapping.
    pub fn entry_counts(&self, counts: &Counts) -> Vec<EntryCount<'_>> {
        let entries = self.descriptors.iter().enumerate().flat_map(|(descriptor, plan)| {
            plan.entries.iter().map(move |entry| (descriptor, entry))
        });
        let derived = entries.filter(|(_, entry)| entry.source.fields().is_some());
        derived
            .map(|(descriptor, entry)| EntryCount {
                descriptor,
                key: self.key(entry.number),
                lacks: counts.of_entry(entry.number),
            })
            .collect()
    }
}
