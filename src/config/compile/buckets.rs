//! Buckets and moments.

use hashbrown::HashMap;

use super::super::place::{Place, shown};
use super::super::read::{At, Document};
use super::super::schema;
use super::Room;
use crate::clock::{Nanos, Timestamp};
use crate::limit::{Blocked, Bucket, Concurrency, LimitError, Period, Rate, TokenBucket};
use crate::policy::fingerprint::{FingerprintKey, Salt};
use crate::policy::message::{Denial, Message};
use crate::policy::table::Rule;
use crate::wire;

/// Compiles the buckets of one row.
pub(super) struct Rules<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) room: &'a Room,
    /// Where it is told that there is no room.
    pub(super) at: &'a Place,
    pub(super) key: FingerprintKey,
    pub(super) place: Vec<String>,
    /// What a denied client reads, and the names of table and row, which it may ask for.
    pub(super) message: &'a Message,
    pub(super) row: [&'a str; 2],
    /// When they end: those of an override may.
    pub(super) until: Option<Timestamp>,
}

impl Rules<'_> {
    pub(super) fn none() -> Box<[Rule]> {
        Box::default()
    }

    /// Tells what is wrong with buckets, too.
    pub(super) fn compile(&self, buckets: &schema::Buckets) -> Box<[Rule]> {
        check(self.document, buckets);
        self.compile_quietly(buckets)
    }

    /// The buckets that are right, as far as there is room.
    pub(super) fn compile_quietly(&self, buckets: &schema::Buckets) -> Box<[Rule]> {
        if matches!(buckets, schema::Buckets::Blocked) {
            let blocked = Bucket::Blocked(Blocked { until: self.until });
            return self.rule(blocked, 0).into_iter().collect();
        }
        let mut rules: Vec<Rule> = Vec::new();
        let mut kinds: HashMap<String, usize> = HashMap::new();
        for bucket in listed(buckets).iter().filter_map(|written| bucket(written).ok()) {
            let before = kinds.entry(kind(&bucket)).or_default();
            let Some(rule) = self.rule(bucket, *before) else { break };
            *before += 1;
            rules.push(rule);
        }
        rules.into()
    }

    /// A bucket at its place, which so many of its kind have before it; none where there is no room for it.
    fn rule(&self, bucket: Bucket, before: usize) -> Option<Rule> {
        let place = self.place.iter().map(String::as_str);
        let salt = Salt::of(self.key, place, [&*kind(&bucket), &before.to_string()]);
        let [table, row] = self.row;
        let body = self.message.body(self.row, &bucket);
        let denial = Denial::new(body, wire::place([table, row, &bucket.to_string()]));
        let size = size_of::<Rule>() + denial.size();
        self.room.take(size, self.document, self.at).then_some(Rule { bucket, salt, denial })
    }
}

/// Tells what is wrong with buckets.
pub(super) fn check(document: &Document<'_>, buckets: &schema::Buckets) {
    for (place, what) in listed(buckets).iter().filter_map(|written| bucket(written).err()) {
        document.complain(&place, what);
    }
}

fn listed(buckets: &schema::Buckets) -> &[schema::Bucket] {
    match buckets {
        schema::Buckets::Unlimited | schema::Buckets::Blocked => &[],
        schema::Buckets::Listed(listed) => listed,
    }
}

/// What tells the buckets of one row apart: the period, not the numbers. So a raised limit applies to the
/// same bucket, with the debt it has.
fn kind(bucket: &Bucket) -> String {
    match bucket {
        Bucket::Tokens(bucket) => format!("per {}", bucket.rate().period()),
        Bucket::Concurrency(_) => "concurrent".to_owned(),
        Bucket::Blocked(_) => "blocked".to_owned(),
    }
}

type Wrong = (Place, String);

fn bucket(written: &schema::Bucket) -> Result<Bucket, Wrong> {
    match (&written.concurrent, &written.hold) {
        (Some(slots), hold) => concurrency(written, slots, hold.as_ref()).map(Bucket::Concurrency),
        (None, Some(hold)) => {
            let what = "`hold` goes with `concurrent`, the number of slots";
            Err((hold.place.clone(), what.to_owned()))
        }
        (None, None) => tokens(written).map(Bucket::Tokens),
    }
}

fn concurrency(
    written: &schema::Bucket,
    slots: &At<u32>,
    hold: Option<&At<String>>,
) -> Result<Concurrency, Wrong> {
    let has_rate = !written.per.is_empty() || written.rate.is_some() || written.every.is_some();
    if has_rate || written.size.is_some() {
        let what =
            "a bucket limits either how often or how many at a time; list two buckets for both";
        return Err((written.place.clone(), what.to_owned()));
    }
    let Some(hold) = hold else {
        let what =
            "`hold` is missing: how long a slot is held when nobody releases it, as in `hold: 1h`";
        return Err((written.place.clone(), what.to_owned()));
    };
    let held = duration(hold)?;
    Concurrency::new(slots.value, held.into()).map_err(|error| {
        let place = if error == LimitError::OddHold { &hold.place } else { &slots.place };
        (place.clone(), error.to_string())
    })
}

fn tokens(written: &schema::Bucket) -> Result<TokenBucket, Wrong> {
    let (tokens, rate) = rate(written)?;
    let size = written.size.as_ref().unwrap_or(tokens);
    TokenBucket::new(size.value, rate).map_err(|error| (size.place.clone(), error.to_string()))
}

fn rate(written: &schema::Bucket) -> Result<(&At<u32>, Rate), Wrong> {
    let wrong = |what: &str| Err((written.place.clone(), what.to_owned()));
    let (tokens, period) = match (&*written.per, &written.rate, &written.every) {
        ([(unit, tokens)], None, None) => (tokens, Period::one(*unit)),
        ([], Some(tokens), Some(every)) => {
            let period = Period::from_duration(duration(every)?)
                .map_err(|error| (every.place.clone(), error.to_string()))?;
            (tokens, period)
        }
        ([], None, None) => {
            return wrong(
                "a bucket needs a rate: one of per_second, per_minute, per_hour, per_day, or \
                 `rate` with `every`",
            );
        }
        ([_, _, ..], None, None) => {
            return wrong("a bucket has one rate; list one bucket for each");
        }
        _ => {
            return wrong(
                "`rate` and `every` go together and alone, as in `{ rate: 10, every: 5m }`",
            );
        }
    };
    let rate = Rate::new(tokens.value, period);
    Ok((tokens, rate.map_err(|error| (tokens.place.clone(), error.to_string()))?))
}

fn duration(text: &At<String>) -> Result<std::time::Duration, Wrong> {
    humantime::parse_duration(&text.value).map_err(|error| {
        let (value, place) = (shown(&text.value), text.place.clone());
        (place, format!("`{value}` is no duration, as `30s`, `5m`, `1h` and `1day` are: {error}"))
    })
}

/// A moment in UTC.
pub(super) fn moment(document: &Document<'_>, text: &At<String>) -> Option<Timestamp> {
    let parsed = humantime::parse_rfc3339(&text.value).ok();
    let since_epoch = parsed.and_then(|moment| moment.duration_since(std::time::UNIX_EPOCH).ok());
    if since_epoch.is_none() {
        let value = shown(&text.value);
        let what =
            format!("`{value}` is no moment after 1970 in UTC, as `2027-01-01T00:00:00Z` is");
        document.complain(&text.place, what);
    }
    since_epoch.map(|span| Timestamp::default().after(Nanos::from(span)))
}
