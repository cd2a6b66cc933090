//! The sizes that keys need, and the two ways to read whole seconds.

use tollgate::replay::{Report, report, text};

use super::{Logs, OPTIONS, at, fields, line, one_row, run};
use crate::random::Random;
use crate::support::START;

fn bucket(report: &Report) -> &report::BucketReport {
    &report.outcome.rows[0].buckets[0]
}

/// The size that a key needs is the smallest that denies nothing: sizes around it are tried.
#[test]
fn the_size_that_is_needed_is_the_smallest_that_denies_nothing() {
    let logs = Logs::new();
    let mut random = Random(3);
    for case in 0..20 {
        let mut now = 0;
        let text: String = (0..200)
            .map(|_| {
                let bound = 1 << random.below(12);
                now += random.below(bound);
                line(at(now), 0, 200, &[("k", "1")])
            })
            .collect();
        let path = logs.write(&format!("{case}.json"), text);
        let limit = |size: u32| one_row(&format!("{{ size: {size}, per_second: 3 }}"));
        let denied = |size| run(&limit(size), &fields(&["k"]), &path, &OPTIONS).outcome.denied;
        let needed = bucket(&run(&limit(1), &fields(&["k"]), &path, &OPTIONS)).needed.max;
        assert_eq!(denied(needed), 0, "case {case}: {needed} are enough");
        assert!(needed == 1 || denied(needed - 1) > 0, "case {case}: {needed} are needed");
    }
}

#[test]
fn keys_are_told_by_how_much_of_their_bucket_they_needed() {
    let logs = Logs::new();
    // Key n asks n times at once.
    let text: String = (1..=100)
        .flat_map(|key: u64| {
            (0..key).map(move |_| (key, line(at(key), 0, 200, &[("k", &key.to_string())])))
        })
        .map(|(_, line)| line)
        .collect();
    let path = logs.write("a.json", text);
    let report = run(&one_row("{ size: 50, per_hour: 1 }"), &fields(&["k"]), &path, &OPTIONS);
    let bucket = bucket(&report);
    assert_eq!((bucket.keys, bucket.keys_denied), (100, 50));
    assert_eq!(bucket.denied, (1..=50).sum::<u64>());
    let needed = bucket.needed;
    assert_eq!([needed.p50, needed.p99, needed.p999, needed.max], [50, 99, 100, 100]);
    let classes: Vec<_> = bucket.usage.iter().map(|of| (of.up_to_percent, of.keys)).collect();
    assert_eq!(&classes[..2], [(Some(10), 5), (Some(20), 5)]);
    assert_eq!(
        &classes[9..],
        [(Some(100), 5), (Some(150), 25), (Some(200), 25), (Some(500), 0), (None, 0)]
    );
    let worst = &report.outcome.denied_keys[0];
    assert_eq!((worst.key.clone(), worst.denied), (vec![["k".to_owned(), "100".to_owned()]], 50));
    assert_eq!((worst.longest_streak, worst.first.as_str()), (50, "2026-03-01T00:00:00Z"));
    assert_eq!(report.outcome.denied_keys.len(), 50);
}

#[test]
fn whole_seconds_have_two_bounds() {
    let logs = Logs::new();
    let second = |second: u64| {
        let time = (START.as_unix_nanos() / 1_000_000_000) + second;
        format!("{{\"start_time\":{time},\"duration\":0,\"k\":\"1\"}}\n")
    };
    let text: String = (0..10).flat_map(|of| (0..4).map(move |_| second(of))).collect();
    let path = logs.write("a.json", text);
    let policy = one_row("{ size: 2, per_second: 4 }");
    let report = run(&policy, &fields(&["k"]), &path, &OPTIONS);
    assert_eq!((report.input.whole_seconds, report.outcome.requests), (40, 40));
    // At once: two of each four. Spread: one every 250 ms, as the bucket refills.
    let spread = report.spread.as_ref().unwrap();
    assert_eq!((report.outcome.denied, spread.denied), (20, 0));
    assert_eq!(bucket(&report).needed.max, 4);
    assert_eq!(spread.rows[0].buckets[0].needed.max, 1);
    let note = "40 requests are logged in whole seconds: most likely the truth lies between the two figures";
    assert!(text::notes(&report).contains(&note.to_owned()));
    // What came before is decided by then, so that there is one bound.
    let fractions: String = (0..70_000).map(|n| line(at(n), 0, 200, &[("k", "1")])).collect();
    let later: String = (100..104).map(second).collect();
    let report = run(&policy, &fields(&["k"]), &logs.write("b.json", fractions + &later), &OPTIONS);
    assert!(report.spread.is_none());
    let notes = text::notes(&report);
    assert!(notes.iter().any(|note| {
        note.starts_with("4 requests are logged in whole seconds, the first of them after")
    }));
}

#[test]
fn slots_are_held_from_the_start_of_a_line_for_its_duration() {
    let logs = Logs::new();
    let policy = one_row("{ concurrent: 2, ttl: 1h }");
    let of = |millis, took| line(at(millis), took, 200, &[("k", "1")]);
    // The third finds both taken; the fourth begins as the first ends.
    let text = [of(0, 100), of(50, 100), of(99, 1), of(100, 10)].concat();
    let path = logs.write("a.json", text);
    let report = run(&policy, &fields(&["k"]), &path, &OPTIONS);
    assert_eq!(report.outcome.denied, 1);
    assert_eq!(bucket(&report).needed.max, 3);
}
