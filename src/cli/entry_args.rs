//! `KEY=VALUE` arguments.

use crate::descriptor::{BadRequest, Hits, Query};

/// One entry of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryArg {
    pub(super) key: String,
    pub(super) value: String,
}

impl std::str::FromStr for EntryArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("write an entry as KEY=VALUE"),
        }
    }
}

/// A query of one descriptor with these entries, in order, and one hit.
pub(super) fn query<'a>(domain: &'a str, entries: &'a [EntryArg]) -> Result<Query<'a>, BadRequest> {
    let mut query = Query::default();
    query.begin(domain, 1)?;
    entries.iter().for_each(|entry| query.entry(&*entry.key, &entry.value));
    query.close(Hits::ONE, None)?;
    Ok(query)
}
