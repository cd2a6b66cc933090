//! The heap's bytes for each key that a store keeps, counted by the allocator; exits with 1 if there are too
//! many. benches/targets.sh runs it.
//!
//! A hash table doubles when it is full, and is half empty then; and while it doubles, the old one and the
//! new one are both there. So beside the stores of 1 and of 10 million keys, it tells the most that a key
//! took at any moment in between.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints what it measured; a failure is a panic"
)]

mod report;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use peak_alloc::PeakAlloc;

use report::Report;
use support::{Parts, USUAL, message, tenant};
use tollgate::wire;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Keys between two looks at the counters.
const STEP: usize = 100_000;

/// What a key may take.
const LIMIT: f64 = 52.0;

fn main() -> ExitCode {
    let mut report = Report::default();
    report.headline("heap bytes of a key");
    let parts = Parts::of(USUAL);
    let empty = ALLOCATOR.current_usage();
    let of_a_key = |bytes: usize, keys: usize| {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap());
        count(bytes.saturating_sub(empty)) / count(keys)
    };
    let (mut most, mut peak) = ((0.0, 0), (0.0, 0));
    let mut caller = 0;
    for keys in (STEP..=10_000_000).step_by(STEP) {
        ALLOCATOR.reset_peak_usage();
        while caller < keys / USUAL.buckets {
            let message = message("type_0", &tenant(caller), None);
            assert!(parts.decide(&wire::decode(&message).unwrap()));
            caller += 1;
        }
        assert_eq!(parts.store.len(), keys);
        let now = of_a_key(ALLOCATOR.current_usage(), keys);
        if keys == 1_000_000 || keys == 10_000_000 {
            report.check(&format!("{keys} keys"), now, LIMIT, "bytes");
        }
        most = if now > most.0 { (now, keys) } else { most };
        let at_peak = of_a_key(ALLOCATOR.peak_usage(), keys);
        peak = if at_peak > peak.0 { (at_peak, keys) } else { peak };
    }
    report.note(&format!("the most in between, at {} keys", most.1), most.0, "bytes");
    report.note(
        &format!("the same with tables that are moving, at {} keys", peak.1),
        peak.0,
        "bytes",
    );
    report.exit()
}
