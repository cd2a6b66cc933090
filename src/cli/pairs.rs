//! `key=value` arguments.

use crate::descriptor::{BadRequest, Hits, Query};

/// One entry of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

impl std::str::FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("an entry is written as key=value"),
        }
    }
}

/// One descriptor of all pairs, in order.
pub(super) fn query<'a>(domain: &'a str, pairs: &'a [Pair]) -> Result<Query<'a>, BadRequest> {
    let mut query = Query::default();
    query.begin(domain, 1)?;
    pairs.iter().for_each(|pair| query.entry(&pair.key, &pair.value));
    query.close(Hits::ONE, None)?;
    Ok(query)
}
