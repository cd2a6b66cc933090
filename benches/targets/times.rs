//! What a decision may cost and for how long a thread or a caller may wait, measured; exits with 1 if a target is
//! missed. benches/targets.sh runs it, with the memory of a key beside it.
//!
//! ```text
//! times [costs | stalls [WORD] | bystanders [WORD] | baseline [WORD]]
//! ```
//!
//! All but `baseline`, if not said; WORD picks those with it in their name. `baseline` does the harm of `bystanders` to
//! an empty tonic service.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench measures real time and prints what it measured; a failure is a panic"
)]

mod bystanders;
mod costs;
#[path = "../serve/empty.rs"]
mod empty;
#[path = "../../tests/support/frames.rs"]
mod frames;
#[path = "../../tests/support/own_time.rs"]
mod own_time;
mod report;
mod stalls;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::process::ExitCode;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let part = std::env::args().nth(1);
    let word = std::env::args().nth(2).unwrap_or_default();
    let is_asked = |name| part.as_deref().is_none_or(|part| part == name);
    let mut report = report::Report::default();
    if is_asked("costs") {
        costs::check(&mut report);
    }
    if is_asked("stalls") {
        stalls::check(&mut report, &word);
    }
    // The last: it keeps its threads to single cores.
    if is_asked("bystanders") {
        bystanders::check(&mut report, &word);
    }
    if part.as_deref() == Some("baseline") {
        bystanders::check_baseline(&mut report, &word);
    }
    report.exit()
}
