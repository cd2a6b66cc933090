//! `tollgate check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hashbrown::HashSet;

use super::counting::CountingArgs;
use super::{Failure, load};
use crate::config::Compiled;
use crate::policy::denial::DenialBody;
use crate::policy::{HeaderStyle, Policy};
use crate::shares;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Policy files, or folders of them. Each is checked as `serve --config` would load it.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Fail on warnings, too: exit code 1 if there is one.
    #[arg(long)]
    strict: bool,
    /// Warn of what a quota that an Envoy is assigned (RLQS) cannot say: concurrency buckets, `charge: always`, descriptor
    /// trees, and messages, bodies and headers of replies.
    #[arg(long)]
    quota: bool,
    #[command(flatten)]
    counting: CountingArgs,
}

impl Check {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let (mut problems, mut warnings) = (0, 0);
        let mut trees = HashSet::new();
        let settings = self.counting.settings();
        for path in &self.paths {
            match load(path, &settings)? {
                Ok(Compiled { policies, warnings: found }) => {
                    for policy in policies.iter() {
                        writeln!(out, "{}: {}", path.display(), summary(policy))?;
                    }
                    let with_tree = policies.iter().filter(|policy| policy.is_tree());
                    trees.extend(with_tree.map(|policy| policy.domain().to_owned()));
                    if self.quota {
                        for warning in policies.iter().flat_map(without_quota) {
                            warnings += 1;
                            writeln!(out, "warning: {}: {warning}", path.display())?;
                        }
                    }
                    warnings += found.len();
                    found.lines().iter().try_for_each(|warning| writeln!(out, "{warning}"))?;
                }
                Err(found) => {
                    problems += found.len();
                    writeln!(out, "{found}")?;
                }
            }
        }
        if problems == 0 {
            let found = self.counting.warnings(|domain| trees.contains(domain));
            warnings += found.len();
            found.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
        }
        let problems_counted = counted(problems, "problem", "problems");
        let warnings_counted = counted(warnings, "warning", "warnings");
        match (problems, warnings) {
            (0, 0) => {}
            (0, _) => writeln!(out, "{warnings_counted}")?,
            (_, 0) => writeln!(out, "{problems_counted}")?,
            _ => writeln!(out, "{problems_counted}, {warnings_counted}")?,
        }
        let is_wrong = problems > 0 || self.strict && warnings > 0;
        Ok(ExitCode::from(u8::from(is_wrong)))
    }
}

/// The most rows that one warning names.
const MAX_ROWS: usize = 3;

/// What quotas cannot say of a policy.
fn without_quota(policy: &Policy) -> Vec<String> {
    let domain = policy.domain().escape_debug();
    if policy.is_tree() {
        return vec![format!(
            "domain {domain}: the entries of a descriptor tree have an order, which the bucket ids of quotas lack: Envoys \
             are told to let all through"
        )];
    }
    let mut found = Vec::new();
    if policy.headers() != HeaderStyle::Off {
        found.push(format!(
            "domain {domain}: responses to requests of a quota lack the headers with the limit; `headers: off` says that it \
             is meant"
        ));
    }
    if *policy.denial_body() != DenialBody::default() {
        found.push(format!(
            "domain {domain}: no client of a quota reads the denial_body: Envoy denies with its own deny_response_settings"
        ));
    }
    let of_rows = shares::inexpressible(policy).into_iter().map(|of| {
        format!(
            "domain {domain}, table {}, {}: {}",
            of.table.escape_debug(),
            rows(&of.rows),
            of.what
        )
    });
    found.extend(of_rows);
    found
}

/// Names rows: all if they are few, else the first of them.
fn rows(names: &[&str]) -> String {
    let named: Vec<_> =
        names.iter().take(MAX_ROWS).map(|name| name.escape_debug().to_string()).collect();
    let others = match names.len() - named.len() {
        0 => String::new(),
        others => format!(" and {}", counted(others, "other", "others")),
    };
    let word = if names.len() == 1 { "row" } else { "rows" };
    format!("{word} {}{others}", named.join(", "))
}

fn summary(policy: &Policy) -> String {
    if policy.is_tree() {
        // The last row is that of limits that Envoy brings.
        let limits = counted(policy.rows().count() - 1, "limit", "limits");
        return format!("domain {}: a descriptor tree, {limits}", policy.domain().escape_debug());
    }
    let tables = policy.tables();
    let rows = tables.iter().flat_map(|table| table.rows().iter());
    let (mut row_count, mut buckets, mut overrides) = (0, 0, 0);
    for row in rows {
        row_count += 1;
        buckets += row.rules().len();
        overrides += row.overrides().len();
    }
    let counts = [
        counted(tables.len(), "table", "tables"),
        counted(row_count, "row", "rows"),
        counted(buckets, "bucket", "buckets"),
        counted(policy.endpoints().iter().len(), "endpoint", "endpoints"),
        counted(overrides, "override", "overrides"),
        counted(policy.bypass().len(), "bypass", "bypasses"),
    ];
    format!("domain {}: {}", policy.domain().escape_debug(), counts.join(", "))
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
