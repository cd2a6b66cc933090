//! The decision core in a program of your own: no server, no network, no real time.
//!
//! ```console
//! $ cargo run --example decide
//! ```

use std::error::Error;
use std::io::Write;

use tollgate::clock::{Clock, ManualClock, Nanos, Timestamp};
use tollgate::config::{self, Source};
use tollgate::decision::{self, Verdict};
use tollgate::descriptor::{Hits, Query};
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::store::MemoryStore;

/// Two calls a second for each user, and three a minute.
const POLICY: &str = "
domain: shop
tables:
  - name: users
    key: [user]
    rows: { all: [{ per_second: 2 }, { per_minute: 3 }] }
";

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout().lock())
}

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Buckets are named by hashes under this key, so that nobody can choose values whose names collide.
    let key = FingerprintKey::random()?;
    let source = Source { name: "shop.yaml".into(), text: POLICY.into() };
    let policies = config::compile(&[source], key)?;
    let policy = policies.get("shop").ok_or("no policy for the domain")?;
    let store = MemoryStore::new(10_000);
    let clock = ManualClock::at(Timestamp::from_unix_nanos(1_772_323_200_000_000_000));

    let mut query = Query::default();
    query.begin("shop", 1)?;
    query.entry("user", "ann");
    query.close(Hits::ONE, None)?;

    for seconds in [0, 0, 0, 1, 0] {
        clock.advance(Nanos::from_secs(seconds));
        let now = clock.now();
        // Which buckets the query meets; then all of them are charged, or none.
        let plan = policy.resolve(&query, now);
        let verdict = decision::decide(&plan, &store, now)?;
        tell(out, seconds, &verdict)?;
    }
    Ok(())
}

fn tell(out: &mut impl Write, after: u64, verdict: &Verdict<'_>) -> std::io::Result<()> {
    let word = if verdict.is_admitted { "admitted" } else { "denied" };
    writeln!(out, "{after} s later: {word}")?;
    for decided in &verdict.decided {
        let outcome = decided.outcome;
        let wait = match outcome.wait.time() {
            Some(time) if decided.is_over() => format!(", admits after {time}"),
            _ => String::new(),
        };
        writeln!(out, "  {}: {} left{wait}", decided.matched.bucket, outcome.remaining)?;
    }
    Ok(())
}
