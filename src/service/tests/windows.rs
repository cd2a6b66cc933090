//! Counting in windows.

use super::*;
use crate::limit::Counting;
use crate::policy::descriptor_tree::support::node;

#[test]
fn each_unit_has_its_windows_from_the_epoch_on() {
    let units = [
        (Unit::Second, 1, 1),
        (Unit::Minute, 60, 60),
        (Unit::Hour, 3600, 3600),
        (Unit::Day, 86_400, 86_400),
        // The week began on Thursday.
        (Unit::Week, 604_800, 4 * 86_400),
        (Unit::Month, 2_592_000, 2_592_000 - 1_772_323_200 % 2_592_000),
        (Unit::Year, 31_536_000, 31_536_000 - 1_772_323_200 % 31_536_000),
    ];
    for (unit, length, left) in units {
        let served = served([node("k", "").limited(2, unit)]);
        let name = unit.name();
        let ask = || served.ask_one(descriptor(&[["k", "v"]]));
        assert_eq!(ask(), format!("OK 1/2 {name} {left}s"));
        served.wait(left - 1);
        assert!(length == 1 || ask() == format!("OK 0/2 {name} 1s"), "never 0 seconds");
        served.wait(1);
        assert_eq!(ask(), format!("OK 1/2 {name} {length}s"), "a new window");
    }
}

#[test]
fn a_limit_admits_its_number_and_counts_beyond_it() {
    let served = served([node("k", "").per_minute(2)]);
    served.wait(12);
    let ask = |hits| served.ask_one(descriptor(&[["k", "v"]]).hits(hits));
    assert_eq!(ask(1), "OK 1/2 minute 48s");
    assert_eq!(ask(1), "OK 0/2 minute 48s");
    assert_eq!(ask(0), "OK 0/2 minute 48s", "spent exactly, and not beyond");
    assert_eq!(ask(1), "OVER 0/2 minute 48s");
    assert_eq!(ask(0), "OVER 0/2 minute 48s");
    assert_eq!(
        served.ask_one(descriptor(&[["k", "w"]])),
        "OK 1/2 minute 48s",
        "each value by itself"
    );
}

#[test]
fn hits_that_do_not_fit_are_counted() {
    let served = served([node("k", "").per_minute(2)]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]]).hits(5)), "OVER 0/2 minute 60s");
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OVER 0/2 minute 60s");
}

#[test]
fn a_limit_of_nothing_denies_every_hit_and_lets_a_look_pass() {
    let served = served([node("k", "").per_minute(0)]);
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]]).hits(0)), "OK 0/0 minute 60s");
    assert_eq!(served.ask_one(descriptor(&[["k", "v"]])), "OVER 0/0 minute 60s");
}

#[test]
fn the_hits_of_a_descriptor_go_before_those_of_the_request() {
    let served = served([node("k", "").per_minute(20)]);
    let ask = |of_request, descriptor| {
        told(&served.request(&request("d", [descriptor], of_request)).statuses[0])
    };
    assert_eq!(ask(3, descriptor(&[["k", "v"]])), "OK 17/20 minute 60s");
    assert_eq!(ask(3, descriptor(&[["k", "v"]]).hits(5)), "OK 12/20 minute 60s");
    assert_eq!(ask(3, descriptor(&[["k", "v"]]).hits(0)), "OK 12/20 minute 60s");
    assert_eq!(ask(0, descriptor(&[["k", "v"]])), "OK 11/20 minute 60s");
}

/// The reference charges them: it does not know them.
#[test]
fn negative_hits_are_given_back() {
    let served = served([node("k", "").per_minute(2)]);
    let ask = |descriptor| served.ask_one(descriptor);
    assert_eq!(ask(descriptor(&[["k", "v"]]).hits(3)), "OVER 0/2 minute 60s");
    assert_eq!(ask(descriptor(&[["k", "v"]]).hits(2).giving_back()), "OK 1/2 minute 60s");
    assert_eq!(ask(descriptor(&[["k", "v"]])), "OK 0/2 minute 60s");
}

/// The reference fails the call.
#[test]
fn huge_hits_do_not_overflow() {
    let served = served([node("k", "").limited(u32::MAX, Unit::Day)]);
    let ask = || served.ask_one(descriptor(&[["k", "v"]]).hits(u64::MAX));
    assert_eq!(ask(), "OVER 0/4294967295 day 86400s");
    assert_eq!(ask(), "OVER 0/4294967295 day 86400s");
}

