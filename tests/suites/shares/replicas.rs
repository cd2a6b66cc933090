//! Envoys whose streams are at several replicas over one store.

use tollgate::clock::Nanos;
use tollgate::shares::Assignment;

use super::{ACME, PLAIN, Simulation, per_second};

/// Two replicas, each with so many Envoys of one tenant.
fn replicas(of_each: [usize; 2]) -> Simulation {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.server();
    for (server, count) in of_each.into_iter().enumerate() {
        for _ in 0..count {
            simulation.envoy_of(server, &[ACME]);
        }
    }
    // They know each other.
    simulation.run(1.0, |_, _| 0.0);
    simulation
}

fn rate(simulation: &Simulation, envoy: usize) -> f64 {
    simulation.assignment(envoy, 0).and_then(Assignment::rate).unwrap()
}

#[test]
fn two_replicas_use_the_budget_and_no_more() {
    for of_each in [[1, 1], [3, 1], [8, 2]] {
        let mut simulation = replicas(of_each);
        simulation.run(10.0, |_, _| 60.0);
        simulation.take_all();
        simulation.run(60.0, |_, _| 60.0);
        let all = of_each[0] + of_each[1];
        // When they all begin at once, the first request of each passes unasked, and each has one token at least.
        let most = 5.0_f64.max(all as f64 * 1.5);
        let each: Vec<_> = (0..all).map(|envoy| simulation.take(envoy, 0)).collect();
        let used: f64 = each.iter().map(|seen| per_second(*seen, 60.0)).sum();
        assert!((48.5..=51.5).contains(&used), "{of_each:?}: {used}");
        assert!(simulation.worst() <= most, "{of_each:?}: {}", simulation.worst());
        // However many of them a replica has, each gets the same.
        let equal = 50.0 / all as f64;
        for seen in each {
            let rate = per_second(seen, 60.0);
            assert!((equal * 0.9..equal * 1.1).contains(&rate), "{of_each:?}: {rate}");
        }
    }
}

