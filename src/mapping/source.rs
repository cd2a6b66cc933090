//! Where the value of an entry comes from.

use std::sync::Arc;

use regex::bytes::{CaptureLocations, Regex};
use smallvec::SmallVec;

use super::LookupTable;
use super::builder::{FieldIndex, PatternIndex};
use super::counts::Lack;
use super::token::{ClaimIndex, Claims};

/// Fields of which the first that a line has counts; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields(SmallVec<[FieldIndex; 1]>);

impl FromIterator<FieldIndex> for Fields {
    fn from_iter<T: IntoIterator<Item = FieldIndex>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl Fields {
    /// The value in a line.
    pub(super) fn read<'q>(&self, values: &[Option<&'q [u8]>]) -> Option<&'q [u8]> {
        self.find(values).map(|(_, value)| value)
    }

    /// The value in a line, and the field that has it.
    pub(super) fn find<'q>(&self, values: &[Option<&'q [u8]>]) -> Option<(FieldIndex, &'q [u8])> {
        self.iter().find_map(|field| Some((field, (*field.of(values)?)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = FieldIndex> {
        self.0.iter().copied()
    }
}

/// Where the value of an entry comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The same for all lines.
    Constant(Box<[u8]>),
    /// From the line.
    Derived(Derived),
}

/// A value from a field: the field, then a claim of the token that it is, then an element of the list, then what
/// matches, then what a table lists for it; each if it is there.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) fields: Fields,
    pub(crate) claim: Option<ClaimIndex>,
    pub(crate) element: Option<Element>,
    pub(crate) pattern: Option<PatternIndex>,
    pub(crate) lookup: Option<Arc<LookupTable>>,
    /// The value if one of these yields nothing.
    pub(crate) default: Option<Box<[u8]>>,
}

/// Which element of a list separated by commas, such as X-Forwarded-For. Blanks around it do not count; empty elements
/// do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// Counted from the beginning, from 0.
    First(u8),
    /// Counted from the end, from 0.
    Last(u8),
    /// As [`Self::Last`], but a value without a comma is no list, and is taken as it is; see
    /// [`Addresses`](crate::policy::address::Addresses::new).
    BeforeHops(u8),
}

impl Element {
    fn of(self, list: &[u8]) -> Option<&[u8]> {
        let is_comma = |byte: &u8| *byte == b',';
        let element = match self {
            Self::First(at) => list.split(is_comma).nth(at.into()),
            Self::BeforeHops(_) if !list.iter().any(is_comma) => Some(list),
            Self::Last(at) | Self::BeforeHops(at) => list.rsplit(is_comma).nth(at.into()),
        };
        element.map(<[u8]>::trim_ascii)
    }
}

impl Source {
    /// The value for a line, without the default.
    pub(super) fn read<'q>(
        &'q self,
        values: &[Option<&'q [u8]>],
        claims: &'q Claims,
        patterns: &[Regex],
        locations: &mut [CaptureLocations],
    ) -> Result<&'q [u8], Lack> {
        match self {
            Self::Constant(value) => Ok(value),
            Self::Derived(derived) => derived.read(values, claims, patterns, locations),
        }
    }

    /// The value for a line that has none.
    pub(super) fn default(&self) -> Option<&[u8]> {
        match self {
            Self::Constant(_) => None,
            Self::Derived(derived) => derived.default.as_deref(),
        }
    }

    /// The fields that it is read from.
    pub(super) const fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Constant(_) => None,
            Self::Derived(derived) => Some(&derived.fields),
        }
    }
}

impl Derived {
    fn read<'q>(
        &'q self,
        values: &[Option<&'q [u8]>],
        claims: &'q Claims,
        patterns: &[Regex],
        locations: &mut [CaptureLocations],
    ) -> Result<&'q [u8], Lack> {
        let mut value = self.fields.read(values).ok_or(Lack::Absent)?;
        if let Some(claim) = self.claim {
            value = claims.get(claim).ok_or(Lack::Unfit)?;
        }
        if let Some(element) = self.element {
            value = element.of(value).ok_or(Lack::Unfit)?;
        }
        if let Some(PatternIndex(at)) = self.pattern {
            let (pattern, locations) = (patterns.get(at), locations.get_mut(at));
            let found = pattern.zip(locations).and_then(|(of, at)| find(of, value, at));
            value = found.ok_or(Lack::Unfit)?;
        }
        match &self.lookup {
            Some(table) => table.get(value).ok_or(Lack::Unlisted),
            None => Ok(value),
        }
    }
}

/// What the first group that took part in the first match has; the whole match, if the pattern has no groups.
fn find<'v>(
    pattern: &Regex,
    value: &'v [u8],
    locations: &mut CaptureLocations,
) -> Option<&'v [u8]> {
    if pattern.captures_len() == 1 {
        return pattern.find(value).map(|found| found.as_bytes());
    }
    pattern.captures_read(locations, value)?;
    let (from, to) = (1..locations.len()).find_map(|group| locations.get(group))?;
    value.get(from..to)
}
