//! From the fields of a line of an access log to the request that Envoy would have sent for it.
//!
//! A [`Mapping`] is compiled once, by [`config::mapping`](crate::config::mapping), and does not change. For each line it
//! takes the values of the fields that it [wants](Mapping::fields) and builds a [`Query`]. Buffers and counts are in a
//! [`Scratch`], one for each thread, so that an ordinary line allocates nothing.

mod builder;
mod counts;
mod hits;
mod lookup;
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
pub use self::scratch::Scratch;
pub(crate) use self::skip::Skip;
pub(crate) use self::source::{Derived, Element, Fields, Source};
pub use self::times::{At, DurationUnit, Times};
use self::token::Token;
use crate::descriptor::{BadRequest, Entry, Query};

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
    /// How many entries all descriptors have.
    entries: usize,
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
    key: Box<str>,
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
    /// The query is complete.
    Query,
    /// Conditions of `skip` hold. The query is not complete.
    Skipped,
    /// Every descriptor lacks a required entry, or all entries. Envoy would not have asked. The query is not complete.
    NoDescriptor,
}

/// Why a line has no query.
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
    /// The query is refused.
    #[error(transparent)]
    Query(#[from] BadRequest),
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

    /// Builds the query of a line from the values of the [wanted fields](Self::fields), in their order, `None` for a
    /// field that the line does not have. The query must be used only if it is [complete](Mapped::Query). The scratch is
    /// one of this mapping.
    ///
    /// # Errors
    /// If the hits of a descriptor are no number, or if the domain is empty.
    pub fn query<'q>(
        &'q self,
        domain: &'q str,
        values: &[Option<&'q [u8]>],
        scratch: &'q mut Scratch,
        query: &mut Query<'q>,
    ) -> Result<Mapped, LineError> {
        let Scratch { payload, claims, locations, counts } = scratch;
        counts.line(values);
        claims.clear();
        self.tokens.iter().for_each(|token| token.read(values, payload, claims));
        let claims = &*claims;
        query.begin(domain, self.descriptors.len())?;
        let mut wrong_hits = None;
        for plan in &self.descriptors {
            let mut entries: SmallVec<[Entry<'q>; 12]> = SmallVec::new();
            let mut is_complete = true;
            for EntryPlan { key, source, is_required, number, .. } in &plan.entries {
                let found = source.read(values, claims, &self.patterns, locations);
                let found = found.inspect_err(|lack| counts.lack(*number, *lack)).ok();
                match found.or_else(|| source.default()) {
                    Some(value) => entries.push(Entry { key: (&**key).into(), value }),
                    None => is_complete &= !is_required,
                }
            }
            if self.skip.is_met(&entries, values) {
                return Ok(Mapped::Skipped);
            }
            if !is_complete || entries.is_empty() {
                continue;
            }
            match plan.hits.read(values, &self.fields) {
                Ok(hits) => {
                    entries.iter().for_each(|entry| query.entry(entry.key, entry.value));
                    query.close(hits, None)?;
                }
                // A later descriptor may have the line skipped.
                Err(error) => wrong_hits = wrong_hits.or(Some(error)),
            }
        }
        match wrong_hits {
            Some(error) => Err(error),
            None if query.is_empty() => Ok(Mapped::NoDescriptor),
            None => Ok(Mapped::Query),
        }
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
                    add(Some(&*entry.key), fields);
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
                key: &entry.key,
                lacks: counts.of_entry(entry.number),
            })
            .collect()
    }
}
