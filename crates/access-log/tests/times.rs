//! Times, against those that the crate `time` writes.

#![allow(clippy::unwrap_used, reason = "test code: a failure is a panic")]

mod support;

use access_log::Format;
use proptest::prelude::*;
use support::{read, reader_of};
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// The start that a line of JSON with this time tells.
fn start(text: &str) -> Option<(u64, bool)> {
    let line = format!("{{\"start_time\":\"{text}\"}}");
    let told = read(&mut reader_of(Format::Json, &[]), line.as_bytes()).ok()?;
    told.first().map(|told| (told.start, told.is_whole_second))
}

fn whole(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp()).unwrap() * 1_000_000_000
}

fn nanos(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_other_writes_is_read(
        // From a day after the epoch, whatever the offset, to 2554.
        second in 90_000_i64..18_446_000_000,
        nano in 0_u32..1_000_000_000,
        offset in -1439_i32..1440,
    ) {
        let offset = UtcOffset::from_whole_seconds(offset * 60).unwrap();
        let time = OffsetDateTime::from_unix_timestamp(second).unwrap().replace_nanosecond(nano).unwrap();
        let time = time.to_offset(offset);
        let rfc = time.format(&Rfc3339).unwrap();
        prop_assert_eq!(start(&rfc), Some((nanos(time), nano == 0)), "{}", rfc);
        let common = format_description!(
            "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
        );
        let common = time.format(&common).unwrap();
        prop_assert_eq!(start(&common), Some((whole(time), true)), "{}", common);
        let text = time.replace_nanosecond(0).unwrap().unix_timestamp().to_string();
        prop_assert_eq!(start(&text), Some((whole(time), true)), "{}", text);
        let text = format!("{second}.{nano:09}");
        // Nineteen digits are read, so that from the year 2286 on the last of twenty is left out.
        let expected = if second < 10_000_000_000 { nanos(time) } else { nanos(time) / 10 * 10 };
        prop_assert_eq!(start(&text), Some((expected, false)), "{}", text);
    }

    /// Where both read a text, they read the same time; what the other takes for no date is none here.
    #[test]
    fn what_both_read_is_the_same(
        year in 1969_u32..2030, month in 0_u32..14, day in 0_u32..33, hour in 0_u32..25, minute in 0_u32..61,
        second in 0_u32..60, fraction in "(\\.[0-9]{1,9})?", offset in "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
    ) {
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}");
        let other = OffsetDateTime::parse(&text, &Iso8601::DEFAULT).or_else(|_| OffsetDateTime::parse(&text, &Rfc3339));
        let expected = other.ok().and_then(|time| u64::try_from(time.unix_timestamp_nanos()).ok());
        prop_assert_eq!(start(&text).map(|(start, _)| start), expected, "{}", text);
    }
}