#[test]
fn who_asks_for_little_at_one_replica_leaves_the_rest_to_the_other() {
    // Of the first replica, one asks for much and one for little; of the second, one for much.
    let demand = |envoy: usize, _: usize| [90.0, 5.0, 90.0][envoy];
    let mut simulation = replicas([2, 1]);
    simulation.run(15.0, demand);
    simulation.take_all();
    simulation.run(60.0, demand);
    let [first, small, second] = [0, 1, 2].map(|envoy| simulation.take(envoy, 0));
    assert_eq!(small.allowed, small.requests);
    for seen in [first, second] {
        let rate = per_second(seen, 60.0);
        assert!((20.5..=23.5).contains(&rate), "{rate}");
    }
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn a_late_one_at_another_replica_gets_its_part_without_a_burst() {
    let mut simulation = replicas([1, 0]);
    simulation.run(12.0, |_, _| 90.0);
    simulation.envoy_of(1, &[ACME]);
    simulation.run(1.5, |_, _| 90.0);
    simulation.take_all();
    simulation.run(10.0, |_, _| 90.0);
    let late = per_second(simulation.take(1, 0), 10.0);
    assert!((22.0..=28.0).contains(&late), "{late}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn two_that_join_two_replicas_at_once_have_one_burst() {
    let mut simulation = replicas([1, 1]);
    simulation.run(30.0, |_, _| 200.0);
    // The first request of each passes unasked, and each has one token at least.
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn replicas_that_do_not_know_each_other_yet_have_one_burst() {
    let mut simulation = Simulation::new(PLAIN, 50, 50.0);
    simulation.server();
    // A replica tells that it is there once it has used the store.
    simulation.meet_after(Nanos::new(1_500_000_000));
    for server in [0, 1] {
        simulation.envoy_of(server, &[ACME]);
    }
    simulation.run(30.0, |_, _| 60.0);
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
    simulation.take_all();
    simulation.run(10.0, |_, _| 60.0);
    let rates = [0, 1].map(|envoy| per_second(simulation.take(envoy, 0), 10.0));
    assert!(rates.iter().all(|rate| (23.0..=27.0).contains(rate)), "{rates:?}");
}

#[test]
fn a_share_follows_the_demand_from_one_replica_to_the_other() {
    let flip = |envoy: usize, _: usize| [5.0, 90.0][envoy];
    let mut simulation = replicas([1, 1]);
    simulation.run(20.0, |envoy, _| [90.0, 5.0][envoy]);
    simulation.run(7.0, flip);
    simulation.take_all();
    simulation.run(10.0, flip);
    let grown = per_second(simulation.take(1, 0), 10.0);
    assert!(grown >= 40.0, "{grown}");
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}

#[test]
fn the_envoys_of_a_replica_that_ends_go_to_another_one_without_a_burst() {
    for is_drain in [true, false] {
        // One is there already.
        for there in [0, 1] {
            let mut simulation = replicas([2, there]);
            simulation.run(20.0, |_, _| 60.0);
            simulation.end_server(0, is_drain, 1);
            simulation.run(30.0, |_, _| 60.0);
            let which = (is_drain, there);
            assert!(simulation.worst() <= 5.0, "{which:?}: {}", simulation.worst());
            simulation.take_all();
            simulation.run(20.0, |_, _| 60.0);
            let used = per_second(simulation.take_all(), 20.0);
            assert!((48.5..=51.5).contains(&used), "{which:?}: {used}");
        }
    }
}

#[test]
fn who_joins_while_a_replica_has_ended_gets_what_its_envoys_leave() {
    let mut simulation = replicas([1, 0]);
    simulation.run(20.0, |_, _| 60.0);
    simulation.end_server(0, false, 1);
    simulation.envoy_of(1, &[ACME]);
    simulation.run(1.0, |_, _| 60.0);
    assert!((2.4..=3.1).contains(&rate(&simulation, 1)), "{}", rate(&simulation, 1));
    simulation.run(9.0, |_, _| 60.0);
    assert!((24.0..=26.0).contains(&rate(&simulation, 1)), "{}", rate(&simulation, 1));
    assert!(simulation.worst() <= 20.0, "{}", simulation.worst());
}

#[test]
fn an_envoy_that_moves_to_another_replica_takes_its_share_along() {
    let mut simulation = replicas([2, 1]);
    simulation.run(20.0, |_, _| 60.0);
    simulation.move_envoy(0, 1);
    simulation.run(30.0, |_, _| 60.0);
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
    simulation.take_all();
    simulation.run(20.0, |_, _| 60.0);
    let rates = [0, 1, 2].map(|envoy| per_second(simulation.take(envoy, 0), 20.0));
    assert!(rates.iter().all(|rate| (15.5..=17.5).contains(rate)), "{rates:?}");
}

#[test]
fn replicas_are_replaced_one_after_the_other_without_a_burst() {
    for is_drain in [true, false] {
        let mut simulation = replicas([2, 1]);
        simulation.run(20.0, |_, _| 60.0);
        for server in [0, 1] {
            simulation.replace_server(server, is_drain, 1 - server);
            simulation.run(20.0, |_, _| 60.0);
        }
        assert!(simulation.worst() <= 5.0, "{is_drain}: {}", simulation.worst());
        simulation.take_all();
        simulation.run(20.0, |_, _| 60.0);
        let used = per_second(simulation.take_all(), 20.0);
        assert!((48.5..=51.5).contains(&used), "{is_drain}: {used}");
    }
}

#[test]
fn who_waits_for_a_share_is_counted_also_when_its_replica_is_forgotten() {
    let demand = |envoy: usize, _: usize| [31.0, 47.0, 0.0][envoy];
    let mut simulation = replicas([0, 1]);
    simulation.run(1.1, demand);
    simulation.replace_server(1, false, 0);
    simulation.envoy_of(0, &[ACME]);
    simulation.run(3.0, demand);
    // It begins and ends at the new replica, so that the first Envoy may be this one for all that the other replica knows.
    simulation.envoy_of(1, &[ACME]);
    simulation.run(0.1, |envoy, _| [31.0, 47.0, 10.0][envoy]);
    simulation.kill(2);
    simulation.run(20.0, demand);
    assert!(simulation.worst() <= 5.0, "{}", simulation.worst());
}