#[test]
fn the_same_descriptor_twice_is_charged_twice_in_order() {
    let served = served([node("k", "").per_minute(3)]);
    let twice = || [descriptor(&[["k", "v"]]), descriptor(&[["k", "v"]])];
    let expected = ["OK 2/3 minute 60s", "OK 1/3 minute 60s"].map(str::to_owned);
    assert_eq!(served.ask(twice()), ("OK", expected.into()));
    let expected = ["OK 0/3 minute 60s", "OVER 0/3 minute 60s"].map(str::to_owned);
    assert_eq!(served.ask(twice()), ("OVER", expected.into()));
}

#[test]
fn every_descriptor_is_charged_whatever_the_others_say() {
    let served = served([node("a", "").per_minute(1), node("b", "").per_minute(9)]);
    let both = || [descriptor(&[["a", "1"]]), descriptor(&[["b", "1"]])];
    served.ask(both());
    let expected = ["OVER 0/1 minute 60s", "OK 7/9 minute 60s"].map(str::to_owned);
    assert_eq!(served.ask(both()), ("OVER", expected.into()));
    assert_eq!(served.ask_one(descriptor(&[["b", "1"]]).hits(0)), "OK 7/9 minute 60s");
}

#[test]
fn a_deployment_may_spare_those_that_would_admit_when_another_is_over() {
    let settings = TreeSettings { counting: Counting::SpareOthers, ..TreeSettings::default() };
    let nodes = [node("a", "").per_minute(1), node("b", "").per_minute(9)];
    let served = served_with(nodes, &settings);
    let both = || [descriptor(&[["a", "1"]]), descriptor(&[["b", "1"]])];
    served.ask(both());
    let expected = ["OVER 0/1 minute 60s", "OK 8/9 minute 60s"].map(str::to_owned);
    assert_eq!(served.ask(both()), ("OVER", expected.into()));
    assert_eq!(served.ask_one(descriptor(&[["b", "1"]]).hits(0)), "OK 8/9 minute 60s");
}

#[test]
fn equal_descriptors_are_judged_alone_where_others_are_spared() {
    let settings = TreeSettings { counting: Counting::SpareOthers, ..TreeSettings::default() };
    let served = served_with([node("a", "").per_minute(1), node("b", "").per_minute(5)], &settings);
    let b = |hits| descriptor(&[["b", "1"]]).hits(hits);
    assert_eq!(served.ask_one(b(1)), "OK 4/5 minute 60s");
    // Of 4 that are left, 3 fit, and 3 fit.
    let expected = ["OK 1/5 minute 60s", "OVER 0/5 minute 60s"].map(str::to_owned);
    assert_eq!(served.ask([b(3), b(3)]), ("OVER", expected.into()));
    assert_eq!(served.ask_one(b(2).giving_back()), "OK 0/5 minute 60s", "7 were counted");
    assert_eq!(served.ask_one(b(2).giving_back()), "OK 2/5 minute 60s");
    // Both are spared, since another is over.
    let over = descriptor(&[["a", "1"]]).hits(2);
    let expected = ["OVER 0/1 minute 60s", "OK 2/5 minute 60s", "OK 2/5 minute 60s"];
    let expected = expected.map(str::to_owned);
    assert_eq!(served.ask([over, b(1), b(1)]), ("OVER", expected.into()));
}

#[test]
fn a_deployment_may_count_admitted_requests_alone() {
    let settings = TreeSettings { counting: Counting::AllOrNone, ..TreeSettings::default() };
    let nodes = [node("a", "").per_minute(1), node("b", "").per_minute(9)];
    let served = served_with(nodes, &settings);
    assert_eq!(served.ask_one(descriptor(&[["a", "1"]]).hits(2)).get(..4), Some("OVER"));
    assert_eq!(served.ask([descriptor(&[["a", "1"]]), descriptor(&[["b", "1"]])]).0, "OK");
    assert_eq!(served.ask([descriptor(&[["a", "1"]]), descriptor(&[["b", "1"]])]).0, "OVER");
    assert_eq!(served.ask_one(descriptor(&[["b", "1"]]).hits(0)), "OK 8/9 minute 60s");
}
