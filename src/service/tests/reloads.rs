//! Counts across reloads and restarts.

use super::*;
use crate::policy::descriptor_tree::support::node;
use crate::store::memory::snapshot;

#[test]
fn a_reload_that_changes_the_number_or_moves_the_limit_keeps_the_count() {
    let served = served([node("k", "").per_minute(2)]);
    served.ask_one(descriptor(&[["k", "v"]]).hits(3));
    served.replace([node("k", "").per_minute(5)]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OK 1/5 minute 60s");
    served.replace([node("k", "v").per_minute(5).named("moved"), node("k", "")]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OK 0/5 minute 60s moved");
    served.replace([node("k", "").limited(5, Unit::Hour)]);
    assert_eq!(
        served.ask_one(descriptor(&[["k", "v"]])),
        "OK 4/5 hour 3600s",
        "another unit starts anew"
    );
}

#[test]
fn a_restart_keeps_the_counts_of_a_snapshot() {
    let nodes = || [node("k", "").per_minute(5), node("free", "").unlimited()];
    let before = served(nodes());
    before.ask_one(descriptor(&[["k", "v"]]).hits(2));
    let (policies, now) = (before.policies.load(), before.clock.read());
    let mut bytes = Vec::new();
    snapshot::write(&before.store, KEY, policies.limits(), now, &mut bytes).unwrap();
    let restored = |seconds| {
        let at = START.after(Nanos::from_secs(seconds));
        let clock = ManualClock::at(at);
        let restored = snapshot::read(&*bytes, 10_000, clock.read()).unwrap();
        let settings = TreeSettings::default();
        Served::over(restored.store, &restored.limits, at, nodes(), &settings)
    };
    assert_eq!(restored(20).ask_one(descriptor(&[["k", "v"]])), "OK 2/5 minute 40s");
    assert_eq!(
        restored(60).ask_one(descriptor(&[["k", "v"]])),
        "OK 4/5 minute 60s",
        "the next window"
    );
}
