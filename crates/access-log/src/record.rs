//! What a line tells.

use smallvec::SmallVec;

use crate::duration::{self, Unit};
use crate::names::{self, Alias, DurationName, TimeName};
use crate::request::Part;
use crate::time::Time;
use crate::unescape::{Form, Raw};

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it began, as well as the line tells, in nanoseconds since the Unix epoch: of a log that has the end, the
    /// end less the duration, or the end if there is no duration.
    pub start: u64,
    /// Whether the line has its time without a fraction of a second, so that the request may have been anywhere in it.
    pub is_whole_second: bool,
    /// How long it took, in nanoseconds.
    pub duration: Option<u64>,
    /// The values of the wanted fields, in the order in which they were asked for, without escapes. `None` for one that
    /// is absent, null, empty or `-`.
    pub values: &'a [Option<&'a [u8]>],
}

/// Which fields have the time and the duration, if they are others than the format or its names tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeFields {
    /// The field with the time.
    pub time: Option<String>,
    /// Whether the time is that of the end of a request.
    pub is_end: Option<bool>,
    /// The field with the duration, and its unit.
    pub duration: Option<(String, Unit)>,
}

/// What is asked of each line.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) fields: Vec<Vec<Alias>>,
    pub(crate) times: Vec<TimeName>,
    pub(crate) durations: Vec<DurationName>,
    /// Whether a general time such as `time` is that of the end: what the format says, if its fields do not.
    pub(crate) is_end: bool,
}

impl Asked {
    pub(crate) fn new(wanted: &[String], times: &TimeFields) -> Self {
        Self {
            fields: wanted.iter().map(|field| names::aliases(field)).collect(),
            times: names::times(times.time.as_deref(), times.is_end),
            durations: names::durations(times.duration.as_ref()),
            is_end: false,
        }
    }

    /// The same times with the fields of the general names.
    pub(crate) fn with_general_fields(&self) -> Self {
        let fields = names::GENERAL.map(names::aliases).into();
        Self { fields, ..self.clone() }
    }
}

/// A value as it stands in the line, and the part of it that is meant.
pub(crate) type Found<'l> = (Raw<'l>, Part);

/// The part of this value, without escapes if there are any. `None` if there is no such part.
pub(crate) fn found<'l>(raw: Raw<'l>, part: Part) -> Option<Found<'l>> {
    let of = part.of(raw.bytes)?;
    Some(if let Form::Plain = raw.form { (Raw::plain(of), Part::Whole) } else { (raw, part) })
}

/// When a request was, as a line tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    pub(crate) time: Time,
    /// Whether `time` is that of the end.
    pub(crate) is_end: bool,
    pub(crate) duration: Option<u64>,
}

impl When {
    fn start(&self) -> u64 {
        let before = if self.is_end { self.duration.unwrap_or(0) } else { 0 };
        self.time.nanos.saturating_sub(before)
    }
}

/// Hands over a record, with what was found of each wanted field. `scratch` is for values with escapes.
#[inline]
pub(crate) fn emit<'l>(
    when: When,
    found: impl Iterator<Item = Option<Found<'l>>>,
    scratch: &mut Vec<u8>,
    each: &mut dyn FnMut(Record<'_>),
) {
    let mut values = SmallVec::<[Option<&[u8]>; 16]>::new();
    let mut escaped = SmallVec::<[(usize, Part, usize); 4]>::new();
    scratch.clear();
    for found in found {
        values.push(match found {
            Some((Raw { bytes, form: Form::Plain }, _)) => Some(bytes),
            Some((raw, part)) => {
                raw.append_to(scratch);
                escaped.push((values.len(), part, scratch.len()));
                None
            }
            None => None,
        });
    }
    let mut start = 0;
    for (position, part, end) in escaped {
        let value = scratch.get(start..end).unwrap_or_default();
        values.get_mut(position).into_iter().for_each(|slot| *slot = part.of(value));
        start = end;
    }
    each(Record {
        start: when.start(),
        is_whole_second: when.time.is_whole_second,
        duration: when.duration,
        values: &values,
    });
}

/// Reads a duration, or several that add up, in this unit. `None` if one is absent.
pub(crate) fn duration<'v>(
    values: impl IntoIterator<Item = Option<&'v [u8]>>,
    unit: Unit,
    may_be_caddys: bool,
) -> Option<u64> {
    values.into_iter().try_fold(0_u64, |sum, value| {
        let value = value?;
        let is_caddys = may_be_caddys && value.contains(&b'.');
        sum.checked_add(duration::read(value, if is_caddys { Unit::Seconds } else { unit })?)
    })
}
