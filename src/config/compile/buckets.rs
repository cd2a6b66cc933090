//! Buckets, and the times until which they apply.

use super::super::document::{Document, Located};
use super::super::path::{NodePath, shown};
use super::super::schema;
use super::Compiler;
use crate::clock::{Nanos, Timestamp};
use crate::limit::{Blocked, Bucket, Concurrency, LimitError, Period, Rate, TokenBucket};
use crate::policy::message::Message;

/// The buckets of one row, or of an override of it.
pub(super) struct Listed<'a> {
    pub(super) buckets: &'a schema::Buckets,
    /// When an override of them ends, if it does.
    pub(super) until: Option<Timestamp>,
    /// Where an exceeded memory budget is reported.
    pub(super) at: &'a NodePath,
}

impl Compiler<'_> {
    /// The valid buckets of a row, as far as the memory budget allows. [`check`] reports the invalid ones. `row` is the
    /// table's name and the row's.
    pub(super) fn buckets(
        &self,
        listed: &Listed<'_>,
        message: &Message,
        row: [&str; 2],
    ) -> Vec<Bucket> {
        let blocked = || Bucket::Blocked(Blocked { until: listed.until });
        let blocked = matches!(listed.buckets, schema::Buckets::Blocked).then(blocked);
        let valid = self::listed(listed.buckets).iter().filter_map(|written| bucket(written).ok());
        let fits = |bucket: &Bucket| {
            let size = self.builder.rule_size(message, row, bucket);
            self.budget.take(size, self.document, listed.at)
        };
        blocked.into_iter().chain(valid).take_while(fits).collect()
    }
}

/// Reports the problems of buckets.
pub(super) fn check(document: &Document<'_>, buckets: &schema::Buckets) {
    for (path, what) in listed(buckets).iter().filter_map(|written| bucket(written).err()) {
        document.report(&path, what);
    }
}

fn listed(buckets: &schema::Buckets) -> &[schema::Bucket] {
    match buckets {
        schema::Buckets::Unlimited | schema::Buckets::Blocked => &[],
        schema::Buckets::Listed(listed) => listed,
    }
}

type BucketError = (NodePath, String);

fn bucket(written: &schema::Bucket) -> Result<Bucket, BucketError> {
    match (&written.concurrent, &written.ttl) {
        (Some(slots), ttl) => concurrency(written, slots, ttl.as_ref()).map(Bucket::Concurrency),
        (None, Some(ttl)) => {
            let what = "`ttl` needs `concurrent`, the number of slots";
            Err((ttl.path.clone(), what.to_owned()))
        }
        (None, None) => tokens(written).map(Bucket::Tokens),
    }
}

fn concurrency(
    written: &schema::Bucket,
    slots: &Located<u32>,
    ttl: Option<&Located<String>>,
) -> Result<Concurrency, BucketError> {
    let has_rate = !written.per.is_empty() || written.rate.is_some() || written.every.is_some();
    if has_rate || written.size.is_some() {
        let what = "a bucket has either a rate or `concurrent`; for both, list two buckets";
        return Err((written.path.clone(), what.to_owned()));
    }
    let Some(ttl) = ttl else {
        let what =
            "`ttl` is missing: how long a lease lasts unless it is released, as in `ttl: 1h`";
        return Err((written.path.clone(), what.to_owned()));
    };
    let length = duration(ttl)?;
    Concurrency::new(slots.value, length.into()).map_err(|error| {
        let path = if error == LimitError::InvalidTtl { &ttl.path } else { &slots.path };
        (path.clone(), error.to_string())
    })
}

fn tokens(written: &schema::Bucket) -> Result<TokenBucket, BucketError> {
    let (tokens, rate) = rate(written)?;
    let size = written.size.as_ref().unwrap_or(tokens);
    TokenBucket::new(size.value, rate).map_err(|error| (size.path.clone(), error.to_string()))
}

fn rate(written: &schema::Bucket) -> Result<(&Located<u32>, Rate), BucketError> {
    let error = |what: &str| Err((written.path.clone(), what.to_owned()));
    let (tokens, period) = match (&*written.per, &written.rate, &written.every) {
        ([(unit, tokens)], None, None) => (tokens, Period::one(*unit)),
        ([], Some(tokens), Some(every)) => {
            let period = Period::from_duration(duration(every)?)
                .map_err(|error| (every.path.clone(), error.to_string()))?;
            (tokens, period)
        }
        ([], None, None) => {
            return error(
                "a bucket needs a rate: one of per_second, per_minute, per_hour, per_day, per_week, \
                 per_month, per_year, or `rate` with `every`",
            );
        }
        ([_, _, ..], None, None) => {
            return error("a bucket has one rate; list one bucket for each rate");
        }
        _ => {
            return error(
                "`rate` and `every` need each other and exclude other rates, as in `{ rate: 10, every: 5m }`",
            );
        }
    };
    let rate = Rate::new(tokens.value, period);
    Ok((tokens, rate.map_err(|error| (tokens.path.clone(), error.to_string()))?))
}

fn duration(text: &Located<String>) -> Result<std::time::Duration, BucketError> {
    humantime::parse_duration(&text.value).map_err(|error| {
        let (value, path) = (shown(&text.value), text.path.clone());
        (path, format!("`{value}` is not a duration, such as `30s`, `5m`, `1h` or `1day`: {error}"))
    })
}

/// A time in UTC after 1970.
pub(super) fn time(document: &Document<'_>, text: &Located<String>) -> Option<Timestamp> {
    let parsed = humantime::parse_rfc3339(&text.value).ok();
    let since_epoch = parsed.and_then(|moment| moment.duration_since(std::time::UNIX_EPOCH).ok());
    if since_epoch.is_none() {
        let value = shown(&text.value);
        let what =
            format!("`{value}` is not a time in UTC after 1970, such as `2027-01-01T00:00:00Z`");
        document.report(&text.path, what);
    }
    since_epoch.map(|span| Timestamp::default().after(Nanos::from(span)))
}
