//! `tollgate explain`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::pairs::{self, Pair};
use crate::clock::{BootClock, Clock};
use crate::config;
use crate::limit::Bucket;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::table::{Miss, Row, Rule, Table};
use crate::policy::{Explained, Policy};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The policy: a file, or a folder of files.
    #[arg(
        long,
        env = "TOLLGATE_CONFIG",
        default_value = "config/management-api.yaml",
        value_name = "PATH"
    )]
    config: PathBuf,
    /// The domain; may be left out where there is only one.
    #[arg(long)]
    domain: Option<String>,
    /// The descriptor's entries, in order.
    #[arg(required = true, value_name = "KEY=VALUE")]
    entries: Vec<Pair>,
}

impl Explain {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let policies = config::load(&self.config, FingerprintKey::fixed(0))?;
        let mut domains = policies.iter();
        let policy = match (&self.domain, domains.next(), domains.next()) {
            (Some(domain), ..) => policies.get(domain),
            (None, Some(only), None) => Some(only),
            _ => None,
        };
        let Some(policy) = policy else {
            let known: Vec<_> = policies.iter().map(Policy::domain).collect();
            return Err(format!("say --domain, one of: {}", known.join(", ")).into());
        };
        let query = pairs::query(policy.domain(), &self.entries)?;
        for descriptor in query.descriptors() {
            write(out, policy, &policy.explain(descriptor, BootClock::start().now()))?;
        }
        for pair in &self.entries {
            if !policy.keys().names().any(|name| name == pair.key) {
                writeln!(out, "note: the policy does not ask about `{}`", pair.key.escape_debug())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(out: &mut dyn Write, policy: &Policy, explained: &Explained<'_>) -> std::io::Result<()> {
    writeln!(out, "domain {}", policy.domain().escape_debug())?;
    match explained.group {
        Some(group) => writeln!(out, "endpoint group {}", group.escape_debug())?,
        None => writeln!(out, "endpoint group none")?,
    }
    if let Some(bypass) = explained.bypass {
        writeln!(out, "bypassed, since {}: no bucket is charged", bypass.describe(policy.keys()))?;
    }
    writeln!(out)?;
    for (table, met) in &explained.tables {
        match met {
            Ok((row, rules)) => write_met(out, policy, table, row, rules)?,
            Err(miss) => writeln!(out, "- {}: {}", table.name(), why(policy, *miss))?,
        }
    }
    let met = explained.tables.iter().filter_map(|(_, met)| met.as_ref().ok());
    let buckets: usize = met.map(|(_, rules)| rules.len()).sum();
    writeln!(out, "\n{buckets} buckets; all of them must admit, or none is charged")
}

fn write_met(
    out: &mut dyn Write,
    policy: &Policy,
    table: &Table,
    row: &Row,
    rules: &[Rule],
) -> std::io::Result<()> {
    let keys = policy.key_set(table.key()).map(|set| set.names(policy.keys())).unwrap_or_default();
    let one_for = if keys.is_empty() { "all calls".to_owned() } else { keys.join(" and ") };
    let shadow = if row.is_shadow() { ", in shadow: never denies" } else { "" };
    let is_own = std::ptr::eq(row.rules(), rules);
    let from = if is_own { "" } else { ", by an override" };
    writeln!(out, "+ {}, row {}{from}{shadow}; one for each {one_for}:", table.name(), row.name())?;
    for rule in rules {
        match rule.bucket() {
            Bucket::Tokens(bucket) => writeln!(
                out,
                "    {bucket}: holds {}, gains one every {}",
                bucket.size(),
                bucket.interval()
            )?,
            Bucket::Concurrency(bucket) => {
                writeln!(out, "    {bucket}: each held until released, {} at most", bucket.hold())?;
            }
        }
    }
    Ok(())
}

fn why(policy: &Policy, miss: Miss<'_>) -> String {
    let keys = policy.keys();
    match miss {
        Miss::Condition(condition) => {
            format!("does not apply: only if {}", condition.describe(keys))
        }
        Miss::NoKey(slot) => {
            format!("does not apply: no entry `{}` to name the bucket", keys.name(slot))
        }
        Miss::NoRow(slot) => format!("no row for this `{}`", keys.name(slot)),
        Miss::Unlimited(row) => format!("row {} is unlimited", row.name()),
    }
}
