use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * 1_000_000_000)
}

fn every(seconds: u64) -> CompactInterval {
    CompactInterval::of(Nanos::from_secs(seconds))
}

fn place(number: u8, digest: u64, size: u32, intervals: &[u64]) -> (Salt, LimitChanges) {
    let intervals = intervals.iter().map(|seconds| every(*seconds)).collect();
    let limits = BucketLimits { digest, intervals, size, ends: Vec::new() };
    (Salt::from_bytes([number; 16]), LimitChanges::new(ChangeTime::at(at(1)), limits, Vec::new()))
}

fn recorded(places: impl IntoIterator<Item = (Salt, LimitChanges)>) -> RecordedLimits {
    RecordedLimits::of(&places.into_iter().collect(), at(2), at(3))
}

#[test]
fn limits_survive_a_round_trip_through_bytes() {
    let places = || [place(1, 7, 10, &[6, 60]), place(2, 8, 1, &[]), place(3, 9, u32::MAX, &[5])];
    let limits = recorded(places());
    let bytes = limits.to_bytes();
    assert_eq!(bytes.len(), 1 + 8 + 4 + 3 * 32 + 3 * 4);
    assert_eq!(bytes, recorded(places().into_iter().rev()).to_bytes());
    let read = RecordedLimits::from_bytes(&bytes, at(4)).unwrap();
    assert_eq!((read.since, read.until), (at(2), at(4)));
    assert!(read.has_limits_of(&limits) && limits.has_limits_of(&read));
    assert_eq!(read.to_bytes(), bytes);
    for other in [recorded([]), recorded([place(1, 7, 10, &[6, 60])])] {
        assert!(!other.has_limits_of(&limits) && !limits.has_limits_of(&other));
    }
}

#[test]
fn other_bytes_are_no_limits() {
    let bytes = recorded([place(1, 7, 10, &[6, 60])]).to_bytes();
    let is_read = |bytes: &[u8]| RecordedLimits::from_bytes(bytes, at(3)).is_some();
    assert!(is_read(&bytes));
    (0..bytes.len()).for_each(|length| assert!(!is_read(&bytes[..length]), "{length}"));
    assert!(!is_read(&[&bytes[..], &[0]].concat()));
    let with = |place: std::ops::Range<usize>, byte| {
        let mut bytes = bytes.clone();
        bytes[place].fill(byte);
        bytes
    };
    assert!(!is_read(&with(0..1, 2)), "another format");
    assert!(!is_read(&with(9..13, 255)), "many places");
    assert!(!is_read(&with(41..45, 255)), "many intervals");
    assert!(!is_read(&with(45..49, 0)), "no interval");
}

#[test]
fn something_is_owed_for_as_long_as_the_fullest_bucket_takes_at_the_slowest_rate() {
    assert_eq!(longest_owed(&[]), Nanos::ZERO);
    let before = recorded([place(1, 1, 100, &[6]), place(2, 1, 1, &[5])]);
    let mut after = recorded([place(1, 2, 10, &[60])]);
    assert_eq!(longest_owed(std::slice::from_ref(&after)), Nanos::from_secs(600));
    assert_eq!(longest_owed(&[before.clone(), after.clone()]), Nanos::from_secs(6_000));
    after.raise_sizes(&before);
    assert_eq!(longest_owed(&[after]), Nanos::from_secs(6_000));
    let year = 365 * 86_400;
    let most = recorded([place(1, 1, u32::MAX, &[year])]);
    assert_eq!(longest_owed(&[most]), Nanos::new(MAX_FILL_TIME));
}
