//! How logs are read: which fields are wanted, and where their values stand.

use std::sync::Arc;

use access_log::{Format, Reader, TimeFields};
use smallvec::SmallVec;

use super::ReplayError;
use super::parts::Parts;
use crate::clock::{Nanos, Timestamp};
use crate::mapping::{At, DurationUnit, Mapping};

/// The field with the status of the response, and that of a request that was denied (RFC 6585, 4).
const STATUS: &str = "status";
pub(super) const TOO_MANY_REQUESTS: &[u8] = b"429";

/// How logs are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) mapping: Arc<Mapping>,
    pub(super) parts: Parts,
    /// The format of all logs; found for each log if it is not given.
    pub(super) format: Option<Format>,
    /// How much later than requests that began after it a line may come.
    pub(super) window: Nanos,
    /// Requests that began before are left out.
    pub(super) since: Option<Timestamp>,
    /// Requests that began at this time or later are left out.
    pub(super) until: Option<Timestamp>,
}

impl Reading {
    /// A reader of the fields that the mapping wants and of the status. A field that the format does not have is in no line of
    /// the log: the mapping may have another in its place.
    pub(super) fn reader(
        &self,
        format: Format,
        name: &str,
    ) -> Result<(Reader, Slots), ReplayError> {
        let times = self.mapping.times();
        let unit = |unit| match unit {
            DurationUnit::Seconds => access_log::Unit::Seconds,
            DurationUnit::Milliseconds => access_log::Unit::Milliseconds,
            DurationUnit::Microseconds => access_log::Unit::Microseconds,
            DurationUnit::Nanoseconds => access_log::Unit::Nanoseconds,
        };
        let times = TimeFields {
            time: times.time.clone(),
            is_end: times.at.map(|at| at == At::End),
            duration: times.duration.as_ref().map(|(field, of)| (field.clone(), unit(*of))),
        };
        let fields = self.mapping.fields().iter().enumerate();
        let mut wanted: Vec<_> =
            fields.map(|(place, field)| (Some(place), field.clone())).collect();
        wanted.push((None, STATUS.to_owned()));
        loop {
            let names: Vec<_> = wanted.iter().map(|(_, field)| field.clone()).collect();
            let error = match Reader::new(format, &names, &times) {
                Ok(reader) => {
                    let of = self.mapping.fields().len();
                    let places = wanted.into_iter().map(|(place, _)| place).collect();
                    return Ok((reader, Slots { places, of }));
                }
                Err(error) => error,
            };
            let before = wanted.len();
            wanted.retain(|(_, field)| field != error.field());
            if wanted.len() == before {
                return Err(ReplayError::Field(name.to_owned(), error));
            }
        }
    }
}

/// The values of a record.
pub(super) type Values<'a> = SmallVec<[Option<&'a [u8]>; 16]>;

/// Where the values that a reader finds stand among the fields of the mapping.
#[derive(Debug)]
pub(super) struct Slots {
    /// The place of each; none for the status.
    places: Vec<Option<usize>>,
    /// How many fields the mapping has.
    of: usize,
}

impl Slots {
    /// The values of the fields of the mapping, and the status. If the format lacks a field, they are written to `values`.
    pub(super) fn read<'v, 'a>(
        &self,
        found: &'v [Option<&'a [u8]>],
        values: &'v mut Values<'a>,
    ) -> (&'v [Option<&'a [u8]>], Option<&'a [u8]>) {
        // The status is wanted last, and the others in the order of the mapping.
        if let Some((status, values)) = found.split_last()
            && self.places.len() > self.of
        {
            return (values, *status);
        }
        let mut status = None;
        values.resize(self.of, None);
        for (place, value) in self.places.iter().zip(found) {
            match place {
                Some(place) => {
                    if let Some(slot) = values.get_mut(*place) {
                        *slot = *value;
                    }
                }
                None => status = *value,
            }
        }
        (values, status)
    }
}
