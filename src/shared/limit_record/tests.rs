use super::*;
use crate::limit::{BucketLimits, ChangeTime, LimitChanges};
use crate::policy::identity::Salt;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * 1_000_000_000)
}

fn every(seconds: u64) -> CompactInterval {
    CompactInterval::of(Nanos::from_secs(seconds))
}

/// The limits of one bucket of a thousand tokens: the interval at first, and those that replaced it, with their times.
fn limits(first: u64, later: &[(u64, u64)]) -> LimitHistory {
    let of = |seconds| BucketLimits {
        digest: seconds,
        intervals: vec![every(seconds)],
        size: 1_000,
        ends: Vec::new(),
    };
    let mut changes = LimitChanges::succeed(None, of(first), &ChangeTime::at(at(1)));
    for (seconds, time) in later {
        changes = LimitChanges::succeed(Some(&changes), of(*seconds), &ChangeTime::at(at(*time)));
    }
    std::iter::once((Salt::from_bytes([1; 16]), changes)).collect()
}

/// A process that has had this interval since it began.
struct Process {
    record: LimitRecord,
    limits: LimitHistory,
    changed_at: Timestamp,
}

impl Process {
    fn with(interval: u64) -> Self {
        let record = LimitRecord::default();
        Self { record, limits: limits(interval, &[]), changed_at: at(1) }
    }

    /// Reads that another process had this interval at that time.
    fn read(&mut self, interval: u64, until: u64) {
        self.record.add(RecordedLimits::of(&limits(interval, &[]), at(1), at(until)));
    }

    /// What is told at this time.
    fn told(&mut self, now: u64) -> Vec<(CompactInterval, Nanos)> {
        self.record.put(&self.limits, self.changed_at, at(now));
        self.record.slowed_by(&self.limits, self.changed_at, at(now)).iter().collect()
    }
}

#[test]
fn faster_limits_of_others_are_told_at_once_and_again_when_none_has_them_any_more() {
    let told = [(every(6), Nanos::from_secs(60))];
    let mut process = Process::with(60);
    assert_eq!(process.told(1_000), []);
    process.read(6, 1_000);
    assert_eq!(process.told(1_001), told);
    assert_eq!(process.told(1_020), []);
    // Another process still has them.
    for now in [1_020, 1_040, 1_060] {
        process.read(6, now);
        assert_eq!(process.told(now), []);
    }
    assert_eq!(process.told(1_119), []);
    assert_eq!(process.told(1_120), told);
    assert_eq!([1_140, 9_999].map(|now| process.told(now).len()), [0; 2]);
    // A canary comes back, and goes.
    process.read(6, 20_000);
    assert_eq!(process.told(20_010), []);
    assert_eq!(process.told(20_060), told);
}

#[test]
fn a_process_that_may_have_written_after_its_last_word_is_waited_for() {
    for (until, again) in [(985, true), (980, false)] {
        let mut process = Process::with(60);
        process.read(6, until);
        assert_eq!(process.told(1_000).len(), 1);
        assert_eq!(!process.told(1_100).is_empty(), again, "{until}");
    }
}

#[test]
fn limits_whose_keys_have_ended_by_themselves_are_not_told() {
    // A thousand tokens, a second each.
    for (now, told) in [(2_019, 1), (2_020, 0)] {
        let mut process = Process::with(60);
        process.read(1, 1_000);
        assert_eq!(process.told(now).len(), told, "{now}");
    }
    let mut process = Process::with(60);
    process.read(60, 1_000);
    process.read(600, 1_000);
    assert_eq!(process.told(1_000), [], "these are not faster");
}

#[test]
fn what_the_process_has_slowed_itself_is_told_only_when_others_may_have_written_since() {
    let mut process = Process::with(6);
    assert_eq!(process.told(1_000), []);
    process.limits = limits(6, &[(60, 1_010)]);
    process.changed_at = at(1_010);
    assert_eq!(process.told(1_010), []);
    assert_eq!(process.told(1_059), []);
    // Whether another one had them until 1020 is not known.
    assert_eq!(process.told(1_060), [(every(6), Nanos::from_secs(60))]);
    // Limits that are slower still are told for those of others, too.
    process.read(7, 1_070);
    assert_eq!(process.told(1_070).len(), 1);
    process.limits = limits(6, &[(60, 1_010), (600, 1_100)]);
    process.changed_at = at(1_100);
    let slowest = Nanos::from_secs(600);
    assert_eq!(process.told(1_100), [(every(7), slowest)]);
}

#[test]
fn what_was_in_force_last_is_kept_when_there_is_too_much() {
    let mut record = LimitRecord::default();
    let count = u64::try_from(MAX_SETS).unwrap() + 3;
    for number in 1..=count {
        let set = RecordedLimits::of(&limits(number, &[]), at(1), at(1_000 + number));
        record.add(set.clone());
        record.add(set);
    }
    assert_eq!(record.remove_before(at(1_001)), at(1_003));
    assert_eq!(record.sets.len(), MAX_SETS);
    assert_eq!(record.remove_before(at(1_030)), at(1_030));
    assert_eq!(record.sets.len(), 5);
}

#[test]
fn any_score_is_a_time() {
    let (time, exact) =
        (from_millis(1_796_000_000_123.0), at(1_796_000_000).after(Nanos::new(123_000_000)));
    assert!(time.since(exact).max(exact.since(time)) < Nanos::new(1_000), "{time:?}");
    for score in [-1.0, f64::INFINITY, f64::NEG_INFINITY, 0.0] {
        assert_eq!(from_millis(score), Timestamp::default());
    }
}
