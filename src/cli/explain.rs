//! `tollgate explain`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::pairs::{self, Pair};
use super::{Failure, PolicyPath};
use crate::clock::{BootClock, Clock};
use crate::config;
use crate::limit::Bucket;
use crate::policy::fingerprint::{FingerprintKey, KeySet};
use crate::policy::table::{Miss, Row, Rule, Table};
use crate::policy::{Explained, Policies, Policy};

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    policy: PolicyPath,
    /// The domain; may be left out where there is only one.
    #[arg(long)]
    domain: Option<String>,
    /// The descriptor's entries, in order.
    #[arg(required = true, value_name = "KEY=VALUE")]
    entries: Vec<Pair>,
}

impl Explain {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let policies = config::load(&self.policy.config, FingerprintKey::fixed(0))?;
        let policy = choose(&policies, self.domain.as_deref())?;
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

/// The policy of a domain, or the only one there is.
fn choose<'a>(policies: &'a Policies, domain: Option<&str>) -> Result<&'a Policy, String> {
    let mut all = policies.iter();
    let (chosen, wrong) = match (domain, all.next(), all.next()) {
        (Some(domain), ..) => {
            (policies.get(domain), format!("there is no domain `{}`", domain.escape_debug()))
        }
        (None, Some(only), None) => (Some(only), String::new()),
        (None, ..) => (None, "there are several domains".to_owned()),
    };
    chosen.ok_or_else(|| {
        let known: Vec<_> =
            policies.iter().map(|policy| policy.domain().escape_debug().to_string()).collect();
        format!("{wrong}; say --domain, one of: {}", known.join(", "))
    })
}

fn write(out: &mut dyn Write, policy: &Policy, explained: &Explained<'_>) -> std::io::Result<()> {
    writeln!(out, "domain {}", policy.domain().escape_debug())?;
    match explained.group {
        Some(group) => writeln!(out, "endpoint group {}", group.escape_debug())?,
        None => writeln!(out, "endpoint group none")?,
    }
    if let Some(bypass) = explained.bypass {
        writeln!(out, "bypassed, since {}; without that:", bypass.describe(policy.keys()))?;
    }
    writeln!(out)?;
    for (table, met) in &explained.tables {
        match met {
            Ok((row, rules)) => write_met(out, policy, table, row, rules)?,
            Err(miss) => writeln!(out, "- {}: {}", table.name(), why(policy, *miss))?,
        }
    }
    writeln!(out, "\n{}", outcome(explained))
}

/// What all buckets together mean for the call.
fn outcome(explained: &Explained<'_>) -> String {
    let met = || explained.tables.iter().filter_map(|(_, met)| met.as_ref().ok());
    let buckets = |is_shadow| -> usize {
        let rows = met().filter(|(row, _)| row.is_shadow() == is_shadow);
        rows.map(|(_, rules)| rules.len()).sum()
    };
    let outcome = match buckets(false) {
        _ if explained.bypass.is_some() => "bypassed: no bucket is charged".to_owned(),
        0 => "no bucket; the call passes".to_owned(),
        1 => "1 bucket, which must admit".to_owned(),
        more => format!("{more} buckets; all of them must admit, or none is charged"),
    };
    match buckets(true) {
        0 => outcome,
        shadow => format!("{outcome}; {shadow} in shadow"),
    }
}

fn write_met(
    out: &mut dyn Write,
    policy: &Policy,
    table: &Table,
    row: &Row,
    rules: &[Rule],
) -> std::io::Result<()> {
    let keys = policy.key_set(table.key()).map(|set| key_names(policy, set)).unwrap_or_default();
    let one_for = if keys.is_empty() {
        "one for all calls".to_owned()
    } else {
        format!("one for each {}", keys.join(" and "))
    };
    let shadow = if row.is_shadow() { ", in shadow: never denies" } else { "" };
    let is_own = std::ptr::eq(row.rules(), rules);
    let from = if is_own { "" } else { ", by an override" };
    writeln!(out, "+ {}, row {}{from}{shadow}; {one_for}:", table.name(), row.name())?;
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

/// The entries that name a bucket; of an address, how much of it counts.
fn key_names(policy: &Policy, set: &KeySet) -> Vec<String> {
    let name = |name: &str| match name {
        "remote_address" => {
            format!("{name} (/{} of IPv4, /{} of IPv6)", set.prefixes.ipv4(), set.prefixes.ipv6())
        }
        name => name.to_owned(),
    };
    set.names(policy.keys()).into_iter().map(name).collect()
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
        Miss::NoRow(slot) => {
            format!("no row for this `{}`, and no `otherwise`", keys.name(slot))
        }
        Miss::Unlimited(row) if row.rules().is_empty() => {
            format!("row {} is unlimited", row.name())
        }
        Miss::Unlimited(row) => format!("row {} is unlimited by an override", row.name()),
    }
}
