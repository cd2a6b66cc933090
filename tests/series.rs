//! The series of rows that come and go with reloads. A test of its own program: it measures memory.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod support;

use std::fmt::Write;

use parking_lot::Mutex;
use peak_alloc::PeakAlloc;
use support::{Parts, call, source};
use tollgate::config::Source;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process.
static COUNTER: Mutex<()> = Mutex::new(());

const ROUNDS: usize = 1_000;
/// By then as much is kept as ever is, and the tables have grown to that.
const SETTLED: usize = 300;

/// Names of more digits.
const SLACK: usize = 64 << 10;

const ROWS: usize = 40;

/// A policy that keeps one row and has others of every round, and one whose domain is of the round, too.
fn sources(round: usize, also: &str) -> Vec<Source> {
    let mut text =
        "domain: d\ntables:\n  - name: t\n    select: kind\n    key: [k]\n    rows:\n".to_owned();
    writeln!(text, "      stays: [{{ per_minute: 100000 }}]\n      {also}: [{{ per_minute: 5 }}]")
        .unwrap();
    for row in 0..ROWS {
        writeln!(text, "      row_{round}_{row}: [{{ per_minute: 5 }}]").unwrap();
    }
    let other = format!(
        "domain: d{round}\ntables: [{{ name: t, key: [k], rows: {{ always: unlimited }} }}]\n"
    );
    let other = Source { name: "other.yaml".into(), text: other };
    [source(&text), vec![other]].concat()
}

fn series(parts: &Parts) -> Vec<String> {
    let text = parts.telemetry.encode().unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What a row admitted, if that is told.
fn admitted(parts: &Parts, row: &str) -> Option<u64> {
    let name = format!(
        "tollgate_decisions_total{{domain=\"d\",table=\"t\",row=\"{row}\",outcome=\"admitted\"}} "
    );
    series(parts).iter().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[test]
fn a_thousand_reloads_of_other_names_take_no_more_series_nor_memory_than_the_first_of_them() {
    let _alone = COUNTER.lock();
    let parts = Parts::new(&sources(0, "first"), 1_000);
    let ask = |kind: &str| assert!(parts.ask(&call(&[("kind", kind), ("k", "1")])).is_ok());
    let replace = |round, also: &str| {
        parts.replace(&sources(round, also));
    };
    let first = parts.policies.load_full();
    ask("first");
    let taken = || (ALLOCATOR.current_usage(), series(&parts).len());
    let mut early = (0, 0);
    for round in 1..=ROUNDS {
        replace(round, "also");
        ask("stays");
        if round == SETTLED {
            early = taken();
        }
    }
    let late = taken();
    eprintln!("bytes and series: {early:?} after {SETTLED} reloads, {late:?} after {ROUNDS}");
    assert_eq!(early.1, late.1, "series pile up");
    assert!(late.0 < early.0 + SLACK, "memory piles up");

    let rounds = u64::try_from(ROUNDS).unwrap();
    assert_eq!(admitted(&parts, "stays"), Some(rounds), "what stays is kept exactly");
    assert_eq!(admitted(&parts, "first"), None, "it went");
    // Whoever still has the first policies counts where everybody does, and harms nobody.
    assert_eq!(first.get("d").unwrap().counters.requests().ok, 1 + rounds);
}

#[test]
fn a_row_that_comes_back_soon_goes_on_counting_from_where_it_was() {
    let _alone = COUNTER.lock();
    let parts = Parts::new(&sources(0, "again"), 1_000);
    let ask = || assert!(parts.ask(&call(&[("kind", "again"), ("k", "1")])).is_ok());
    ask();
    for round in 1..=10 {
        parts.replace(&sources(round, "other"));
        assert_eq!(admitted(&parts, "again"), Some(1), "it is still told");
    }
    parts.replace(&sources(11, "again"));
    ask();
    assert_eq!(admitted(&parts, "again"), Some(2));
}
