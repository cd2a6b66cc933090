//! What a decision may cost and for how long a thread may wait, measured; exits with 1 if a target is
//! missed. benches/targets.sh runs it, with the memory of a key beside it.
//!
//! ```text
//! times [costs | stalls [WORD]]       both, if not said; WORD picks the stalls with it in their name
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench measures real time and prints what it measured; a failure is a panic"
)]

mod costs;
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
    let mut report = report::Report::default();
    if part.as_deref() != Some("stalls") {
        costs::check(&mut report);
    }
    if part.as_deref() != Some("costs") {
        stalls::check(&mut report, &word);
    }
    report.exit()
}
