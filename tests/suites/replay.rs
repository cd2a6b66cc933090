//! Replays of logs: the verdicts of the server, told from its log.

mod against;
mod logs;
mod needs;
mod suggest;
mod verdicts;

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
use tollgate::replay::{Options, ReplayError, Replayed, Report, replay};

use crate::random::Random;
use crate::support::{self, Parts, SHIPPED, START, source};

const OPTIONS: Options = Options {
    format: None,
    window: Nanos::from_secs(60),
    since: None,
    until: None,
    max_keys: 1_000_000,
    deciders: 2,
    suggest: None,
};

fn policies(text: &str) -> Policies {
    config::compile(&source(text), FingerprintKey::fixed(1)).unwrap()
}

fn shipped() -> Policies {
    config::load(Path::new(SHIPPED), FingerprintKey::fixed(1)).unwrap()
}

/// Entries from the fields with their names.
fn fields(names: &[&str]) -> Vec<mapping::Pair> {
    names.iter().map(|name| ((*name).to_owned(), format!("${name}"))).collect()
}

/// A folder with logs.
struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
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

fn run(policies: &Policies, pairs: &[mapping::Pair], path: &Path, options: &Options) -> Report {
    try_replay(policies, pairs, &[path.to_owned()], options).unwrap().report
}

/// A line of a JSON log.
fn line(time: Timestamp, millis: u64, status: u32, fields: &[(&str, &str)]) -> String {
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

const ENTRIES: [&str; 6] = ["tenant_type", "tenant", "method", "path", "remote_address", "user"];

/// Asks a server with the shipped policy, at random times, and writes what it answers as a log.
fn log_of_a_server(seed: u64, calls: usize) -> (String, u64) {
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
            random.pick(&types),
            &tenant,
            random.pick(&["GET", "POST", "DELETE"]),
            random.pick(&paths),
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

fn at(millis: u64) -> Timestamp {
    START.after(Nanos::new(millis * 1_000_000))
}

fn one_row(bucket: &str) -> Policies {
    policies(&format!("domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: [{bucket}] }} }}]"))
}
