//! Replays of logs: the verdicts of the server, told from its log.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate::clock::{Clock, Nanos, Timestamp};
use tollgate::config;
use tollgate::config::mapping;
use tollgate::policy::Policies;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::replay::source::Source;
use tollgate::replay::{Options, ReplayError, Replayed, Report, replay, report, text};

use crate::support::{self, Parts, SHIPPED, START, source};

/// Pseudorandom numbers: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let bound = u64::try_from(all.len()).unwrap();
        all[usize::try_from(self.below(bound)).unwrap()]
    }
}

pub(crate) const OPTIONS: Options = Options {
    format: None,
    window: Nanos::from_secs(60),
    since: None,
    until: None,
    max_keys: 1_000_000,
    deciders: 2,
    suggest: None,
};

pub(crate) fn policies(text: &str) -> Policies {
    config::compile(&source(text), FingerprintKey::fixed(1)).unwrap()
}

pub(crate) fn shipped() -> Policies {
    config::load(Path::new(SHIPPED), FingerprintKey::fixed(1)).unwrap()
}

/// Entries from the fields with their names.
pub(crate) fn fields(names: &[&str]) -> Vec<mapping::Pair> {
    names.iter().map(|name| ((*name).to_owned(), format!("${name}"))).collect()
}

/// A folder with logs.
pub(crate) struct Logs(tempfile::TempDir);

impl Logs {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(content.as_ref()).unwrap();
        path
    }
}

fn try_replay(
    policies: &Policies,
    pairs: &[mapping::Pair],
    paths: &[PathBuf],
    options: &Options,
) -> Result<Replayed, ReplayError> {
    let mapping = Arc::new(mapping::from_pairs(pairs).unwrap());
    let policy = policies.iter().next().unwrap();
    let sources = paths.iter().cloned().map(Source::File).collect();
    replay(policy, None, mapping, sources, options, &mut |_| {})
}

pub(crate) fn run(
    policies: &Policies,
    pairs: &[mapping::Pair],
    path: &Path,
    options: &Options,
) -> Report {
    try_replay(policies, pairs, &[path.to_owned()], options).unwrap().report
}

/// A line of a JSON log.
pub(crate) fn line(time: Timestamp, millis: u64, status: u32, fields: &[(&str, &str)]) -> String {
    let nanos = time.as_unix_nanos();
    let mut line = format!(
        "{{\"start_time\":{}.{:09},\"duration\":{millis},\"status\":{status}",
        nanos / 1_000_000_000,
        nanos % 1_000_000_000
    );
    for (name, value) in fields {
        write!(line, ",\"{name}\":{}", serde_json::Value::from(*value)).unwrap();
    }
    line.push_str("}\n");
    line
}

pub(crate) const ENTRIES: [&str; 6] =
    ["tenant_type", "tenant", "method", "path", "remote_address", "user"];

/// Asks a server with the shipped policy, at random times, and writes what it answers as a log.
pub(crate) fn log_of_a_server(seed: u64, calls: usize) -> (String, u64) {
    let parts = Parts::new(&config::read(Path::new(SHIPPED)).unwrap(), 100_000);
    let mut random = Random(seed);
    let (mut log, mut denied) = (String::new(), 0);
    let types = ["free", "trial", "self_service", "startup", "enterprise_production"];
    let paths = [
        "/api/v2/users",
        "/api/v2/users/auth0%7C1",
        "/api/v2/clients?page=1",
        "/api/v2/organizations/org_1/members",
        "/nothing",
    ];
    for _ in 0..calls {
        // From bursts to pauses of some ten milliseconds.
        let pause = 1 << (10 + random.below(16));
        parts.clock.advance(Nanos::new(1 + random.below(pause)));
        let tenant = format!("t{}", random.below(6));
        let address = format!("203.0.113.{}", random.below(3));
        let values = [
            random.of(&types),
            &tenant,
            random.of(&["GET", "POST", "DELETE"]),
            random.of(&paths),
            &address,
            "u",
        ];
        let entries: Vec<_> = ENTRIES.into_iter().zip(values).collect();
        let is_admitted = parts.ask(&support::shipped(&entries)).is_ok();
        denied += u64::from(!is_admitted);
        let status = if is_admitted { 200 } else { 429 };
        log.push_str(&line(parts.clock.now(), 1, status, &entries));
    }
    (log, denied)
}

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

pub(crate) fn at(millis: u64) -> Timestamp {
    START.after(Nanos::new(millis * 1_000_000))
}

pub(crate) fn one_row(bucket: &str) -> Policies {
    policies(&format!("domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: [{bucket}] }} }}]"))
}

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
    assert!(notes.iter().any(|note| note.starts_with("4 requests are logged in whole seconds, the first of them after")));
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

#[test]
fn a_policy_compared_with_itself_differs_in_nothing() {
    let logs = Logs::new();
    let (log, denied) = log_of_a_server(11, 2_000);
    let path = logs.write("a.json", log);
    let both = [shipped(), shipped()];
    let [one, other] = [&both[0], &both[1]].map(|all| all.iter().next().unwrap());
    let mapping = Arc::new(mapping::from_pairs(&fields(&ENTRIES)).unwrap());
    let sources = vec![Source::File(path)];
    let replayed = replay(one, Some(other), mapping, sources, &OPTIONS, &mut |_| {}).unwrap();
    let against = replayed.report.against.unwrap();
    let difference = against.difference;
    assert_eq!((against.outcome.denied, difference.denied_by_both), (denied, denied));
    assert_eq!((difference.newly_denied, difference.no_longer_denied), (0, 0));
    assert!(difference.newly_denied_keys.is_empty());
}

