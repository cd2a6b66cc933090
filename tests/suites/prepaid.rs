//! Admissions that are charged in a shared store ahead of the requests: what holds whatever the demand, the round trips, and
//! the answers that are lost. Replicas and time are simulated (benches/prepaid); the store is the arithmetic of the script.

mod adversary;
#[path = "../../benches/prepaid/arrivals.rs"]
mod arrivals;
#[path = "../../benches/prepaid/scenarios.rs"]
mod scenarios;
#[path = "../../benches/prepaid/simulation.rs"]
mod simulation;
mod told;

use proptest::prelude::*;
use tollgate::clock::Nanos;

use self::scenarios::{Conditions, SCENARIOS, Scenario, usual};
use self::simulation::Simulation;

/// How often a scenario asks for each call: at most, with admissions prepaid for 100 ms. As measured, plus a tenth.
const QUESTIONS: [(&str, f64); 9] = [
    ("plenty, even", 0.62),
    ("near the limit", 0.31),
    ("twice over", 1.0),
    ("one replica hot", 0.1),
    ("bursts", 0.33),
    ("hot and wide", 0.036),
    ("100 replicas", 0.44),
    ("small, sparse", 1.0),
    ("1,000 tenants in turn", 1.05),
];

#[test]
fn the_scenarios_admit_what_an_exact_store_does_with_fewer_questions_and_deny_nobody_wrongly() {
    for (scenario, (name, most)) in SCENARIOS.into_iter().zip(QUESTIONS) {
        assert_eq!(scenario.name, name);
        let figures = Simulation::run(scenario, usual(100));
        let share = |count: u64, of: u64| f64::from(u32::try_from(count).unwrap()) / of as f64;
        assert!(share(figures.questions, figures.calls) <= most, "{name}: {figures:?}");
        assert!(share(figures.wrongly_denied, figures.calls) <= 0.005, "{name}: {figures:?}");
        let admitted = share(figures.admitted, figures.admitted_exactly);
        assert!((admitted - 1.0).abs() <= 0.001, "{name}: {figures:?}");
        assert!(figures.worst_excess <= f64::from(scenario.rate) * 0.1, "{name}: {figures:?}");
    }
}

#[test]
fn a_store_that_is_asked_for_each_call_is_exact() {
    let figures = Simulation::run(SCENARIOS[2], Conditions { span: Nanos::ZERO, ..usual(0) });
    assert_eq!(figures.questions, figures.calls);
    assert!(figures.worst_excess < 1.0 && figures.wrongly_denied == 0, "{figures:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// In any time t a bucket admits at most size + rate x (t + prepaid time), also if answers and give-backs are lost. No
    /// admission is spent later than the prepaid time after it was asked for.
    #[test]
    fn no_bucket_exceeds_its_bound(
        size in 1_u32..3_000,
        rate in 1_u32..3_000,
        replicas in 1_u32..30,
        tenants in 1_u32..4,
        load in 0.2_f64..4.0,
        shape in 0_usize..3,
        span in 10_u64..1_000,
        round_trip in 100_u64..200_000,
        lost_per_mille in prop_oneof![Just(0_u64), 1_u64..300],
        seed in any::<u64>(),
    ) {
        let shapes: [fn(u32, f64) -> f64; 3] = [
            |_, _| 1.0,
            |replica, _| if replica == 0 { 1.0 } else { 0.02 },
            |_, at| if at % 0.7 < 0.2 { 1.0 } else { 0.01 },
        ];
        // As many calls as a run of two seconds should have at most.
        let calls = (f64::from(rate) * load * f64::from(tenants) / f64::from(replicas)).min(5_000.0);
        let scenario = Scenario {
            name: "",
            size,
            rate,
            replicas,
            tenants,
            demand: shapes[shape],
            per_second: calls,
        };
        let conditions = Conditions {
            span: Nanos::new(span * 1_000_000),
            round_trip: Nanos::new(round_trip * 1_000),
            length: Nanos::from_secs(2),
            lost_per_mille,
            seed,
        };
        let figures = Simulation::run(scenario, conditions);
        prop_assert!(figures.calls > 0 || calls < 10.0);
        // A question that a request waits for is answered a round trip after it was charged, prepaid or not.
        let answer = (round_trip * 2) as f64 / 1e6;
        let bound = f64::from(rate) * (span as f64 / 1e3 + answer) + 0.001;
        prop_assert!(figures.worst_excess <= bound, "{figures:?}, bound {bound}");
        prop_assert_eq!(figures.spent_late, 0);
    }
}
