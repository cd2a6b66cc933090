use super::*;

/// Nanoseconds, and whether the second is whole.
fn read(text: &str) -> Option<(u64, bool)> {
    Time::read(text.as_bytes()).map(|time| (time.nanos, time.is_whole_second))
}

/// 2015-05-17 10:05:03 UTC.
const SECOND: u64 = 1_431_857_103;
const NANOS: u64 = SECOND * 1_000_000_000;

#[test]
fn each_form_tells_the_same_second() {
    for text in [
        "17/May/2015:10:05:03 +0000",
        "17/May/2015:10:05:03",
        "2015-05-17T10:05:03Z",
        "2015-05-17t10:05:03z",
        "2015-05-17 10:05:03",
        "2015-05-17 10:05:03 UTC",
        "20150517T100503Z",
        "1431857103",
        // The offset alone decides, whatever the season.
        "17/May/2015:06:05:03 -0400",
        "2015-05-17T12:05:03+02:00",
        "2015-05-17T12:05:03+02",
        "2015-05-17T15:35:03 +0530",
        "2015-05-16T23:05:03-11:00",
    ] {
        assert_eq!(read(text), Some((NANOS, true)), "{text}");
    }
}

#[test]
fn a_fraction_may_have_any_length() {
    let at = |nanos| Some((NANOS + nanos, false));
    assert_eq!(read("2015-05-17T10:05:03.5Z"), at(500_000_000));
    assert_eq!(read("2015-05-17T10:05:03.000Z"), at(0));
    assert_eq!(read("2015-05-17 10:05:03,123"), at(123_000_000));
    assert_eq!(read("2015-05-17T10:05:03.123456789987654321+00:00"), at(123_456_789));
    assert_eq!(read("17/May/2015:10:05:03.250 +0000"), at(250_000_000));
}

#[test]
fn the_magnitude_of_a_number_tells_its_unit() {
    assert_eq!(read("1431857103.25"), Some((NANOS + 250_000_000, false)));
    assert_eq!(read("1431857103000"), Some((NANOS, false)));
    assert_eq!(read("1431857103001.5"), Some((NANOS + 1_500_000, false)));
    assert_eq!(read("1431857103000001"), Some((NANOS + 1_000, false)));
    assert_eq!(read("1431857103000000001"), Some((NANOS + 1, false)));
    assert_eq!(read("1.431857103e9"), Some((NANOS, false)));
}

#[test]
fn a_leap_second_is_the_first_of_the_next_minute() {
    let next = read("2017-01-01T00:00:00Z");
    assert_eq!(read("2016-12-31T23:59:60Z"), next);
    assert_eq!(read("2016-12-31T23:59:61Z"), None);
    assert!(next.is_some());
}

#[test]
fn date_and_time_may_be_two_columns() {
    let read = |date: &str, time: &str| Time::read_columns(date.as_bytes(), time.as_bytes());
    let time = Some(Time { nanos: NANOS, is_whole_second: true });
    assert_eq!(read("2015-05-17", "10:05:03"), time);
    assert_eq!(read("17/May/2015", "10:05:03"), time);
    assert_eq!(read("2015-05-17T", "10:05:03"), None);
    assert_eq!(read("2015-05-17", "10:05"), None);
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        "-",
        "never",
        "2015-05-17",
        "2015-02-29T00:00:00Z",
        "2015-13-01T00:00:00Z",
        "2015-00-01T00:00:00Z",
        "2015-05-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2555-01-01T00:00:00Z",
        "2015-05-17T24:00:00Z",
        "2015-05-17T10:60:00Z",
        "2015-05-17T10:05:03.Z",
        "2015-05-17T10:05:03+24:00",
        "2015-05-17T10:05:03*02:00",
        "2015-05-17T10:05:03Z and more",
        "17/Mai/2015:10:05:03 +0000",
        "17/May/2015 10:05:03 +0000",
        "-1431857103",
        "1431857103s",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_time_is_read_alike_whatever_was_read_before() {
    let texts = [
        "2015-05-17T10:05:03Z",
        "2015-05-17T10:05:03.5Z",
        "2015-05-17T10:05:03.250+02:00",
        "2015-05-17T10:05:03 and more",
        "2015-05-17T10:05:03",
        "2015-05-17T10:05:0",
        "2015-05-17 10:05:03Z",
        "2015-05-17T10:05:04Z",
        "2015-05-17T100503.001Z",
        "2015-05-17T100503.001+00:00",
        "20150517T100503Z",
        "17/May/2015:10:05:03 +0000",
        "17/May/2015:10:05:03 +0100",
        "1969-12-31T23:59:59-01:00",
        "1969-12-31T23:59:59Z",
        "1431857103.25",
        "never",
        "",
    ];
    for before in texts {
        for text in texts {
            let mut times = Times::default();
            assert_eq!(times.read(before.as_bytes()), Time::read(before.as_bytes()));
            assert_eq!(times.read(text.as_bytes()), Time::read(text.as_bytes()), "{before} {text}");
            assert_eq!(times.read(text.as_bytes()), Time::read(text.as_bytes()), "{text}");
        }
    }
}
