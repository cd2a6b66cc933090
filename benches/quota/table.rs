//! Simulates Envoys that limit by themselves, by the shares that they are assigned, and prints what came of it:
//!
//!     cargo run --release --locked --features bench-drivers --example quota
//!
//! Each line is a minute: the share of what an exact server admits of the same requests, the most by which a bucket exceeded
//! size + rate x t, what those got that ask for less than an equal part, the messages a second that the server reads and
//! writes, and the time that it takes for a second of them. Envoys report every five seconds, so that demand that changes
//! faster is not followed.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a program for measuring, in real time"
)]
#![allow(dead_code, reason = "the tests simulate more")]

mod simulation;

use std::time::Instant;

use self::simulation::Simulation;

const ID: &[(&str, &str)] = &[("tenant", "acme")];

/// How long a run is measured, and how long it runs before, in seconds.
const MEASURED: f64 = 60.0;
const BEFORE: f64 = 20.0;

/// What Envoys have to do.
#[derive(Debug, Clone, Copy)]
enum Demand {
    /// All the same, a fifth more than there is.
    Even,
    /// A tenth of them has nine tenths of it.
    Skewed,
    /// Two seconds out of ten, at other times each.
    Bursty,
}

impl Demand {
    /// Requests a second of an Envoy at a time, if an equal part of the bucket is `part`.
    fn of(self, envoy: usize, seconds: f64, part: f64) -> f64 {
        match self {
            Self::Even => part * 1.2,
            Self::Skewed if envoy.is_multiple_of(10) => part * 1.2 * 9.0,
            Self::Skewed => part * 1.2 / 9.0,
            Self::Bursty => {
                let phase = (seconds + (envoy % 10) as f64) % 10.0;
                if phase < 2.0 { part * 1.2 * 5.0 } else { 0.0 }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    demand: Demand,
    /// The part of the Envoys that ends each second, while others begin.
    churn: f64,
    /// Whether there is a second limit, of a minute: half the rate, and 30 seconds of that at once.
    has_minute: bool,
}

const EVEN: Scenario =
    Scenario { name: "even", demand: Demand::Even, churn: 0.0, has_minute: false };

const SCENARIOS: [Scenario; 5] = [
    EVEN,
    Scenario { name: "skewed", demand: Demand::Skewed, ..EVEN },
    Scenario { name: "bursty", demand: Demand::Bursty, ..EVEN },
    Scenario { name: "churn", churn: 0.01, ..EVEN },
    Scenario { name: "two limits", has_minute: true, ..EVEN },
];

struct Figures {
    used: f64,
    worst: f64,
    small: Option<f64>,
    messages: f64,
    taken: f64,
}

#[expect(clippy::cast_precision_loss, reason = "shares")]
fn run(scenario: Scenario, envoys: usize, rate: u32) -> Figures {
    let minute = rate * 30;
    let second =
        if scenario.has_minute { format!(", {{ per_minute: {minute} }}") } else { String::new() };
    let row = format!("[{{ per_second: {rate} }}{second}]");
    let policy = format!("tables: [{{ name: tenants, key: [tenant], rows: {{ all: {row} }} }}]");
    let mut simulation = Simulation::new(&policy, rate, rate.into());
    if scenario.has_minute {
        simulation = simulation.with_bucket(minute, f64::from(minute) / 60.0);
    }
    let part = f64::from(rate) / envoys as f64;
    // They do not begin together, so that they do not report together.
    let mut seconds = 0.0;
    for begun in 1..=50 {
        while simulation.count() < envoys * begun / 50 {
            simulation.envoy(&[ID]);
        }
        simulation.run(0.1, |envoy, _| scenario.demand.of(envoy, seconds, part));
        seconds += 0.1;
    }
    let (mut oldest, mut ending) = (0, 0.0);
    let mut run_for = |simulation: &mut Simulation, span: f64| {
        let until = seconds + span;
        while seconds < until {
            ending += scenario.churn * envoys as f64;
            while ending >= 1.0 {
                ending -= 1.0;
                simulation.kill(oldest);
                oldest += 1;
                simulation.envoy(&[ID]);
            }
            for _ in 0..10 {
                simulation.run(0.1, |envoy, _| scenario.demand.of(envoy, seconds, part));
                seconds += 0.1;
            }
        }
    };
    run_for(&mut simulation, BEFORE);
    let is_small =
        |envoy: usize| matches!(scenario.demand, Demand::Skewed) && !envoy.is_multiple_of(10);
    simulation.take_all();
    (simulation.admitted_exactly, simulation.messages) = (0, 0);
    let begun = Instant::now();
    run_for(&mut simulation, MEASURED);
    let taken = begun.elapsed().as_secs_f64() / MEASURED;
    let (mut allowed, mut small) = (0, [0, 0]);
    for envoy in 0..simulation.count() {
        let seen = simulation.take(envoy, 0);
        allowed += seen.allowed;
        if is_small(envoy) {
            small = [small[0] + seen.allowed, small[1] + seen.requests];
        }
    }
    Figures {
        used: allowed as f64 / simulation.admitted_exactly as f64,
        worst: simulation.worst(),
        small: (small[1] > 0).then(|| small[0] as f64 / small[1] as f64),
        messages: simulation.messages as f64 / MEASURED,
        taken,
    }
}

fn main() {
    println!(
        "{:>7} {:>8} {:11} {:>9} {:>8} {:>13} {:>11} {:>9}",
        "Envoys", "a second", "", "used", "excess", "small served", "messages/s", "ms for 1 s"
    );
    for (envoys, rate) in [(10, 1_000), (100, 1_000), (1_000, 10_000), (1_000, 1_000)] {
        for scenario in SCENARIOS {
            let Figures { used, worst, small, messages, taken } = run(scenario, envoys, rate);
            let small = small.map_or("-".to_owned(), |small| format!("{:.1} %", small * 100.0));
            println!(
                "{envoys:>7} {rate:>8} {:11} {:>7.1} % {worst:>8.1} {small:>13} {messages:>11.0} {:>9.1}",
                scenario.name,
                used * 100.0,
                taken * 1e3
            );
        }
    }
}
