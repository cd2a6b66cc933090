//! Limits that a replay suggests.

mod sizes;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::CommandFactory;
use tollgate::cli::Cli;
use tollgate::config::mapping;
use tollgate::policy::Policies;
use tollgate::replay::source::Source;
use tollgate::replay::suggest::{BucketSuggestion, Suggestions, terminal};
use tollgate::replay::{Options, Progress, ReplayError, Report, replay};

use super::{
    ENTRIES, Logs, OPTIONS, at, fields, line, log_of_a_server, one_row, policies, shipped,
};
use crate::random::Random;
use crate::support::START;

/// A key `$k` with the hits `$hits`, or one hit.
const MAPPING: &str = "descriptor: { k: $k }\nhits: { from: $hits, default: 1 }\n";

/// A log, and the mapping that reads it.
struct Log {
    logs: Logs,
    path: PathBuf,
}

impl Log {
    fn new(text: &str) -> Self {
        let logs = Logs::new();
        logs.write("map.yaml", MAPPING);
        let path = logs.write("a.json", text);
        Self { logs, path }
    }

    fn replay(&self, policies: &Policies, suggest: Option<&str>) -> Report {
        self.try_replay(policies, suggest, &mut |_| {}).unwrap()
    }

    fn try_replay(
        &self,
        policies: &Policies,
        suggest: Option<&str>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, ReplayError> {
        let mapping = mapping::load(&self.path.with_file_name("map.yaml"), &[]).unwrap();
        let policy = policies.iter().next().unwrap();
        let options = Options { suggest: suggest.map(|share| share.parse().unwrap()), ..OPTIONS };
        let sources = vec![Source::File(self.path.clone())];
        replay(policy, None, Arc::new(mapping), sources, &options, progress).map(|of| of.report)
    }

    fn suggest(&self, policies: &Policies, share: &str) -> Vec<BucketSuggestion> {
        self.replay(policies, Some(share)).suggestions.unwrap().buckets
    }

    /// The first policy of a list that denies no more than `allowed` keys: its place, and the keys and the requests that it
    /// denies. Each has one bucket.
    fn first_enough(&self, ascending: &[Policies], allowed: u64) -> Option<(usize, u64, u64)> {
        let mut tried = ascending.iter().enumerate().map(|(at, policies)| {
            let outcome = self.replay(policies, None).outcome;
            assert_eq!(outcome.rows.iter().map(|row| row.buckets.len()).sum::<usize>(), 1);
            (at, outcome.keys_denied, outcome.denied)
        });
        tried.find(|(_, keys, _)| *keys <= allowed)
    }
}

const KEYS: u64 = 30;
const SHARE: &str = "90%";
/// 10 % of the keys.
const ALLOWED: u64 = 3;

/// Requests of 30 keys, some of which ask much more often than others, of up to so many hits, from bursts to pauses of some
/// seconds, and of up to so many milliseconds. With 0 hits they only look.
fn random_log(seed: u64, most_hits: u64, most_millis: u64) -> Log {
    let mut random = Random(seed);
    let mut now = 0;
    let text: String = (0..600)
        .map(|number| {
            let pause = 1 << random.below(13);
            now += random.below(pause);
            let most = 1 + random.below(KEYS);
            // Each key occurs.
            let key = if number < KEYS { number } else { random.below(most) }.to_string();
            let hits = random.below(most_hits + 1).to_string();
            line(at(now), random.below(most_millis + 1), 200, &[("k", &key), ("hits", &hits)])
        })
        .collect();
    Log::new(&text)
}

fn shown(suggestions: &Suggestions) -> String {
    let mut out = Vec::new();
    terminal::write(suggestions, &mut out).unwrap();
    terminal::write_curve(suggestions, "t/all", &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn each_bucket_is_judged_alone() {
    let log = random_log(5, 1, 0);
    let both = log.suggest(&one_row("{ per_second: 1 }, { per_hour: 20 }"), SHARE);
    let [second, hour] = ["{ per_second: 1 }", "{ per_hour: 20 }"]
        .map(|bucket| log.suggest(&one_row(bucket), SHARE).remove(0));
    assert_eq!(both, [second, hour]);
}

#[test]
fn the_keys_of_an_override_are_not_those_of_the_row() {
    // Key 0 asks 20 times at once, the others twice.
    let burst = |key: u64| {
        (0..if key == 0 { 20 } else { 2 })
            .map(move |_| line(at(key), 0, 200, &[("k", &key.to_string())]))
    };
    let log = Log::new(&(0..5).flat_map(burst).collect::<String>());
    let policy = policies(
        "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_minute: 6 }] } }]\n\
         overrides: [{ table: t, when: { k: '0' }, buckets: [{ per_minute: 60 }] }]",
    );
    let buckets = log.suggest(&policy, "100%");
    let told = |of: &BucketSuggestion| {
        (of.is_override, of.keys, of.requests, of.same_rate.as_ref().unwrap().limit.clone())
    };
    let told: Vec<_> = buckets.iter().map(told).collect();
    let of_row = (false, 4, 8, "2 at 6 per minute".to_owned());
    assert_eq!(told, [of_row, (true, 1, 20, "20 at 60 per minute".to_owned())]);
}

#[test]
fn the_curve_has_the_exact_size_at_each_rate() {
    let log = random_log(7, 2, 0);
    let buckets = log.suggest(&one_row("{ per_minute: 30 }"), SHARE);
    let curve = &buckets[0].curve;
    let sizes: Vec<_> = curve.iter().map(|point| point.size).collect();
    assert!(
        sizes.is_sorted_by(|a, b| a >= b) && sizes[0] > 3 * sizes[sizes.len() - 1],
        "{sizes:?}"
    );
    assert_eq!(curve.iter().filter(|point| point.is_present).count(), 1);
    for point in curve.iter().step_by(3).filter(|point| point.size > 1) {
        let denied = |size: u32| {
            let (tokens, seconds) = (point.tokens, point.period_seconds);
            let bucket = format!("{{ size: {size}, rate: {tokens}, every: {seconds}s }}");
            log.replay(&one_row(&bucket), None).outcome.keys_denied
        };
        assert!(denied(point.size) <= ALLOWED && denied(point.size - 1) > ALLOWED, "{point:?}");
        assert_eq!(denied(point.size_for_all), 0);
        assert!(denied(point.size_for_all - 1) > 0);
    }
}

#[test]
fn whole_seconds_come_at_once_and_the_size_if_spread_is_told() {
    let second = |of: u64| {
        let time = START.as_unix_nanos() / 1_000_000_000 + of;
        format!("{{\"start_time\":{time},\"k\":\"1\"}}\n")
    };
    let log = Log::new(&(0..10).flat_map(|of| (0..4).map(move |_| second(of))).collect::<String>());
    let buckets = log.suggest(&one_row("{ size: 2, per_second: 4 }"), "99.9%");
    let suggested = buckets[0].same_rate.as_ref().unwrap();
    assert_eq!((suggested.size, suggested.size_if_spread), (4, Some(1)));
    let present = buckets[0].curve.iter().find(|point| point.is_present).unwrap();
    assert_eq!((present.size, present.sizes_if_spread), (4, Some([1, 1])));
}

#[test]
fn threads_do_not_change_what_is_suggested() {
    let logs = Logs::new();
    let (log, _) = log_of_a_server(3, 4_000);
    let path = logs.write("a.json", log);
    let suggest = |deciders| {
        let options = Options { deciders, suggest: Some("80%".parse().unwrap()), ..OPTIONS };
        let mapping = Arc::new(mapping::from_pairs(&fields(&ENTRIES)).unwrap());
        let (policies, sources) = (shipped(), vec![Source::File(path.clone())]);
        let policy = policies.iter().next().unwrap();
        let replayed = replay(policy, None, mapping, sources, &options, &mut |_| {}).unwrap();
        replayed.report.suggestions.unwrap()
    };
    let one = suggest(1);
    assert!(one.buckets.len() > 5);
    let denied = one.buckets.iter().filter_map(|of| of.same_rate.as_ref()).map(|of| of.denied);
    assert!(denied.sum::<u64>() > 0);
    for deciders in [2, 3, 16] {
        assert_eq!(suggest(deciders), one);
    }
}

#[test]
fn what_can_be_read_once_is_refused_before_it_is_read() {
    let refused = |source: Source| {
        let options = Options { suggest: Some("99%".parse().unwrap()), ..OPTIONS };
        let mapping = Arc::new(mapping::from_pairs(&fields(&["k"])).unwrap());
        let policies = one_row("{ per_second: 1 }");
        let policy = policies.iter().next().unwrap();
        replay(policy, None, mapping, vec![source], &options, &mut |_| {}).unwrap_err().to_string()
    };
    let error = refused(Source::Stdin);
    assert!(error.contains("standard input") && error.contains("a file"), "{error}");
    assert!(refused(Source::File(Path::new("/dev/null").to_owned())).contains("/dev/null"));
}

#[test]
fn logs_that_change_between_the_passes_are_told() {
    let log = random_log(8, 1, 0);
    let mut has_more = false;
    let more = &mut |progress: Progress| {
        if progress.requests == 600 && !has_more {
            has_more = true;
            let mut file = std::fs::OpenOptions::new().append(true).open(&log.path).unwrap();
            file.write_all(line(at(9_999_999), 0, 200, &[("k", "new")]).as_bytes()).unwrap();
        }
    };
    let policy = one_row("{ per_minute: 30 }");
    let report = log.try_replay(&policy, Some(SHARE), more).unwrap();
    let suggestions = report.suggestions.unwrap();
    assert!(suggestions.have_logs_changed);
    assert!(shown(&suggestions).contains("have changed"));
    assert!(!log.replay(&policy, Some(SHARE)).suggestions.unwrap().have_logs_changed);
}

#[test]
fn suggestions_are_told_in_a_line_each() {
    // Nine keys ask once an hour, one ten times at once.
    let once = (0..9).map(|key: u64| line(at(key), 0, 200, &[("k", &key.to_string())]));
    let burst = (0..10).map(|_| line(at(10), 0, 200, &[("k", "burst")]));
    let log = Log::new(&once.chain(burst).collect::<String>());
    let report = log.replay(&one_row("{ per_hour: 4 }"), Some("90%"));
    let shown = shown(report.suggestions.as_ref().unwrap());
    let (suggested, curve) = shown.split_once("\n\n").unwrap();
    let expected = "
limits with which 90 % of the keys would never have been denied:
t, all
  4 per hour: 19 requests of 10 keys
    1 at 4 per hour: denies 9 requests, 47.37 %, of 1 key
    1 per day or less: denies 9 requests, 47.37 %, of 1 key
each is judged alone, and by the requests of these logs; see docs/replay.md";
    assert_eq!(suggested, expected);
    assert!(
        curve.starts_with("t/all, 4 per hour: the sizes that keys need at other rates\n  rate")
    );
    assert!(curve.contains("\n  4 per hour (now)     1   10\n"), "{curve}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["suggestions"]["keys_percent"], 90.0);
    assert_eq!(json["suggestions"]["buckets"][0]["same_rate"]["denied"], 9);
    let without = log.replay(&one_row("{ per_hour: 4 }"), None);
    assert!(serde_json::to_value(&without).unwrap()["suggestions"].is_null());
}

#[test]
fn a_part_is_given_with_an_equals_sign_so_that_no_log_is_taken_for_it() {
    let parsed = |flag: &str| {
        let words = ["tollgate", "replay", "--config", "p.yaml", flag, "99%"];
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let (_, replay) = matches.subcommand().unwrap();
        let raw = |id| replay.get_raw(id).unwrap().map(|of| of.to_owned()).collect::<Vec<_>>();
        (raw("suggest"), raw("logs"))
    };
    assert_eq!(parsed("--suggest"), (vec!["99.9%".into()], vec!["99%".into()]));
    assert_eq!(parsed("--suggest=50%"), (vec!["50%".into()], vec!["99%".into()]));
}

#[test]
fn a_burst_that_no_bucket_holds_has_no_suggestion() {
    let slots = random_log(9, 1, 0);
    let huge = line(at(9_999_999), 9, 200, &[("k", "huge"), ("hits", "4200000000")]);
    slots.logs.write("a.json", huge);
    for bucket in ["{ concurrent: 2, ttl: 1h }", "{ per_second: 10 }"] {
        let buckets = slots.suggest(&one_row(bucket), "99.9%");
        assert_eq!((&buckets[0].same_rate, &buckets[0].same_shape), (&None, &None), "{bucket}");
    }
}