#[test]
fn a_stricter_policy_denies_newly_and_is_told_by_key() {
    let logs = Logs::new();
    let text: String = (0..5).map(|n| line(at(n), 0, 200, &[("k", "a")])).collect();
    let path = logs.write("a.json", text + &line(at(9), 0, 200, &[("k", "b")]));
    let (strict, lax) = (one_row("{ per_hour: 2 }"), one_row("{ per_hour: 4 }"));
    let [strict, lax] = [&strict, &lax].map(|all| all.iter().next().unwrap());
    let compare = |one, other| {
        let mapping = Arc::new(mapping::from_pairs(&fields(&["k"])).unwrap());
        let sources = vec![Source::File(path.clone())];
        let replayed = replay(one, Some(other), mapping, sources, &OPTIONS, &mut |_| {}).unwrap();
        replayed.report.against.unwrap().difference
    };
    let newly = compare(strict, lax);
    assert_eq!((newly.denied_by_both, newly.newly_denied, newly.no_longer_denied), (1, 2, 0));
    assert_eq!(newly.newly_denied_keys[0].key, [["k".to_owned(), "a".to_owned()]]);
    let back = compare(lax, strict);
    assert_eq!((back.denied_by_both, back.newly_denied, back.no_longer_denied), (1, 0, 2));
    assert_eq!(back.no_longer_denied_keys[0].denied, 2);
}

#[test]
fn more_keys_than_there_may_be_end_the_replay() {
    let logs = Logs::new();
    let text: String =
        (0..5_000).map(|n: u64| line(at(n), 0, 200, &[("k", &n.to_string())])).collect();
    let path = logs.write("a.json", text);
    let policy = one_row("{ per_hour: 2 }");
    let options = Options { max_keys: 100, ..OPTIONS };
    let error = try_replay(&policy, &fields(&["k"]), &[path], &options).unwrap_err();
    assert!(error.to_string().contains("--max-keys"), "{error}");
}

#[test]
fn a_file_that_is_no_log_ends_the_replay_and_single_lines_do_not() {
    let logs = Logs::new();
    let good = line(at(1), 0, 200, &[("k", "1")]);
    let path = logs.write("a.json", format!("{good}{{broken\n{good}{good}"));
    let policy = one_row("{ per_hour: 9 }");
    let report = run(&policy, &fields(&["k"]), &path, &OPTIONS);
    assert_eq!((report.input.lines, report.input.unreadable), (4, 1));
    assert!(report.input.unreadable_examples[0].place.ends_with("a.json:2"));
    let path = logs.write("b.json", format!("{good}one\ntwo\nthree\n"));
    let json = Options { format: Some("json".parse().unwrap()), ..OPTIONS };
    let error = try_replay(&policy, &fields(&["k"]), &[path], &json).unwrap_err().to_string();
    assert!(error.contains("most lines cannot be read as json"), "{error}");
    let path = logs.write("c.txt", "Dear reader,\nthis is a letter.\n");
    let error = try_replay(&policy, &fields(&["k"]), &[path], &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("--format"), "{error}");
}

#[test]
fn a_field_that_no_line_has_is_told() {
    let logs = Logs::new();
    let path = logs.write("a.json", line(at(1), 0, 200, &[("k", "1")]));
    let policy = one_row("{ per_hour: 9 }");
    let pairs = fields(&["k", "j"]);
    let replayed = try_replay(&policy, &pairs, &[path], &OPTIONS).unwrap();
    assert!(replayed.unseen.contains(&(Some("j".to_owned()), "j".to_owned())));
}

/// The default mapping wants an X-Forwarded-For, which these formats lack or have; without a mapping, they are read.
#[test]
fn logs_as_servers_write_them_are_read_without_a_mapping() {
    let logs = Logs::new();
    let policy = policies(
        "domain: d\ntables: [{ name: t, key: [remote_address], rows: { all: [{ per_minute: 1 }] } }]",
    );
    let envoy = r#"[2026-03-01T00:00:01.500Z] "GET /a HTTP/1.1" 200 - 0 12 3 2 "203.0.113.7" "curl/8" "6d8a" "api.example.com" "10.0.0.1:80""#;
    let combined =
        r#"203.0.113.7 - - [01/Mar/2026:00:00:01 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8""#;
    for (name, line) in [("envoy", envoy), ("combined", combined)] {
        let path = logs.write(name, format!("{line}\n{line}\n"));
        let replayed = try_replay(&policy, &[], &[path], &OPTIONS).unwrap();
        assert!(replayed.unseen.is_empty(), "{name}: {:?}", replayed.unseen);
        let report = replayed.report;
        assert_eq!((report.outcome.requests, report.outcome.denied), (2, 1), "{name}");
        let key = &report.outcome.denied_keys[0].key;
        assert_eq!(*key, [["remote_address".to_owned(), "203.0.113.7".to_owned()]], "{name}");
    }
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
        let notes = tollgate::replay::text::notes(&report);
        let is_told = notes.iter().any(|note| note.starts_with("one thread decided"));
        assert_eq!(is_told, expected.is_none());
    }
}
