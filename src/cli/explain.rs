//! `tollgate explain`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::counting::CountingArgs;
use super::entry_args::{self, EntryArg};
use super::{Failure, PolicyPath, choose_policy, load};
use crate::clock::{BootClock, Clock};
use crate::limit::{Blocked, Bucket, Debt};
use crate::policy::descriptor_tree::{self, Choice, Walk};
use crate::policy::rule::Rule;
use crate::policy::table::{Row, Table};
use crate::policy::{Explained, Policy};
use crate::text;

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    policy: PolicyPath,
    #[command(flatten)]
    counting: CountingArgs,
    /// The domain; may be omitted if the policy has only one.
    #[arg(long)]
    domain: Option<String>,
    /// Entries of the descriptor, in order.
    #[arg(required = true, value_name = "KEY=VALUE")]
    entries: Vec<EntryArg>,
}

impl Explain {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let policies = load(&self.policy.config, &self.counting.settings())??.policies;
        let policy = choose_policy(&policies, self.domain.as_deref())?;
        let query = entry_args::query(policy.domain(), &self.entries)?;
        for descriptor in query.descriptors() {
            write(out, policy, &policy.explain(descriptor, BootClock::start().read().wall))?;
        }
        let keys = policy.keys();
        for pair in self.entries.iter().filter(|pair| !keys.is_used(pair.key.as_bytes())) {
            let key = pair.key.escape_debug();
            if keys.names().any(|name| name == pair.key) {
                writeln!(
                    out,
                    "note: `{key}` is one of several entries with one key; write all of them, without numbers"
                )?;
            } else {
                writeln!(out, "note: the policy does not ask about `{key}`")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(out: &mut dyn Write, policy: &Policy, explained: &Explained<'_>) -> std::io::Result<()> {
    writeln!(out, "domain {}", policy.domain().escape_debug())?;
    if let Some(walk) = &explained.walk {
        write_walk(out, policy, explained, walk)?;
        return writeln!(out, "\n{}", explained.outcome());
    }
    match &explained.group {
        Some(group) => writeln!(out, "endpoint group {}", group.escape_debug())?,
        None => writeln!(out, "endpoint group none")?,
    }
    write_repeated(out, policy, explained)?;
    if let Some(bypass) = policy.describe_bypass(explained) {
        writeln!(out, "bypassed, since {bypass}; without that:")?;
    }
    writeln!(out)?;
    for (table, matched) in &explained.tables {
        match matched {
            Ok((row, rules)) => write_row(out, policy, table, row, rules)?,
            Err(miss) => writeln!(out, "- {}: {}", table.name(), policy.miss_reason(*miss))?,
        }
    }
    writeln!(out, "\n{}", explained.outcome())
}

/// The nodes of a descriptor tree that a descriptor takes, and its limit or why it has none.
fn write_walk(
    out: &mut dyn Write,
    policy: &Policy,
    explained: &Explained<'_>,
    walk: &Walk<'_>,
) -> std::io::Result<()> {
    writeln!(out)?;
    for ((entry, _), step) in explained.entries.iter().zip(&walk.steps) {
        let (key, value) = (entry.key.as_str().escape_debug(), text::sanitize(entry.value));
        let why = match step.choice {
            Choice::Value => "has this value",
            Choice::Pattern => "is the first whose pattern matches",
            Choice::Key => "takes every value that no other takes",
        };
        writeln!(out, "  {key}={value}: node {} {why}", step.node.escape_debug())?;
    }
    match &walk.end {
        Err(reason) => writeln!(out, "- {}: {reason}", descriptor_tree::TABLE),
        Ok(row) => {
            let scope = policy.window_scope(row);
            let path = row.name().escape_debug();
            write!(out, "+ {}, {path}", descriptor_tree::TABLE)?;
            for mode in descriptor_tree::describe_mode(policy, row) {
                write!(out, ", {}", mode.escape_debug())?;
            }
            match row.rules() {
                [] => writeln!(out, ": unlimited"),
                rules => {
                    writeln!(out, "; {scope}:")?;
                    rules.iter().try_for_each(|rule| write_bucket(out, rule.bucket()))
                }
            }
        }
    }
}

/// The entries whose key another entry has, and how each of them is read.
fn write_repeated(
    out: &mut dyn Write,
    policy: &Policy,
    Explained { entries, .. }: &Explained<'_>,
) -> std::io::Result<()> {
    let count = |key| entries.iter().filter(|(other, _)| other.key == key).count();
    let repeated = entries.iter().filter(|(entry, _)| count(entry.key) > 1);
    for (entry, read_as) in
        repeated.filter(|(entry, _)| policy.keys().is_used(entry.key.as_bytes()))
    {
        let (key, value) = (entry.key.as_str().escape_debug(), text::sanitize(entry.value));
        match read_as {
            Some(name) => writeln!(out, "entry {key}={value}: read as `{}`", name.escape_debug())?,
            None => {
                writeln!(out, "entry {key}={value}: not read, since an equal key comes before it")?
            }
        }
    }
    Ok(())
}

fn write_row(
    out: &mut dyn Write,
    policy: &Policy,
    table: &Table,
    row: &Row,
    rules: &[Rule],
) -> std::io::Result<()> {
    let scope_description = policy.scope_description(table);
    let shadow = if row.is_shadow() { ", in shadow: never denies" } else { "" };
    let is_own = std::ptr::eq(row.rules(), rules);
    let from = if is_own { "" } else { ", by an override" };
    let charged = match row.debt().map(Debt::most_owed) {
        None => String::new(),
        Some(None) => ", always charged".to_owned(),
        Some(Some(most)) => format!(", always charged, owes {most} at most"),
    };
    let (table, row) = (table.name(), row.name());
    writeln!(out, "+ {table}, row {row}{from}{charged}{shadow}; {scope_description}:")?;
    rules.iter().try_for_each(|rule| write_bucket(out, rule.bucket()))
}

fn write_bucket(out: &mut dyn Write, bucket: &Bucket) -> std::io::Result<()> {
    match bucket {
        Bucket::Tokens(bucket) => {
            let (size, interval) = (bucket.size(), bucket.interval());
            writeln!(out, "    {bucket}: holds {size}, gains one every {interval}")
        }
        Bucket::Concurrency(bucket) => {
            writeln!(out, "    {bucket}: each held until released, {} at most", bucket.ttl())
        }
        Bucket::Window(window) if window.requests() == 0 => {
            writeln!(out, "    {window}: nothing passes")
        }
        Bucket::Window(window) => {
            let unit = window.unit().name();
            writeln!(out, "    {window}: counts anew when the next {unit} begins")
        }
        Bucket::Blocked(Blocked { until: None }) => writeln!(out, "    blocked: nothing passes"),
        Bucket::Blocked(Blocked { until: Some(until) }) => {
            writeln!(out, "    blocked: nothing passes until {}", until.rfc3339())
        }
    }
}
