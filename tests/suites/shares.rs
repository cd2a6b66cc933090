//! Buckets that are divided between Envoys: what they let through together, in the cases of docs/quota.md. Envoys and time
//! are simulated (benches/quota); the ledger and the store are the real ones.

#[path = "../../benches/quota/simulation.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod simulation;

mod random;
mod replicas;

use tollgate::shares::Assignment;

use self::simulation::{Seen, Simulation};

/// Fifty a second, and fifty at once.
const PLAIN: &str =
    "tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }]";

const ACME: &[(&str, &str)] = &[("tenant", "acme")];

/// A rate over some seconds.
fn per_second(seen: Seen, seconds: f64) -> f64 {
    seen.allowed as f64 / seconds
}

fn two(first: f64, second: f64) -> impl Fn(usize, usize) -> f64 {
    move |envoy, _| if envoy == 0 { first } else { second }
}

/// Two Envoys of one tenant.
fn plain() -> Simulation {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    simulation.envoy(&[ACME]);
    simulation
}

#[test]
fn two_busy_envoys_use_the_budget_and_no_more() {
    let mut simulation = plain();
    simulation.run(10.0, two(60.0, 60.0));
    simulation.take_all();
    simulation.run(60.0, two(60.0, 60.0));
    let used = per_second(simulation.take_all(), 60.0);
    assert!((48.5..=51.5).contains(&used), "{used}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn who_asks_for_little_gets_it_and_the_other_one_the_rest() {
    let mut simulation = plain();
    simulation.run(15.0, two(90.0, 5.0));
    simulation.take_all();
    simulation.run(60.0, two(90.0, 5.0));
    let small = simulation.take(1, 0);
    assert_eq!(small.allowed, small.requests);
    let used = per_second(simulation.take(0, 0), 60.0) + per_second(small, 60.0);
    assert!(used >= 47.5, "{used}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn a_share_follows_the_demand_with_the_next_report() {
    let mut simulation = plain();
    simulation.run(20.0, two(90.0, 5.0));
    simulation.run(6.0, two(5.0, 90.0));
    simulation.take_all();
    simulation.run(10.0, two(5.0, 90.0));
    let grown = per_second(simulation.take(1, 0), 10.0);
    assert!(grown >= 40.0, "{grown}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn a_late_one_gets_its_part_without_a_burst() {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    simulation.run(12.0, |_, _| 90.0);
    simulation.envoy(&[ACME]);
    simulation.take_all();
    simulation.run(10.0, |_, _| 90.0);
    let late = per_second(simulation.take(1, 0), 10.0);
    assert!((22.0..=28.0).contains(&late), "{late}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn two_limits_of_one_tenant_hold_together() {
    let policy = "tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_second: 10 }, { per_minute: 120 }] } }]";
    // Beside the limit of a minute; that of a second holds since no share is above it.
    let mut simulation = Simulation::new(policy, 120, 2.0);
    simulation.envoy(&[ACME]);
    simulation.run(40.0, |_, _| 20.0);
    // An exact server admits 10 a second until the 120 are used, then 2 a second: about 200 in 40 seconds.
    let used = simulation.take_all().allowed;
    assert!((170..=201).contains(&used), "{used}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn two_groups_of_one_tenant_stay_within_the_tenants_limit() {
    let policy = "tables:
  - { name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }
  - name: groups
    key: [tenant]
    select: endpoint_group
    rows: { read: [{ per_second: 30 }], default: unlimited }";
    let mut simulation = Simulation::new(policy, 50, 50.0);
    let read: &[(&str, &str)] = &[("tenant", "acme"), ("endpoint_group", "read")];
    let other: &[(&str, &str)] = &[("tenant", "acme"), ("endpoint_group", "other")];
    simulation.envoy(&[read, other]);
    simulation.run(10.0, |_, _| 40.0);
    simulation.take_all();
    simulation.run(40.0, |_, _| 40.0);
    let rates = [0, 1].map(|of| per_second(simulation.take(0, of), 40.0));
    assert!(rates.iter().all(|rate| (24.0..=26.0).contains(rate)), "{rates:?}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
    // Where the tenant has enough, the group has its own limit.
    simulation.run(20.0, |_, of| if of == 0 { 60.0 } else { 5.0 });
    simulation.take_all();
    simulation.run(20.0, |_, of| if of == 0 { 60.0 } else { 5.0 });
    let read = per_second(simulation.take(0, 0), 20.0);
    assert!((29.0..=31.0).contains(&read), "{read}");
}

#[test]
fn the_share_of_an_envoy_that_dies_is_free_again_after_a_while() {
    let mut simulation = plain();
    simulation.run(20.0, two(60.0, 60.0));
    simulation.kill(0);
    simulation.run(11.0, two(60.0, 60.0));
    simulation.take_all();
    simulation.run(20.0, two(60.0, 60.0));
    let survivor = per_second(simulation.take(1, 0), 20.0);
    assert!((48.5..=51.5).contains(&survivor), "{survivor}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn a_server_that_is_away_or_restarts_hands_out_no_second_burst() {
    for is_restart in [false, true] {
        let mut simulation = plain();
        simulation.run(20.0, two(60.0, 60.0));
        simulation.away(6.0, is_restart, two(60.0, 60.0));
        simulation.run(30.0, two(60.0, 60.0));
        assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
        simulation.take_all();
        simulation.run(20.0, two(60.0, 60.0));
        let used = per_second(simulation.take_all(), 20.0);
        assert!((48.5..=51.5).contains(&used), "{used}");
    }
}

#[test]
fn newcomers_get_little_until_a_server_that_has_just_started_knows_all() {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    simulation.run(20.0, |_, _| 60.0);
    simulation.away(0.1, true, |_, _| 60.0);
    for _ in 0..2 {
        simulation.envoy(&[ACME]);
        simulation.run(0.5, |_, _| 60.0);
    }
    let rate = |envoy| simulation.assignment(envoy, 0).and_then(Assignment::rate).unwrap();
    // The first of them, too, when it is told of the second.
    assert_eq!([1, 2].map(rate), [2.5, 2.5]);
}

#[test]
fn an_override_that_ends_is_noticed_with_the_next_report() {
    for (buckets, before) in [("unlimited", None), ("[{ per_second: 200 }]", Some(200.0))] {
        // A simulation begins at 08:00:00, and the Envoy reports every five seconds from then on.
        let policy = format!(
            "overrides: [{{ table: tenants, when: {{ tenant: acme }}, until: 2027-01-15T08:00:12Z, buckets: {buckets} }}]
{PLAIN}"
        );
        let mut simulation = Simulation::new(&policy, 200, 200.0);
        simulation.envoy(&[ACME]);
        let rate = |of: &Simulation| of.assignment(0, 0).and_then(Assignment::rate);
        simulation.run(14.0, |_, _| 20.0);
        assert_eq!(rate(&simulation), before);
        simulation.run(2.0, |_, _| 20.0);
        assert!(rate(&simulation).is_some_and(|rate| (49.0..=51.0).contains(&rate)));
    }
}

#[test]
fn a_limit_that_is_put_back_at_once_is_shared_at_once() {
    let slow = "tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_minute: 100 }] } }]";
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    simulation.run(0.1, |_, _| 10.0);
    simulation.reload_to(slow, 100, 100.0 / 60.0);
    simulation.run(0.1, |_, _| 10.0);
    simulation.reload_to(PLAIN, 50, 50.0);
    let rate = simulation.assignment(0, 0).and_then(Assignment::rate);
    assert!(rate.is_some_and(|rate| rate >= 45.0), "{rate:?}");
}

#[test]
fn what_was_used_before_a_server_knew_of_it_is_no_debt() {
    let mut simulation = plain();
    simulation.run(20.0, two(60.0, 60.0));
    simulation.away(0.1, true, two(60.0, 60.0));
    simulation.run(7.0, two(60.0, 60.0));
    simulation.take_all();
    simulation.run(5.0, two(60.0, 60.0));
    let used = per_second(simulation.take_all(), 5.0);
    assert!(used >= 45.0, "{used}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn who_comes_while_another_one_is_not_connected_gets_what_that_one_leaves() {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    simulation.run(20.0, |_, _| 60.0);
    // Its stream is cut, and back with its next report.
    simulation.away(0.1, false, |_, _| 60.0);
    simulation.envoy(&[ACME]);
    simulation.run(1.0, |_, _| 60.0);
    let rate = |of: &Simulation| of.assignment(1, 0).and_then(Assignment::rate).unwrap();
    assert!((2.4..=2.6).contains(&rate(&simulation)), "{}", rate(&simulation));
    simulation.run(5.0, |_, _| 60.0);
    assert!((24.0..=26.0).contains(&rate(&simulation)), "{}", rate(&simulation));
    assert!(simulation.worst() <= 20.0, "{}", simulation.worst());
}

#[test]
fn a_slow_bucket_is_spent_at_once_beside_a_fast_one() {
    let policy = "tables:
  - { name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }
  - name: groups
    key: [tenant]
    select: endpoint_group
    rows: { rotate: [{ per_day: 5 }], default: unlimited }";
    let rotate: &[(&str, &str)] = &[("tenant", "acme"), ("endpoint_group", "rotate")];
    let mut simulation = Simulation::new(policy, 50, 50.0);
    simulation.envoy(&[rotate]);
    simulation.run(2.0, |_, _| 10.0);
    assert_eq!(simulation.take(0, 0).allowed, 5);
}

#[test]
fn what_is_decided_one_by_one_and_what_envoys_use_is_one_budget() {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.envoy(&[ACME]);
    let (mut asked, mut used) = (0_u32, 0);
    for second in 0..60 {
        for _ in 0..40 {
            simulation.run(0.02, |_, _| 80.0);
            let is_admitted = simulation.ask(ACME);
            if second >= 20 && is_admitted {
                asked += 1;
            }
        }
        simulation.run(0.2, |_, _| 80.0);
        let seen = simulation.take_all();
        if second >= 20 {
            used += seen.allowed;
        }
    }
    let rates = [f64::from(asked) / 40.0, used as f64 / 40.0];
    let sum: f64 = rates.iter().sum();
    assert!((47.0..=51.5).contains(&sum), "{rates:?}");
    // Neither starves the other.
    assert!(rates.iter().all(|rate| *rate >= 23.0), "{rates:?}");
    // Envoy may hold one size, and the store another, which is all that they exceed it by.
    assert!(simulation.worst() <= 50.0, "{}", simulation.worst());
}
