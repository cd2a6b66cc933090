//! The same bytes through this crate and through a server of the h2 crate: what came of each step of a client, as far
//! as the client can see it or the server is told, is the same, or a difference that `table.rs` lists.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a failure is a panic, and its numbers are small"
)]

mod client;
#[path = "../../../../tests/support/random.rs"]
mod random;
mod sides;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use client::{Client, STEPS};
use sides::{Both, Came, text};
use table::DIFFERENCES;

/// How many scripts are generated, each with as many steps.
const SCRIPTS: u64 = 6000;
const STEPS_OF_A_SCRIPT: usize = 40;

/// Steps before each step alone: an open stream, an answered one, and one of each way to be reset.
const BEFORE: [&str; 6] = [
    "a call",
    "a head",
    "a call, then its reset",
    "te: gzip",
    "a gap between the numbers of streams",
    "a part of a body",
];

/// What is sent behind it.
const AFTER: [&str; 2] = ["a call", "the end of a body"];

/// The differences that occurred.
#[derive(Default)]
struct Seen {
    /// Those of the table, by their place in it, and the step.
    known: BTreeSet<(usize, String)>,
    /// Others: the step, what came of it with h2 and here, and the steps before it when it occurred first.
    unknown: BTreeMap<(String, String, String), Vec<String>>,
    compared: usize,
}

impl Seen {
    /// Whether both go on. A difference ends the comparison: their states differ from then on.
    fn compare(&mut self, step: &str, came: &[Vec<Came>; 2], script: &[&str]) -> bool {
        self.compared += 1;
        let [h2, here] = came;
        if h2 == here {
            return !here.iter().any(|came| matches!(came, Came::GoAway(_) | Came::Closed));
        }
        let mut texts = (text(h2), text(here));
        if texts.0 == texts.1 {
            // Other streams or other bytes.
            texts = (format!("{h2:?}"), format!("{here:?}"));
        }
        let (h2, here) = texts;
        let known = DIFFERENCES.iter().position(|difference| {
            difference.steps.contains(&step) && difference.h2 == h2 && difference.here == here
        });
        if let Some(at) = known {
            self.known.insert((at, step.to_owned()));
        } else {
            let script = || script.iter().map(|step| (*step).to_owned()).collect();
            self.unknown.entry((step.to_owned(), h2, here)).or_insert_with(script);
        }
        false
    }

    /// Runs steps until one of them ends the comparison.
    fn run(&mut self, steps: impl IntoIterator<Item = &'static str>, client: &mut Client) {
        let mut both = Both::default();
        let mut script = Vec::new();
        for (name, bytes) in client::opening() {
            script.push(name);
            if !self.compare(name, &both.send(&bytes), &script) {
                return;
            }
        }
        for step in steps {
            let Some(bytes) = client.step(step) else { continue };
            script.push(step);
            if !self.compare(step, &both.send(&bytes), &script) {
                return;
            }
        }
    }

    fn check(&self) {
        let mut unknown = String::new();
        for ((step, h2, here), script) in &self.unknown {
            writeln!(unknown, "{step}: h2: {h2:?}, here: {here:?}, in {script:?}").unwrap();
        }
        assert!(unknown.is_empty(), "differences that the table does not list:\n{unknown}");
        for (at, difference) in DIFFERENCES.iter().enumerate() {
            for step in difference.steps {
                let is_seen = self.known.contains(&(at, (*step).to_owned()));
                assert!(is_seen, "{step} does not show this any more: {difference:?}");
            }
            assert!(!difference.says.is_empty());
        }
    }
}

#[test]
fn each_step_alone_and_many_in_any_order_do_what_they_do_with_h2_or_what_the_table_says() {
    let mut seen = Seen::default();
    for (name, bytes) in client::beginnings() {
        seen.compare(name, &Both::default().send(&bytes), &[name]);
    }
    for (step, _) in STEPS {
        let steps = BEFORE.into_iter().chain([*step]).chain(AFTER);
        seen.run(steps, &mut Client::new(0));
    }
    for seed in 1..=SCRIPTS {
        let mut client = Client::new(seed);
        let steps: Vec<_> = (0..STEPS_OF_A_SCRIPT).map(|_| client.choose()).collect();
        seen.run(steps, &mut client);
    }
    assert!(seen.compared > 5000, "{} steps", seen.compared);
    seen.check();
}
