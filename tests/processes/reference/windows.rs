//! Fixed windows of real time: which one it is, and waiting for the next.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

/// Whole seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// How many seconds a unit has.
pub(super) fn length(unit: Unit) -> u64 {
    match unit {
        Unit::Unknown => panic!("no window is of an unknown unit"),
        Unit::Second => 1,
        Unit::Minute => 60,
        Unit::Hour => 3_600,
        Unit::Day => 86_400,
        Unit::Week => 7 * 86_400,
        Unit::Month => 30 * 86_400,
        Unit::Year => 365 * 86_400,
    }
}

/// Those of these units whose window did not begin together with the window of another of them: the reference counts
/// such windows in one ([`super::Difference::OneBegin`]).
pub(super) fn apart(units: &[Unit]) -> Vec<Unit> {
    let now = now();
    let begin = |unit: Unit| now - now % length(unit);
    let is_alone = |unit: &Unit| {
        let mut others = units.iter().filter(|other| *other != unit);
        others.all(|other| begin(*other) != begin(*unit))
    };
    units.iter().copied().filter(is_alone).collect()
}

/// Returns early in a window: at once where less than a third of a second of it has passed, or where it is long and
/// does not end soon.
pub(super) fn begin(unit: Unit) {
    let length = Duration::from_secs(length(unit));
    let passed = Duration::from_nanos(nanos(since_epoch()) % nanos(length));
    if passed > Duration::from_millis(333) && length - passed < Duration::from_secs(2) {
        sleep_until_next(unit);
    }
}

/// Returns at the begin of the next window, which shall not be long.
pub(super) fn sleep_until_next(unit: Unit) {
    let length = length(unit);
    let left = length - now() % length;
    assert!(left <= 2, "{left} s are left of this {}", unit.as_str_name());
    let next = Duration::from_secs(now() / length * length + length);
    // A clock that is read may be behind the one that wakes by a tick.
    std::thread::sleep(next.saturating_sub(since_epoch()) + Duration::from_millis(5));
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}
