//! The JSON types of the API, by noun: the server writes them, and `tollgate admin` reads them.
//!
//! A time is RFC 3339 text in UTC ([`Time`]); its field is `at` or ends in `_at`. A span of time is a number of
//! milliseconds, which may have a fraction; its field ends in `_ms`. A list that may be shortened has `items` and, as
//! `omitted`, the number of the others. The doc comments are the descriptions in `/openapi.json`.

mod buckets;
mod charging;
mod explanation;
mod leases;
mod policies;
mod shares;
mod top;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::buckets::{
    Bucket, BucketName, BucketState, Buckets, IncompleteTable, Limit, Reset, ResetRequest,
    ResetTable,
};
pub(crate) use self::charging::{Charge, Charging};
pub(crate) use self::explanation::{
    BucketExplanation, BucketRequest, ExplainedBucket, ExplainedDescriptor, ExplainedEntry,
    ExplainedLevel, ExplainedTable, Explanation, MatchedRow, MissedTable,
};
pub(crate) use self::leases::{Lease, Leases, ReleaseRequest, Released};
pub(crate) use self::policies::{
    Config, ConnectionError, ControlPlane, Override, Policy, Prefix, Rejected, Reload,
    ReloadRejected, ReloadResult, Row, StoreErrorAction, Table, TreeLimit,
};
pub(crate) use self::shares::{Assigned, Share, ShareRow, Shares};
pub(crate) use self::top::{Top, TopBucket, TopList};
use crate::clock::{Nanos, Timestamp};

/// A time: RFC 3339 text in UTC, with fractions of a second if it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_nanos(self.0.as_unix_nanos());
        let moment = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339(moment).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = moment.duration_since(UNIX_EPOCH).map_err(D::Error::custom)?;
        Ok(Self(Timestamp::default().after(Nanos::from(since))))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time: RFC 3339 text in UTC.",
            "type": "string",
            "format": "date-time",
            "pattern": "Z$",
        })
    }
}

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Milliseconds(pub(crate) f64);

impl From<Nanos> for Milliseconds {
    fn from(span: Nanos) -> Self {
        Self(Duration::from(span).as_secs_f64() * 1e3)
    }
}

impl From<Milliseconds> for Duration {
    /// Zero for a number that is not a span of time.
    fn from(Milliseconds(span): Milliseconds) -> Self {
        Self::try_from_secs_f64(span / 1e3).unwrap_or_default()
    }
}

/// The key and the value of an entry, in this order.
pub(crate) type KeyEntry = [String; 2];

/// Reads an optional field, which must not be null if it is present.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list, of which items may be omitted.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct List<T> {
    /// The items that are listed.
    pub(crate) items: Vec<T>,
    /// The number of items that are not listed.
    pub(crate) omitted: usize,
}

impl<T> List<T> {
    /// The first of `count` items.
    pub(crate) fn new(items: Vec<T>, count: usize) -> Self {
        let omitted = count.saturating_sub(items.len());
        Self { items, omitted }
    }
}

/// Why a request failed.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// What is wrong and what to do, in words.
    pub(crate) error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_text_that_keeps_every_digit() {
        for (nanos, text) in [
            (1_772_323_200_000_000_000, "2026-03-01T00:00:00Z"),
            (1_772_323_200_123_500_000, "2026-03-01T00:00:00.123500000Z"),
            (0, "1970-01-01T00:00:00Z"),
        ] {
            let time = Time(Timestamp::from_unix_nanos(nanos));
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
        }
        for wrong in ["1772323200", "\"1772323200\"", "\"1969-12-31T23:59:59Z\"", "null"] {
            assert!(serde_json::from_str::<Time>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_keeps_its_fraction_of_a_millisecond() {
        let span = Milliseconds::from(Nanos::new(1_500_000));
        assert_eq!(serde_json::to_string(&span).unwrap(), "1.5");
        assert_eq!(Duration::from(span), Duration::from_micros(1500));
    }
}
