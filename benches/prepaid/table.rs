//! Simulates replicas that prepay admissions in a shared store, and prints what came of it:
//!
//!     cargo run --release --locked --features bench-drivers --example prepaid
//!
//! Each line is a run of eight seconds: calls, the share of what an exact store admits, questions to the store for each
//! call, calls that were denied while other replicas had prepaid admissions, and the most by which a bucket exceeded
//! size + rate x t, beside the bound of that, rate x span.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a program for measuring"
)]
#![allow(dead_code, reason = "only the tests simulate calls at moments that they tell")]

mod arrivals;
#[path = "../../tests/support/random.rs"]
mod random;
mod scenarios;
mod simulation;

use self::scenarios::{SCENARIOS, Scenario, usual};
use self::simulation::Simulation;

/// A fleet: a bucket for all, within it and beyond it, and a hundred tenants.
const FLEET: [Scenario; 3] = [
    Scenario {
        name: "1,000 replicas",
        size: 100_000,
        rate: 100_000,
        replicas: 1_000,
        per_second: 90.0,
        ..SCENARIOS[0]
    },
    Scenario {
        name: "1,000 replicas, twice over",
        size: 100_000,
        rate: 100_000,
        replicas: 1_000,
        per_second: 200.0,
        ..SCENARIOS[0]
    },
    Scenario {
        name: "1,000 replicas, 100 tenants",
        size: 10_000,
        rate: 10_000,
        replicas: 1_000,
        tenants: 100,
        per_second: 900.0,
        ..SCENARIOS[0]
    },
];

#[expect(clippy::cast_precision_loss, reason = "shares")]
fn main() {
    println!(
        "{:>7} {:28} {:>8} {:>10} {:>10} {:>10} {:>8} {:>7}",
        "prepaid", "", "calls", "admitted", "questions", "wrongly", "excess", "bound"
    );
    for span in [0, 50, 100, 250] {
        let fleet = FLEET.into_iter().filter(|_| span == 100);
        for scenario in SCENARIOS.into_iter().chain(fleet) {
            let figures = Simulation::run(scenario, usual(span));
            let calls = figures.calls as f64;
            println!(
                "{:>4} ms {:28} {:>8} {:>8.2} % {:>10.3} {:>8.3} % {:>8.1} {:>7.0}",
                span,
                scenario.name,
                figures.calls,
                100.0 * figures.admitted as f64 / figures.admitted_exactly as f64,
                figures.questions as f64 / calls,
                100.0 * figures.wrongly_denied as f64 / calls,
                figures.worst_excess,
                f64::from(scenario.rate) * span as f64 / 1e3,
            );
        }
    }
}
