//! A replay decides as the server did, whatever the threads, the files and the order of lines.

use std::path::PathBuf;

use tollgate::clock::Nanos;
use tollgate::replay::{Options, text};

use super::{
    ENTRIES, Logs, OPTIONS, at, fields, line, log_of_a_server, policies, run, shipped, try_replay,
};
use crate::random::Random;

#[test]
fn a_replay_of_a_servers_log_denies_what_the_server_denied() {
    let logs = Logs::new();
    for seed in 1..=5 {
        let (log, denied) = log_of_a_server(seed, 2_000);
        let path = logs.write("a.json", &log);
        let report = run(&shipped(), &fields(&ENTRIES), &path, &OPTIONS);
        let outcome = &report.outcome;
        assert!(denied > 50, "{denied} denied");
        assert_eq!((outcome.requests, report.input.unreadable), (2_000, 0));
        let told = [outcome.denied, outcome.denied_in_log, outcome.denied_in_both];
        assert_eq!(told, [denied; 3], "seed {seed}");
    }
}

#[test]
fn threads_and_files_do_not_change_a_digit() {
    let logs = Logs::new();
    let (log, _) = log_of_a_server(7, 6_000);
    let path = logs.write("all.json", &log);
    let told = |paths: &[PathBuf], deciders| {
        let options = Options { deciders, ..OPTIONS };
        let mut report = try_replay(&shipped(), &fields(&ENTRIES), paths, &options).unwrap().report;
        report.input.logs.clear();
        serde_json::to_string(&report).unwrap()
    };
    let one = told(std::slice::from_ref(&path), 1);
    for deciders in [2, 3, 16] {
        assert_eq!(told(std::slice::from_ref(&path), deciders), one);
    }
    // Two Envoys that logged at the same time, and one whose log was rotated.
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let part = |of: &dyn Fn(usize) -> bool| -> String {
        lines.iter().enumerate().filter(|(at, _)| of(*at)).map(|(_, line)| *line).collect()
    };
    let even = logs.write("even.json", part(&|at| at % 2 == 0));
    let odd = logs.write("odd.json", part(&|at| at % 2 == 1));
    assert_eq!(told(&[odd, even], 2), one);
    let rotated: Vec<PathBuf> = (0..4)
        .map(|number| logs.write(&format!("{number}.json"), part(&|at| at / 1_500 == number)))
        .rev()
        .collect();
    assert_eq!(told(&rotated, 2), one);
}

#[test]
fn lines_out_of_order_are_put_in_order_within_the_window() {
    let logs = Logs::new();
    let (log, denied) = log_of_a_server(9, 3_000);
    // Each is written when it has ended, up to 30 s later.
    let mut random = Random(1);
    let mut lines: Vec<(u64, &str)> = Vec::new();
    for line in log.lines() {
        let start = line.split([':', ',']).nth(1).unwrap().parse::<f64>().unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time")]
        let millis = (start * 1e3) as u64;
        lines.push((millis + random.below(30_000), line));
    }
    lines.sort_unstable();
    let shuffled: Vec<&str> = lines.into_iter().map(|(_, line)| line).collect();
    let path = logs.write("a.json", shuffled.join("\n"));
    let report = run(&shipped(), &fields(&ENTRIES), &path, &OPTIONS);
    assert_eq!((report.outcome.denied, report.outcome.denied_in_both), (denied, denied));
    let short = Options { window: Nanos::from_secs(1), ..OPTIONS };
    let report = run(&shipped(), &fields(&ENTRIES), &path, &short);
    assert!(report.input.late > 0);
    assert_eq!(report.input.late + report.outcome.requests, 3_000);
}

#[test]
fn it_is_told_by_which_entry_the_requests_can_be_divided() {
    let logs = Logs::new();
    let path = logs.write("a.json", line(at(1), 0, 200, &[("k", "1"), ("j", "2")]));
    let table = |name: &str, key: &str| {
        format!("  - {{ name: {name}, key: [{key}], rows: {{ all: [{{ per_hour: 1 }}] }} }}\n")
    };
    for (tables, expected) in [
        ([table("a", "k"), table("b", "\"j\", k")].concat(), Some("k")),
        ([table("a", "k"), table("b", "j")].concat(), None),
        ([table("a", "k"), table("b", "")].concat(), None),
    ] {
        let policy = policies(&format!("domain: d\ntables:\n{tables}"));
        let report = run(&policy, &fields(&["k", "j"]), &path, &OPTIONS);
        assert_eq!(report.input.divided_by.as_deref(), expected, "{tables}");
        let notes = text::notes(&report);
        let is_told = notes.iter().any(|note| note.starts_with("one thread decided"));
        assert_eq!(is_told, expected.is_none());
    }
}
